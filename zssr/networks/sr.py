"""The super-resolution network: convolutions at the low resolution, a pixel shuffle, one global skip."""

import math
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from zssr.classical.data_term import REACH
from zssr.classical.map import estimate_map
from zssr.config import NetworkShape
from zssr.geometry import Margins
from zssr.method import FASTEST_SIDES, Method, ResidualNetwork

NO_MARGINS = Margins()


class Network(ResidualNetwork):
    """Residual CNN: predicts what interpolation leaves out (VDSR, Kim et al. 2016; ZSSR, Shocher et al. 2018).

    The convolutions run at the low resolution, and a pixel shuffle (Shi et al. 2016) rearranges the channels of the
    last one: at factor 2 this takes a quarter of the operations of convolutions at the high resolution. Between the
    first and the last one they form a plain chain, or residual blocks of two (EDSR, Lim et al. 2017).

    Parameters
    ----------
    channels
        Channels of the image.
    factor
        Integer upscaling factor of both axes.
    shape
        Width, depth, kernel size and form.
    generator
        Source of the initial weights (see `initialize_chain` and `_initialize_blocks`).

    Attributes
    ----------
    margin
        Receptive radius in pixels.
    """

    def __init__(self, channels: int, factor: int, shape: NetworkShape, generator: torch.Generator) -> None:
        super().__init__()
        self.channels, self.factor, self.shape = channels, factor, shape
        self.margin = shape.depth * (shape.kernel_size // 2)
        widths = [channels, *[shape.width] * (shape.depth - 1), channels * factor**2]
        layers: list[nn.Conv2d] = [Convolution(a, b, shape.kernel_size) for a, b in pairwise(widths)]
        (_initialize_blocks if shape.blocks else initialize_chain)(layers, generator)
        self.convolutions = nn.ModuleList(layers).to(memory_format=torch.channels_last)

    @property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Return the weight and the bias of each convolution, first to last."""
        return [(layer.weight, layer.bias) for layer in self.convolutions]  # type: ignore[misc]

    def forward(self, image: Tensor, margins: Margins = NO_MARGINS) -> Tensor:
        """Return the residual (N, C, factor * h, factor * w) to be added to the interpolated `image` (N, C, H, W).

        That is of the image without its `margins`, which are cut off as soon as no later layer sees them. The
        convolutions compute in the precision of their weights.
        """
        first, *inner, last = self.layers
        # centered on gray: zero padding then continues the image in gray, not in black
        features = (image - 0.5).to(first[0].dtype, memory_format=torch.channels_last)
        if self.shape.blocks:
            features = _convolve(features, *first)
            for k, (one, two) in enumerate(zip(inner[::2], inner[1::2], strict=True), 1):
                features = _convolve_add(_convolve_relu(features, *one), *two, features)
                features, margins = _crop(features, margins, self.margin - (1 + 2 * k) * (self.shape.kernel_size // 2))
        else:
            for layer in (first, *inner):
                features = _convolve_relu(features, *layer)
        residual = _convolve(features, *last)
        # residuals are small; with this gain a step of Adam moves them less
        return 0.2 * margins.crop(nn.functional.pixel_shuffle(residual, self.factor), self.factor).to(image.dtype)

    def predict_inside(self, image: Tensor, margins: Margins) -> Tensor:
        """Return the residual of an image (N, C, h, w), without that of its margins."""
        residual: Tensor = self(image, margins)
        return residual


def _crop(features: Tensor, margins: Margins, seen: int) -> tuple[Tensor, Margins]:
    """Cut margins off features (N, C, h, w) that are wider than what is `seen` by later layers.

    As much is left as makes the sides multiples of `FASTEST_SIDES`. Returns the rest, and its margins.
    """
    rows = _cut(features.shape[-2], margins.top, margins.bottom, seen)
    columns = _cut(features.shape[-1], margins.left, margins.right, seen)
    cut = Margins(*rows, *columns)
    if not any(cut):
        return features, margins
    rest = Margins(*(before - gone for before, gone in zip(margins, cut, strict=True)))
    return cut.crop(features).contiguous(memory_format=torch.channels_last), rest


def _cut(length: int, before: int, after: int, seen: int) -> tuple[int, int]:
    """Return what is cut off an axis before and after."""
    first, last = max(before - seen, 0), max(after - seen, 0)
    kept = (first + last - length) % FASTEST_SIDES
    return max(first - kept, 0), max(last - max(kept - first, 0), 0)


def _convolve(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return nn.functional.conv2d(features, weight, bias, padding=weight.shape[-1] // 2)


def _convolve_relu(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply a convolution and a ReLU."""
    if not _fuses(features):
        return torch.relu_(_convolve(features, weight, bias))
    padding = [weight.shape[-1] // 2] * 2
    convolve = torch.ops.mkldnn._convolution_pointwise
    fused: Tensor = convolve(features, weight, bias, padding, [1, 1], [1, 1], 1, "relu", [], "")
    return fused


def _convolve_add(features: Tensor, weight: Tensor, bias: Tensor, skip: Tensor) -> Tensor:
    """Apply a convolution and add it to `skip`, in place where no gradient is wanted."""
    if not _fuses(features):
        return skip + _convolve(features, weight, bias)
    padding = [weight.shape[-1] // 2] * 2
    convolve = torch.ops.mkldnn._convolution_pointwise_.binary
    fused: Tensor = convolve(skip, features, weight, bias, padding, [1, 1], [1, 1], 1, "add", None, None, [], None)
    return fused


def _fuses(features: Tensor) -> bool:
    """Return whether oneDNN can do a convolution and what follows it in one pass: on a CPU, without a gradient."""
    on_cpu = features.is_cpu and features.dtype != torch.float64
    return on_cpu and not torch.is_grad_enabled() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Convolution(nn.Conv2d):
    """A convolution that keeps the size, of zeros: its start weights are not drawn from the global generator."""

    def __init__(self, channels: int, width: int, kernel_size: int) -> None:
        super().__init__(channels, width, kernel_size, padding=kernel_size // 2, dtype=torch.float32)

    def reset_parameters(self) -> None:
        """Set all weights to zero."""
        for weight in self.parameters():
            nn.init.zeros_(weight)


@torch.no_grad()
def initialize_chain(layers: list[nn.Conv2d], generator: torch.Generator) -> None:
    """Set initial weights with which the network is linear and every layer preserves the norm of its input.

    Most of a residual is zero. A network with independent initial weights first learns to output zero under L1 loss
    and stays there for hundreds of steps. Here each layer holds a map and its negative, which behind a ReLU together
    carry as much as the map ("looks linear", Balduzzi et al. 2017), and the inner maps are rotations on the middle tap
    ("delta-orthogonal", Xiao et al. 2018). So the gradient reaches every layer undamped, and the network is odd. The
    filters of the first layer sum to zero and nearly agree in all channels: they respond to edges, not to brightness.
    The last layer is small, so that the output is nearly the interpolation.
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
            half += edges * (1 + 0.5 * torch.randn(width, channels, 1, 1, generator=generator))
        elif last:
            half.normal_(std=0.15 / math.sqrt(taps), generator=generator)
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


@torch.no_grad()
def _initialize_blocks(layers: list[nn.Conv2d], generator: torch.Generator) -> None:
    """Set initial weights that preserve the norm of their input (He et al. 2015).

    The second layer of a block is divided by the root of the number of blocks, so that all of them together add as
    much as there was before. The last layer is small, so that the output is nearly the interpolation.
    """
    blocks = max(1, (len(layers) - 2) // 2)
    for k, layer in enumerate(layers):
        gain = 0.3 if layer is layers[-1] else 1.0 if k == 0 else math.sqrt(2) if k % 2 else 1 / math.sqrt(blocks)
        layer.weight.normal_(std=gain / math.sqrt(layer.weight[0].numel()), generator=generator)


METHOD = Method(
    name="zssr",
    summary="a small residual network of the photo's own, trained on it from drawn start weights (the default)",
    paper="Shocher, Cohen and Irani 2018",
    reconstruct=partial(estimate_map, prior="huber"),
    reach=lambda _: REACH,
    network=Network,
    uses=("shape",),
    has_prior=True,
)
