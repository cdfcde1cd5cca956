"""Statistics that outliers do not change, and least squares without them."""

import numpy as np
import torch

from zssr.degradation.resize import Floats

_LAPLACIANS = np.array([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6
"""A filter of unit norm that sees neither flat nor sloped parts (Immerkaer 1996)."""


def median_deviation(values: Floats) -> float:
    """Return the standard deviation of normal values around zero, by the median of their magnitudes."""
    return float(np.median(np.abs(values))) / 0.6745 if values.size else 0.0


def measure_noise(image: Floats) -> float:
    """Return the standard deviation of white noise on an image (H, W), if less than half of it is textured."""
    from scipy.ndimage import convolve  # other commands do not wait for it

    return median_deviation(convolve(image, _LAPLACIANS, mode="mirror"))


def weigh_tukey(residuals: Floats, scale: float | Floats) -> Floats:
    """Return weights from 1 to 0, which is beyond 4.685 times the scale (Beaton and Tukey 1974)."""
    return np.asarray(np.square(np.clip(1 - np.square(residuals / (4.685 * scale)), 0, None)))


def weigh_huber(residuals: Floats, scale: float | Floats) -> Floats:
    """Return weights that fall as 1 / residual beyond 1.345 times the scale (Huber 1964)."""
    return 1 / np.maximum(np.abs(residuals) / (1.345 * scale), 1)


def solve_weighted(columns: Floats, target: Floats, weights: Floats) -> Floats:
    """Return the coefficients (m,) of columns (n, m) that are nearest to a target (n,); 0 where columns say nothing.

    The sums are torch's, which takes no more threads than it is given.
    """
    weighted = torch.from_numpy(weights[:, None] * columns)
    normal = (torch.from_numpy(columns).T @ weighted).numpy()
    projected = (torch.from_numpy(target) @ weighted).numpy()
    lengths = np.sqrt(normal.diagonal()) + 1e-12
    normal = normal / np.outer(lengths, lengths) + 1e-9 * np.eye(len(lengths))
    return np.asarray(np.linalg.solve(normal, projected / lengths) / lengths)
