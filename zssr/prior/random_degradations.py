"""Drawn degradations: bicubic, and blur kernels of every width, direction and steepness; noise and JPEG on top."""

import math
from dataclasses import replace

import numpy as np

from zssr.degradation import Degradation
from zssr.degradation.jpeg import SUBSAMPLINGS, Jpeg
from zssr.degradation.resize import Floats

_BICUBIC = 0.25
_CORNER = 0.4
_CENTERD = 0.7  # of the bicubic ones, whatever was drawn
_NARROWEST, _WIDEST = 0.35, 2.6  # standard deviations in pixels of the large image
_SIDE = 25
_NOISY, _COMPRESSED, _BICUBIC_TOO = 0.65, 0.5, 0.4  # of the noisy ones
_STRONGEST = 50  # noise, of 255
_QUALITIES = (15, 80, 98)  # of JPEG: lowest, likeliest, highest
_SUBSAMPLED = (0.25, 0.15, 0.6)


def draw_degradations(count: int, seed: int, scale: int, *, noisy: bool = False) -> list[Degradation]:
    """Draw `count` degradations to 8 bits: a quarter bicubic, the others Gaussian or nearly so, with both origins.

    If `noisy`, more of them are bicubic, and most have noise, or were compressed, or both.
    """
    rng = np.random.default_rng(seed)
    drawn = [_degradation(rng, float(scale)) for _ in range(count)]
    return [_spoilt(rng, one) for one in drawn] if noisy else drawn


def _spoilt(rng: np.random.Generator, degradation: Degradation) -> Degradation:
    noise = _STRONGEST * rng.random() ** 2 if rng.random() < _NOISY else 0.0
    jpeg = None
    if rng.random() < _COMPRESSED:
        quality = round(rng.triangular(*_QUALITIES))
        jpeg = Jpeg.from_quality(quality, str(rng.choice(SUBSAMPLINGS, p=_SUBSAMPLED)))
        noise *= rng.random() < 0.5
    kernel = None if rng.random() < _BICUBIC_TOO else degradation.kernel
    return replace(degradation, kernel=kernel, noise=noise, jpeg=jpeg)


def _degradation(rng: np.random.Generator, scale: float) -> Degradation:
    top_left = rng.random() < _CORNER
    kernel = None if rng.random() < _BICUBIC else _kernel(rng)
    if kernel is None:
        top_left = rng.random() >= _CENTERD and top_left
    return Degradation(kernel, (scale, scale), "top_left" if top_left else "center", quantized=True)


def _kernel(rng: np.random.Generator) -> Floats:
    """Draw exp(-r^(2p) / 2), where r is the distance in units of two standard deviations, one along each axis."""
    along, across = np.exp(rng.uniform(math.log(_NARROWEST), math.log(_WIDEST), 2))
    if rng.random() < 0.3:
        across = along
    angle = rng.uniform(0, math.pi)
    power = math.exp(rng.normal(0, 0.25)) if rng.random() < 0.4 else 1.0
    y, x = np.mgrid[:_SIDE, :_SIDE] - _SIDE // 2
    u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    kernel = np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2) ** power)
    return np.asarray(kernel / kernel.sum(), np.float64)
