"""Pixels without data: those of a number that stands for none, such as GDAL's, NaN, and what is masked."""

import torch
from torch import Tensor

NoData = float | Tensor
"""The number that stands for no data, or the mask (C, H, W) of it."""


def find_nodata(numbers: Tensor, nodata: float) -> Tensor:
    """Find which `numbers` (C, h, w) are no data; NaN always is. Where 3 whole numbers are a color, all have to be."""
    if not numbers.is_floating_point():
        voids = numbers.to(torch.int64) == nodata
        return voids.all(0, keepdim=True).expand_as(voids) if len(voids) == 3 else voids
    return (numbers == _round_to(nodata, numbers.dtype)) | numbers.isnan()


def restore_nodata(pixels: Tensor, voids: Tensor, nodata: float) -> Tensor:
    """Return `pixels` (C, h, w) with the number `nodata` where `voids` says so, and nowhere else.

    Other pixels that have come to it become the next number, which for 64-bit floats may be a whole one.
    """
    number = _round_to(nodata, pixels.dtype)
    wide = pixels.double()
    is_whole = pixels.dtype == torch.float64 and number.is_integer()
    near = (wide - number).abs() < 0.5 if is_whole else wide == number
    if not pixels.is_floating_point() or is_whole:
        highest = torch.iinfo(pixels.dtype).max if not pixels.is_floating_point() else torch.inf
        other = torch.full_like(pixels, number + 1 if number < highest else number - 1, dtype=torch.float64)
    else:
        other = torch.nextafter(pixels, torch.full_like(pixels, torch.inf)).double()
    wide = torch.where(voids, number, torch.where(near & ~voids, other, wide))
    return wide.to(pixels.dtype)


def _round_to(number: float, dtype: torch.dtype) -> float:
    """Return a number as a type has it; beyond the range of floats it is the last of them, as in files of GDAL's."""
    if not dtype.is_floating_point or number in (torch.inf, -torch.inf):
        return number
    most = torch.finfo(dtype).max
    return float(torch.tensor(max(-most, min(number, most)), dtype=dtype)) if number == number else number
