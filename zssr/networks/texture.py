"""The adversarial head: a small network at the large size that adds texture, where the photo has some."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from zssr.geometry import Region
from zssr.networks.convolutions import conv2d_deterministic
from zssr.networks.sr import convolution

CONTRAST_REACH = 3
"""How far the contrast of a photo reaches, in its pixels."""

_WIDTH, _DEPTH, _SIDE = 16, 4, 3
_AROUND = 7  # side of the neighborhood that a pixel is compared with
_LEAST = 0.01  # contrast below which a region is flat
_INPUT, _OUTPUT = 0.25, 12.0  # gains that bring what comes in and goes out to about one
_WINDOW = 5  # pixels: side of the neighborhood that fine detail is measured in
_ROUGH = 4.0  # contrast that counts, at most, for a slope of one in the direction in which it is weakest


class TextureGenerator(nn.Module):
    """Adds to an enlarged image what fine detail it lacks: part of it follows from the image, and part is random.

    At the large size a convolution treats all pixels alike, so it leaves no grid, as a pixel shuffle that was trained
    by a game does. The image comes in relative to its surroundings and to the photo's contrast there, and what goes out
    is multiplied by that contrast: flat regions stay flat, and all contrasts are learned from together. This and the
    randomness are held down where the image changes in one direction only, or not at all: along edges and beside them.

    Parameters
    ----------
    channels
        Channels of the image.
    generator
        Source of the start weights; with these nothing is added.

    Attributes
    ----------
    strength
        How many times the output is added.
    seed
        Of the randomness.
    """

    def __init__(self, channels: int, generator: torch.Generator, seed: int = 0) -> None:
        super().__init__()
        widths = [channels + 1, *[_WIDTH] * (_DEPTH - 1), channels]
        layers = [convolution(a, b, _SIDE) for a, b in pairwise(widths)]
        for layer in layers[:-1]:
            bound = 1 / math.sqrt(layer.weight[0].numel())
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        self.strength, self.seed = 1.0, seed
        self.convolutions = nn.ModuleList(layers).to(memory_format=torch.channels_last)
        self.margin = _DEPTH * (_SIDE // 2) + _AROUND // 2 + 1

    def forward(self, image: Tensor, contrast: Tensor, noise: Tensor) -> Tensor:
        """Return the texture of an enlarged `image` (N, C, H, W), before it is multiplied by the strength.

        `contrast` (N, 1, H, W) is that of the photo (see `contrast`), enlarged, and `noise` (N, 1, H, W) is normal.
        """
        amount = torch.minimum(contrast, _ROUGH * _weakest_slope(image))
        relative = _INPUT * (image - _mean(image, _AROUND)) / (contrast + _LEAST)
        random = noise * amount / (contrast + _LEAST)
        features = torch.cat([relative, random], dim=1).contiguous(memory_format=torch.channels_last)
        for k, layer in enumerate(self.convolutions):
            features = nn.functional.leaky_relu(features, 0.1) if k > 0 else features
            features = conv2d_deterministic(features, layer.weight, layer.bias, padding=_SIDE // 2)  # type: ignore[arg-type]
        return _OUTPUT * amount * features


def contrast(photo: Tensor) -> Tensor:
    """Return the standard deviation of the finest detail of images (N, C, H, W) around each pixel: (N, 1, H, W)."""
    gray = photo.mean(1, keepdim=True)
    row = gray.new_tensor([1.0, 2.0, 1.0]) / 4
    fine = gray - nn.functional.conv2d(_mirrored(gray, 1), (row[:, None] * row)[None, None])
    return _mean(fine.square(), _WINDOW).sqrt()


def _weakest_slope(image: Tensor) -> Tensor:
    """Return how steep images (N, C, H, W) are around each pixel, where they are least so: (N, 1, H, W).

    That is the root of the smaller eigenvalue of the structure tensor: nothing on a straight edge, nor beside it.
    """
    gray = _mirrored(image.mean(1, keepdim=True), 1)
    across = (gray[..., 1:-1, 2:] - gray[..., 1:-1, :-2]) / 2
    down = (gray[..., 2:, 1:-1] - gray[..., :-2, 1:-1]) / 2
    first, second, mixed = (_mean(each, _AROUND) for each in (across.square(), down.square(), across * down))
    smaller = (first + second) / 2 - torch.hypot((first - second) / 2, mixed)
    return smaller.clamp(min=0).sqrt()


def noise(region: Region, seed: int) -> Tensor:
    """Return normal noise (1, 1, h, w) that depends on the place of each pixel, and not on the region's borders."""
    rows = torch.arange(region.rows.start, region.rows.stop)[:, None]
    columns = torch.arange(region.columns.start, region.columns.stop)[None]
    first, second = (_uniform(rows, columns, 2 * seed + k) for k in range(2))
    return (torch.sqrt(-2 * torch.log(first)) * torch.cos(2 * math.pi * second)).float()[None, None]


def _uniform(rows: Tensor, columns: Tensor, seed: int) -> Tensor:
    """Return numbers between 0 and 1 that are scrambled from those of a row, a column and a seed."""
    number = rows * 0x1B873593 + columns * 0x19D699A5 + (seed % 2**31) * 0x2545F491
    for shift, factor in ((16, 0x45D9F3B), (15, 0x27D4EB2D), (13, 0x165667B1)):
        number = number & 0xFFFFFFFF
        number = (number ^ (number >> shift)) * factor
    return ((number & 0xFFFFFFFF).double() + 0.5) / 2**32


def _mean(images: Tensor, side: int) -> Tensor:
    return nn.functional.avg_pool2d(_mirrored(images, side // 2), side, 1)


def _mirrored(images: Tensor, margin: int) -> Tensor:
    return nn.functional.pad(images, [margin] * 4, mode="reflect")
