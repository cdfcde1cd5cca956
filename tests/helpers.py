"""What several test modules share."""

from pathlib import Path

from PIL import Image

from zssr.cli.main import main
from zssr.config import Config

QUICK = [
    option
    for setting in ("init=random", "num_epochs=4", "model_width=8", "model_depth=3", "crop_size=32")
    for option in ("--set", setting)
]
"""Options of the command for tests of everything but quality."""

TINY = Config(num_epochs=2, init="random", model_width=8, model_depth=3, crop_size=32)
"""Settings for tests that run often."""


def run_command(*arguments: object) -> int:
    """Run the command, quickly, in this process; return its exit code."""
    return main([str(argument) for argument in (*arguments, *QUICK)])


def file_names(folder: Path) -> list[str]:
    """List what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def image_size(path: Path) -> tuple[int, int]:
    """Read the size (width, height) of a picture."""
    with Image.open(path) as picture:
        return picture.size
