"""The loss in dB of upscaling a photo with a wrong blur kernel."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zssr.degradation.resize import Floats
from zssr.estimation.parametric_kernels import FloatT, transfer_functions

_DOWN, _RIGHT = np.broadcast_arrays(np.fft.fftfreq(48)[:, None], np.fft.rfftfreq(48))  # cycles per pixel


@dataclass(frozen=True)
class KernelLoss:
    """A model of the loss: what a network adds to a photo undoes the assumed blur like a Wiener filter.

    Where that is not the true blur, frequencies up to `cutoff` are left with the wrong strength. The numbers were
    fitted to 908 upscaled crops of Set14 with right and wrong kernels (correlation .88).
    `python -m benchmarks constants --what costs` fits them to new ones; see benchmarks/README.md.

    Attributes
    ----------
    cutoff
        In cycles per pixel of the large image: frequencies below are restored. The photo ends at .25.
    decay
        Exponent of the power of photos over frequency.
    regularization
        Of the Wiener filter.
    gain
        Turns the error's share of the photo's power into that of the upscaled image's error.
    """

    cutoff: float = 0.26
    decay: float = -1.93
    regularization: float = 0.012
    gain: float = 15.7

    def responses(self, kernels: NDArray[FloatT]) -> Floats:
        """Return the transfer functions of `kernels` (n, side, side) at the restored frequencies: (n, frequencies)."""
        used = self._band[0]
        return transfer_functions(kernels, _DOWN[used], _RIGHT[used]).astype(np.float64)

    def decibels(self, assumed: Floats, true: Floats) -> Floats:
        """Return the loss for `responses` assumed (n, frequencies) and true (m, frequencies): (n, m), 0 or more."""
        return np.asarray(10 * np.log10(1 + self.gain * np.maximum(self.errors(assumed, true), 0)))

    def errors(self, assumed: Floats, true: Floats) -> Floats:
        """Return the error's share of the photo's power, for the same arguments: (n, m)."""
        weights = self._band[1] * (assumed / (assumed**2 + self.regularization)) ** 2
        return np.asarray(
            weights @ (true**2).T - 2 * (weights * assumed) @ true.T + (weights * assumed**2).sum(1)[:, None]
        )

    @cached_property
    def _band(self) -> tuple[NDArray[np.bool_], Floats]:
        """Return where the restored frequencies lie, and the mean power of photos there, which sums to one."""
        radius = np.hypot(_DOWN, _RIGHT)
        used = (radius > 0) & (radius < self.cutoff)
        power = np.maximum(radius, 1 / 64, where=used, out=np.ones_like(radius)) ** self.decay
        power[:, 1:-1] *= 2  # for the half of the plane that is not computed
        return used, power[used] / power[used].sum()
