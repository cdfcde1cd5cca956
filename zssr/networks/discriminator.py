"""The discriminator of textures, and the adversarial losses."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, normalize, relu, softplus

from zssr.networks.texture import local_mean

GanLoss = Callable[[Tensor, Tensor], Tensor]
"""A loss of the scores of real and of fake patches."""

DISCRIMINATOR_LOSSES: dict[str, GanLoss] = {
    "bce": lambda real, fake: softplus(-real).mean() + softplus(fake).mean(),
    "hinge": lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
}
"""Binary cross-entropy (Goodfellow et al. 2014) and hinge (Lim and Ye 2017)."""

GENERATOR_LOSSES: dict[str, GanLoss] = {
    "bce": lambda real, fake: softplus(-fake).mean(),
    "hinge": lambda real, fake: -fake.mean(),
}

CHANCE_LOSS = {"bce": 2 * math.log(2), "hinge": 2.0}
"""The discriminator's loss when all its scores are zero."""


class Discriminator(nn.Module):
    """Scores patches of fine detail (PatchGAN: Isola et al. 2017) with spectral normalization (Miyato et al. 2018).

    Parameters
    ----------
    channels
        Channels of the images.
    generator
        Source of the start weights.

    Attributes
    ----------
    weights, biases
        Of the layers.
    u
        The first left singular vector of each layer's matrix, estimated by power iteration.
    """

    _SHAPES = ((32, 3, 1), (32, 4, 2), (64, 3, 1), (1, 3, 1))  # channels, side and stride of each layer

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases, self.u = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for width, side, _ in self._SHAPES:
            bound = 1 / math.sqrt(channels * side**2)
            weight = bound * (2 * torch.rand(width, channels, side, side, generator=generator) - 1)
            self.weights.append(nn.Parameter(weight.contiguous(memory_format=torch.channels_last)))
            self.biases.append(nn.Parameter(torch.zeros(width)))
            self.u.append(nn.Parameter(torch.ones(width) / math.sqrt(width), requires_grad=False))
            channels = width
        for _ in range(20):
            self.power_iteration()

    @torch.no_grad()
    def power_iteration(self) -> None:
        """Improve the estimates of the singular vectors by a step of power iteration."""
        for weight, u in zip(self.weights, self.u, strict=True):
            matrix = weight.flatten(1)
            u.copy_(normalize(matrix @ (matrix.mT @ u), dim=0))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of all layers for images (N, C, H, W) in [0, 1]; the last are the scores.

        The images come in less their local means, so coarse structure is not judged.
        """
        features = [(images - local_mean(images, 9)).contiguous(memory_format=torch.channels_last)]
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            norm = (weight.flatten(1).mT @ self.u[k]).norm()
            features.append(conv2d(features[-1], weight / norm, bias, self._SHAPES[k][2]))
            if k < len(self.weights) - 1:
                features[-1] = leaky_relu(features[-1], 0.2)
        return features[1:]
