"""A network that is told how the image was made small."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zssr.degradation import Degradation
from zssr.networks.sr import Network

Kind = Literal["bicubic", "blurred", "noisy"]
KINDS: tuple[Kind, ...] = ("bicubic", "blurred", "noisy")
"""Of degradations: most photos are taken to be of the first, which deserves a network that knows nothing else."""

_RADII = (0.25, 0.5, 0.75, 1.0, 1.5)  # of the highest frequency that the small image can hold
_DIRECTIONS = 4
WAVES = 2 * len(_RADII) * _DIRECTIONS
TOLD = WAVES + 4
"""How many numbers a network is told: the response, the noise, and three of the JPEG."""

HIDDEN = 64

CHANNELS = 3
"""Of the images that priors are trained on."""

_SMALLEST = 24


def kind_of(degradation: Degradation) -> Kind:
    """Tell which kind a degradation is of: noisy is what has noise or JPEG artifacts, blurred or not."""
    if not degradation.is_clean:
        return "noisy"
    return "bicubic" if degradation.kernel is None and degradation.sampling == "center" else "blurred"


def response(degradation: Degradation) -> Tensor:
    """Return what is left of `WAVES` waves after the shrinking, at one small pixel: the values (WAVES,).

    First cosines, then sines, around the middle of that pixel's block in the large image, in four directions and up to
    one and a half times the highest frequency of the small image. So this is the transfer function of the blur, with
    the place of the samples in it, of any degradation alike.
    """
    reach = 0 if degradation.kernel is None else max(degradation.kernel.shape)
    small = _SMALLEST + reach
    middle = small // 2
    sides = [math.ceil(scale * small) for scale in degradation.scale]
    y, x = (
        torch.arange(side, dtype=torch.float64) - (scale * (middle + 0.5) - 0.5)
        for side, scale in zip(sides, degradation.scale, strict=True)
    )
    phases = []
    for radius in _RADII:
        for k in range(_DIRECTIONS):
            angle = math.pi * k / _DIRECTIONS
            down, right = (
                math.pi * radius * part / scale
                for part, scale in zip((math.cos(angle), math.sin(angle)), degradation.scale, strict=True)
            )
            phases.append(down * y[:, None] + right * x)
    waves = torch.stack([wave(phase) for wave in (torch.cos, torch.sin) for phase in phases])
    return degradation.downsample(waves[None], (small, small))[0, :, middle, middle].float()


def degradation_embedding(degradation: Degradation) -> Tensor:
    """Return what a network is told about a degradation (TOLD,); the last four are zero if it is clean."""
    jpeg = degradation.jpeg.coarseness if degradation.jpeg else (0.0, 0.0, 0.0)
    return torch.cat([response(degradation), torch.tensor([math.log1p(degradation.noise), *jpeg]) / 2])


class ConditionedNetwork(nn.Module):
    """A network whose layers are bent to the degradation (FiLM, Perez et al. 2018; told as in SRMD, Zhang et al. 2018).

    Two small layers turn the `degradation_embedding` into a gain and a shift for every channel of every convolution.
    For one degradation these are part of the weights, so that what is adapted to a photo and applied is a
    `Network` like any other.

    Parameters
    ----------
    factor, shape
        Of the network: how many times it enlarges; width, depth and kernel size.
    generator
        Source of the start weights, with which the description makes no difference yet.
    """

    told: Tensor

    def __init__(self, factor: int, shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        self.network = Network(CHANNELS, factor, *shape, generator)
        self.widths: list[int] = [len(layer.bias) for layer in self.network.convolutions]  # type: ignore[arg-type]
        self.hidden = _linear(TOLD, HIDDEN)
        self.bend = _linear(HIDDEN, 2 * sum(self.widths))
        nn.init.normal_(self.hidden.weight, std=2 / math.sqrt(TOLD), generator=generator)
        self.register_buffer("told", torch.zeros(TOLD), persistent=False)

    def tell(self, description: Tensor) -> None:
        """Set the degradation that the next images were made small by."""
        self.told.copy_(description)

    def weights(self, description: Tensor) -> dict[str, Tensor]:
        """Return the weights of the plain network for the degradation with this description."""
        hidden = torch.tanh(self.hidden(description.to(self.hidden.weight.dtype)))
        gains, shifts = (part.split(self.widths) for part in self.bend(hidden).split(sum(self.widths)))
        weights = {}
        for k, (layer, gain, shift) in enumerate(zip(self.network.convolutions, gains, shifts, strict=True)):
            bent = layer.weight * (1 + gain)[:, None, None, None]
            weights[f"convolutions.{k}.weight"] = bent.contiguous(memory_format=torch.channels_last)
            weights[f"convolutions.{k}.bias"] = layer.bias * (1 + gain) + shift
        return weights

    @torch.no_grad()
    def grown(self, depth: int) -> "ConditionedNetwork":
        """Return a network of `depth` convolutions, not fewer, that does the same (Net2DeeperNet, Chen et al. 2016).

        Between the layers before the last, evenly, are new ones that pass on what a ReLU has made positive, and that no
        description bends.
        """
        width, had, side = self.shape
        grown = ConditionedNetwork(self.network.factor, (width, depth, side), torch.Generator())
        sources = [k * (had - 1) // (depth - 1) for k in range(depth - 1)] + [had - 1]
        news = [k > 0 and source == sources[k - 1] for k, source in enumerate(sources)]
        for layer, source, new in zip(grown.network.convolutions, sources, news, strict=True):
            if new:
                nn.init.dirac_(layer.weight)  # type: ignore[arg-type]
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            else:
                layer.load_state_dict(self.network.convolutions[source].state_dict())
        grown.hidden.load_state_dict(self.hidden.state_dict())
        for ours, theirs in zip(self.bend.parameters(), grown.bend.parameters(), strict=True):
            gains, shifts = (half.split(self.widths) for half in ours.chunk(2))  # type: ignore[no-untyped-call]
            bends = [
                bend[s].new_zeros(bend[s].shape) if new else bend[s]
                for bend in (gains, shifts)
                for s, new in zip(sources, news, strict=True)
            ]
            theirs.copy_(torch.cat(bends))
        return grown

    def forward(self, image: Tensor) -> Tensor:
        """Return the residual, as `Network` does, for the degradation that was told."""
        residual: Tensor = functional_call(self.network, self.weights(self.told), (image,))
        return residual


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """Make a linear layer of zeros, without drawing from the global generator."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer
