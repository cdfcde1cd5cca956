"""The noise level of a photo, from the high frequencies of its flattest blocks."""

import math
from typing import Literal

import torch
from torch import Tensor

from zssr.content import find_judgeable
from zssr.degradation.noise import WHITE, Grain
from zssr.estimation.block_dct import SIDE, block_dct
from zssr.estimation.noise_grain import estimate_grain

WEAKEST_NOISE = 2.5
"""Noise that is removed, in 0 to 255: with less, that costs more than it gains (`python -m benchmarks constants --what
thresholds`)."""

_WEAKEST_UNEVEN = 4.0  # noise of other kinds that is told from the texture of clean photos, in 0 to 255
_SMALLEST_SIDE = 56  # pixels; in smaller images, or in few blocks, there may be texture everywhere
_FEWEST_VALUES = 6000  # at which blocks begin (`python -m benchmarks grain --side 64`)
_MOST_CLIPPED = 0.05  # share of a block's values: noise is cut off there


def resolve_noise(
    setting: float | Literal["auto"], image: Tensor, content: Tensor | None = None, *, is_compressed: bool = False
) -> tuple[float, Grain]:
    """Return the noise that is to be removed from `image` (1, C, H, W) in [0, 1]: its standard deviation and its kind.

    A number, in 0 to 255, is white noise. For "auto" the noise is estimated; levels below `WEAKEST_NOISE` count as 0.
    Noise that is blurred, or grows with brightness, is not looked for in photos that were compressed, since
    quantization changes spectra.
    """
    if not isinstance(setting, str):
        return float(setting), WHITE
    sigma, found = estimate_noise_level(image, content), estimate_grain(image, content)
    is_uneven = found and not is_compressed and (found.grain.blur or found.grain.shot)
    if found and is_uneven and found.sigma >= max(_WEAKEST_UNEVEN, 1.6 * sigma):  # else it is nearly white
        return found.sigma, found.grain
    if not WEAKEST_NOISE <= sigma < math.inf:
        return 0.0, WHITE
    return sigma, Grain(correlation=found.grain.correlation) if found else WHITE


def estimate_noise_level(images: Tensor, content: Tensor | None = None) -> float:
    """Estimate the standard deviation, in 0 to 255, of white noise on `images` (N, C, H, W) in [0, 1].

    Noise has all frequencies alike, flat parts of a photo only low ones. The flattest blocks are found by their low
    frequencies. Noise is independent between frequencies, so this choice does not bias the median of the absolute
    values of their high frequencies, which is measured (Ponomarenko et al. 2007). Where even these blocks have texture,
    their power falls from the middle frequencies to the high ones, and that difference is subtracted. The answer is 0
    for images that are too small to have flat blocks (below 56 pixels a side), or all black and white. Only the
    `content` (H, W) is looked at, which is searched for if it is not given.
    """
    content = find_judgeable(images) if content is None else content
    share = 1.0 if content is None else float(content.float().mean())
    stride = max(1, math.ceil(math.sqrt(share * images.numel() / 2**16)))  # of small images, every block counts
    coefficients = block_dct(images, stride, _MOST_CLIPPED, content)
    is_enough = min(images.shape[-2:]) >= _SMALLEST_SIDE and stride**2 * len(coefficients) >= _FEWEST_VALUES
    return _measure_flattest(coefficients) if is_enough else 0.0


def _measure_flattest(coefficients: Tensor) -> float:
    """Estimate the noise from the coefficients (K, 8, 8) of blocks."""
    count = round(0.02 * len(coefficients))
    frequency = torch.arange(SIDE)[:, None] + torch.arange(SIDE)
    low, middle, high = (frequency > 0) & (frequency <= 7), (frequency >= 9) & (frequency <= 10), frequency >= 11
    flattest = coefficients[coefficients[:, low].square().mean(1).argsort()[:count]]
    power, middle_power = (_robust_variance(flattest[:, band]) for band in (high, middle))
    texture = max(middle_power - 1.2 * power, 0.0)  # noise alone may have a ratio of 1.2
    return math.sqrt(max(power - 1.5 * texture, 0.0))


def bound_noise(images: Tensor, content: Tensor | None = None) -> float:
    """Return the largest standard deviation, in 0 to 255, that white noise on `images` (N, C, H, W) in [0, 1] may have.

    Noise is everywhere, but texture and aliasing are not. So it is no stronger than the quietest fiftieth of the blocks
    is at high frequencies, and not much more than `estimate_noise_level` says. It is at least that of rounding, and
    infinite for an image without blocks.
    """
    coefficients = block_dct(images, max(3, math.ceil(math.sqrt(images.numel() / 2**17))), _MOST_CLIPPED, content)
    high = torch.arange(SIDE)[:, None] + torch.arange(SIDE) >= 9
    if len(coefficients) < 100:
        return math.inf
    power = coefficients[:, high].square().mean(1)
    quietest = float(power.quantile(0.02)) / 0.46  # of a chi-squared variable of 21 degrees of freedom
    estimate = 1.5 * _measure_flattest(coefficients) ** 2 if len(coefficients) >= 2000 else math.inf
    return math.sqrt(min(quietest, estimate) + 1 / 12)


def _robust_variance(coefficients: Tensor) -> float:
    """Return the variance of normal values by their median, without that of rounding to 8 bits."""
    return float(coefficients.abs().median() / 0.6745) ** 2 - 1 / 12
