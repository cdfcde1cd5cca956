"""The second cue for a blur: the sharpness of the sharpest edges, in each direction."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import erf, logsumexp

from zssr.degradation.resize import Floats
from zssr.estimation.candidates import make_candidates
from zssr.estimation.parametric_kernels import SCALE

DIRECTIONS = np.array([(0, 1), (1, 0), (1, 1), (1, -1)])
"""(down, right) from one pixel to the next, across an edge."""

SCENE_SOFTNESS = np.array([0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.1, 1.3, 1.6, 2.0])
"""Standard deviations, in pixels of the large image, that the scene's own edges may have."""

_SAMPLES = 6  # pixels across an edge


@dataclass(frozen=True)
class EdgeModel:
    """How sharp edges are measured to be; `python -m benchmarks constants --what edges` fits the first five numbers.

    Attributes
    ----------
    level, slope
        Measured sharpness over that of an ideal step behind the blur.
    error
        Standard deviation of a measured sharpness.
    softness_mean, softness_std
        Normal distribution of the softness of a scene's own edges, in pixels of the large image at `SCALE`.
    outlier
        Errors beyond this multiple of `error` are outliers.
    temperature
        Divides the log-likelihood, because the directions are not independent.
    """

    level: float = 0.151
    slope: float = 0.822
    error: float = 0.05
    softness_mean: float = 0.6
    softness_std: float = 0.7
    outlier: float = 4.0
    temperature: float = 2.0


def edge_log_likelihoods(luma: Floats, scale: float) -> Floats | None:
    """Return the log-likelihood of each candidate, (candidates,), given the edges of `luma` (H, W) in [0, 1].

    The share of its height that a step behind a Gaussian blur climbs from one pixel to the next is an error function
    of the blur's width across the edge. The sharpest edges of a photo were steps, but for an unknown softness of the
    scene, the same in all directions. So edges limit a blur's width from above, and show its direction. A photo of a
    larger `scale` was made smaller and has sharper edges. None if there are too few edges.
    """
    measured = edge_sharpness(luma)
    available = np.isfinite(measured)
    if not available.any():
        return None
    model, directions = EdgeModel(), DIRECTIONS[available]
    log_prior = -0.5 * ((SCENE_SOFTNESS - model.softness_mean) / model.softness_std) ** 2
    log_likelihoods = []
    for softness in SCENE_SOFTNESS * math.sqrt(SCALE / scale):
        ideal = ideal_sharpness(make_candidates().covariances, softness, directions)
        error = (measured[available] - model.level - model.slope * ideal) / model.error
        log_likelihoods.append(-0.5 * model.outlier**2 * np.log1p((error / model.outlier) ** 2).sum(1))
    joint = np.stack(log_likelihoods) + (log_prior - logsumexp(log_prior))[:, None]
    return np.asarray(logsumexp(joint, axis=0) / model.temperature)


def ideal_sharpness(covariances: Floats, softness: float | Floats, directions: Floats = DIRECTIONS) -> Floats:
    """Return the sharpness (n, directions) of edges of one softness, or of n (n, 1), behind n covariances (n, 2, 2)."""
    lengths = np.hypot(*directions.T)
    units = directions / lengths[:, None]
    variances = np.einsum("dr,hrc,dc->hd", units, covariances, units)
    return np.asarray(erf(SCALE * lengths / 2 / np.sqrt(2 * (variances + softness**2))))


def edge_sharpness(luma: Floats) -> Floats:
    """Measure the sharpest edges of `luma` (H, W) in [0, 1] in each of the `DIRECTIONS`: (4,), NaN if too few."""
    rows = max(2**20 // luma.shape[1], 2 * _SAMPLES)  # of large photos the middle
    top = max(0, luma.shape[0] - rows) // 2
    return np.array([_sharpness(luma[top : top + rows], down, right) for down, right in DIRECTIONS])


def _sharpness(luma: Floats, down: int, right: int) -> float:
    """Return the share of its height that the sharpest edges climb between two neighboring pixels; NaN if too few."""
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
    is_edge = (rise > 25 / 255) & (np.abs(across[-1] - across[0]) > 0.8 * rise)
    if np.count_nonzero(is_edge) < 40:
        return float("nan")
    middle = _SAMPLES // 2
    return float(np.quantile(np.abs(across[middle] - across[middle - 1])[is_edge] / rise[is_edge], 0.99))
