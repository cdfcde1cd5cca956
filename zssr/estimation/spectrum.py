"""The first witness: what is left of the power of photos at high frequencies."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from zssr.degradation.resize import Floats
from zssr.estimation.hypotheses import SCALE, Gaussian, hypotheses, transfer

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

_FALLS = (1.8, 2.3, 2.8, 3.3, 3.8)  # of a photo's power over frequency
_FALL, _FALL_SPREAD = 2.4, 0.4
_NOISE = (0.0, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)  # power, relative to the photo's at a quarter cycle
_SLOPE_SPREAD = 0.3  # what may be added to the fall
_DIRECTION_SPREAD = 0.8  # of the scene's power over direction, in natural logarithms
_OUTLIER = 1.5
_ITERATIONS = 3
_PER_FREQUENCY = 0.01  # weight of what is known beforehand
_TEMPERATURE = 5.0  # neighbouring frequencies are not independent, and photos not as the model says
_USUAL_SIDE = 128  # pixels: smaller photos are less sure


@dataclass(frozen=True)
class _Models:
    """Logarithms of spectra: `(hypotheses, falls x noises, frequencies)`, and their `penalties`; see `_models`."""

    spectra: Floats
    penalties: Floats
    regressors: Floats
    ridge: Floats
    used: NDArray[np.bool_]
    radius: Floats


def unfit(luma: Floats) -> str:
    """Say why the spectrum of `luma` (H, W) tells nothing of a blur; nothing if it may."""
    measured = measured_spectrum(luma)
    if measured is None:
        return "the image is flat"
    radius = _models().radius
    fine, coarse = measured[radius > _FINE].mean(), measured[radius < _COARSE].mean()
    return "the image is mostly noise" if fine > _WHITE * coarse else ""


def evidence(luma: Floats) -> Floats | None:
    """Return the logarithms of how well each hypothesis explains the spectrum of `luma` (H, W) in [0, 1].

    A photo's power falls with frequency, f^-a; the blur takes |K(f)|^2 of it, sampling folds what lies above the
    highest frequency back, and noise is added. That model's logarithm is fitted to the photo's, robustly, with a scene
    that may have more power in some directions at all frequencies alike, as facades have. None for an image in which
    too little happens.
    """
    measured = measured_spectrum(luma)
    temperature = _TEMPERATURE * max(1.0, _USUAL_SIDE**2 / luma.size) ** 0.25
    return None if measured is None else -0.5 / temperature * _fitted(measured)[0]


def fits(luma: Floats, blur: Gaussian | None) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Return frequencies in cycles per pixel, and logarithms of the power: measured, fitted with `blur`, with bicubic.

    With the nearest of the hypotheses to `blur`, that is. None for an image in which too little happens.
    """
    measured = measured_spectrum(luma)
    if measured is None:
        return None
    covariances = hypotheses().covariances[1:]
    near = 0 if blur is None else 1 + int(((covariances - blur.covariance) ** 2).sum((1, 2)).argmin())
    logs, rest = np.log(measured), _fitted(measured)[1]
    return _models().radius, logs, logs - rest[near], logs - rest[0]


def _fitted(measured: Floats) -> tuple[Floats, Floats]:
    """Fit all hypotheses to a spectrum; return their misfits (hypotheses,), and what they leave unexplained."""
    models = _models()
    left = (np.log(measured) - np.log(measured).mean()) - models.spectra  # (hypotheses, models, frequencies)
    shape = left.shape
    flat = left.reshape(-1, shape[-1])
    regressors, ridge = models.regressors, models.ridge
    solved = flat @ np.linalg.solve(regressors.T @ regressors + ridge, regressors.T).T
    misfit = np.einsum("mf,mf->m", flat, flat) - np.einsum("mr,mr->m", flat @ regressors, solved)
    best = (misfit.reshape(shape[:2]) + models.penalties).argmin(1)
    misfit, rest = _robustly_fitted(left[np.arange(shape[0]), best], models)
    return misfit + models.penalties[best], rest


def _robustly_fitted(left: Floats, models: _Models) -> tuple[Floats, Floats]:
    """Fit the regressors to `left` (hypotheses, frequencies), by reweighted least squares (Cauchy's loss)."""
    weights = rest = np.ones_like(left)
    for _ in range(_ITERATIONS):
        weighted = models.regressors.T * weights[:, None]
        fitted = np.linalg.solve(weighted @ models.regressors + models.ridge, weighted @ left[..., None])[..., 0]
        rest = left - fitted @ models.regressors.T
        weights = 1 / (1 + (rest / _OUTLIER) ** 2)
    known = np.einsum("hr,rs,hs->h", fitted, models.ridge, fitted)
    return known - _OUTLIER**2 * np.log(weights).sum(1), rest


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
    """Compute the spectra of all hypotheses for all falls and noises, once."""
    down, right = np.fft.fftfreq(BLOCK), np.fft.rfftfreq(BLOCK)
    y, x = np.broadcast_arrays(down[:, None], right)
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    used = (radius > 1.5 / BLOCK) & ~((x == 0) & (y < 0))
    kernels = hypotheses().kernels
    folded = []  # for each alias the blurs' power (hypotheses, frequencies) and the frequency's radius
    for rows in (down, down - np.copysign(1, down)):
        for columns in (right, right - 1):
            power = transfer(kernels, rows / SCALE, columns / SCALE)[:, used] ** 2
            at = np.hypot(rows[:, None], columns)[used] / SCALE
            folded.append((power.astype(np.float32), np.maximum(at, 1e-3).astype(np.float32)))
    radius, angle = radius[used], angle[used]
    ring = (radius > 0.2) & (radius < 0.3)
    spectra, penalties = [], []
    per_frequency = _PER_FREQUENCY * len(radius)
    for fall in _FALLS:
        scene = np.asarray(sum(power * at**-fall for power, at in folded))
        floor = scene[:, ring].mean(1, keepdims=True)
        for noise in _NOISE:
            spectra.append(np.log(scene + noise * floor))
            penalties.append(per_frequency * ((fall - _FALL) / _FALL_SPREAD) ** 2)
    logs = np.stack(spectra, 1)
    waves = [f(k * angle) for k in (2, 4) for f in (np.cos, np.sin)]
    regressors = np.stack([np.ones_like(radius), np.log(radius), *waves], 1)
    ridge = np.diag([1e-4, _SLOPE_SPREAD**-2] + [_DIRECTION_SPREAD**-2] * 4) * per_frequency
    return _Models(logs - logs.mean(-1, keepdims=True), np.array(penalties), regressors, ridge, used, radius)
