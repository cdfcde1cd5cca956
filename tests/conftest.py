import io
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores, and so one thread each; read by PyTorch at import
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from hostile import encode_image
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from zssr.api import Upscaler
from zssr.config import Config
from zssr.request import Request

if TYPE_CHECKING:
    from web_server import Server

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it aloud when the page was not looked at."""
    if any("test_web_browser" in report.nodeid for report in terminalreporter.stats.get("skipped", [])):
        terminalreporter.section("NOT TESTED: the page in a browser", red=True)
        terminalreporter.line(f"none of {', '.join(BROWSERS)} is installed, so tests/test_web_browser.py did not run")


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    """A free photo, 48 x 64 pixels in 3 channels."""
    picture: NDArray[np.uint8] = data.astronaut()[40:88, 190:254]
    return picture


@pytest.fixture
def photo(astronaut: NDArray[np.uint8]) -> torch.Tensor:
    """The same as the method sees it: (1, 3, 48, 64) in [0, 1]."""
    return torch.from_numpy(astronaut.astype(np.float32) / 255).permute(2, 0, 1)[None]


@pytest.fixture
def quick() -> Config:
    """Settings for tests of everything but quality."""
    return Config(
        num_epochs=12, lr_decay_step=4, init="random", model_width=12, model_depth=4, crop_size=32, precision="fp32"
    )


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def global_state_is_left_alone() -> Iterator[None]:
    """No test may find the global generators, thread counts or Pillow's limit changed by the library."""

    def state() -> tuple[object, ...]:
        return (
            torch.random.get_rng_state().numpy().tobytes(),
            np.random.get_state()[1].tobytes(),
            torch.get_num_threads(),
            Image.MAX_IMAGE_PIXELS,
        )

    before = state()
    yield
    assert state() == before


@pytest.fixture(autouse=True)
def logging_is_put_back() -> Iterator[None]:
    """A command sets up logging for its process, which here is that of the tests after it, too."""
    loggers = [logging.getLogger(name) for name in (None, "zssr", "distributed")]
    before = [(logger.level, logger.propagate, [*logger.handlers], [*logger.filters]) for logger in loggers]
    yield
    for logger, (level, propagate, handlers, filters) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate, logger.handlers[:], logger.filters[:] = propagate, handlers, filters


@pytest.fixture
def folder(tmp_path: Path, astronaut: NDArray[np.uint8]) -> Path:
    """Three pictures, 32 x 36 pixels, and something else."""
    folder = tmp_path / "in"
    folder.mkdir()
    for k, name in enumerate(("a.png", "b.png", "c.png")):
        Image.fromarray(astronaut[k : k + 32, k : k + 36]).save(folder / name)
    (folder / "note.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="session")
def small(astronaut: NDArray[np.uint8]) -> bytes:
    """A PNG file that is large enough to learn from, in two seconds."""
    return encode_image(Image.fromarray(astronaut[:32, :32]), "PNG")


@pytest.fixture(scope="session")
def tiny(astronaut: NDArray[np.uint8]) -> bytes:
    """A PNG file that is too small to learn from, and so interpolated at once."""
    return encode_image(Image.fromarray(astronaut[:16, :20]), "PNG")


@pytest.fixture(scope="session")
def expected(small: bytes) -> bytes:
    """What the library makes of `small` with the preset "fast" and seed 3."""
    file, upscaler = io.BytesIO(), Upscaler(Config.preset("fast"))
    upscaler.run_file(small, file, Request(seed=3), keep="colors", suffix=".png", name="photo")
    return file.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """The page in a process of its own."""
    from web_server import serving

    with serving(tmp_path_factory.mktemp("page")) as served:
        yield served
