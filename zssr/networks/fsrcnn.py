"""FSRCNN: SRCNN at the small image's size, with a deconvolution at the end."""

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from zssr.method import Method, pixel_loss
from zssr.networks.layers import (
    Deconvolution,
    PublishedNetwork,
    initialize_weights,
    make_chain,
    pass_enlarged,
    pass_image,
)


class Fsrcnn(PublishedNetwork):
    """Extraction, shrinking, mapping, expanding, deconvolution; 56, 12, 4, with PReLU (Dong et al. 2016)."""

    predicts_residual = False

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, d: int, s: int, m: int) -> None:
        super().__init__(channels, factor, 2 + m + 4)
        self.layers = make_chain([channels, d, *[s] * (m + 1), d], [5, 1, *[3] * m, 1])
        self.activations = nn.ModuleList(nn.PReLU(layer.out_channels) for layer in self.layers)  # type: ignore[arg-type]
        self.deconvolution = Deconvolution(d, channels, 9, factor)
        initialize_weights(self, generator, self.deconvolution)
        for layer in self.layers:
            pass_image(layer, channels)
        pass_enlarged(self.deconvolution, channels, factor)

    def predict(self, image: Tensor) -> Tensor:
        """Return the image, upscaled."""
        for layer, activation in zip(self.layers, self.activations, strict=True):
            image = activation(layer(image))
        result: Tensor = self.deconvolution(image)
        return result


METHOD = Method(
    name="fsrcnn",
    summary="network of 8 layers on the small image, thin in the middle, with a deconvolution",
    paper="Dong, Loy and Tang 2016",
    network=Fsrcnn,
    objective=pixel_loss(mse_loss),
    settings={"lr": 2e-3, "lr_schedule": "cosine", "num_epochs": 2500, "crop_size": 64, "batch_size": 1},
    options={"d": 56, "s": 12, "m": 4},
)
