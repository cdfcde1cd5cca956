"""The network: a chain of convolutions at the size of the small image, and one global skip around it."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

_GREY = 0.5  # the inputs' middle, so that the zeros beyond the border are a mean and not black
_GAIN = 0.1  # residuals are small: so are the outputs, and a step of Adam moves them less
_LAST_LAYER = 0.3  # the start is nearly the interpolation


class Network(nn.Module):
    """Residual CNN that adds to an enlarged image what interpolation cannot know (VDSR, Kim et al. 2016; ZSSR 2018).

    The convolutions run at the size of the small image and a pixel shuffle (Shi et al. 2016) spreads the last one's
    channels over the large one: at factor 2 a quarter of the work of convolutions at the large size, and no worse.

    Parameters
    ----------
    channels
        Channels of the image.
    factor
        The whole number of times that the output is larger than the input, on both axes.
    width, depth, kernel_size
        Channels of the hidden layers, number of convolutions, and their side in pixels (odd).
    generator
        Source of the start weights (He et al. 2015).
    """

    def __init__(
        self, channels: int, factor: int, width: int, depth: int, kernel_size: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.factor = factor
        self.margin = depth * (kernel_size // 2)
        widths = [channels, *[width] * (depth - 1), channels * factor**2]
        layers = [_convolution(a, b, kernel_size, generator) for a, b in pairwise(widths)]
        with torch.no_grad():
            layers[-1].weight *= _LAST_LAYER
        self.convolutions = nn.ModuleList(layers).to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        """Return the residual (N, C, factor * H, factor * W) to be added to the enlarged `image` (N, C, H, W)."""
        *hidden, last = self.convolutions
        features = image - _GREY
        for layer in hidden:
            features = torch.relu_(layer(features))
        return nn.functional.pixel_shuffle(last(features), self.factor) * _GAIN


def _convolution(channels: int, width: int, kernel_size: int, generator: torch.Generator) -> nn.Conv2d:
    """Make a convolution with He's start weights, without drawing from the global generator."""
    layer: nn.Conv2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, channels, width, kernel_size, padding=kernel_size // 2, dtype=torch.float32
    )
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (channels * kernel_size**2)), generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
