"""The candidates of a kernel estimate: resamplers, 959 Gaussians of all widths and directions, and other blurs.

A photo was made by one of them. What is assumed is one of them, too, or the mean of two resamplers.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from zssr.degradation.kernel_shapes import sample_gaussians
from zssr.degradation.resamplers import BICUBIC, Resampler
from zssr.degradation.resize import Floats
from zssr.estimation.kernel_loss import KernelLoss
from zssr.estimation.parametric_kernels import SCALE, Disc, Gaussian, LensBlur, Line, ParametricKernel, Sharpening
from zssr.estimation.resampler_facts import MEANS, PROBABILITIES, interpolate_gains, interpolate_losses

Blur = ParametricKernel | Resampler

SIGMAS = (0.2, 0.45, 0.65, 0.8, 0.95, 1.1, 1.25, 1.4, 1.55, 1.75, 1.95, 2.2, 2.5, 2.8)
"""Standard deviations of the Gaussians along their axes, in pixels of the large image."""

RADII = tuple(1.5 + 0.125 * step for step in range(15))
"""Radii of the discs, in pixels of the large image."""

_LENGTHS = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)  # of the lines, in pixels of the large image
_LENS_BLURS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # before bicubic; wider ones are as good as Gaussians
_AMOUNTS = (0.4, 0.8, 1.4)  # of unsharp masks
_MASK_RADII = (0.5, 0.75, 1.0, 1.5, 2.0)  # pixels of the photo
_SIDE = 24  # of the kernels
_NARROWEST = 0.75  # pixels, of the larger standard deviation: what is sharper is as good as box or Hamming


@dataclass(frozen=True)
class Candidates:
    """All kernels that an estimate chooses from: the resamplers, bicubic first, then blurs of all shapes.

    Attributes
    ----------
    resamplers, blurs
        The candidates.
    means
        Means of two resamplers, which may be assumed where the photo does not show which of them it was.
    kernels
        (candidates, side, side): all candidates as kernels for `SCALE`.
    """

    resamplers: tuple[Resampler, ...]
    blurs: list[ParametricKernel]
    means: tuple[Resampler, ...]
    kernels: NDArray[np.float32]

    @cached_property
    def assumable(self) -> tuple[Blur, ...]:
        """Return all that may be assumed: the candidates, and the means."""
        return *self.resamplers, *self.blurs, *self.means

    @cached_property
    def variances(self) -> Floats:
        """Return the variances (blurs, 2) of the blurs along (row, column), in square pixels of the large image."""
        return np.array([np.diag(blur.covariance) for blur in self.blurs])

    def losses(self, blur: Blur, scale: float = SCALE) -> Floats:
        """Return the loss in dB of assuming `blur` at a scale if each candidate is the truth: (candidates,)."""
        if isinstance(blur, Resampler):
            measured = interpolate_losses(scale)[(*self.resamplers, *self.means).index(blur)]
            return np.concatenate([measured, self._modeled_losses[self.assumable.index(blur), len(measured) :]])
        return np.asarray(self.blur_losses([blur])[0])

    def blur_losses(self, blurs: Sequence[ParametricKernel]) -> Floats:
        """Return the losses in dB of assuming blurs, candidates or not: (blurs, candidates)."""
        loss, true = self._loss
        return loss.decibels(loss.responses(_sample_blurs(blurs)), true)

    def mutual_losses(self, scale: float = SCALE) -> Floats:
        """Return the loss in dB of what is `assumable`: (assumed, true); of resamplers it is measured."""
        losses, measured = self._modeled_losses.copy(), interpolate_losses(scale)
        count, end, aliased = len(self.resamplers), len(self.kernels), self.is_aliased[: len(self.resamplers)]
        nearest = np.where(aliased, np.inf, losses[count:end, :count]).argmin(1)  # resampler of each blur
        losses[:count, :count], losses[end:, :count] = measured[:count], measured[count:]
        # a blur costs what the nearest resampler does, of which the model of the loss knows too little
        losses[count:end, :count] = np.maximum(losses[count:end, :count] * ~aliased, measured[nearest])
        return losses

    def risks(self, scale: float = SCALE) -> Floats:
        """Return the mutual losses (assumed, true), of which what is worse than bicubic enlargement counts more.

        At x2 it counts twice, at x4 five times, where little is gained and much is lost by a wrong resampler.
        """
        losses, gains = self.mutual_losses(scale), interpolate_gains(scale)
        gains = np.r_[gains, losses[0, len(gains) :] + gains[0]]  # a blur is left as it is by bicubic, too
        return np.asarray(losses + (scale / SCALE) ** 2 * np.maximum(losses - gains, 0))

    @cached_property
    def is_aliased(self) -> NDArray[np.bool_]:
        """Which candidates are not anti-aliased: (candidates,)."""
        named = [one.name in ("cubic", "lanczos4", "nearest") for one in self.resamplers]
        return np.array(named + [False] * len(self.blurs))

    def log_prior(self, shares: Mapping[type[ParametricKernel], float], is_compressed: bool = False) -> Floats:
        """Return the logarithms of the prior probabilities (candidates,): of all kernels of a shape its share.

        Of photos that are compressed all but bicubic and Gaussians have next to none.
        """
        named, blurs = self._plausibility(is_compressed)
        named = named * [PROBABILITIES[one.name] for one in self.resamplers]
        counts = Counter(type(blur) for blur in self.blurs)
        each = blurs * [shares[type(blur)] / counts[type(blur)] for blur in self.blurs]
        return np.asarray(np.log(np.r_[named / named.sum() * (1 - each.sum()), each]))

    def even_prior(self, is_compressed: bool = False) -> Floats:
        """Return the same for resamplers that are all as frequent, also after a lens blur, and all other blurs.

        Half of all are resamplers.
        """
        named, blurs = self._plausibility(is_compressed)
        is_named = np.r_[named > 0, [isinstance(blur, LensBlur) for blur in self.blurs]]
        even = np.r_[named, blurs]
        return np.asarray(np.log(even / 2 / np.where(is_named, even[is_named].sum(), even[~is_named].sum())))

    def _plausibility(self, is_compressed: bool) -> tuple[Floats, Floats]:
        """Return 1 for the resamplers, and for the blurs, that a photo shows, and next to none for the others."""
        kept = [one == BICUBIC for one in self.resamplers], [isinstance(blur, Gaussian) for blur in self.blurs]
        named, blurs = (np.where(part, 1.0, 1e-6 if is_compressed else 1.0) for part in kept)
        return named, blurs

    @cached_property
    def _modeled_losses(self) -> Floats:
        loss, true = self._loss
        means = np.stack([_center_kernel(one) for one in self.means])
        return loss.decibels(np.concatenate([true, loss.responses(means)]), true)

    @cached_property
    def _loss(self) -> tuple[KernelLoss, Floats]:
        loss = KernelLoss()
        return loss, loss.responses(self.kernels)


@cache
def make_candidates() -> Candidates:
    """Make all candidates, once."""
    blurs: list[ParametricKernel] = []
    for k, along in enumerate(SIGMAS):
        if along < _NARROWEST:
            continue
        for across in SIGMAS[: k + 1]:
            directions = 1 if along == across else 6 if along < 1.3 * across or k <= 1 else 12
            blurs += [Gaussian(along, across, math.pi * turn / directions) for turn in range(directions)]
    blurs += [Disc(radius) for radius in RADII]
    for length in _LENGTHS:
        directions = 12 if length < 6 else 24
        blurs += [Line(length, math.pi * turn / directions) for turn in range(directions)]
    blurs += [Sharpening(amount, radius) for radius in _MASK_RADII for amount in _AMOUNTS]
    blurs += [LensBlur(sigma) for sigma in _LENS_BLURS]
    resamplers = (BICUBIC, *(Resampler(name) for name in PROBABILITIES if name != BICUBIC.name))
    named = np.stack([_center_kernel(one) for one in resamplers]).astype(np.float32)
    means = tuple(Resampler(name) for name in MEANS)
    return Candidates(resamplers, blurs, means, np.concatenate([named, _sample_blurs(blurs)]))


@lru_cache(maxsize=1)
def measure_risks(scale: float) -> Floats:
    """Return the risks (assumed, true) of all that may be assumed at a scale; those of the last one are kept."""
    return make_candidates().risks(scale)


def _sample_blurs(blurs: Sequence[ParametricKernel]) -> NDArray[np.float32]:
    """Return blurs as kernels (blurs, side, side), without weights so small that processors take long for them."""
    kernels = np.zeros((len(blurs), _SIDE, _SIDE))
    which = [k for k, blur in enumerate(blurs) if isinstance(blur, Gaussian)]
    if which:
        kernels[which] = sample_gaussians(np.stack([blurs[k].covariance for k in which]), (_SIDE, _SIDE))
    for k in set(range(len(blurs))) - set(which):
        kernels[k] = _pad(blurs[k].to_kernel())
    return np.where(np.abs(kernels) > 1e-12, kernels, 0).astype(np.float32)


def _center_kernel(resampler: Resampler) -> Floats:
    """Return a kernel (side, side) around the center of a block; what takes single pixels is near "lanczos4"."""
    if resampler.name == "nearest":
        resampler = Resampler("lanczos4")
    return _pad(resampler.to_kernel((SCALE, SCALE)))


def _pad(kernel: Floats) -> Floats:
    """Pad a kernel to (side, side), or cut it."""
    margin = (_SIDE - len(kernel)) // 2
    return np.pad(kernel, margin) if margin >= 0 else kernel[-margin:margin, -margin:margin]
