"""SRCNN: three convolutions on the interpolated image."""

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from zssr.method import Method, pixel_loss
from zssr.networks.layers import PublishedNetwork, initialize_weights, make_chain, pass_image


class Srcnn(PublishedNetwork):
    """Extraction, non-linear mapping, reconstruction: 9-1-5 or 9-5-5, 64 and 32 channels (Dong et al. 2014)."""

    predicts_residual = False

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, middle: int = 1) -> None:
        super().__init__(channels, factor, 4 + middle // 2 + 2)
        self.layers = make_chain([channels, 64, 32, channels], [9, middle, 5])
        initialize_weights(self, generator, self.layers[-1])
        for layer in self.layers:
            pass_image(layer, channels)

    def predict(self, image: Tensor) -> Tensor:
        """Return the image."""
        *inner, last = self.layers
        for layer in inner:
            image = torch.relu(layer(image))
        result: Tensor = last(image)
        return result


METHOD = Method(
    name="srcnn",
    summary="network of 3 layers on the interpolated image",
    paper="Dong et al. 2014 and 2016",
    network=Srcnn,
    on_interpolated=True,
    objective=pixel_loss(mse_loss),
    settings={"lr": 1e-3, "lr_schedule": "cosine", "num_epochs": 3000, "crop_size": 64, "batch_size": 1},
    options={"middle": (1, 5)},
)
