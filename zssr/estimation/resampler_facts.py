"""What is known of resamplers beforehand: how often each is met, how sharp its edges are, what confusion costs."""

from typing import NamedTuple

import numpy as np

from zssr.degradation.resize import Floats


class ResamplerFacts(NamedTuple):
    """Prior probability, and the variance of the Gaussian with edges as sharp, in square pixels at x2."""

    probability: float
    edge_variance: float


FACTS = {
    "bicubic": ResamplerFacts(0.835, 0.20),
    "sharp-bicubic": ResamplerFacts(0.004, 0.17),
    "box": ResamplerFacts(0.06, 0.0),
    "bilinear": ResamplerFacts(0.004, 0.50),
    "hamming": ResamplerFacts(0.005, 0.13),
    "lanczos2": ResamplerFacts(0.004, 0.20),
    "lanczos": ResamplerFacts(0.016, 0.12),
    "mitchell": ResamplerFacts(0.001, 0.43),
    "cubic": ResamplerFacts(0.04, -0.30),
    "lanczos4": ResamplerFacts(0.005, -0.30),
    "nearest": ResamplerFacts(0.025, -0.30),
}
"""Probabilities were chosen by hand, by what software does as it comes, with a preference for bicubic such that it is
hardly ever lost.

The variances are those that explain the sharpness measured on Set5 and Set14, x2 to x4, if bicubic has 0.2. What is
sharper than any step behind a Gaussian has a negative one.
"""

# by `python -m benchmarks constants --what resamplers --limit 8`.
# fmt: off
_LOSSES = np.array([[0.00, 0.00, 0.61, 0.93, 0.04, 0.00, 0.13, 0.43, 3.28, 3.43, 5.41],
 [0.27, 0.00, 0.46, 1.39, 0.24, 0.07, 0.03, 0.89, 2.58, 2.77, 4.97],
 [0.75, 0.59, 0.00, 1.61, 0.27, 0.54, 0.52, 1.23, 0.76, 0.87, 3.78],
 [1.85, 2.38, 3.48, 0.00, 1.96, 1.81, 3.10, 0.16, 6.83, 6.84, 7.94],
 [0.47, 0.47, 0.12, 1.12, 0.00, 0.28, 0.57, 0.75, 2.00, 2.10, 4.64],
 [0.19, 0.06, 0.44, 1.12, 0.09, 0.00, 0.17, 0.65, 2.79, 2.96, 5.12],
 [0.47, 0.13, 0.29, 1.62, 0.33, 0.25, 0.00, 1.14, 1.90, 2.11, 4.52],
 [0.94, 1.29, 2.40, 0.19, 1.08, 0.85, 1.91, 0.00, 5.71, 5.77, 7.12],
 [1.61, 1.28, 0.71, 2.48, 1.21, 1.40, 1.09, 2.13, 0.00, 0.00, 2.73],
 [1.63, 1.34, 0.72, 2.43, 1.20, 1.43, 1.19, 2.10, 0.06, 0.00, 2.73],
 [4.23, 4.09, 3.66, 4.25, 3.79, 4.05, 4.07, 4.16, 3.58, 3.23, 0.00]])
# fmt: on


def measured_losses() -> Floats:
    """Return the loss in dB of assuming each resampler, in the order of `FACTS`: (assumed, true)."""
    return _LOSSES
