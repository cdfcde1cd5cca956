"""The noise level of a photo, from the highest frequencies of its flattest blocks."""

import math

import torch
from torch import Tensor

from zssr.estimation.block_dct import SIDE, block_dct

_QUIET = 2.5  # to remove less noise than this costs more than it gains

_STRIDE = 3  # of the blocks, in pixels
_MOST = 2**17  # blocks, for the sake of memory
_LOW, _HIGH = 7, 11  # a block's waves up to the first (without the mean), and from the second on
_MIDDLE = (9, 10)
_CHANCE, _TEXTURE = 1.2, 1.5  # middle over high power that noise alone may have, and what texture the rest stands for
_FLATTEST, _FEWEST = 0.02, 40  # share of the blocks, and the number that is too few to measure
_CLIPPED = 0.05  # the most values in a block that may be black or white: there noise is cut off
_NORMAL = 0.6745  # median of the absolute value of a standard normal variable
_ROUNDING = 1 / 12  # variance of the error of rounding


def resolve_noise(setting: float | str, image: Tensor) -> float:
    """Return the noise of `image` (1, C, H, W), in 0 to 255, as the setting says; for "auto", if it is worth it."""
    if not isinstance(setting, str):
        return float(setting)
    noise = estimate_noise_level(image)
    return noise if _QUIET <= noise < math.inf else 0.0


def estimate_noise_level(images: Tensor) -> float:
    """Return the standard deviation, in 0 to 255, of the white noise on `images` (N, C, H, W) in [0, 1].

    Noise has all frequencies alike, and a flat place of a photo only low ones. The flattest blocks are found by their
    low frequencies, whose noise is independent of that in the high ones; so choosing them takes nothing away from what
    is measured, the median of the absolute values of their high frequencies (Ponomarenko et al. 2007). Where even they
    have texture, their power falls from the middle frequencies to the high ones, and what it falls by is not noise. Of
    images too small to have flat blocks (some 90x90 pixels in color), or all black and white, the answer is 0.
    """
    stride = max(_STRIDE, math.ceil(math.sqrt(images.numel() / _MOST)))
    waves = block_dct(images, stride, _CLIPPED)
    count = round(_FLATTEST * len(waves))
    if count < _FEWEST:
        return 0.0
    frequency = torch.arange(SIDE)[:, None] + torch.arange(SIDE)
    strength = waves[:, (frequency > 0) & (frequency <= _LOW)].square().mean(1)
    flattest = strength.argsort()[:count]
    middle = (frequency >= _MIDDLE[0]) & (frequency <= _MIDDLE[1])
    power, middle_power = (_power(waves[flattest][:, band]) for band in (frequency >= _HIGH, middle))
    return math.sqrt(max(power - _TEXTURE * max(middle_power - _CHANCE * power, 0.0), 0.0))


def _power(waves: Tensor) -> float:
    """Return the variance of normal values, without that of rounding, from the median."""
    return float(waves.abs().median() / _NORMAL) ** 2 - _ROUNDING
