"""Parametric kernels: Gaussians, discs (out of focus), lines (motion), lens blurs and sharpening of bicubic photos."""

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from zssr.degradation.kernel_shapes import centered_side, disc_kernel, line_kernel, sample_gaussians
from zssr.degradation.resamplers import BICUBIC, sharpened_kernel
from zssr.degradation.resize import Floats
from zssr.geometry import Factors

FloatT = TypeVar("FloatT", bound=np.floating)

SCALE = 2
"""The scale that kernels are estimated for: a photo does not show how much larger the image before it was."""


class ParametricKernel(ABC):
    """A kernel of a known shape, in pixels of the large image for the scale `SCALE`.

    Attributes
    ----------
    shape
        Its name.
    phrase
        The same in words.
    """

    shape: ClassVar[str]
    phrase: ClassVar[str]

    @property
    @abstractmethod
    def covariance(self) -> Floats:
        """Return the covariance (2, 2) in (row, column), in square pixels."""

    @property
    def covariance_root(self) -> Floats:
        """Return the matrix square root of the covariance (2, 2), in pixels."""
        variances, axes = np.linalg.eigh(self.covariance)
        return np.asarray((axes * np.sqrt(np.maximum(variances, 0))) @ axes.T)

    @abstractmethod
    def at_scale(self, scale: Factors) -> "ParametricKernel":
        """Return the same blur of the photo for another scale (vertical, horizontal) than `SCALE`."""

    @abstractmethod
    def to_kernel(self, scale: Factors = (SCALE, SCALE)) -> Floats:
        """Sample the blur for `scale` around the center of a block of the large image's pixels: (height, width)."""

    @abstractmethod
    def neighbors(self, step: float) -> "list[ParametricKernel]":
        """Return itself, and blurs whose sizes differ by `step` pixels and angles by `step` radians or not at all."""


@dataclass(frozen=True)
class Gaussian(ParametricKernel):
    """A Gaussian blur: standard deviations in pixels of the large image along its two axes, and the first one's angle.

    The angle is in radians from the horizontal, counter-clockwise as seen.
    """

    shape = "gaussian"
    phrase = "a Gaussian blur"

    along: float
    across: float
    angle: float = 0.0

    @classmethod
    def from_covariance(cls, covariance: Floats) -> "Gaussian":
        """Return the Gaussian with a covariance (2, 2) in (row, column), in square pixels."""
        variances, axes = np.linalg.eigh(covariance)
        across, along = np.sqrt(np.maximum(variances, 0))
        return cls(float(along), float(across), float(math.atan2(-axes[0, 1], axes[1, 1]) % math.pi))

    def __str__(self) -> str:
        return f"{self.shape} {self.along:.1f}x{self.across:.1f} px at {round(math.degrees(self.angle)) % 180} deg"

    @property
    def covariance(self) -> Floats:
        """Return the covariance (2, 2) in (row, column), in square pixels."""
        axes = np.array([[-math.sin(self.angle), math.cos(self.angle)], [math.cos(self.angle), math.sin(self.angle)]])
        return np.asarray((axes * np.array([self.along, self.across]) ** 2) @ axes.T)

    def at_scale(self, scale: Factors) -> "Gaussian":
        """Return the same blur of the photo for another scale (vertical, horizontal) than `SCALE`."""
        stretch = np.diag(np.array(scale) / SCALE)
        return Gaussian.from_covariance(stretch @ self.covariance @ stretch)

    def to_kernel(self, scale: Factors = (SCALE, SCALE)) -> Floats:
        """Sample the blur for `scale` around the center of a block of the large image's pixels: (height, width)."""
        support = max(2.0, 4 * self.along)
        return self.sample((centered_side(support, scale[0]), centered_side(support, scale[1])))

    def neighbors(self, step: float) -> list[ParametricKernel]:
        """Return itself, and blurs that are wider or narrower, or turned."""
        moves = itertools.product((0, -step, step), repeat=3)
        return [
            Gaussian(_clip(self.along + wider, 0.15, 3.2), _clip(self.across + thicker, 0.15, 3.2), self.angle + turn)
            for wider, thicker, turn in moves
        ]

    def sample(self, sides: tuple[int, int]) -> Floats:
        """Sample a kernel of these sides (height, width) around its middle; it sums to one."""
        return np.asarray(sample_gaussians(self.covariance[None], sides)[0])


@dataclass(frozen=True)
class Disc(ParametricKernel):
    """The blur of a lens out of focus: a disc with a radius in pixels of the large image."""

    shape = "disc"
    phrase = "a blur out of focus"

    radius: float

    def __str__(self) -> str:
        return f"{self.shape} {self.radius:.1f} px"

    @property
    def covariance(self) -> Floats:
        """Return the covariance (2, 2) in (row, column), in square pixels."""
        return np.asarray(self.radius**2 / 4 * np.eye(2))

    def at_scale(self, scale: Factors) -> ParametricKernel:
        """Return the same blur for another scale; for unequal ones a Gaussian of the same covariance."""
        if scale[0] != scale[1]:
            return Gaussian.from_covariance(self.covariance).at_scale(scale)
        return Disc(self.radius * scale[0] / SCALE)

    def to_kernel(self, scale: Factors = (SCALE, SCALE)) -> Floats:
        """Sample the blur for `scale` around the center of a block of the large image's pixels: (height, width)."""
        return disc_kernel(self.radius, scale)

    def neighbors(self, step: float) -> list[ParametricKernel]:
        """Return itself, and discs that are larger and smaller."""
        return [Disc(_clip(self.radius + move, 1.0, 4.0)) for move in (0, -step, step)]


@dataclass(frozen=True)
class Line(ParametricKernel):
    """The blur of a straight motion: a line with a length in pixels of the large image, and an angle.

    The angle is in radians from the horizontal, counter-clockwise as seen.
    """

    shape = "line"
    phrase = "a blur by motion"

    length: float
    angle: float = 0.0

    def __str__(self) -> str:
        return f"{self.shape} {self.length:.1f} px at {round(math.degrees(self.angle)) % 180} deg"

    @property
    def covariance(self) -> Floats:
        """Return the covariance (2, 2) in (row, column), in square pixels."""
        return Gaussian(self.length / math.sqrt(12), 0.0, self.angle).covariance

    def at_scale(self, scale: Factors) -> "Line":
        """Return the same blur of the photo for another scale (vertical, horizontal) than `SCALE`."""
        down, right = (
            self.length * part * factor / SCALE
            for part, factor in zip((math.sin(self.angle), math.cos(self.angle)), scale, strict=True)
        )
        return Line(math.hypot(down, right), math.atan2(down, right) % math.pi)

    def to_kernel(self, scale: Factors = (SCALE, SCALE)) -> Floats:
        """Sample the blur for `scale` around the center of a block of the large image's pixels: (height, width)."""
        return line_kernel(self.length, math.degrees(self.angle), scale)

    def neighbors(self, step: float) -> list[ParametricKernel]:
        """Return itself, and lines that are longer or shorter, or turned."""
        moves = itertools.product((0, -2 * step, 2 * step), (0, -step, step))
        return [Line(_clip(self.length + longer, 1.0, 12.0), (self.angle + turn) % math.pi) for longer, turn in moves]


@dataclass(frozen=True)
class Sharpening(ParametricKernel):
    """Bicubic downsampling followed by an unsharp mask: its amount, and its radius in pixels of the photo."""

    shape = "sharpened bicubic"
    phrase = "sharpening after bicubic downsampling"

    amount: float
    radius: float

    def __str__(self) -> str:
        return f"{self.shape} ({100 * self.amount:.0f} % within {self.radius:.1f} px)"

    @property
    def covariance(self) -> Floats:
        """Return the covariance (2, 2) in (row, column), in square pixels; a mask makes it smaller, even negative."""
        return np.asarray((_bicubic_variance() - self.amount * (SCALE * self.radius) ** 2) * np.eye(2))

    def at_scale(self, scale: Factors) -> "Sharpening":
        """Return itself: the mask was put on the photo."""
        return self

    def to_kernel(self, scale: Factors = (SCALE, SCALE)) -> Floats:
        """Sample it for `scale` around the center of a block of the large image's pixels: (height, width)."""
        return sharpened_kernel(self.amount, self.radius, scale)

    def neighbors(self, step: float) -> list[ParametricKernel]:
        """Return itself, and masks that are stronger or weaker, or of another radius."""
        moves = itertools.product((0, -2 * step, 2 * step), (0, -step, step))
        sizes = ((self.amount + more, self.radius + wider) for more, wider in moves)
        return [Sharpening(_clip(amount, 0.1, 4.0), _clip(radius, 0.3, 3.0)) for amount, radius in sizes]


@dataclass(frozen=True)
class LensBlur(ParametricKernel):
    """A Gaussian blur before bicubic downsampling: its standard deviation in pixels of the large image."""

    shape = "lens blur"
    phrase = "a lens blur before bicubic downsampling"

    sigma: float

    def __str__(self) -> str:
        return f"{self.shape} {self.sigma:.1f} px before bicubic"

    @property
    def covariance(self) -> Floats:
        """Return the covariance (2, 2) in (row, column), in square pixels."""
        return np.asarray((_bicubic_variance() + self.sigma**2) * np.eye(2))

    def at_scale(self, scale: Factors) -> ParametricKernel:
        """Return the same blur for another scale; for unequal ones a Gaussian of the same covariance."""
        if scale[0] != scale[1]:
            return Gaussian.from_covariance(self.covariance).at_scale(scale)
        return LensBlur(self.sigma * scale[0] / SCALE)

    def to_kernel(self, scale: Factors = (SCALE, SCALE)) -> Floats:
        """Sample it for `scale` around the center of a block of the large image's pixels: (height, width)."""
        return replace(BICUBIC, blur=self.sigma).to_kernel(scale)

    def neighbors(self, step: float) -> list[ParametricKernel]:
        """Return itself, and blurs that are wider or narrower."""
        return [LensBlur(_clip(self.sigma + wider, 0.3, 2.0)) for wider in (0, -step, step)]


def _bicubic_variance() -> float:
    """Return the variance of bicubic downsampling by `SCALE` along an axis, in square pixels."""
    profile = BICUBIC.profile(SCALE)
    return float(profile @ (np.arange(len(profile)) - (len(profile) - 1) / 2) ** 2)


def transfer_functions(kernels: NDArray[FloatT], down: Floats, right: Floats) -> NDArray[FloatT]:
    """Return the transfer functions (n, ...) of point-symmetric kernels (n, height, width) at frequencies (...).

    These are in cycles per pixel, and are broadcast against each other.
    """
    down, right = np.broadcast_arrays(down, right)
    y, x = np.indices(kernels.shape[1:], kernels.dtype).reshape(2, -1)
    half = len(y) // 2  # the other half is the same
    turns = [np.multiply.outer(axis[:half] - axis.mean(), one.ravel()) for axis, one in ((y, down), (x, right))]
    flat = kernels.reshape(len(kernels), -1)
    parts = 2 * flat[:, :half] @ np.cos(2 * np.pi * np.add(*turns, dtype=kernels.dtype))
    if len(y) % 2:
        parts += flat[:, half : half + 1]
    return np.asarray(parts).reshape(len(kernels), *down.shape)


def _clip(size: float, least: float, most: float) -> float:
    return min(max(size, least), most)
