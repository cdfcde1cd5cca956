"""ESPCN: three convolutions on the small image and a periodic shuffle."""

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, pixel_shuffle

from zssr.method import Method, pixel_loss
from zssr.networks.layers import PublishedNetwork, initialize_weights, make_chain, pass_enlarged, pass_image

_LINEAR = 0.5  # what the image is multiplied by where it passes: tanh is nearly linear there


class Espcn(PublishedNetwork):
    """Convolutions 5-3-3 of 64 and 32 channels with tanh, and the sub-pixel layer (Shi et al. 2016)."""

    predicts_residual = False
    mean = 0.5

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator) -> None:
        super().__init__(channels, factor, 4)
        self.layers = make_chain([channels, 64, 32, channels * factor**2], [5, 3, 3])
        first, second, last = self.layers
        initialize_weights(self, generator, last)
        pass_image(first, channels, _LINEAR)
        pass_image(second, channels)
        pass_enlarged(last, channels, factor, 1 / _LINEAR)

    def predict(self, image: Tensor) -> Tensor:
        """Return the image, upscaled."""
        *inner, last = self.layers
        for layer in inner:
            image = torch.tanh(layer(image))
        return pixel_shuffle(last(image), self.factor)


METHOD = Method(
    name="espcn",
    summary="network of 3 layers on the small image, whose channels become pixels",
    paper="Shi et al. 2016",
    network=Espcn,
    objective=pixel_loss(mse_loss),
    settings={"lr": 5e-4, "lr_schedule": "cosine", "num_epochs": 4000, "crop_size": 64, "batch_size": 1},
)
