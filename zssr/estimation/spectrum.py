"""The first cue for a blur: how much power a photo has left at high frequencies."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from zssr.degradation.resamplers import BICUBIC, Resampler
from zssr.degradation.resize import Floats
from zssr.estimation import scene_spectra
from zssr.estimation.candidates import Blur, make_candidates
from zssr.estimation.parametric_kernels import SCALE, transfer_functions
from zssr.estimation.periodogram import BLOCK, Mask, Spectrum, frequencies, is_used, measure_spectrum

_NOISE_POWERS = (1e-9, *np.logspace(-4.5, 1, 23))  # relative to the photo's power at a quarter cycle per pixel
_NOISES = (1e-9, *np.logspace(-6, 1.5, 40))  # relative to the mean power of a sharp image
_NOISE_VARIANCE = 4 * scene_spectra.NOISE_VARIANCE  # the window makes 4 neighboring frequencies count as one


@dataclass(frozen=True)
class _ModelSpectra:
    """The logarithmic spectra of candidates, less their means, and the precision matrix of scenes around them.

    Attributes
    ----------
    logs
        (noise powers, candidates, frequencies).
    norms
        Their squared Mahalanobis norms (noise powers, candidates).
    varying
        (frequencies, basis functions): `multiply_precision` takes these directions away.
    """

    logs: NDArray[np.float32]
    norms: NDArray[np.float32]
    varying: Floats

    @classmethod
    def of_scenes(cls, scenes: NDArray[np.float32]) -> "_ModelSpectra":
        """Add all noise powers to the power of scenes behind candidates (candidates, frequencies)."""
        radius, angle = frequencies()
        floors = scenes[:, _is_middle()].mean(1, keepdims=True)
        mean = scene_spectra.mean_deviation(radius, angle).astype(np.float32)
        varying = scene_spectra.varying_directions(radius, angle, _NOISE_VARIANCE)
        directions = varying.astype(np.float32)
        logs = np.empty((len(_NOISE_POWERS), *scenes.shape), np.float32)
        norms = np.empty(logs.shape[:2], np.float32)
        for noise, ones, norm in zip(_NOISE_POWERS, logs, norms, strict=True):  # all at once fit into no cache
            np.log(scenes + np.float32(noise) * floors, out=ones)
            ones += mean - ones.mean(1, keepdims=True)
            norm[:] = np.subtract(*(np.einsum("cf,cf->c", part, part) for part in (ones, ones @ directions)))
        return cls(logs, (norms / _NOISE_VARIANCE).astype(np.float32), varying)

    def multiply_precision(self, logs: Floats) -> Floats:
        """Multiply the precision matrix with logarithmic spectra (..., frequencies)."""
        return np.asarray((logs - logs @ self.varying @ self.varying.T) / _NOISE_VARIANCE)

    def distances(self, logs: Floats) -> Floats:
        """Return the squared Mahalanobis distances of a logarithmic spectrum of mean 0: (candidates, noise powers)."""
        weighted = self.multiply_precision(logs)
        return np.asarray((self.norms - 2 * (self.logs @ weighted.astype(np.float32))).T + logs @ weighted)


def spectrum_log_likelihoods(
    measured: Spectrum, pixels: int, scale: float = SCALE, most_noise: float = math.inf
) -> Floats:
    """Return the log-likelihood of each candidate, (candidates,), given the spectrum of a photo of `pixels`.

    A scene's power falls with frequency. The blur multiplies it by |K(f)|^2, sampling folds it at the highest
    frequency, and noise is added. The logarithms of real scenes vary around that model in a way known from photos
    (`scene_spectra`), so the likelihood is Gaussian. It is flattened for small photos, and for those that no candidate
    explains. Aliasing looks like noise in a spectrum, so noise beyond a standard deviation of `most_noise`, in [0, 1],
    is unlikely.
    """
    distances = mahalanobis_distances(measured.power, scale)
    powers = np.array(_NOISE_POWERS)
    most = 2 * most_noise**2 * measured.white / measured.power[_is_middle()].mean()
    excess = np.maximum(0, np.log(powers) - np.log(most))
    smallness = math.sqrt(max(1.0, 128**2 / pixels))  # photos below 128 x 128 pixels are less sure
    distances /= max(smallness, distances[:, excess < 0.5].min() / 150)  # some candidate is usually closer than 150
    joint = -0.5 * distances - np.where(powers > powers[0], 1.0, 0.0) - 0.5 * (excess / 0.3) ** 2
    return np.asarray(torch.logsumexp(torch.from_numpy(joint), 1))


def mahalanobis_distances(power: Floats, scale: float = SCALE) -> Floats:
    """Return the squared Mahalanobis distances of a spectrum (frequencies,) from all models: (candidates, noises)."""
    logs = np.log(power)
    logs -= logs.mean()
    return np.concatenate([models.distances(logs) for models in (_resampled_scenes(scale), _blurred_scenes())])


def blur_distances(power: Floats, kernels: Sequence[Floats]) -> Floats:
    """Return the squared Mahalanobis distances (kernels,) of a spectrum (frequencies,) from sharp images once blurred.

    A sharp image is one that bicubic made small. It was blurred by one of the point-symmetric `kernels` and not
    sampled after that; noise of the power that fits best was added.
    """
    models, logs, (radius, angle) = _resampled_scenes(SCALE), np.log(power), frequencies()
    down, right = radius * np.sin(angle), radius * np.cos(angle)
    sharp, distances = np.exp(models.logs[0, 0].astype(np.float64)), []
    for kernel in kernels:
        blurred = sharp * transfer_functions(kernel[None], down, right)[0] ** 2
        residuals = logs - np.log(blurred + np.array(_NOISES)[:, None])
        residuals -= residuals.mean(1, keepdims=True)
        distances.append((residuals * models.multiply_precision(residuals)).sum(1).min())
    return np.array(distances)


def fitted_spectra(
    luma: Floats, blur: Blur, scale: float, content: Mask | None = None
) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Return frequencies in cycles per pixel, and natural logarithms of power: measured, fitted by `blur`, by bicubic.

    The candidate nearest to `blur` is fitted. None for an image without contrast.
    """
    measured = measure_spectrum(luma, content)
    if measured is None:
        return None
    logs = np.log(measured.power)
    fits = [_fit(logs - logs.mean(), one, scale) + logs.mean() for one in (blur, BICUBIC)]
    return frequencies()[0], logs, fits[0], fits[1]


def _fit(logs: Floats, blur: Blur, scale: float) -> Floats:
    """Fit the scene and the noise behind `blur` to a logarithmic spectrum of mean 0."""
    candidates = make_candidates()
    if isinstance(blur, Resampler):
        named, models = Resampler(blur.name), _resampled_scenes(scale)
        losses = candidates.losses(named, scale)[: len(candidates.resamplers)]
        k = int(losses.argmin()) if named in candidates.means else candidates.resamplers.index(named)
    else:
        same = [k for k, one in enumerate(candidates.blurs) if type(one) is type(blur)]
        differences = [((candidates.blurs[k].covariance - blur.covariance) ** 2).sum() for k in same]
        models, k = _blurred_scenes(), same[int(np.argmin(differences))]
    residual = logs - models.logs[models.distances(logs)[k].argmin(), k]
    return np.asarray(logs - _NOISE_VARIANCE * models.multiply_precision(residual))


def deviation_from_bicubic(luma: Floats) -> Floats:
    """Return how the logarithmic spectrum of a photo that bicubic made small deviates from a power law (frequencies,).

    Raises `ValueError` for an image without contrast.
    """
    measured = measure_spectrum(luma)
    if measured is None:
        raise ValueError("luma: the image has no contrast")
    logs, bicubic = np.log(measured.power), _resampled_scenes(SCALE).logs[0, 0]
    return np.asarray(logs - logs.mean() - bicubic + scene_spectra.mean_deviation(*frequencies()))


def _is_middle() -> Mask:
    """Return which frequencies are near a quarter cycle per pixel; noise is measured by the power there."""
    radius = frequencies()[0]
    return np.asarray((radius > 0.2) & (radius < 0.3))


@cache
def _blurred_scenes() -> _ModelSpectra:
    """Return the spectra of a power-law scene behind each blur, once."""
    kernels = make_candidates().kernels[len(make_candidates().resamplers) :]
    scenes = _fold(lambda down, right: transfer_functions(kernels, down[:, None], right) ** 2, SCALE)
    return _ModelSpectra.of_scenes(scenes)


@lru_cache(maxsize=8)
def _resampled_scenes(scale: float) -> _ModelSpectra:
    """Return the spectra of a power-law scene behind each resampler; those that are not anti-aliased vary by scale."""
    resamplers = make_candidates().resamplers

    def power(down: Floats, right: Floats) -> NDArray[np.float32]:
        pairs = ((one.mean_power(scale, down), one.mean_power(scale, right)) for one in resamplers)
        return np.stack([np.outer(*pair) for pair in pairs]).astype(np.float32)

    return _ModelSpectra.of_scenes(_fold(power, scale))


def _fold(power: Callable[[Floats, Floats], NDArray[np.float32]], scale: float) -> NDArray[np.float32]:
    """Return the power of a power-law scene after downsampling, with all aliases: (candidates, frequencies).

    `power` gives the share of it (candidates, rows, columns) that is left at frequencies (rows,) and (columns,) of the
    large image.
    """
    grid = np.fft.fftfreq(BLOCK), np.fft.rfftfreq(BLOCK)
    (down, rows), (right, columns) = (_find_aliases(np.asarray(one, np.float64), scale) for one in grid)
    scene = np.maximum(np.hypot(down[:, None], right), 1e-3) ** -scene_spectra.DECAY
    folded = rows @ (power(down, right) * scene.astype(np.float32)) @ columns.T
    return np.asarray(folded[:, is_used()])


def _find_aliases(sampled: Floats, scale: float) -> tuple[Floats, NDArray[np.float32]]:
    """Return the frequencies of the large image (n,) that become one of those `sampled` (m,), and their shares (m, n).

    Both are in cycles per pixel, of the large and the small image.
    """
    aliases = (sampled[:, None] + np.arange(-math.ceil(scale / 2), math.ceil(scale / 2) + 1)) / scale
    shares = np.clip((0.5 - np.abs(aliases)) * 1e6 + 0.5, 0, 1)  # half at 0.5
    inside = shares > 0
    becomes = np.arange(len(sampled))[:, None] == np.nonzero(inside)[0]
    return aliases[inside], (becomes * shares[inside]).astype(np.float32)
