"""Parametric blur kernels: anisotropic Gaussians."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from zssr.degradation.kernel_shapes import centered_side, sample_gaussians
from zssr.degradation.resize import Floats
from zssr.geometry import Factors

FloatT = TypeVar("FloatT", bound=np.floating)

SCALE = 2
"""The scale that kernels are estimated for: a photo does not show how much larger the image before it was."""

GROWTH = 0.95
"""Exponent of a kernel's width over the scale; `python -m benchmarks constants --what growth` compares exponents.

In the photo's pixels the blur is the same for all scales, which is the exponent 1. It is a little less, because a blur
assumed too wide does more harm with every doubling.
"""


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian blur: standard deviations in pixels of the large image along its two axes, and the first one's angle.

    The angle is in radians from the horizontal, counter-clockwise as seen.
    """

    along: float
    across: float
    angle: float = 0.0

    @classmethod
    def from_covariance(cls, covariance: Floats) -> "Gaussian":
        """Return the Gaussian with a covariance (2, 2) in (row, column), in square pixels."""
        variances, axes = np.linalg.eigh(covariance)
        across, along = np.sqrt(np.maximum(variances, 0))
        return cls(float(along), float(across), float(math.atan2(-axes[0, 1], axes[1, 1]) % math.pi))

    @property
    def covariance(self) -> Floats:
        """Return the covariance (2, 2) in (row, column), in square pixels."""
        axes = np.array([[-math.sin(self.angle), math.cos(self.angle)], [math.cos(self.angle), math.sin(self.angle)]])
        return np.asarray((axes * np.array([self.along, self.across]) ** 2) @ axes.T)

    @property
    def covariance_root(self) -> Floats:
        """Return the matrix square root of the covariance (2, 2), in pixels."""
        variances, axes = np.linalg.eigh(self.covariance)
        return np.asarray((axes * np.sqrt(np.maximum(variances, 0))) @ axes.T)

    def at_scale(self, scale: Factors, growth: float = GROWTH) -> "Gaussian":
        """Return the same blur of the photo for another scale (vertical, horizontal) than `SCALE`."""
        stretch = np.diag(np.array(scale) / SCALE) ** growth
        return Gaussian.from_covariance(stretch @ self.covariance @ stretch)

    def to_kernel(self, scale: Factors = (SCALE, SCALE)) -> Floats:
        """Sample the blur for `scale` around the center of a block of the large image's pixels: (height, width)."""
        support = max(2.0, 4 * self.along)
        return self.sample((centered_side(support, scale[0]), centered_side(support, scale[1])))

    def sample(self, sides: tuple[int, int]) -> Floats:
        """Sample a kernel of these sides (height, width) around its middle; it sums to one."""
        return np.asarray(sample_gaussians(self.covariance[None], sides)[0])


def transfer_functions(kernels: NDArray[FloatT], rows: Floats, columns: Floats) -> NDArray[FloatT]:
    """Return the transfer functions of point-symmetric kernels (n, height, width) at these cycles per pixel."""
    y, x = (np.arange(side) - (side - 1) / 2 for side in kernels.shape[-2:])
    down, right = (2 * np.pi * np.outer(*pair).astype(kernels.dtype) for pair in ((rows, y), (x, columns)))
    waves = np.tensordot(kernels, np.concatenate([np.cos(right), np.sin(right)], 1), 1)  # (n, height, 2 columns)
    cosines, sines = np.split(waves, 2, axis=2)
    return np.asarray(np.cos(down) @ cosines - np.sin(down) @ sines)  # (n, rows, columns): the real part
