"""The first witness: what is left of the power of photos at high frequencies."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import logsumexp

from zssr.degradation.resize import Floats
from zssr.estimation import scene_spectra as scenes
from zssr.estimation.candidates import SCALE, Gaussian, candidates, transfer

BLOCK = 32
"""Side in pixels of the blocks whose periodograms are averaged."""

SMALLEST = 48
"""Shortest side in pixels of a photo that can be judged."""

_STEP = 6
_MOST_BLOCKS = 2500
_LIVELY = 0.9  # the share of the blocks, by variance, that is looked at
_TRIMMED = 0.2  # of the values at each frequency, on each side
_LEAST_VARIANCE = 1e-5

_FINE, _COARSE = 0.4, 0.12  # cycles per pixel
_WHITE = 0.3  # of the coarse power in the fine; up to .03 in photos without noise

_NOISE = (0.0, *np.logspace(-4.5, 1, 23))  # power, relative to the photo's at a quarter cycle
_NOISY = 1.0  # of likelihood, in natural logarithms, that noise has to make up for
_ALIKE = 4  # neighboring frequencies that count as one, because of the window
_USUAL_MISFIT = 150.0  # that some hypothesis is better than; what explains a photo worse is believed less
_USUAL_SIDE = 128  # pixels: smaller photos are less sure


@dataclass(frozen=True)
class _Models:
    """Logarithmic spectra of all hypotheses, in which the strays of scenes are white; see `_models`.

    Attributes
    ----------
    whitened
        (hypotheses, noises, frequencies): `whitening` times the logarithms.
    used, radius, angle
        Which frequencies of a block are looked at, and where they lie, in cycles per pixel and radians.
    """

    whitened: NDArray[np.float32]
    whitening: Floats
    used: NDArray[np.bool_]
    radius: Floats
    angle: Floats


def rejection_reason(luma: Floats) -> str:
    """Say why the spectrum of `luma` (H, W) tells nothing of a blur; nothing if it may."""
    measured = measured_spectrum(luma)
    if measured is None:
        return "the image is flat"
    radius = _models().radius
    fine, coarse = measured[radius > _FINE].mean(), measured[radius < _COARSE].mean()
    return "the image is mostly noise" if fine > _WHITE * coarse else ""


def spectrum_log_likelihoods(luma: Floats) -> Floats | None:
    """Return the logarithms of how well each hypothesis explains the spectrum of `luma` (H, W) in [0, 1].

    A photo's power falls with frequency; the blur takes |K(f)|^2 of it, sampling folds what lies above the highest
    frequency back, and noise is added. From that model's logarithm scenes stray in ways that are known from photos
    (`scenes`), so what is left tells a blur from a scene: a Gaussian likelihood, the less sure the smaller the photo is
    and the less any hypothesis explains it. None for an image in which too little happens.
    """
    measured = measured_spectrum(luma)
    if measured is None:
        return None
    misfits = _misfits(measured)
    smallness = math.sqrt(max(1.0, _USUAL_SIDE**2 / luma.size))
    misfits /= max(smallness, misfits.min() / _USUAL_MISFIT)
    return np.asarray(logsumexp(-0.5 * misfits - np.where(np.array(_NOISE) > 0, _NOISY, 0.0), axis=1))


def fitted_spectra(luma: Floats, blur: Gaussian | None) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Return frequencies in cycles per pixel, and logarithms of the power: measured, fitted with `blur`, with bicubic.

    With the nearest of the hypotheses to `blur`, that is. None for an image in which too little happens.
    """
    measured = measured_spectrum(luma)
    if measured is None:
        return None
    models, misfits, logs = _models(), _misfits(measured), np.log(measured)
    covariances = candidates().covariances[1:]
    near = 0 if blur is None else 1 + int(((covariances - blur.covariance) ** 2).sum((1, 2)).argmin())
    white = models.whitening @ (logs - logs.mean())
    left = [white - models.whitened[k, misfits[k].argmin()] for k in (near, 0)]
    rest = [_ALIKE * scenes.REST * models.whitening.T @ one for one in left]  # what no stray of a scene explains
    return models.radius, logs, logs - rest[0], logs - rest[1]


def frequencies() -> tuple[Floats, Floats]:
    """Return the radius, in cycles per pixel, and the angle of the frequencies of a spectrum, (frequencies,) each."""
    return _models().radius, _models().angle


def beside_bicubic(luma: Floats) -> Floats:
    """Return how the logarithmic spectrum of a photo made small by bicubic strays from a mere fall (frequencies,).

    Raises `ValueError` for an image in which too little happens.
    """
    measured = measured_spectrum(luma)
    if measured is None:
        raise ValueError("luma: too little happens in the image")
    logs, models = np.log(measured), _models()
    bicubic = np.linalg.solve(models.whitening, models.whitened[0, 0])
    return np.asarray(logs - logs.mean() - bicubic + scenes.usual(models.radius, models.angle))


def _misfits(measured: Floats) -> Floats:
    """Return how badly each hypothesis with each noise explains a spectrum: squared Mahalanobis distances."""
    models = _models()
    logs = np.log(measured)
    white = (models.whitening @ (logs - logs.mean())).astype(np.float32)
    left = models.whitened - white
    return np.asarray(np.square(left, out=left).sum(-1), np.float64)


def measured_spectrum(luma: Floats) -> Floats | None:
    """Return the mean power (frequencies,) of the livelier blocks of `luma` (H, W), without outliers."""
    step = max(_STEP, int((luma.size / _MOST_BLOCKS) ** 0.5))
    blocks = _detrended(sliding_window_view(luma, (BLOCK, BLOCK))[::step, ::step].reshape(-1, BLOCK, BLOCK))
    variances = blocks.var((1, 2))
    lively = np.argsort(variances)[int((1 - _LIVELY) * len(blocks)) :]
    lively = lively[variances[lively] > _LEAST_VARIANCE]
    if len(lively) == 0:
        return None
    window = np.outer(*(np.hanning(BLOCK + 2)[1:-1],) * 2)
    blocks, variances = blocks[lively], variances[lively]
    blocks = (blocks - (blocks * window).sum((1, 2), keepdims=True) / window.sum()) * window
    power = np.abs(np.fft.rfft2(blocks))[:, _models().used] ** 2 / (variances[:, None] + _LEAST_VARIANCE)
    cut = int(_TRIMMED * len(power))
    return np.asarray(np.sort(power, axis=0)[cut : len(power) - cut].mean(0) + 1e-12)


def _detrended(blocks: Floats) -> Floats:
    """Take a plane from each block: what is left of a smooth slope says nothing about sharpness."""
    at = np.arange(BLOCK) - (BLOCK - 1) / 2
    slopes = [blocks.mean(axis) @ at / (at @ at) for axis in (2, 1)]
    planes = slopes[0][:, None, None] * at[:, None] + slopes[1][:, None, None] * at
    return np.asarray(blocks - blocks.mean((1, 2), keepdims=True) - planes)


@cache
def _models() -> _Models:
    """Compute the spectra of all hypotheses for all noises, and what makes the strays of scenes white, once."""
    down, right = np.fft.fftfreq(BLOCK), np.fft.rfftfreq(BLOCK)
    y, x = np.broadcast_arrays(down[:, None], right)
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    used = (radius > 1.5 / BLOCK) & ~((x == 0) & (y < 0))
    kernels = candidates().kernels
    folded = []  # for each alias the blurs' power (hypotheses, frequencies) and the frequency's radius
    for rows in (down, down - np.copysign(1, down)):
        for columns in (right, right - 1):
            power = transfer(kernels, rows / SCALE, columns / SCALE)[:, used] ** 2
            at = np.hypot(rows[:, None], columns)[used] / SCALE
            folded.append((power.astype(np.float32), np.maximum(at, 1e-3).astype(np.float32)))
    radius, angle = radius[used], angle[used]
    ring = (radius > 0.2) & (radius < 0.3)
    scene = np.asarray(sum(power * at**-scenes.FALL for power, at in folded))
    floor = scene[:, ring].mean(1, keepdims=True)
    usual = scenes.usual(radius, angle)
    precision = np.linalg.inv(scenes.covariance(radius, angle, _ALIKE * scenes.REST))
    whitening = np.linalg.cholesky(precision).T

    def whitened(noise: float) -> NDArray[np.float32]:
        logs = np.log(scene + noise * floor)
        centered = (logs - logs.mean(-1, keepdims=True) + usual).astype(np.float32)
        return np.asarray(centered @ whitening.T.astype(np.float32))

    return _Models(np.stack([whitened(noise) for noise in _NOISE], axis=1), whitening, used, radius, angle)
