"""Which files hold videos, animations and pages, as their names and headers tell."""

import math
from pathlib import Path

from zssr.errors import ImageError
from zssr.io.formats import ANIMATION_SUFFIXES, VIDEO_SUFFIXES, WRITABLE_SUFFIXES, WRITABLE_VIDEO_SUFFIXES


def is_video(path: Path) -> bool:
    """Tell whether a file is opened as a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_moving(path: Path, animate: bool) -> bool:
    """Tell whether a file is a video, or an animation that is wanted as such."""
    return is_video(path) or (animate and path.suffix.lower() in ANIMATION_SUFFIXES and count_frames_of(path) > 1)


def list_writable_suffixes(source: Path | None, moves: bool) -> tuple[str, ...]:
    """Return the suffixes that the output for a source may have."""
    if source is None or not moves:
        return WRITABLE_SUFFIXES
    return WRITABLE_VIDEO_SUFFIXES if is_video(source) else ANIMATION_SUFFIXES


def count_frames_of(path: Path) -> int:
    """Return the number of a file's pages; 1 if it cannot be read, which is said when it is opened."""
    from zssr.io.limits import Limits
    from zssr.io.reading import count_pages  # it brings Pillow and NumPy

    try:
        return count_pages(path, Limits(math.inf, math.inf))
    except ImageError:
        return 1
