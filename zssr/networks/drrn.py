"""DRRN: residual units that share their weights."""

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from zssr.method import Method, pixel_loss
from zssr.networks.layers import PublishedNetwork, initialize_weights
from zssr.networks.sr import Convolution


class Drrn(PublishedNetwork):
    """One recursive block of 25 units of two convolutions, 128 channels: B1U25 (Tai, Yang and Liu 2017).

    Without the paper's batch normalization, which its number of weights does not count: a photo is one batch.
    """

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, units: int, width: int) -> None:
        super().__init__(channels, factor, 2 + 2 * units)
        self.units = units
        self.first, self.last = Convolution(channels, width, 3), Convolution(width, channels, 3)
        self.one, self.two = Convolution(width, width, 3), Convolution(width, width, 3)
        initialize_weights(self, generator, self.last)
        with torch.no_grad():
            self.two.weight.mul_(0.5)  # what a unit adds to the start contracts, so their recursion converges

    def predict(self, image: Tensor) -> Tensor:
        """Return the residual."""
        start: Tensor = self.first(image)
        features = start
        for _ in range(self.units):
            features = start + self.two(torch.relu(self.one(torch.relu(features))))
        result: Tensor = self.last(torch.relu(features))
        return result


METHOD = Method(
    name="drrn",
    summary="network of 52 layers on the interpolated image, of which 50 share the weights of two",
    paper="Tai, Yang and Liu 2017",
    network=Drrn,
    on_interpolated=True,
    objective=pixel_loss(mse_loss),
    clip=0.01,
    settings={
        "lr": 5e-4,
        "lr_schedule": "cosine",
        "num_epochs": 350,
        "crop_size": 48,
        "batch_size": 1,
        "self_ensemble": 2,
    },
    options={"units": (25, 9), "width": 128},
)
