"""Who judges textures: a discriminator of patches, and the losses of the game with it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, leaky_relu, relu, softplus

from zssr.networks.convolutions import conv2d_deterministic

_AROUND = 9  # pixels: side of the mean that the discriminator does not see

GanLoss = Callable[[Tensor, Tensor], Tensor]


def _means(loss: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    return loss(real).mean() + loss(-fake).mean()


DISCRIMINATOR_LOSSES: dict[str, GanLoss] = {
    "bce": lambda real, fake: _means(lambda score: softplus(-score), real, fake),
    "hinge": lambda real, fake: _means(lambda score: relu(1 - score), real, fake),
}
"""By the scores of real and of fake patches (Goodfellow et al. 2014; Lim and Ye 2017)."""

HEAD_LOSSES: dict[str, GanLoss] = {
    "bce": lambda real, fake: softplus(-fake).mean(),
    "hinge": lambda real, fake: -fake.mean(),
}

CHANCE_LOSS = {"bce": 2 * math.log(2), "hinge": 2.0}
"""The discriminator's loss when it cannot tell patches apart."""


class Discriminator(nn.Module):
    """Scores patches of fine detail (Isola et al. 2017), its layers' norms held at one (Miyato et al. 2018).

    Parameters
    ----------
    channels
        Channels of the images.
    generator
        Source of the start weights.
    """

    _SHAPES = ((32, 3, 1), (32, 4, 2), (64, 3, 1), (1, 3, 1))  # channels, side and stride of each layer

    _FIRST_STEPS = 20  # of power iteration

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.directions = nn.ParameterList()  # in which each layer amplifies most
        for width, side, _ in self._SHAPES:
            bound = 1 / math.sqrt(channels * side**2)
            weight = bound * (2 * torch.rand(width, channels, side, side, generator=generator) - 1)
            self.weights.append(nn.Parameter(weight.contiguous(memory_format=torch.channels_last)))
            self.biases.append(nn.Parameter(torch.zeros(width)))
            self.directions.append(nn.Parameter(torch.ones(width) / math.sqrt(width), requires_grad=False))
            channels = width
        for _ in range(self._FIRST_STEPS):
            self.settle()

    @torch.no_grad()
    def settle(self) -> None:
        """Follow the directions in which the layers amplify most, by a step of power iteration."""
        for weight, direction in zip(self.weights, self.directions, strict=True):
            matrix = weight.flatten(1)
            direction.copy_(nn.functional.normalize((matrix * _amplified(weight, direction)).sum(1), dim=0))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return what each layer makes of images (N, C, H, W); the last are the scores."""
        padded = nn.functional.pad(images, [_AROUND // 2] * 4, mode="reflect")
        features = [(images - avg_pool2d(padded, _AROUND, 1)).contiguous(memory_format=torch.channels_last)]
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            norm = _amplified(weight, self.directions[k]).norm()
            features.append(conv2d_deterministic(features[-1], weight / norm, bias, self._SHAPES[k][2]))
            if k < len(self.weights) - 1:
                features[-1] = leaky_relu(features[-1], 0.2)
        return features[1:]


def _amplified(weight: Tensor, direction: Tensor) -> Tensor:
    """Return a layer's matrix, transposed, times a vector; torch's product depends on the number of threads."""
    return (weight.flatten(1) * direction[:, None]).sum(0)
