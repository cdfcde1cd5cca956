"""The network: a chain of convolutions at the size of the small image, and one global skip around it."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from zssr.networks.convolutions import conv_chain

_GRAY = 0.5  # the inputs' middle, so that the zeros beyond the border are a mean and not black
_GAIN = 0.2  # residuals are small: so are the outputs, and a step of Adam moves them less
_COLORED = 0.5  # how much the first layer's filters differ between the channels
_LAST_LAYER = 0.15  # the start is nearly the interpolation


class Network(nn.Module):
    """Residual CNN that adds to an enlarged image what interpolation cannot know (VDSR, Kim et al. 2016; ZSSR 2018).

    The convolutions run at the size of the small image and a pixel shuffle (Shi et al. 2016) spreads the last one's
    channels over the large one: at factor 2 a quarter of the work of convolutions at the large size.

    Parameters
    ----------
    channels
        Channels of the image.
    factor
        The whole number of times that the output is larger than the input, on both axes.
    width, depth, kernel_size
        Channels of the hidden layers, number of convolutions, and their side in pixels (odd).
    generator
        Source of the start weights, which make the network linear at first (see `_start`).
    """

    def __init__(
        self, channels: int, factor: int, width: int, depth: int, kernel_size: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.channels = channels
        self.factor = factor
        self.margin = depth * (kernel_size // 2)
        widths = [channels, *[width] * (depth - 1), channels * factor**2]
        layers = [convolution(a, b, kernel_size) for a, b in pairwise(widths)]
        _start(layers, generator)
        self.convolutions = nn.ModuleList(layers).to(memory_format=torch.channels_last)

    @property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Return the weight and the bias of each convolution, first to last."""
        return [(layer.weight, layer.bias) for layer in self.convolutions]  # type: ignore[misc]

    def forward(self, image: Tensor) -> Tensor:
        """Return the residual (N, C, factor * H, factor * W) to be added to the enlarged `image` (N, C, H, W).

        The convolutions compute in the precision of their weights.
        """
        weights, biases = zip(*self.layers, strict=True)
        features = (image - _GRAY).to(weights[0].dtype, memory_format=torch.channels_last)
        residual = conv_chain(features, weights, biases)
        return nn.functional.pixel_shuffle(residual, self.factor).to(image.dtype) * _GAIN


def convolution(channels: int, width: int, kernel_size: int) -> nn.Conv2d:
    """Make a convolution of zeros that keeps the size, without drawing from the global generator."""
    layer: nn.Conv2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, channels, width, kernel_size, padding=kernel_size // 2, dtype=torch.float32
    )
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


@torch.no_grad()
def _start(layers: list[nn.Conv2d], generator: torch.Generator) -> None:
    """Set start weights under which the network is linear and every layer keeps the length of its signal.

    Most of a residual is zero, so to answer zero is what L1 loss leads to first, and a network that starts from
    independent weights rests there for hundreds of steps. Here each layer holds a map and its negative, which behind a
    ReLU are together as good as the map ("looks linear", Balduzzi et al. 2017), and the inner maps are rotations on
    the middle tap ("delta-orthogonal", Xiao et al. 2018): the gradient reaches every layer whole, and an odd answer to
    an odd question, the negative, is there from the start. The first layer's filters sum to zero and are much the same
    in all channels: what a ReLU can tell apart from the start is the two sides of an edge, not bright and dark.
    """
    for k, layer in enumerate(layers):
        first, last = k == 0, layer is layers[-1]
        width = layer.out_channels if last else layer.out_channels // 2
        channels = layer.in_channels if first else layer.in_channels // 2
        half = torch.zeros(width, channels, *layer.kernel_size)
        taps = channels * half[0, 0].numel()
        if first:
            edges = torch.randn(width, 1, *layer.kernel_size, generator=generator) / math.sqrt(taps)
            if edges[0].numel() > 1:
                edges -= edges.mean((2, 3), keepdim=True)
            half += edges * (1 + _COLORED * torch.randn(width, channels, 1, 1, generator=generator))
        elif last:
            half.normal_(std=_LAST_LAYER / math.sqrt(taps), generator=generator)
        else:
            middle = layer.kernel_size[0] // 2
            half[:, :, middle, middle] = _rotation(width, generator)
        signed = half if first else torch.cat([half, -half], dim=1)
        signed = signed if last else torch.cat([signed, -signed])
        layer.weight[: signed.shape[0], : signed.shape[1]] = signed


def _rotation(size: int, generator: torch.Generator) -> Tensor:
    """Draw an orthogonal matrix."""
    rotation: Tensor = torch.linalg.qr(torch.randn(size, size, generator=generator)).Q
    return rotation
