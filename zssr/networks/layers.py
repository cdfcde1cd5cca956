"""What the networks of the literature share: layers without global randomness, their start weights, and their base."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from zssr.degradation import resize
from zssr.method import ResidualNetwork
from zssr.networks.sr import Convolution

_FEATURES = 8  # layers that take fewer channels work on images


class Deconvolution(nn.ConvTranspose2d):
    """A transposed convolution that upscales by a whole number, of zeros."""

    def __init__(self, channels: int, width: int, kernel_size: int, factor: int) -> None:
        padding = (kernel_size - factor + 1) // 2
        extra = factor + 2 * padding - kernel_size
        super().__init__(channels, width, kernel_size, factor, padding, extra, dtype=torch.float32)

    def reset_parameters(self) -> None:
        """Set all weights to zero."""
        for weight in self.parameters():
            nn.init.zeros_(weight)


class PublishedNetwork(ResidualNetwork):
    """A network of a paper; `predict` takes an image to what it predicts, in the precision of its weights.

    Attributes
    ----------
    predicts_residual
        Whether that is what the interpolated image lacks, or the image itself.
    mean
        What is taken off the image before, and added to an image that is predicted: a training set's mean in a paper.
    """

    predicts_residual = True
    mean = 0.0

    def __init__(self, channels: int, factor: int, margin: int) -> None:
        super().__init__()
        self.channels, self.factor, self.margin = channels, factor, margin

    def predict(self, image: Tensor) -> Tensor:
        """Take (N, C, H, W) to (N, C, factor * H, factor * W)."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Return the residual (N, C, factor * H, factor * W) to be added to the interpolated `image` (N, C, H, W)."""
        return self.to_residual(self.predict(self.to_features(image)), image)

    def to_features(self, image: Tensor) -> Tensor:
        """Return the image in the precision of the weights, less the mean."""
        first = next(self.parameters())
        return (image - self.mean).to(first.dtype, memory_format=torch.channels_last)

    def to_residual(self, predicted: Tensor, image: Tensor) -> Tensor:
        """Return what is to be added to the interpolated image to get what was predicted."""
        predicted = predicted.to(image.dtype)
        if self.predicts_residual:
            return predicted
        return predicted + self.mean - upsample_cubic(image, predicted.shape[-1] // image.shape[-1])


def upsample_cubic(image: Tensor, factor: int) -> Tensor:
    """Upscale (..., H, W) by a whole number."""
    height, width = (factor * side for side in image.shape[-2:])
    return resize(image, (height, width), (factor, factor)) if factor > 1 else image


def factorize(factor: int) -> list[int]:
    """Split a factor into doublings, if it is a power of two."""
    doublings = factor.bit_length() - 1
    return [2] * doublings if 2**doublings == factor else [factor]


def make_chain(widths: list[int], kernel_sizes: list[int]) -> nn.ModuleList:
    """Make convolutions that follow each other."""
    sides = zip(pairwise(widths), kernel_sizes, strict=True)
    return nn.ModuleList(Convolution(before, after, side) for (before, after), side in sides)


@torch.no_grad()
def initialize_weights(network: nn.Module, generator: torch.Generator, *last: nn.Module) -> None:
    """Set random weights that preserve the norm behind a ReLU (He et al. 2015), and are local.

    Layers between the first and the last have weights on their middle taps only ("delta", Xiao et al. 2018): random
    ones on all taps would mix the neighborhoods of many layers before anything is learned. Filters on the image sum to
    zero and have 3x3 pixels: they respond to edges. The weights of the last layers are a tenth.
    """
    for layer in network.modules():
        if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            continue
        channels, taps = layer.in_channels, math.prod(layer.kernel_size) / math.prod(layer.stride)
        if layer in last:
            layer.weight.normal_(std=0.1 * math.sqrt(2 / (channels * taps)), generator=generator)
        elif channels < _FEATURES:
            _respond_to_edges(layer.weight, generator)
        elif isinstance(layer, nn.ConvTranspose2d) and max(layer.stride) > 1:
            mix = torch.randn(layer.weight.shape[:2], generator=generator) * math.sqrt(2 / channels)
            layer.weight.copy_(mix[..., None, None] * _interpolation_taps(layer.kernel_size[0], layer.stride[0]))
        else:
            middle = layer.kernel_size[0] // 2
            layer.weight[:, :, middle, middle].normal_(std=math.sqrt(2 / channels), generator=generator)
    network.to(memory_format=torch.channels_last)


def _respond_to_edges(weight: Tensor, generator: torch.Generator) -> None:
    width, channels, side, _ = weight.shape
    inner = slice(max(0, side // 2 - 1), side // 2 + 2)
    filters = torch.randn(width, channels, *weight[0, 0, inner, inner].shape, generator=generator)
    weight[..., inner, inner] = math.sqrt(2 / filters[0].numel()) * (filters - filters.mean((2, 3), keepdim=True))


def _interpolation_taps(side: int, factor: int) -> Tensor:
    """Return the taps (side, side) of a deconvolution that interpolates linearly."""
    at = torch.arange(side) - (side - factor + 1) // 2  # of each tap, in pixels of the output
    taps = (1 - ((at - (factor - 1) / 2) / factor).abs()).clamp_min(0)
    for phase in range(factor):
        taps[at % factor == phase] /= taps[at % factor == phase].sum()
    return taps[:, None] * taps


@torch.no_grad()
def pass_image(layer: nn.Module, channels: int, scale: float = 1.0) -> None:
    """Let the first channels of a layer carry those of its input on, so that the start is an interpolation.

    A network of random weights that predicts an image, and not a residual, learns that for most of its time.
    """
    weight = layer.get_parameter("weight")
    weight[:channels] = 0
    for c in range(channels):
        weight[c, c, weight.shape[-2] // 2, weight.shape[-1] // 2] = scale


@torch.no_grad()
def pass_enlarged(layer: nn.Module, channels: int, factor: int, scale: float = 1.0) -> None:
    """Let a layer that upscales carry the first channels of its input on, interpolated linearly.

    It is a deconvolution, or a convolution before a pixel shuffle.
    """
    weight = layer.get_parameter("weight")
    side = weight.shape[-1]
    if isinstance(layer, nn.ConvTranspose2d):
        weight[:, :channels] = 0
        for c in range(channels):
            weight[c, c] = scale * _interpolation_taps(side, factor)
        return
    at = torch.arange(side) - side // 2
    weight[: channels * factor**2] = 0
    for k in range(channels * factor**2):
        c, (down, right) = k // factor**2, divmod(k % factor**2, factor)
        rows, columns = ((1 - (at - ((one + 0.5) / factor - 0.5)).abs()).clamp_min(0) for one in (down, right))
        weight[k, c] = scale * rows[:, None] * columns


@torch.no_grad()
def keep_image(network: nn.Module, channels: int, *names: str) -> None:
    """Let layers of these names, whose results are added to features, add nothing to the image at the start."""
    for name, layer in network.named_modules():
        if name.rpartition(".")[2] in names:
            layer.get_parameter("weight")[:channels] = 0
