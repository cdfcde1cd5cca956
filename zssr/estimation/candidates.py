"""What may have made a photo small: bicubic, or one of many Gaussian blurs; and what a wrong guess costs."""

import math
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from zssr.degradation.resize import Floats, cubic

SCALE = 2
"""That all hypotheses are for: a photo cannot tell how much larger the image before it was."""

# standard deviations in large pixels
_WIDTHS = (0.2, 0.45, 0.65, 0.8, 0.95, 1.1, 1.25, 1.4, 1.55, 1.75, 1.95, 2.2, 2.5, 2.8)
_NEARLY_ROUND = 1.3  # of widths along and across: fewer directions will do
_BICUBIC = 0.2  # square pixels: the variance of the Gaussian whose edges are as steep
_SIDE = 24
_GROWTH = 0.95  # exponent of a kernel's width over the scale
_LEAST = 1e-4  # square pixels: a blur of no width cannot be inverted

_WAVES = 24  # per cycle per pixel and axis, for what a wrong guess costs
_RESTORED = 0.26  # cycles per pixel: up to there a network restores; the small image ends at .25
_FALL = -1.93  # of the power of photos over frequency
_REGULARISED = 0.012
_COST = 15.7


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian blur: standard deviations in pixels of the large image, and the first one's angle.

    The angle is in radians from the horizontal, counter-clockwise as seen.
    """

    along: float
    across: float
    angle: float = 0.0

    @classmethod
    def from_covariance(cls, covariance: Floats) -> "Gaussian":
        """Return the Gaussian with a covariance in (row, column)."""
        variances, axes = np.linalg.eigh(covariance)
        across, along = np.sqrt(np.maximum(variances, 0))
        return cls(float(along), float(across), float(math.atan2(-axes[0, 1], axes[1, 1]) % math.pi))

    @property
    def covariance(self) -> Floats:
        """Return the covariance (2, 2) in (row, column), in square pixels."""
        axes = np.array([[-math.sin(self.angle), math.cos(self.angle)], [math.cos(self.angle), math.sin(self.angle)]])
        return np.asarray((axes * np.array([self.along, self.across]) ** 2) @ axes.T)

    @property
    def root(self) -> Floats:
        """Return the square root of the covariance, in pixels."""
        variances, axes = np.linalg.eigh(self.covariance)
        return np.asarray((axes * np.sqrt(np.maximum(variances, 0))) @ axes.T)

    def at_scale(self, scale: tuple[float, float]) -> "Gaussian":
        """Return the same blur of the photo for another scale (vertical, horizontal) than `SCALE`.

        Seen from the photo nothing changes, so the kernel grows with the large image's pixels; a little less, because
        the harm of a blur assumed too wide grows with every doubling (judged by Set14 at x4).
        """
        stretch = np.diag(np.array(scale) / SCALE) ** _GROWTH
        return Gaussian.from_covariance(stretch @ self.covariance @ stretch)

    def kernel(self, scale: tuple[float, float] = (SCALE, SCALE)) -> Floats:
        """Return the blur's samples for `scale`, around the center of a block of the large image's pixels."""
        reach = max(2.0, 4 * self.along)
        return self.sampled((_even_or_odd(reach, scale[0]), _even_or_odd(reach, scale[1])))

    def sampled(self, sides: tuple[int, int]) -> Floats:
        """Return a kernel (height, width) of these sides around its middle."""
        y, x = np.meshgrid(*(np.arange(side) - (side - 1) / 2 for side in sides), indexing="ij")
        at = np.stack([y, x], -1)
        inverse = np.linalg.inv(self.covariance + _LEAST * np.eye(2))
        kernel = np.exp(-0.5 * np.einsum("...i,ij,...j", at, inverse, at))
        return np.asarray(kernel / kernel.sum())


@dataclass(frozen=True)
class Candidates:
    """All that is taken into account. The first hypothesis is bicubic, the others are `blurs`.

    Attributes
    ----------
    blurs
        The Gaussians.
    kernels
        (hypotheses, side, side): all of them as kernels for `SCALE`.
    covariances
        (hypotheses, 2, 2) in square pixels of the large image; that of bicubic is of the Gaussian with edges as steep.
    """

    blurs: list[Gaussian]
    kernels: Floats
    covariances: Floats

    @property
    def sides(self) -> tuple[int, int]:
        """Return the sides of `kernels`."""
        return self.kernels.shape[1], self.kernels.shape[2]

    @cached_property
    def _seen(self) -> tuple[Floats, Floats]:
        """Return the power of photos (waves,) and the blurs (hypotheses, waves) where a network restores."""
        power, used = _photos_power()
        return power, transfer(self.kernels, *_FREQUENCIES)[:, used]

    def costs(self, kernels: Floats) -> Floats:
        """Return the loss in dB when `kernels` (n, side, side) are assumed, for each hypothesis: (n, hypotheses).

        Up to the highest frequency of the photo, what a network adds undoes the assumed blur like a Wiener filter;
        where that is not the blur that was, the photo's own spectrum is left with the wrong strength. The constants
        were fitted to 908 enlargements of pieces of Set14 with right and wrong kernels (correlation .88).
        """
        power, true = self._seen
        assumed = transfer(kernels, *_FREQUENCIES)[:, _photos_power()[1]]
        weights = power * (assumed / (assumed**2 + _REGULARISED)) ** 2
        wrong = weights @ (true**2).T - 2 * (weights * assumed) @ true.T + (weights * assumed**2).sum(1)[:, None]
        return np.asarray(10 * np.log10(1 + _COST * np.maximum(wrong, 0)))

    @cached_property
    def own_costs(self) -> Floats:
        """Return `costs` of the hypotheses themselves: (assumed, true)."""
        return self.costs(self.kernels)


_FREQUENCIES: tuple[Floats, Floats] = np.fft.fftfreq(2 * _WAVES), np.fft.rfftfreq(2 * _WAVES)  # type: ignore[assignment]


@cache
def _photos_power() -> tuple[Floats, NDArray[np.bool_]]:
    """Return the usual power of photos at the frequencies that are restored, summing to one, and where these are."""
    radius = np.hypot(_FREQUENCIES[0][:, None], _FREQUENCIES[1])
    used = (radius > 0) & (radius < _RESTORED)
    power = np.maximum(radius, 1 / 64, where=used, out=np.ones_like(radius)) ** _FALL
    power[:, 1:-1] *= 2  # for the half of the plane that is not computed
    return power[used] / power[used].sum(), used


def transfer(kernels: Floats, down: Floats, right: Floats) -> Floats:
    """Return the transfer functions (n, len(down), len(right)) of point-symmetric kernels at these frequencies."""
    y, x = (np.arange(side) - (side - 1) / 2 for side in kernels.shape[-2:])
    return np.asarray(
        (np.exp(-2j * np.pi * np.outer(down, y)) @ kernels @ np.exp(-2j * np.pi * np.outer(x, right))).real
    )


@cache
def candidates() -> Candidates:
    """Return all hypotheses; they are made once."""
    blurs = []
    for k, along in enumerate(_WIDTHS):
        for across in _WIDTHS[: k + 1]:
            directions = 1 if along == across else 6 if along < _NEARLY_ROUND * across or k <= 1 else 12
            blurs += [Gaussian(along, across, math.pi * turn / directions) for turn in range(directions)]
    kernels = np.stack([_padded(bicubic_kernel())] + [blur.sampled((_SIDE, _SIDE)) for blur in blurs])
    covariances = np.stack([np.eye(2) * _BICUBIC] + [blur.covariance for blur in blurs])
    return Candidates(blurs, kernels, covariances)


def _padded(kernel: Floats) -> Floats:
    return np.pad(kernel, (_SIDE - len(kernel)) // 2)


def bicubic_kernel(scale: tuple[float, float] = (SCALE, SCALE)) -> Floats:
    """Return MATLAB's anti-aliased bicubic for `scale` (vertical, horizontal) as a kernel."""
    sides = [_even_or_odd(2 * s, s) for s in scale]
    rows, columns = (cubic(np.asarray((np.arange(n) - (n - 1) / 2) / s)) for n, s in zip(sides, scale, strict=True))
    kernel = np.outer(rows, columns)
    return np.asarray(kernel / kernel.sum())


def _even_or_odd(reach: float, scale: float) -> int:
    """Return a kernel's side such that its middle lies where samples do, at the center of a block of pixels."""
    return 2 * math.ceil(reach) + round(scale) % 2
