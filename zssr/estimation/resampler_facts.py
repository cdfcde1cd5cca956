"""What is known of resamplers beforehand: how often each is met, and what it costs to take one for another."""

import itertools
import math

import numpy as np

from zssr.degradation.resize import Floats

PROBABILITIES = {
    "bicubic": 0.811,
    "sharp-bicubic": 0.003,
    "box": 0.03,
    "bilinear": 0.048,
    "hamming": 0.009,
    "lanczos2": 0.003,
    "lanczos": 0.03,
    "mitchell": 0.003,
    "cubic": 0.03,
    "lanczos4": 0.003,
    "nearest": 0.03,
}
"""Prior probabilities, chosen by hand: by what software does as it comes, with a preference for bicubic such that it is
hardly ever lost.
"""

MEANS = tuple("+".join(pair) for pair in itertools.combinations(("bicubic", "box", "bilinear", "cubic"), 2))
"""Means of two of the most frequent: what may be assumed where the photo does not show which of them it was."""

MEASURED_SCALES = 2, 4
"""At which losses and gains were measured."""

# by `python -m benchmarks constants --what resamplers --preset fast`
# fmt: off
_LOSSES = np.array([[[0.00, 0.20, 1.72, 1.86, 0.66, 0.00, 0.70, 1.09, 5.29, 5.32, 6.81],
  [0.23, 0.00, 1.21, 2.42, 0.77, 0.14, 0.20, 1.67, 3.97, 4.08, 6.16],
  [0.69, 0.75, 0.00, 2.42, 0.29, 0.60, 0.76, 1.83, 1.78, 1.71, 4.93],
  [3.15, 3.97, 5.08, 0.00, 3.40, 3.27, 4.71, 0.60, 8.32, 8.16, 9.07],
  [0.39, 0.87, 0.64, 1.73, 0.00, 0.37, 1.26, 1.11, 3.37, 3.25, 5.81],
  [0.03, 0.18, 1.26, 1.98, 0.50, 0.00, 0.61, 1.21, 4.28, 4.32, 6.37],
  [0.53, 0.17, 0.99, 2.69, 0.88, 0.42, 0.00, 2.01, 3.30, 3.48, 5.76],
  [1.71, 2.51, 3.85, 0.36, 2.17, 1.84, 3.25, 0.00, 7.27, 7.16, 8.32],
  [1.96, 1.68, 0.97, 3.53, 1.73, 1.86, 1.39, 3.04, 0.00, 0.08, 3.78],
  [2.02, 1.81, 1.00, 3.47, 1.72, 1.93, 1.57, 3.01, 0.08, 0.00, 3.72],
  [5.34, 5.37, 4.76, 5.61, 4.92, 5.30, 5.35, 5.51, 4.81, 4.38, 0.00],
  [0.25, 0.35, 0.37, 2.19, 0.16, 0.17, 0.56, 1.50, 2.89, 2.89, 5.56],
  [0.99, 1.76, 2.94, 0.76, 1.38, 1.10, 2.47, 0.13, 6.34, 6.26, 7.69],
  [1.01, 0.76, 0.19, 2.92, 0.82, 0.90, 0.55, 2.33, 1.12, 1.21, 4.58],
  [0.63, 1.36, 1.53, 1.19, 0.37, 0.68, 1.93, 0.59, 4.58, 4.44, 6.54],
  [1.37, 1.18, 0.33, 3.05, 1.06, 1.27, 0.94, 2.52, 0.50, 0.51, 4.21],
  [0.51, 0.73, 0.14, 2.16, 0.09, 0.44, 0.88, 1.55, 2.41, 2.32, 5.28]],
 [[0.00, 0.19, 1.35, 0.00, 0.71, 0.05, 0.51, 0.35, 4.58, 4.46, 6.40],
  [0.05, 0.00, 0.73, 0.22, 0.52, 0.07, 0.07, 0.76, 3.18, 3.14, 5.50],
  [0.40, 0.49, 0.00, 0.26, 0.15, 0.43, 0.49, 0.89, 1.64, 1.65, 4.63],
  [3.08, 3.60, 4.34, 0.00, 3.56, 3.16, 4.04, 0.97, 6.70, 6.67, 8.16],
  [0.13, 0.44, 0.25, 0.00, 0.00, 0.18, 0.67, 0.44, 2.84, 2.82, 5.41],
  [0.00, 0.10, 0.80, 0.00, 0.43, 0.00, 0.32, 0.43, 3.57, 3.52, 5.81],
  [0.26, 0.12, 0.61, 0.47, 0.57, 0.28, 0.00, 1.03, 2.62, 2.59, 5.09],
  [1.77, 2.29, 3.22, 0.00, 2.38, 1.84, 2.76, 0.00, 6.05, 6.02, 7.67],
  [1.38, 1.29, 0.95, 1.15, 1.26, 1.40, 1.12, 1.77, 0.00, 0.09, 3.22],
  [1.42, 1.37, 0.98, 1.12, 1.27, 1.45, 1.22, 1.75, 0.00, 0.00, 3.18],
  [4.73, 4.84, 4.50, 3.62, 4.50, 4.77, 4.84, 4.43, 3.21, 3.18, 0.00],
  [0.05, 0.16, 0.15, 0.08, 0.06, 0.08, 0.26, 0.66, 2.54, 2.51, 5.17],
  [0.95, 1.43, 2.23, 0.00, 1.49, 1.02, 1.87, 0.00, 5.11, 5.07, 6.94],
  [0.72, 0.65, 0.28, 0.68, 0.58, 0.74, 0.50, 1.28, 0.91, 0.93, 4.02],
  [0.38, 0.87, 1.01, 0.00, 0.45, 0.45, 1.27, 0.01, 3.89, 3.86, 6.13],
  [0.96, 0.92, 0.44, 0.78, 0.77, 0.99, 0.78, 1.40, 0.43, 0.49, 3.72],
  [0.35, 0.50, 0.06, 0.16, 0.10, 0.38, 0.56, 0.79, 1.95, 1.94, 4.78]]])
_GAINS = np.array([
 [3.13, 2.94, 2.31, 4.20, 2.83, 3.07, 2.75, 3.86, 1.53, 1.38, 3.80],
 [2.14, 2.08, 1.84, 1.66, 2.03, 2.17, 1.96, 2.33, 0.43, 0.50, 3.04]])
# fmt: on


def interpolate_losses(scale: float) -> Floats:
    """Return the loss in dB of assuming each of `PROBABILITIES`, then of `MEANS`: (assumed, true)."""
    return _interpolate(_LOSSES, scale)


def interpolate_gains(scale: float) -> Floats:
    """Return the gain in dB over bicubic enlargement if the true resampler is assumed, in the order of the losses."""
    return _interpolate(_GAINS, scale)


def _interpolate(tables: Floats, scale: float) -> Floats:
    share = min(max(math.log2(scale / MEASURED_SCALES[0]), 0.0), 1.0)
    return np.asarray((1 - share) * tables[0] + share * tables[1])
