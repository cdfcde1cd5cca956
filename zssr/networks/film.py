"""A network that is conditioned on the degradation of its input by feature-wise linear modulation (FiLM)."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from zssr.config import NetworkShape
from zssr.degradation import Degradation
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

EMBEDDING_SIZE = WAVES + 5
"""Length of a degradation embedding: the transfer function, the scale, the noise, and three numbers for JPEG."""


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
    small = 24 + degradation.kernel_size  # sides of the small image that keep the borders away from its middle
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

    After the transfer function comes the logarithm of half the scale. The last ones are the logarithm of the noise's
    standard deviation (in 255ths), the mean logarithms of the two JPEG quantization tables, and the chroma subsampling.
    """
    jpeg = degradation.jpeg.coarseness if degradation.jpeg else (0.0, 0.0, 0.0)
    strengths = torch.tensor([math.log1p(degradation.noise), *jpeg]) / 2
    scale = torch.tensor([math.log2(max(degradation.scale)) - 1])
    return torch.cat([sample_transfer_function(degradation), scale, strengths])


class ConditionedNetwork(nn.Module):
    """Networks for several factors, conditioned by FiLM (Perez et al. 2018) on the degradation, as in SRMD.

    They share all convolutions but the last, the tail (MDSR, Lim et al. 2017). Two linear layers turn a degradation
    embedding into a gain and a shift for every channel of every convolution (SRMD: Zhang et al. 2018). For one
    degradation both fold into the weights. The result is a plain `Network`, which is then fitted to a photo.

    Parameters
    ----------
    factors
        Factors by which the networks upscale.
    shape
        Width, depth, kernel size and form.
    generator
        Source of the initial weights. With them all gains and shifts are 0, so the embedding has no effect yet.
    """

    def __init__(self, factors: Sequence[int], shape: NetworkShape, generator: torch.Generator) -> None:
        super().__init__()
        self.factors, self.shape = tuple(factors), shape
        networks = {f"x{factor}": Network(CHANNELS, factor, shape, generator) for factor in factors}
        self.trunk = networks[f"x{factors[0]}"].convolutions[:-1]
        self.tails = nn.ModuleDict({name: network.convolutions[-1] for name, network in networks.items()})
        hidden_size = 64
        self.hidden = _Linear(EMBEDDING_SIZE, hidden_size)
        nn.init.normal_(self.hidden.weight, std=2 / math.sqrt(EMBEDDING_SIZE), generator=generator)
        self.film = _Linear(hidden_size, 2 * shape.width * len(self.trunk))
        self.tail_films = nn.ModuleDict(
            {f"x{factor}": _Linear(hidden_size, 2 * CHANNELS * factor**2) for factor in factors}
        )

    def weights(self, z: Tensor, factor: int) -> dict[str, Tensor]:
        """Return the state dict of the plain `Network` for `factor` and the degradation with the embedding `z`."""
        hidden = torch.tanh(self.hidden(z.to(self.hidden.weight.dtype)))
        tail = f"x{factor}"
        gains, shifts = (half.chunk(len(self.trunk)) for half in self.film(hidden).chunk(2))
        tail_gain, tail_shift = self.tail_films[tail](hidden).chunk(2)
        layers = [(layer.weight, layer.bias) for layer in (*self.trunk, self.tails[tail])]
        weights = {}
        films = zip(layers, [*gains, tail_gain], [*shifts, tail_shift], strict=True)
        for k, ((weight, bias), gain, shift) in enumerate(films):
            modulated = weight * (1 + gain)[:, None, None, None]
            weights[f"convolutions.{k}.weight"] = modulated.contiguous(memory_format=torch.channels_last)
            weights[f"convolutions.{k}.bias"] = bias * (1 + gain) + shift
        return weights

    @torch.no_grad()
    def ignore_constants(self, embeddings: Tensor) -> None:
        """Take all effect from the numbers that hardly vary in the `embeddings` (N, EMBEDDING_SIZE) of its training.

        For these it computes what it did. For others, which it never met, the effect of those numbers was random.
        """
        is_constant = embeddings.amax(0) - embeddings.amin(0) < 0.05
        weight = self.hidden.weight[:, is_constant]
        self.hidden.bias.add_(weight @ embeddings.mean(0)[is_constant])
        self.hidden.weight[:, is_constant] = 0


class _Linear(nn.Linear):
    """A linear layer of zeros: its start weights are not drawn from the global generator."""

    def reset_parameters(self) -> None:
        """Set all weights to zero."""
        for weight in self.parameters():
            nn.init.zeros_(weight)
