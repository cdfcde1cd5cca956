"""Statistics of natural scenes: the mean and the covariance of their logarithmic power spectra.

A scene's power falls with frequency by a power law (Field 1987). The natural logarithm of what photos have besides is a
sum of triangular functions of log frequency (radial bins) times harmonics of the direction. The numbers are those of
the photos of Set5 and Set14, downsampled by bicubic; `python -m benchmarks constants --what scenes` prints them.
"""

import math

import numpy as np

from zssr.degradation.resize import Floats

DECAY = 2.3
"""Exponent of the power law."""

RADIAL_BINS = 7

ORDERS = (0, 2, 4, 6)
"""Orders of the harmonics: how often the power rises and falls in a full turn."""

NOISE_VARIANCE = 0.042
"""Variance of single frequencies, that the basis does not explain."""

# fmt: off
MEAN = np.array([[ 0.992,  0.602,  0.435,  0.234, -0.003, -0.108, -0.018],
 [ 0.086,  0.209,  0.199,  0.178,  0.149,  0.130,  0.192]])
"""Mean weights: of order 0, and of the cosine of order 4. Photos have lines across and upright."""

COVARIANCE = np.array([[[ 0.820,  0.620,  0.374,  0.161,  0.010, -0.109, -0.240],
  [ 0.620,  0.550,  0.366,  0.179,  0.015, -0.110, -0.207],
  [ 0.374,  0.366,  0.294,  0.159,  0.016, -0.088, -0.152],
  [ 0.161,  0.179,  0.159,  0.123,  0.022, -0.057, -0.102],
  [ 0.010,  0.015,  0.016,  0.022,  0.022, -0.010, -0.043],
  [-0.109, -0.110, -0.088, -0.057, -0.010,  0.035,  0.040],
  [-0.240, -0.207, -0.152, -0.102, -0.043,  0.040,  0.263]],

 [[ 0.335,  0.208,  0.207,  0.166,  0.142,  0.124,  0.049],
  [ 0.208,  0.293,  0.238,  0.206,  0.184,  0.154,  0.014],
  [ 0.207,  0.238,  0.231,  0.194,  0.176,  0.151,  0.025],
  [ 0.166,  0.206,  0.194,  0.196,  0.172,  0.147,  0.037],
  [ 0.142,  0.184,  0.176,  0.172,  0.176,  0.147,  0.048],
  [ 0.124,  0.154,  0.151,  0.147,  0.147,  0.151,  0.077],
  [ 0.049,  0.014,  0.025,  0.037,  0.048,  0.077,  0.263]],

 [[ 0.017,  0.012,  0.010,  0.009,  0.008,  0.005,  0.005],
  [ 0.012,  0.044,  0.032,  0.024,  0.024,  0.022, -0.015],
  [ 0.010,  0.032,  0.044,  0.026,  0.023,  0.021, -0.018],
  [ 0.009,  0.024,  0.026,  0.035,  0.022,  0.021, -0.015],
  [ 0.008,  0.024,  0.023,  0.022,  0.027,  0.022, -0.008],
  [ 0.005,  0.022,  0.021,  0.021,  0.022,  0.028, -0.017],
  [ 0.005, -0.015, -0.018, -0.015, -0.008, -0.017,  0.087]],

 [[ 0.395, -0.037,  0.005,  0.007,  0.013, -0.006, -0.045],
  [-0.037,  0.011,  0.006,  0.005,  0.003,  0.005, -0.001],
  [ 0.005,  0.006,  0.024,  0.016,  0.016,  0.012, -0.006],
  [ 0.007,  0.005,  0.016,  0.022,  0.015,  0.010, -0.007],
  [ 0.013,  0.003,  0.016,  0.015,  0.022,  0.011, -0.007],
  [-0.006,  0.005,  0.012,  0.010,  0.011,  0.012, -0.006],
  [-0.045, -0.001, -0.006, -0.007, -0.007, -0.006,  0.082]]])
"""For each order the covariance of its radial weights between photos."""
# fmt: on


def evaluate_basis(radius: Floats, angle: Floats) -> Floats:
    """Return the basis functions (frequencies, harmonics x radial bins); `radius` (frequencies,) in cycles a pixel."""
    centers, width = np.linspace(math.log(1 / 16), math.log(math.sqrt(0.5)), RADIAL_BINS, retstep=True)
    triangles = np.maximum(0, 1 - np.abs(np.log(radius)[:, None] - centers) / width)
    harmonics = [np.ones_like(angle)] + [wave(k * angle) for k in ORDERS[1:] for wave in (np.cos, np.sin)]
    return np.concatenate([triangles * harmonic[:, None] for harmonic in harmonics], axis=1)


def mean_deviation(radius: Floats, angle: Floats) -> Floats:
    """Return the mean deviation of a scene's logarithmic power from the power law: (frequencies,)."""
    weights = np.zeros((2 * len(ORDERS) - 1, RADIAL_BINS))
    weights[[0, 2 * ORDERS.index(4) - 1]] = MEAN
    return np.asarray(evaluate_basis(radius, angle) @ weights.ravel())


def varying_directions(radius: Floats, angle: Floats, noise_variance: float) -> Floats:
    """Return in which directions scenes vary more than by noise: V (frequencies, basis functions).

    The covariance of a scene's deviation is B C B' + v I, with the basis B, the covariance C of its weights and the
    noise variance v. It is isotropic, since a photo may be turned. Its inverse is (I - V V') / v (Woodbury).
    """
    weights = COVARIANCE + 0.002 * np.eye(RADIAL_BINS)  # a variance that so few photos do not show
    harmonics = 2 * len(ORDERS) - 1
    basis = evaluate_basis(radius, angle)
    precision = basis.T @ basis
    for k in range(harmonics):
        own = slice(k * RADIAL_BINS, (k + 1) * RADIAL_BINS)
        precision[own, own] += noise_variance * np.linalg.inv(weights[(k + 1) // 2])
    return np.asarray(basis @ np.linalg.inv(np.linalg.cholesky(precision)).T)
