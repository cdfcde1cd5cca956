"""VDSR: a deep chain on the interpolated image, which predicts the residual."""

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from zssr.method import Method, pixel_loss
from zssr.networks.layers import PublishedNetwork, make_chain
from zssr.networks.sr import initialize_chain


class Vdsr(PublishedNetwork):
    """Twenty convolutions of 64 channels (Kim, Lee and Lee 2016); one network for several scales."""

    mean = 0.5

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, depth: int) -> None:
        super().__init__(channels, factor, depth)
        self.layers = make_chain([channels, *[64] * (depth - 1), channels], [3] * depth)
        initialize_chain([layer for layer in self.layers if isinstance(layer, nn.Conv2d)], generator)
        self.to(memory_format=torch.channels_last)

    def predict(self, image: Tensor) -> Tensor:
        """Return the residual."""
        *inner, last = self.layers
        for layer in inner:
            image = torch.relu_(layer(image))
        result: Tensor = last(image)
        return result


METHOD = Method(
    name="vdsr",
    summary="network of 20 layers on the interpolated image, for several scales",
    paper="Kim, Lee and Lee 2016 (CVPR)",
    network=Vdsr,
    on_interpolated=True,
    objective=pixel_loss(mse_loss),
    clip=0.01,
    companions=(2, 3, 4),
    settings={"lr": 5e-4, "lr_schedule": "cosine", "num_epochs": 700, "crop_size": 64, "batch_size": 1},
    options={"depth": 20},
)
