"""A network that is conditioned on the degradation of its input by feature-wise linear modulation (FiLM)."""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zssr.degradation import Degradation
from zssr.networks.convolutions import BlockedLinear
from zssr.networks.sr import Network

DegradationKind = Literal["bicubic", "blurred", "noisy"]
DEGRADATION_KINDS: tuple[DegradationKind, ...] = ("bicubic", "blurred", "noisy")
"""Each kind has its own networks. Most photos are taken to be bicubic, so one network is trained for that alone."""

CHANNELS = 3
"""Channels of the images that priors are trained on."""

_RADII = (0.25, 0.5, 0.75, 1.0, 1.5)  # in units of the small image's Nyquist frequency
_DIRECTIONS = 4
WAVES = 2 * len(_RADII) * _DIRECTIONS
"""Samples of the transfer function in an embedding: cosines and sines."""

EMBEDDING_SIZE = WAVES + 4
"""Length of a degradation embedding: the transfer function, the noise, and three numbers for JPEG."""


def degradation_kind(degradation: Degradation) -> DegradationKind:
    """Classify a degradation: "noisy" with noise or JPEG artifacts, with or without a blur; else by its kernel."""
    if not degradation.is_clean:
        return "noisy"
    return "bicubic" if degradation.kernel is None and degradation.sampling == "center" else "blurred"


def sample_transfer_function(degradation: Degradation) -> Tensor:
    """Measure the transfer function of the downsampling at 20 frequencies: (WAVES,), all real parts, then imaginary.

    Cosine and sine waves are downsampled and read at one pixel of the small image. Their phase is 0 at the middle of
    that pixel's block in the large image, so the values depend on the sampling position too. The frequencies lie in
    four directions, up to 1.5 times the Nyquist frequency of the small image.
    """
    support = 0 if degradation.kernel is None else max(degradation.kernel.shape)
    small = 24 + support  # sides of the small image that keep the borders away from its middle
    middle = small // 2
    sides = [math.ceil(scale * small) for scale in degradation.scale]
    y, x = (
        torch.arange(side, dtype=torch.float64) - (scale * (middle + 0.5) - 0.5)
        for side, scale in zip(sides, degradation.scale, strict=True)
    )
    phases = [down * y[:, None] + right * x for down, right in _frequencies(degradation.scale)]
    waves = torch.stack([wave(phase) for wave in (torch.cos, torch.sin) for phase in phases])
    return degradation.downsample(waves[None], (small, small))[0, :, middle, middle].float()


def _frequencies(scale: tuple[float, float]) -> Iterator[tuple[float, float]]:
    """Yield the sampled frequencies (vertical, horizontal) in radians per pixel of the large image."""
    for radius in _RADII:
        for k in range(_DIRECTIONS):
            angle = math.pi * k / _DIRECTIONS
            yield math.pi * radius * math.cos(angle) / scale[0], math.pi * radius * math.sin(angle) / scale[1]


def degradation_embedding(degradation: Degradation) -> Tensor:
    """Return the vector (EMBEDDING_SIZE,) that conditions a network; the last four values are 0 if it is clean.

    These are the logarithm of the noise's standard deviation (in 255ths), the mean logarithms of the two JPEG
    quantization tables, and the chroma subsampling.
    """
    jpeg = degradation.jpeg.coarseness if degradation.jpeg else (0.0, 0.0, 0.0)
    strengths = torch.tensor([math.log1p(degradation.noise), *jpeg]) / 2
    return torch.cat([sample_transfer_function(degradation), strengths])


class ConditionedNetwork(nn.Module):
    """A network conditioned by FiLM (Perez et al. 2018) on its degradation, as in SRMD (Zhang et al. 2018).

    Two linear layers turn a degradation embedding into a gain and a shift for every channel of every convolution. For
    one degradation both fold into the weights. The result is a plain `Network`, which is then fitted to a photo.

    Parameters
    ----------
    factor
        Factor by which the network upscales.
    shape
        Width, depth and kernel size.
    generator
        Source of the initial weights. With them all gains and shifts are 0, so the embedding has no effect yet.
    """

    z: Tensor

    def __init__(self, factor: int, shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        self.network = Network(CHANNELS, factor, *shape, generator)
        self.widths = [len(bias) for _, bias in self.network.layers]
        hidden_size = 64
        self.hidden = _make_linear(EMBEDDING_SIZE, hidden_size)
        self.film = _make_linear(hidden_size, 2 * sum(self.widths))
        nn.init.normal_(self.hidden.weight, std=2 / math.sqrt(EMBEDDING_SIZE), generator=generator)
        self.register_buffer("z", torch.zeros(EMBEDDING_SIZE), persistent=False)

    def condition(self, z: Tensor) -> None:
        """Set the degradation embedding (EMBEDDING_SIZE,) of the images that follow."""
        self.z.copy_(z)

    def weights(self, z: Tensor) -> dict[str, Tensor]:
        """Return the state dict of the plain `Network` for the degradation with the embedding `z`."""
        hidden = torch.tanh(self.hidden(z.to(self.hidden.weight.dtype)))
        gains, shifts = (torch.split(half, self.widths) for half in self.film(hidden).chunk(2))
        weights = {}
        for k, ((weight, bias), gain, shift) in enumerate(zip(self.network.layers, gains, shifts, strict=True)):
            modulated = weight * (1 + gain)[:, None, None, None]
            weights[f"convolutions.{k}.weight"] = modulated.contiguous(memory_format=torch.channels_last)
            weights[f"convolutions.{k}.bias"] = bias * (1 + gain) + shift
        return weights

    @torch.no_grad()
    def deepen(self, depth: int) -> "ConditionedNetwork":
        """Return an equal network of `depth` convolutions, not fewer than now (Net2DeeperNet, Chen et al. 2016).

        The new layers are spread evenly before the last one. They are identities, which a ReLU's output passes
        unchanged, with gains and shifts of 0.
        """
        width, old_depth, side = self.shape
        deeper = ConditionedNetwork(self.network.factor, (width, depth, side), torch.Generator())
        sources = [k * (old_depth - 1) // (depth - 1) for k in range(depth - 1)] + [old_depth - 1]
        is_new = [k > 0 and source == sources[k - 1] for k, source in enumerate(sources)]
        for (weight, bias), source, new in zip(deeper.network.layers, sources, is_new, strict=True):
            if new:
                nn.init.dirac_(weight)
                nn.init.zeros_(bias)
            else:
                weight.copy_(self.network.layers[source][0])
                bias.copy_(self.network.layers[source][1])
        deeper.hidden.load_state_dict(self.hidden.state_dict())
        for old, target in zip(self.film.parameters(), deeper.film.parameters(), strict=True):
            gains, shifts = (torch.split(half, self.widths) for half in old.chunk(2))
            rows = [
                torch.zeros_like(part[source]) if new else part[source]
                for part in (gains, shifts)
                for source, new in zip(sources, is_new, strict=True)
            ]
            target.copy_(torch.cat(rows))
        return deeper

    def forward(self, image: Tensor) -> Tensor:
        """Return the residual, like `Network.forward`, for the degradation set by `condition`."""
        residual: Tensor = functional_call(self.network, self.weights(self.z), (image,))
        return residual


def _make_linear(inputs: int, outputs: int) -> nn.Linear:
    """Make a linear layer of zeros without drawing from the global generator."""
    layer: nn.Linear = nn.utils.skip_init(BlockedLinear, inputs, outputs)  # type: ignore[no-untyped-call]
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer
