"""The candidates of a kernel estimate: resamplers, and 959 Gaussians of all widths and directions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from zssr.degradation.kernel_shapes import sample_gaussians
from zssr.degradation.resamplers import BICUBIC, Resampler
from zssr.degradation.resize import Floats
from zssr.estimation.kernel_loss import KernelLoss
from zssr.estimation.parametric_kernels import SCALE, Gaussian
from zssr.estimation.resampler_facts import PROBABILITIES, measured_gains, measured_losses

Blur = Gaussian | Resampler

SIGMAS = (0.2, 0.45, 0.65, 0.8, 0.95, 1.1, 1.25, 1.4, 1.55, 1.75, 1.95, 2.2, 2.5, 2.8)
"""Standard deviations of the Gaussians along their axes, in pixels of the large image."""

_SIDE = 24  # of the kernels
_NARROWEST = 0.75  # pixels, of the larger standard deviation: what is sharper is as good as box or Hamming


@dataclass(frozen=True)
class Candidates:
    """All kernels that an estimate chooses from: the resamplers, bicubic first, then the Gaussians.

    Attributes
    ----------
    resamplers, gaussians
        The candidates.
    kernels
        (candidates, side, side): all of them as kernels for `SCALE`.
    covariances
        (gaussians, 2, 2) in square pixels of the large image.
    """

    resamplers: tuple[Resampler, ...]
    gaussians: list[Gaussian]
    kernels: Floats
    covariances: Floats

    def losses(self, blur: Blur) -> Floats:
        """Return the loss in dB of assuming `blur` if each candidate is the truth: (candidates,)."""
        if isinstance(blur, Resampler):
            return np.asarray(self.mutual_losses[self.resamplers.index(blur)])
        return np.asarray(self.gaussian_losses([blur])[0])

    def gaussian_losses(self, blurs: Sequence[Gaussian]) -> Floats:
        """Return the losses in dB of assuming Gaussians, candidates or not: (blurs, candidates)."""
        loss, true = self._loss
        kernels = sample_gaussians(np.stack([blur.covariance for blur in blurs]), (_SIDE, _SIDE))
        return loss.decibels(loss.responses(kernels), true)

    @cached_property
    def mutual_losses(self) -> Floats:
        """Return the loss in dB of assuming each candidate: (assumed, true); of resamplers it is measured."""
        loss, responses = self._loss
        losses = loss.decibels(responses, responses)
        count, aliased = len(self.resamplers), self.is_aliased[: len(self.resamplers)]
        nearest = np.where(aliased, np.inf, losses[count:, :count]).argmin(1)  # resampler of each Gaussian
        losses[:count, :count] = measured_losses()
        # a Gaussian costs what the nearest resampler does, of which the model of the loss knows too little
        losses[count:, :count] = np.maximum(losses[count:, :count] * ~aliased, measured_losses()[nearest])
        return losses

    @cached_property
    def risks(self) -> Floats:
        """Return the mutual losses (assumed, true), of which what is worse than bicubic enlargement counts twice."""
        losses, gains = self.mutual_losses, measured_gains()
        gains = np.r_[gains, losses[0, len(gains) :] + gains[0]]  # a blur is left as it is by bicubic, too
        return np.asarray(losses + np.maximum(losses - gains, 0))

    @cached_property
    def is_aliased(self) -> NDArray[np.bool_]:
        """Which candidates are not anti-aliased: (candidates,)."""
        named = [one.name in ("cubic", "lanczos4", "nearest") for one in self.resamplers]
        return np.array(named + [False] * len(self.gaussians))

    def log_prior(self, share: float, only_bicubic: bool = False) -> Floats:
        """Return the logarithms of the prior probabilities (candidates,), of which the Gaussians have a `share`.

        If `only_bicubic`, the other resamplers have next to none.
        """
        named = np.array([PROBABILITIES[one.name] for one in self.resamplers])
        named[1:] *= 1e-6 if only_bicubic else 1
        count = len(self.gaussians)
        return np.asarray(np.log(np.r_[named / named.sum() * (1 - share), np.full(count, share / count)]))

    def even_prior(self, only_bicubic: bool = False) -> Floats:
        """Return the same for resamplers that are all as frequent, together as frequent as the Gaussians."""
        named, count = np.ones(len(self.resamplers)), len(self.gaussians)
        named[1:] *= 1e-6 if only_bicubic else 1
        return np.asarray(np.log(np.r_[named / named.sum(), np.full(count, 1 / count)] / 2))

    @cached_property
    def _loss(self) -> tuple[KernelLoss, Floats]:
        loss = KernelLoss()
        return loss, loss.responses(self.kernels)


@cache
def make_candidates() -> Candidates:
    """Make all candidates, once."""
    gaussians = []
    for k, along in enumerate(SIGMAS):
        if along < _NARROWEST:
            continue
        for across in SIGMAS[: k + 1]:
            directions = 1 if along == across else 6 if along < 1.3 * across or k <= 1 else 12
            gaussians += [Gaussian(along, across, math.pi * turn / directions) for turn in range(directions)]
    resamplers = (BICUBIC, *(Resampler(name) for name in PROBABILITIES if name != BICUBIC.name))
    covariances = np.stack([blur.covariance for blur in gaussians])
    named = np.stack([_center_kernel(one) for one in resamplers])
    kernels = np.concatenate([named, sample_gaussians(covariances, (_SIDE, _SIDE))])
    return Candidates(resamplers, gaussians, kernels, covariances)


def _center_kernel(resampler: Resampler) -> Floats:
    """Return a kernel (side, side) around the center of a block; what takes single pixels is near "lanczos4"."""
    if resampler.name == "nearest":
        resampler = Resampler("lanczos4")
    kernel = resampler.to_kernel((SCALE, SCALE))
    return np.pad(kernel, (_SIDE - len(kernel)) // 2)
