"""JPEG compression that no file tells of any more: the waves of the pixels' blocks are whole steps of a table."""

import math

import torch
from torch import Tensor

from zssr.color import LUMA
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import is_quantized
from zssr.estimation.block_dct import SIDE, block_dct

_FINE = 95  # to remove the artifacts of a higher quality costs more than it gains

_MOST = 1024  # blocks that are looked at
_ERROR = 0.4  # standard deviation that rounding the decoded values to 8 bits gives to a wave
_STRAY = 0.05  # share of the waves that may lie anywhere
_QUALITIES = range(5, 98)  # above them steps are no larger than the errors
_SURE = 100.0  # logarithm of the odds
_ALIKE = 4  # waves that differ by less


def resolve_jpeg(setting: int | str, image: Tensor, of_file: Jpeg | None) -> Jpeg | None:
    """Return how `image` (1, C, H, W) was compressed, by the setting.

    For "auto", as its file says, or as its pixels tell if they have 8 bits; None where it is not worth it to remove the
    artifacts, and for "off". A number is a quality.
    """
    if not isinstance(setting, str):
        return Jpeg.from_quality(setting)
    if setting == "off":
        return None
    found = of_file or (estimate_jpeg(image) if is_quantized(image) else None)
    return found if found and found.quality <= _FINE else None


def estimate_jpeg(image: Tensor) -> Jpeg | None:
    """Return how the pixels of `image` (1, C, H, W) in [0, 1] were compressed before, None if they hardly were.

    For each quality of libjpeg, the waves of the luma's blocks that are not zero lie near whole steps of its table, or
    anywhere; what is told are the odds of the two (after Fan and de Queiroz 2003). Only a grid that begins in the upper
    left corner is seen, and the colors are taken to be subsampled as is usual. Images that are neither gray nor RGB
    were not compressed.
    """
    if image.shape[1] not in (1, len(LUMA)):
        return None
    weights = torch.tensor(LUMA if image.shape[1] > 1 else (1.0,), device=image.device).view(-1, 1, 1)
    is_clipped = ((image <= 0) | (image >= 1)).any(1, keepdim=True)  # there luma is no longer what was encoded
    waves = block_dct((weights * image).sum(1, keepdim=True).masked_fill(is_clipped, 0), SIDE, 0).flatten(1)[:, 1:]
    waves = waves[:: max(1, math.ceil(len(waves) / _MOST))]
    different = {tuple(kind): k for k, kind in enumerate((waves / _ALIKE).round().tolist())}
    waves = waves[list(different.values())]  # a pattern that recurs is no more than one witness
    odds, quality = max((_odds(waves, quality), quality) for quality in _QUALITIES)
    return Jpeg.from_quality(quality) if odds > _SURE else None


def _odds(waves: Tensor, quality: int) -> float:
    """Return the logarithm of the odds that `waves` (K, 63) were rounded to steps, against that they were not."""
    steps = torch.tensor(Jpeg.from_quality(quality).luma[1:])
    whole = (waves / steps).round()
    errors = (waves - whole * steps) / _ERROR
    peaks = steps / (_ERROR * math.sqrt(2 * math.pi)) * torch.exp(-0.5 * errors**2)
    return float((((1 - _STRAY) * peaks + _STRAY).log() * (whole != 0)).sum())
