"""EXIF's orientation: how the pixels of a file are turned to lie upright."""

from typing import Any

from numpy.typing import NDArray


def swaps_axes(orientation: int) -> bool:
    """Return whether the picture lies on its side: its rows are columns of the upright picture."""
    return orientation > 4


def apply_orientation(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an upright view of `pixels` (H, W, C), given EXIF's orientation from 1 (upright) to 8."""
    pixels = pixels.swapaxes(0, 1) if swaps_axes(orientation) else pixels
    pixels = pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
