"""What is known of resamplers beforehand: how often each is met, and what it costs to take one for another."""

import math

import numpy as np

from zssr.degradation.resize import Floats

PROBABILITIES = {
    "bicubic": 0.826,
    "sharp-bicubic": 0.003,
    "box": 0.03,
    "bilinear": 0.048,
    "hamming": 0.009,
    "lanczos2": 0.003,
    "lanczos": 0.015,
    "mitchell": 0.003,
    "cubic": 0.03,
    "lanczos4": 0.003,
    "nearest": 0.03,
}
"""Prior probabilities, chosen by hand: by what software does as it comes, with a preference for bicubic such that it is
hardly ever lost.
"""

MEASURED_SCALES = 2, 4
"""At which losses and gains were measured."""

# by `python -m benchmarks constants --what resamplers --preset fast`
# fmt: off
_LOSSES = np.array([[[0.00, 0.13, 1.40, 1.87, 0.50, 0.00, 0.62, 1.10, 4.76, 4.77, 6.61],
 [0.26, 0.00, 1.15, 2.40, 0.74, 0.14, 0.23, 1.65, 3.82, 3.91, 6.11],
 [0.75, 0.76, 0.00, 2.39, 0.29, 0.61, 0.80, 1.80, 1.72, 1.64, 4.96],
 [3.15, 3.92, 4.92, 0.00, 3.26, 3.22, 4.65, 0.59, 8.16, 7.98, 9.01],
 [0.47, 0.91, 0.59, 1.71, 0.00, 0.40, 1.30, 1.09, 3.24, 3.12, 5.81],
 [0.08, 0.20, 1.16, 1.96, 0.45, 0.00, 0.64, 1.19, 4.09, 4.12, 6.30],
 [0.57, 0.15, 0.92, 2.68, 0.85, 0.40, 0.00, 2.01, 3.16, 3.30, 5.71],
 [1.75, 2.48, 3.69, 0.36, 2.05, 1.81, 3.21, 0.00, 7.08, 6.96, 8.24],
 [2.01, 1.65, 0.98, 3.51, 1.74, 1.86, 1.40, 3.03, 0.00, 0.05, 3.83],
 [1.99, 1.72, 0.95, 3.39, 1.66, 1.85, 1.51, 2.93, 0.10, 0.00, 3.81],
 [5.40, 5.36, 4.78, 5.60, 4.95, 5.31, 5.35, 5.51, 4.78, 4.31, 0.00]],
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
 [4.73, 4.84, 4.50, 3.62, 4.50, 4.77, 4.84, 4.43, 3.21, 3.18, 0.00]]])
_GAINS = np.array([
 [3.18, 2.92, 2.33, 4.17, 2.85, 3.06, 2.75, 3.84, 1.54, 1.36, 3.86],
 [2.14, 2.08, 1.84, 1.66, 2.03, 2.17, 1.96, 2.33, 0.43, 0.50, 3.04]])
# fmt: on


def interpolate_losses(scale: float) -> Floats:
    """Return the loss in dB of assuming each resampler, in the order of `PROBABILITIES`: (assumed, true)."""
    return _interpolate(_LOSSES, scale)


def interpolate_gains(scale: float) -> Floats:
    """Return the gain in dB over bicubic enlargement if the true resampler is assumed, in the order of the losses."""
    return _interpolate(_GAINS, scale)


def _interpolate(tables: Floats, scale: float) -> Floats:
    share = min(max(math.log2(scale / MEASURED_SCALES[0]), 0.0), 1.0)
    return np.asarray((1 - share) * tables[0] + share * tables[1])
