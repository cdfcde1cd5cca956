"""What is known of resamplers beforehand: how often each is met, and what it costs to take one for another."""

import numpy as np

from zssr.degradation.resize import Floats

PROBABILITIES = {
    "bicubic": 0.85,
    "sharp-bicubic": 0.003,
    "box": 0.03,
    "bilinear": 0.024,
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

# by `python -m benchmarks constants --what resamplers --preset fast`, with the network of 8 layers that came before.
# fmt: off
_LOSSES = np.array([[0.00, 0.08, 1.06, 1.62, 0.33, 0.00, 0.53, 0.83, 4.01, 3.99, 6.12],
 [0.30, 0.00, 0.94, 2.17, 0.66, 0.12, 0.19, 1.41, 3.32, 3.37, 5.71],
 [0.66, 0.63, 0.00, 2.17, 0.26, 0.48, 0.69, 1.54, 1.48, 1.40, 4.65],
 [2.72, 3.39, 4.33, 0.00, 2.74, 2.72, 4.09, 0.43, 7.55, 7.34, 8.52],
 [0.49, 0.80, 0.45, 1.50, 0.00, 0.36, 1.12, 0.86, 2.91, 2.79, 5.50],
 [0.15, 0.16, 0.87, 1.74, 0.35, 0.00, 0.49, 0.97, 3.56, 3.56, 5.87],
 [0.58, 0.13, 0.72, 2.46, 0.78, 0.37, 0.00, 1.77, 2.60, 2.69, 5.27],
 [1.50, 2.09, 3.16, 0.29, 1.67, 1.48, 2.77, 0.00, 6.45, 6.30, 7.75],
 [1.84, 1.40, 0.89, 3.30, 1.62, 1.64, 1.14, 2.78, 0.00, 0.02, 3.55],
 [1.81, 1.46, 0.82, 3.17, 1.51, 1.61, 1.24, 2.67, 0.09, 0.00, 3.57],
 [5.13, 5.01, 4.58, 5.30, 4.72, 4.99, 5.02, 5.16, 4.58, 4.07, 0.00]])
# fmt: on


_GAINS = np.array([2.91, 2.57, 2.09, 3.86, 2.60, 2.73, 2.40, 3.49, 1.32, 1.07, 3.62])


def measured_losses() -> Floats:
    """Return the loss in dB of assuming each resampler, in the order of `PROBABILITIES`: (assumed, true)."""
    return _LOSSES


def measured_gains() -> Floats:
    """Return the gain in dB over bicubic enlargement if the true resampler is assumed, in the order of the losses."""
    return _GAINS
