"""Nearest-neighbor interpolation."""

import torch
from torch import Tensor

from zssr.classical.pillow_resize import keep_interpolated
from zssr.geometry import Factors
from zssr.method import Method


def repeat_nearest(image: Tensor, size: tuple[int, int], scale: Factors, *, top_left: bool, offset: Factors) -> Tensor:
    """Resize `image` (..., h, w) to (..., *size) by the pixel in which the middle of an output pixel lies."""
    rows, columns = (
        _find_nearest(length, out, factor, begin + (0.5 - 0.5 / factor if top_left else 0.0)).to(image.device)
        for length, out, factor, begin in zip(image.shape[-2:], size, scale, offset, strict=True)
    )
    return image[..., rows[:, None], columns]


def _find_nearest(length: int, out: int, factor: float, begin: float) -> Tensor:
    middles = (torch.arange(out, dtype=torch.float64) + 0.5) / factor + begin
    return torch.floor(torch.round(middles, decimals=6)).long().clamp(0, length - 1)


METHOD = Method(
    name="nearest",
    summary="interpolation: the nearest pixel",
    paper="folklore",
    interpolate=repeat_nearest,
    support=1,
    reconstruct=keep_interpolated,
)
