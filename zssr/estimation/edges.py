"""The second witness: how steep the steepest edges are, in each direction."""

import math

import numpy as np
from scipy.special import erf, logsumexp

from zssr.degradation.resize import Floats
from zssr.estimation.candidates import SCALE, candidates

_DIRECTIONS = np.array([(0, 1), (1, 0), (1, 1), (1, -1)])  # (down, right) from one pixel to the next
_SAMPLES = 6  # pixels across an edge
_RISE = 25 / 255
_STRAIGHT = 0.8  # the share of the range that lies between an edge's ends
_STEEPEST = 0.99
_FEWEST = 40
_MOST_PIXELS = 2**20

_LEVEL, _SLOPE = 0.151, 0.822  # of what is measured over an ideal edge's steepness
_ERROR = 0.05
_OUTLIER = 4.0
_TEMPERATURE = 2.0  # the directions are not independent
_OWN = np.array([0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.1, 1.3, 1.6, 2.0])  # pixels: the softness of the scene's edges
_OWN_MEAN, _OWN_SPREAD = 0.6, 0.7


def edge_log_likelihoods(luma: Floats, scale: float) -> Floats | None:
    """Return the logarithms of how well each hypothesis explains the edges of `luma` (H, W) in [0, 1].

    The share of an edge's height that it climbs from one pixel to the next is, for a step behind a Gaussian blur, an
    error function of the blur's width in that direction. The steepest of a photo's edges were steps, but for a softness
    of the scene's own, the same in all directions, that nothing is known of. So edges say little about how wide a blur
    is at least, but much about how wide it is at most, and about its direction. What was made smaller, by a larger
    `scale`, has sharper edges by itself. None where there are too few.
    """
    measured = edge_sharpness(luma)
    seen = np.isfinite(measured)
    if not seen.any():
        return None
    along = _DIRECTIONS[seen]
    lengths = np.hypot(*along.T)
    units = along / lengths[:, None]
    variances = np.einsum("dr,hrc,dc->hd", units, candidates().covariances, units)
    known = -0.5 * ((_OWN - _OWN_MEAN) / _OWN_SPREAD) ** 2
    explained = []
    for own in _OWN * math.sqrt(SCALE / scale):
        half_pixel = SCALE * lengths / 2 / np.sqrt(2 * (variances + own**2))
        error = (measured[seen] - _LEVEL - _SLOPE * erf(half_pixel)) / _ERROR
        explained.append(-0.5 * _OUTLIER**2 * np.log1p((error / _OUTLIER) ** 2).sum(1))
    return np.asarray(logsumexp(np.stack(explained) + (known - logsumexp(known))[:, None], axis=0) / _TEMPERATURE)


def edge_sharpness(luma: Floats) -> Floats:
    """Return for each direction the largest share of an edge's height between two pixels; NaN for too few edges."""
    rows = max(_MOST_PIXELS // luma.shape[1], 2 * _SAMPLES)
    top = max(0, luma.shape[0] - rows) // 2
    return np.array([_steepest(luma[top : top + rows], down, right) for down, right in _DIRECTIONS])


def _steepest(luma: Floats, down: int, right: int) -> float:
    height, width = luma.shape
    last = _SAMPLES - 1
    rows, columns = height - last * down, width - last * abs(right)
    if rows <= 0 or columns <= 0:
        return float("nan")
    first = last if right < 0 else 0
    across = np.stack(
        [luma[k * down : k * down + rows, first + k * right : first + k * right + columns] for k in range(_SAMPLES)]
    )
    rise = across.max(0) - across.min(0)
    edge = (rise > _RISE) & (np.abs(across[-1] - across[0]) > _STRAIGHT * rise)
    if np.count_nonzero(edge) < _FEWEST:
        return float("nan")
    middle = _SAMPLES // 2
    return float(np.quantile(np.abs(across[middle] - across[middle - 1])[edge] / rise[edge], _STEEPEST))
