"""The candidates of a kernel estimate: bicubic, and 992 Gaussians of all widths and directions."""

import math
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from zssr.degradation.kernel_shapes import sample_gaussians
from zssr.degradation.resize import Floats
from zssr.estimation.kernel_loss import KernelLoss
from zssr.estimation.parametric_kernels import Gaussian, bicubic_kernel

_SIDE = 24  # of the kernels


@dataclass(frozen=True)
class Candidates:
    """All kernels that an estimate chooses from. The first is bicubic, the others are `blurs`.

    Attributes
    ----------
    blurs
        The Gaussians.
    kernels
        (candidates, side, side): all of them as kernels for `SCALE`.
    covariances
        (candidates, 2, 2) in square pixels of the large image; that of bicubic is of the Gaussian with edges as sharp.
    """

    blurs: list[Gaussian]
    kernels: Floats
    covariances: Floats

    def losses(self, blur: Gaussian | None) -> Floats:
        """Return the loss in dB of assuming `blur` (None is bicubic) if each candidate is the truth: (candidates,)."""
        if blur is None:
            return np.asarray(self.mutual_losses[0])
        loss, true = self._loss
        return np.asarray(loss.decibels(loss.responses(blur.sample((_SIDE, _SIDE))[None]), true)[0])

    @cached_property
    def mutual_losses(self) -> Floats:
        """Return the loss in dB of assuming each candidate: (assumed, true)."""
        loss, responses = self._loss
        return loss.decibels(responses, responses)

    @cached_property
    def _loss(self) -> tuple[KernelLoss, Floats]:
        loss = KernelLoss()
        return loss, loss.responses(self.kernels)


@cache
def make_candidates() -> Candidates:
    """Make all candidates, once."""
    sigmas = (0.2, 0.45, 0.65, 0.8, 0.95, 1.1, 1.25, 1.4, 1.55, 1.75, 1.95, 2.2, 2.5, 2.8)  # pixels of the large image
    blurs = []
    for k, along in enumerate(sigmas):
        for across in sigmas[: k + 1]:
            directions = 1 if along == across else 6 if along < 1.3 * across or k <= 1 else 12
            blurs += [Gaussian(along, across, math.pi * turn / directions) for turn in range(directions)]
    bicubic = bicubic_kernel()
    bicubic = np.pad(bicubic, (_SIDE - len(bicubic)) // 2)
    covariances = np.stack([blur.covariance for blur in blurs])
    kernels = np.concatenate([bicubic[None], sample_gaussians(covariances, (_SIDE, _SIDE))])
    return Candidates(blurs, kernels, np.concatenate([0.2 * np.eye(2)[None], covariances]))
