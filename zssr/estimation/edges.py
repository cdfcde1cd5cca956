"""The second cue for a blur: the sharpness of the sharpest edges, in each direction."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from zssr.degradation.resize import Floats
from zssr.estimation.candidates import make_candidates
from zssr.estimation.parametric_kernels import SCALE
from zssr.estimation.periodogram import Mask

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


def edge_log_likelihoods(luma: Floats, scale: float, content: Mask | None = None) -> Floats | None:
    """Return the log-likelihood of each candidate, (candidates,), given the edges of `luma` (H, W) in [0, 1].

    The share of its height that a step behind a Gaussian blur climbs from one pixel to the next is an error function
    of the blur's width across the edge. The sharpest edges of a photo were steps, but for an unknown softness of the
    scene, the same in all directions. So edges limit a blur's width from above, and show its direction. A photo of a
    larger `scale` was made smaller and has sharper edges. None if there are too few edges in the
    `content` (H, W).
    """
    measured = edge_sharpness(luma, content)
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
    joint = torch.from_numpy(np.stack(log_likelihoods)) + torch.log_softmax(torch.from_numpy(log_prior), 0)[:, None]
    return np.asarray(torch.logsumexp(joint, 0)) / model.temperature


def ideal_sharpness(covariances: Floats, softness: float | Floats, directions: Floats = DIRECTIONS) -> Floats:
    """Return the sharpness (n, directions) of edges of one softness, or of n (n, 1), behind n covariances (n, 2, 2)."""
    lengths = np.hypot(*directions.T)
    units = directions / lengths[:, None]
    variances = np.maximum(np.einsum("dr,hrc,dc->hd", units, covariances, units) + np.square(softness), 1e-4)
    return np.asarray(torch.erf(torch.from_numpy(SCALE * lengths / 2 / np.sqrt(2 * variances))))


def edge_sharpness(luma: Floats, content: Mask | None = None) -> Floats:
    """Measure the sharpest edges of `luma` (H, W) in [0, 1] in each of the `DIRECTIONS`: (4,), NaN if too few."""
    rows = max(2**20 // luma.shape[1], 2 * _SAMPLES)  # of large photos the middle
    top = max(0, luma.shape[0] - rows) // 2
    luma, content = luma[top : top + rows], None if content is None else content[top : top + rows]
    return np.array([_sharpness(luma, content, down, right) for down, right in DIRECTIONS])


def _sharpness(luma: Floats, content: Mask | None, down: int, right: int) -> float:
    """Return the share of its height that the sharpest edges climb between two neighboring pixels; NaN if too few."""
    height, width = luma.shape
    last = _SAMPLES - 1
    rows, columns = height - last * down, width - last * abs(right)
    if rows <= 0 or columns <= 0:
        return float("nan")
    first = last if right < 0 else 0
    at = [np.s_[k * down : k * down + rows, first + k * right : first + k * right + columns] for k in range(_SAMPLES)]
    across = np.stack([luma[one] for one in at])
    rise = across.max(0) - across.min(0)
    is_edge = (rise > 25 / 255) & (np.abs(across[-1] - across[0]) > 0.8 * rise)
    if content is not None:
        is_edge &= np.all([content[one] for one in at], axis=0)
    if np.count_nonzero(is_edge) < 40:
        return float("nan")
    middle = _SAMPLES // 2
    return float(np.quantile(np.abs(across[middle] - across[middle - 1])[is_edge] / rise[is_edge], 0.99))
