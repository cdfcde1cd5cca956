"""Positions in an image, how a matrix moves them, and the image there, between its pixels."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zssr.degradation.resize import Floats
from zssr.multiframe.robust import measure_noise

Positions = Floats
"""Rows and columns, (2, H, W) or (2, n)."""

Mask = NDArray[np.bool_]


class Spline:
    """An image (H, W) between its pixels: the cubic spline through them (Unser 1999), mirrored at its borders."""

    def __init__(self, image: Floats) -> None:
        self.image = image

    def sample(self, positions: Positions) -> Floats:
        """Return the values at positions (2, ...)."""
        from scipy.ndimage import map_coordinates  # other commands do not wait for it

        return np.asarray(map_coordinates(self._coefficients, positions, prefilter=False, mode="mirror"))

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the white noise on the image."""
        return measure_noise(self.image)

    @cached_property
    def _coefficients(self) -> Floats:
        from scipy.ndimage import spline_filter

        return np.asarray(spline_filter(self.image, mode="mirror"))


def make_grid(size: tuple[int, int], rows: slice = slice(None)) -> Positions:
    """Return the positions of all pixels, or those of some rows, of an image of `size` (H, W)."""
    return np.stack(np.meshgrid(np.arange(size[0])[rows], np.arange(size[1]), indexing="ij")).astype(np.float64)


def transform(matrix: Floats, positions: Positions) -> Positions:
    """Move positions (2, ...) by a matrix (3, 3), which acts on (x, y, 1)."""
    rows, columns = positions
    x, y, z = (a * columns + b * rows + c for a, b, c in matrix)
    return np.stack([y / z, x / z])


def is_inside(positions: Positions, size: tuple[int, int]) -> Mask:
    """Return which positions (2, ...) lie within an image of `size` (H, W)."""
    rows, columns = positions
    return np.asarray((rows >= 0) & (rows <= size[0] - 1) & (columns >= 0) & (columns <= size[1] - 1))
