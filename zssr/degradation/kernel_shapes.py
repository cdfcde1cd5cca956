"""Blur kernels of a known shape: Gaussians, discs (out of focus) and lines (motion)."""

import math

import numpy as np

from zssr.degradation.resize import Floats
from zssr.geometry import Factors

_FINENESS = 8  # points per pixel, along each axis, at which a disc and a line are sampled


def sample_gaussians(covariances: Floats, sides: tuple[int, int]) -> Floats:
    """Sample kernels (n, height, width) of Gaussians with `covariances` (n, 2, 2) around their middle, of sum one."""
    y, x = (np.arange(side) - (side - 1) / 2 for side in sides)
    inverse = np.linalg.inv(covariances + 1e-4 * np.eye(2))[..., None]  # a blur of no width has no inverse
    down, right, mixed = inverse[:, 0, 0] * y**2, inverse[:, 1, 1] * x**2, 2 * inverse[:, 0, 1] * y
    kernels = np.exp(-0.5 * (down[:, :, None] + right[:, None] + mixed[:, :, None] * x))
    return np.asarray(kernels / kernels.sum((1, 2), keepdims=True))


def disc_kernel(radius: float, scale: Factors) -> Floats:
    """Return a disc of `radius` pixels around the center of a block of `scale` pixels: (height, width)."""
    ends = radius - 0.5 / _FINENESS
    grid = np.linspace(-ends, ends, 2 * math.ceil(_FINENESS * radius))
    y, x = (axis.ravel() for axis in np.meshgrid(grid, grid, indexing="ij"))
    inside = np.hypot(y, x) <= radius
    return _splat(y[inside], x[inside], (centered_side(radius + 1, scale[0]), centered_side(radius + 1, scale[1])))


def line_kernel(length: float, degrees: float, scale: Factors) -> Floats:
    """Return a line of `length` pixels, `degrees` from the horizontal counter-clockwise as seen: (height, width)."""
    count = max(1, math.ceil(_FINENESS * length))
    along = ((np.arange(count) + 0.5) / count - 0.5) * length
    y, x = -math.sin(math.radians(degrees)) * along, math.cos(math.radians(degrees)) * along
    support = length / 2 + 1
    return _splat(y, x, (centered_side(support, scale[0]), centered_side(support, scale[1])))


def centered_side(support: float, scale: float) -> int:
    """Return a kernel's side such that its middle is the center of a block of `scale` pixels."""
    return 2 * math.ceil(support) + round(scale) % 2


def stretch_of_scale(old: float, new: float) -> float:
    """Return the stretch of a blur for another scale of one axis (see `rescale_kernel`).

    The blur of an axis that is not downsampled (scale 1) belongs to no scale.
    """
    if old == 1 or new == 1:
        return 1.0
    return new / old if new > old else math.sqrt((new**2 - 1) / (old**2 - 1))


def _splat(y: Floats, x: Floats, sides: tuple[int, int]) -> Floats:
    """Add up points (n,) around the middle of a kernel, each spread over the four pixels around it."""
    kernel = np.zeros(sides)
    row, column = y + (sides[0] - 1) / 2, x + (sides[1] - 1) / 2
    for top in (np.floor(row), np.floor(row) + 1):
        for left in (np.floor(column), np.floor(column) + 1):
            weights = (1 - np.abs(row - top)) * (1 - np.abs(column - left))
            np.add.at(kernel, (top.astype(int), left.astype(int)), weights)
    return np.asarray(kernel / kernel.sum())
