"""What the power of a scene looks like over frequency and direction, and how far scenes stray from that.

In natural logarithms, beside a power that falls with frequency as `FALL` says: sums of hats over the frequency's
logarithm (rings) times waves of the direction. The numbers are those of the photos of Set5 and Set14, made small by
bicubic; `python -m benchmarks scenes` prints them.
"""

import math

import numpy as np

from zssr.degradation.resize import Floats

FALL = 2.3
"""Exponent of the power's fall over frequency."""

RINGS = 7
WAVES = (0, 2, 4, 6)
"""How often the power rises and falls in a full turn."""

_SLOWEST, _FASTEST = 1 / 16, math.sqrt(0.5)  # rings, in cycles per pixel of the photo
_RIDGE = 0.002  # variance that so few photos do not show

REST = 0.042
"""Variance of what is left in a frequency."""

# fmt: off
USUAL = np.array([[ 0.992,  0.602,  0.435,  0.234, -0.003, -0.108, -0.018],
 [ 0.086,  0.209,  0.199,  0.178,  0.149,  0.130,  0.192]])
"""Mean of the photos: of the wave 0, and of the cosine of the wave 4."""

STRAYS = np.array([[[ 0.820,  0.620,  0.374,  0.161,  0.010, -0.109, -0.240],
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
"""For each wave the covariance of its rings' weights between photos."""
# fmt: on


def basis(radius: Floats, angle: Floats) -> Floats:
    """Return the hats times waves (frequencies, waves x rings) at frequencies given by cycles per pixel and angle.

    Of each wave but the first there are a cosine and a sine.
    """
    at, width = np.linspace(math.log(_SLOWEST), math.log(_FASTEST), RINGS, retstep=True)
    hats = np.maximum(0, 1 - np.abs(np.log(radius)[:, None] - at) / width)
    waves = [np.ones_like(angle)] + [wave(k * angle) for k in WAVES[1:] for wave in (np.cos, np.sin)]
    return np.concatenate([hats * wave[:, None] for wave in waves], axis=1)


def usual(radius: Floats, angle: Floats) -> Floats:
    """Return the usual course of a scene's logarithmic power (frequencies,): photos have lines across and upright."""
    weights = np.zeros((2 * len(WAVES) - 1, RINGS))
    weights[[0, 2 * WAVES.index(4) - 1]] = USUAL
    return np.asarray(basis(radius, angle) @ weights.ravel())


def covariance(radius: Floats, angle: Floats, rest: float) -> Floats:
    """Return the covariance (frequencies, frequencies) of what strays from that, with `rest` as its smallest variance.

    All directions are alike: a photo may be turned.
    """
    stray = STRAYS + _RIDGE * np.eye(RINGS)
    waves = np.split(basis(radius, angle), 2 * len(WAVES) - 1, axis=1)
    parts = (wave @ stray[(k + 1) // 2] @ wave.T for k, wave in enumerate(waves))
    return np.asarray(sum(parts) + rest * np.eye(len(radius)))
