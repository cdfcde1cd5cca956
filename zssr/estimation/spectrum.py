"""The first cue for a blur: how much power a photo has left at high frequencies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from zssr.degradation.resize import Floats
from zssr.estimation import scene_spectra
from zssr.estimation.candidates import make_candidates
from zssr.estimation.parametric_kernels import SCALE, Gaussian, transfer_functions
from zssr.estimation.periodogram import BLOCK, Mask, frequencies, is_used, measure_spectrum

_NOISE_POWERS = (0.0, *np.logspace(-4.5, 1, 23))  # relative to the photo's power at a quarter cycle per pixel
_NOISE_VARIANCE = 4 * scene_spectra.NOISE_VARIANCE  # the window makes 4 neighboring frequencies count as one


@dataclass(frozen=True)
class _ModelSpectra:
    """The logarithmic spectra of all candidates, less their means, and the precision matrix of scenes around them.

    Attributes
    ----------
    logs
        (candidates, noise powers, frequencies).
    norms
        Their squared Mahalanobis norms (candidates, noise powers).
    varying
        (frequencies, basis functions): `multiply_precision` takes these directions away.
    """

    logs: NDArray[np.float32]
    norms: Floats
    varying: Floats

    def multiply_precision(self, logs: Floats) -> Floats:
        """Multiply the precision matrix with logarithmic spectra (..., frequencies)."""
        return np.asarray((logs - logs @ self.varying @ self.varying.T) / _NOISE_VARIANCE)


def spectrum_log_likelihoods(measured: Floats, pixels: int) -> Floats:
    """Return the log-likelihood of each candidate, (candidates,), given the power spectrum of a photo of `pixels`.

    A scene's power falls with frequency. The blur multiplies it by |K(f)|^2, sampling folds it at the highest
    frequency, and noise is added. The logarithms of real scenes vary around that model in a way known from photos
    (`scene_spectra`), so the likelihood is Gaussian. It is flattened for small photos, and for those that no candidate
    explains.
    """
    distances = mahalanobis_distances(measured)
    smallness = math.sqrt(max(1.0, 128**2 / pixels))  # photos below 128 x 128 pixels are less sure
    distances /= max(smallness, distances.min() / 150)  # some candidate is usually closer than 150
    has_noise = np.array(_NOISE_POWERS) > 0  # at a price, in natural logarithms, of 1
    joint = -0.5 * distances - np.where(has_noise, 1.0, 0.0)
    return np.asarray(torch.logsumexp(torch.from_numpy(joint), 1))


def mahalanobis_distances(measured: Floats) -> Floats:
    """Return the squared Mahalanobis distances of a spectrum (frequencies,) from all models: (candidates, noises)."""
    models, logs = _model_spectra(), np.log(measured)
    logs -= logs.mean()
    weighted = models.multiply_precision(logs)
    return np.asarray(models.norms - 2 * (models.logs @ weighted.astype(np.float32)) + logs @ weighted)


def blur_distances(measured: Floats, kernels: Sequence[Floats]) -> Floats:
    """Return the squared Mahalanobis distances (kernels,) of a spectrum (frequencies,) from sharp images once blurred.

    A sharp image is one that bicubic made small. It was blurred by one of the point-symmetric `kernels` and not
    sampled after that; noise of the power that fits best was added.
    """
    models, logs, used = _model_spectra(), np.log(measured), is_used()
    rows, columns = (np.asarray(one, np.float64) for one in (np.fft.fftfreq(BLOCK), np.fft.rfftfreq(BLOCK)))
    sharp, distances = np.exp(models.logs[0, 0].astype(np.float64)), []
    for kernel in kernels:
        power = sharp * transfer_functions(kernel[None], rows, columns)[0, used] ** 2
        residuals = logs - np.log(power + np.outer((0.0, *np.logspace(-6, 1.5, 31)), np.ones_like(power)))
        residuals -= residuals.mean(1, keepdims=True)
        distances.append((residuals * models.multiply_precision(residuals)).sum(1).min())
    return np.array(distances)


def fitted_spectra(
    luma: Floats, blur: Gaussian | None, content: Mask | None = None
) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Return frequencies in cycles per pixel, and natural logarithms of power: measured, fitted by `blur`, by bicubic.

    The candidate nearest to `blur` is fitted. None for an image without contrast.
    """
    measured = measure_spectrum(luma, content)
    if measured is None:
        return None
    models, distances, logs = _model_spectra(), mahalanobis_distances(measured), np.log(measured)
    covariances = make_candidates().covariances[1:]
    nearest = 0 if blur is None else 1 + int(((covariances - blur.covariance) ** 2).sum((1, 2)).argmin())
    residuals = [logs - logs.mean() - models.logs[k, distances[k].argmin()] for k in (nearest, 0)]
    unexplained = [_NOISE_VARIANCE * models.multiply_precision(residual) for residual in residuals]
    return frequencies()[0], logs, logs - unexplained[0], logs - unexplained[1]


def deviation_from_bicubic(luma: Floats) -> Floats:
    """Return how the logarithmic spectrum of a photo that bicubic made small deviates from a power law (frequencies,).

    Raises `ValueError` for an image without contrast.
    """
    measured = measure_spectrum(luma)
    if measured is None:
        raise ValueError("luma: the image has no contrast")
    logs, bicubic = np.log(measured), _model_spectra().logs[0, 0]
    return np.asarray(logs - logs.mean() - bicubic + scene_spectra.mean_deviation(*frequencies()))


@cache
def _model_spectra() -> _ModelSpectra:
    """Compute the spectra of all candidates with all noise powers, once."""
    scene = _folded_spectra()
    radius, angle = frequencies()
    floor = scene[:, (radius > 0.2) & (radius < 0.3)].mean(1, keepdims=True)
    mean = scene_spectra.mean_deviation(radius, angle).astype(np.float32)
    varying = scene_spectra.varying_directions(radius, angle, _NOISE_VARIANCE)
    models = np.empty((len(scene), len(_NOISE_POWERS), len(radius)), np.float32)
    norms = np.empty(models.shape[:2])
    for k, noise in enumerate(_NOISE_POWERS):
        logs = np.log(scene + np.float32(noise) * floor)
        models[:, k] = logs = logs - logs.mean(-1, keepdims=True) + mean
        projected = logs @ varying.astype(np.float32)
        norms[:, k] = ((logs**2).sum(1, np.float64) - (projected**2).sum(1, np.float64)) / _NOISE_VARIANCE
    return _ModelSpectra(models, norms, varying)


def _folded_spectra() -> NDArray[np.float32]:
    """Return the power of a power-law scene behind each candidate, with all aliases: (candidates, frequencies)."""
    rows, columns = np.fft.fftfreq(BLOCK), np.fft.rfftfreq(BLOCK)
    kernels, used = make_candidates().kernels.astype(np.float32), is_used()
    aliases = []
    for down in (rows, rows - np.copysign(1, rows)):
        for right in (columns, columns - 1):
            power = transfer_functions(kernels, down / SCALE, right / SCALE)[:, used] ** 2
            radius = np.maximum(np.hypot(down[:, None], right)[used] / SCALE, 1e-3).astype(np.float32)
            aliases.append(power * radius**-scene_spectra.DECAY)
    return np.asarray(sum(aliases))
