"""The JPEG quality of a photo whose file does not state it, from the quantized coefficients of its blocks."""

import math
from typing import Literal

import torch
from torch import Tensor

from zssr.color import LUMA
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import is_quantized
from zssr.estimation.block_dct import SIDE, block_dct


def resolve_jpeg(
    setting: int | Literal["auto", "off"], image: Tensor, file_jpeg: Jpeg | None, content: Tensor | None = None
) -> Jpeg | None:
    """Return the compression whose artifacts are to be removed from `image` (1, C, H, W) in [0, 1]; None for none.

    A number is a quality. For "auto" it is `file_jpeg`, or estimated if the pixels have 8 bits; qualities above 95
    count as none, because to remove their artifacts costs more than it gains
    (`python -m benchmarks constants --what thresholds`). For "off" it is None.
    """
    if not isinstance(setting, str):
        return Jpeg.from_quality(setting)
    if setting == "off":
        return None
    found = file_jpeg or (estimate_jpeg(image, content) if is_quantized(image, content) else None)
    return found if found and found.quality <= 95 else None


def estimate_jpeg(image: Tensor, content: Tensor | None = None) -> Jpeg | None:
    """Estimate how the pixels of `image` (1, C, H, W) in [0, 1] were compressed; None if they hardly were.

    For each quality of libjpeg the hypothesis that the luma's nonzero coefficients lie near whole steps of its table
    is compared with that of any values (after Fan and de Queiroz 2003). Only a grid of blocks that begins in the top
    left corner is found. The chroma is taken to be subsampled by 4:2:0. The answer is None for images that are neither
    gray nor RGB. Only the `content` (H, W) is looked at, if it is given.
    """
    if image.shape[1] not in (1, len(LUMA)):
        return None
    coefficients = _luma_coefficients(image, content)
    log_odds, quality = max((_log_odds(coefficients, quality), quality) for quality in range(5, 98))
    return Jpeg.from_quality(quality) if log_odds > 100 else None


def _luma_coefficients(image: Tensor, content: Tensor | None) -> Tensor:
    """Return the coefficients of at most 1024 different blocks, without their means: (K, 63)."""
    weights = torch.tensor(LUMA if image.shape[1] > 1 else (1.0,), device=image.device).view(-1, 1, 1)
    is_clipped = ((image <= 0) | (image >= 1)).any(1, keepdim=True)  # there luma is no longer what was encoded
    luma = (weights * image).sum(1, keepdim=True).masked_fill(is_clipped, 0)
    coefficients = block_dct(luma, SIDE, 0, content).flatten(1)[:, 1:]
    coefficients = coefficients[:: max(1, math.ceil(len(coefficients) / 1024))]
    different = {tuple(rounded): k for k, rounded in enumerate((coefficients / 4).round().tolist())}
    return coefficients[list(different.values())]  # a pattern that recurs is no further evidence


def _log_odds(coefficients: Tensor, quality: int) -> float:
    """Return the logarithm of the odds that `coefficients` (K, 63) were quantized by a quality's table."""
    error = 0.4  # standard deviation of a coefficient after rounding the decoded values to 8 bits
    outliers = 0.05  # the share of coefficients that may have any value
    steps = torch.tensor(Jpeg.from_quality(quality).luma[1:])
    multiples = (coefficients / steps).round()
    deviations = (coefficients - multiples * steps) / error
    peaks = steps / (error * math.sqrt(2 * math.pi)) * torch.exp(-0.5 * deviations**2)
    return float((((1 - outliers) * peaks + outliers).log() * (multiples != 0)).sum())
