"""The texture generator: a small network at the output's size that adds fine detail where the photo has some."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from zssr.geometry import Region
from zssr.networks.sr import Convolution

LOCAL_STD_RADIUS = 3
"""Receptive radius of `local_std`, in pixels."""


@dataclass(frozen=True)
class TextureShape:
    """The shape of the texture generator, chosen by `python -m benchmarks texture` at x4 (see benchmarks/README.md).

    Attributes
    ----------
    width, depth, kernel_size
        Of its convolutions.
    window
        Side in pixels of the window of local means and gradients.
    flat_std
        Local standard deviation of a region that counts as flat.
    input_gain, output_gain
        They bring inputs and outputs to a standard deviation of about one.
    max_std_per_gradient
        The local standard deviation is limited to this many times the weakest gradient.
    """

    width: int = 16
    depth: int = 4
    kernel_size: int = 3
    window: int = 7
    flat_std: float = 0.01
    input_gain: float = 0.25
    output_gain: float = 12.0
    max_std_per_gradient: float = 4.0


class TextureGenerator(nn.Module):
    """Predicts the fine detail that an upscaled image lacks: part of it follows from the image, and part is random.

    Its convolutions treat all pixels alike, so it leaves no grid, as a pixel shuffle does after adversarial training.
    The image comes in less its local mean and divided by the photo's local standard deviation. The output is multiplied
    by that, so flat regions stay flat. Along straight edges output and noise are small, by the weakest gradient.

    Parameters
    ----------
    channels
        Channels of the image.
    generator
        Source of the start weights; with these nothing is added.

    Attributes
    ----------
    strength
        Factor of the output where it is added.
    seed
        Of the noise.
    margin
        Receptive radius in pixels.
    """

    def __init__(self, channels: int, generator: torch.Generator, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape = TextureShape()
        widths = [channels + 1, *[shape.width] * (shape.depth - 1), channels]
        layers = [Convolution(a, b, shape.kernel_size) for a, b in pairwise(widths)]
        for layer in layers[:-1]:
            bound = 1 / math.sqrt(layer.weight[0].numel())
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        self.strength, self.seed = 1.0, seed
        self.convolutions = nn.ModuleList(layers).to(memory_format=torch.channels_last)
        self.margin = shape.depth * (shape.kernel_size // 2) + shape.window // 2 + 1

    def forward(self, image: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Return the texture of an upscaled `image` (N, C, H, W) in [0, 1], before it is multiplied by the strength.

        `std` (N, 1, H, W) is the upscaled `local_std` of the photo, `noise` (N, 1, H, W) is standard normal.
        """
        shape = self.shape
        amount = torch.minimum(std, shape.max_std_per_gradient * weakest_gradient(image, shape.window))
        relative = shape.input_gain * (image - local_mean(image, shape.window)) / (std + shape.flat_std)
        random = noise * amount / (std + shape.flat_std)
        features = torch.cat([relative, random], dim=1).contiguous(memory_format=torch.channels_last)
        for k, layer in enumerate(self.convolutions):
            features = nn.functional.leaky_relu(features, 0.1) if k > 0 else features
            features = layer(features)
        return shape.output_gain * amount * features


def local_std(photo: Tensor) -> Tensor:
    """Return the standard deviation of the finest detail of images (N, C, H, W), in windows of 5 x 5: (N, 1, H, W)."""
    gray = photo.mean(1, keepdim=True)
    row = gray.new_tensor([1.0, 2.0, 1.0]) / 4
    fine = gray - nn.functional.conv2d(reflect_pad(gray, 1), (row[:, None] * row)[None, None])
    return local_mean(fine.square(), 5).sqrt()


def weakest_gradient(image: Tensor, window: int) -> Tensor:
    """Return the gradient of images (N, C, H, W) in the direction in which it is weakest: (N, 1, H, W).

    That is the root of the smaller eigenvalue of the structure tensor: zero on a straight edge, and beside it.
    """
    gray = reflect_pad(image.mean(1, keepdim=True), 1)
    across = (gray[..., 1:-1, 2:] - gray[..., 1:-1, :-2]) / 2
    down = (gray[..., 2:, 1:-1] - gray[..., :-2, 1:-1]) / 2
    first, second, mixed = (local_mean(each, window) for each in (across.square(), down.square(), across * down))
    smaller = (first + second) / 2 - torch.hypot((first - second) / 2, mixed)
    return smaller.clamp(min=0).sqrt()


def hash_normal(region: Region, seed: int) -> Tensor:
    """Return normal noise (1, 1, h, w) by each pixel's place in the whole image (Box and Muller 1958).

    It does not depend on the region's borders.
    """
    rows, columns = (
        torch.arange(one.start, one.stop) % one.length if one.wraps else torch.arange(one.start, one.stop)
        for one in (region.rows, region.columns)
    )
    rows, columns = rows[:, None], columns[None]
    first, second = (hash_uniform(rows, columns, 2 * seed + k) for k in range(2))
    return (torch.sqrt(-2 * torch.log(first)) * torch.cos(2 * math.pi * second)).float()[None, None]


def hash_uniform(rows: Tensor, columns: Tensor, seed: int) -> Tensor:
    """Hash row and column numbers and a seed to numbers between 0 and 1, of the broadcast shape."""
    number = (rows * 0x1B873593 + columns * 0x19D699A5 + (seed % 2**31) * 0x2545F491) & 0xFFFFFFFF
    for shift, factor in ((16, 0x45D9F3B), (15, 0x27D4EB2D), (13, 0x165667B1)):
        number = ((number ^ (number >> shift)) * factor) & 0xFFFFFFFF
    return (number.double() + 0.5) / 2**32


def local_mean(images: Tensor, window: int) -> Tensor:
    """Average images (N, C, H, W) in windows of `window` pixels a side around each pixel."""
    return nn.functional.avg_pool2d(reflect_pad(images, window // 2), window, 1)


def reflect_pad(images: Tensor, margin: int) -> Tensor:
    """Extend images (N, C, H, W) by reflection, by `margin` pixels on each side."""
    return nn.functional.pad(images, [margin] * 4, mode="reflect")
