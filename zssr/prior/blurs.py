"""Drawn degradations: bicubic, and blur kernels of every width, direction and steepness."""

import math

import numpy as np

from zssr.degradation import Degradation
from zssr.degradation.resize import Floats

_BICUBIC = 0.25
_CORNER = 0.4
_CENTRED = 0.7  # of the bicubic ones, whatever was drawn
_NARROWEST, _WIDEST = 0.35, 2.6  # standard deviations in pixels of the large image
_SIDE = 25


def drawn_degradations(count: int, seed: int, scale: int) -> list[Degradation]:
    """Draw `count` degradations to 8 bits: a quarter bicubic, the others Gaussian or nearly so, with both origins."""
    rng = np.random.default_rng(seed)
    return [_degradation(rng, float(scale)) for _ in range(count)]


def _degradation(rng: np.random.Generator, scale: float) -> Degradation:
    corner = rng.random() < _CORNER
    kernel = None if rng.random() < _BICUBIC else _kernel(rng)
    if kernel is None:
        corner = rng.random() >= _CENTRED and corner
    return Degradation(kernel, (scale, scale), "corner" if corner else "center", eight_bits=True)


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
