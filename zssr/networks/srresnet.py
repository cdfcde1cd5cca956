"""SRResNet: residual blocks with batch normalization, and sub-pixel layers."""

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, pixel_shuffle

from zssr.method import Method, pixel_loss
from zssr.networks.layers import PublishedNetwork, factorize, initialize_weights, pass_enlarged, pass_image
from zssr.networks.sr import Convolution

_WIDTH = 64


class NormalizedBlock(nn.Module):
    """Convolution, normalization, PReLU, convolution, normalization, and the input added (He et al. 2016)."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.one, self.two = Convolution(_WIDTH, _WIDTH, 3), Convolution(_WIDTH, _WIDTH, 3)
        self.first_norm, self.second_norm = nn.BatchNorm2d(_WIDTH), nn.BatchNorm2d(_WIDTH)
        self.activation = nn.PReLU()
        nn.init.constant_(self.second_norm.weight, gain)

    def forward(self, features: Tensor) -> Tensor:
        """Take (N, 64, H, W) to the same shape."""
        inner = self.activation(self.first_norm(self.one(features)))
        result: Tensor = features + self.second_norm(self.two(inner))
        return result


class Srresnet(PublishedNetwork):
    """Sixteen blocks of 64 channels between layers of 9x9, with a skip around them (Ledig et al. 2017).

    There is a sub-pixel layer for each doubling, as the paper's two are for x4.
    """

    predicts_residual = False

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, blocks: int) -> None:
        factors = factorize(factor)
        super().__init__(channels, factor, 4 + 2 * blocks + 1 + len(factors) + 4)
        self.factors = factors
        self.first, self.activation = Convolution(channels, _WIDTH, 9), nn.PReLU()
        self.blocks = nn.ModuleList(NormalizedBlock(1 / blocks) for _ in range(blocks))
        self.middle, self.norm = Convolution(_WIDTH, _WIDTH, 3), nn.BatchNorm2d(_WIDTH)
        self.upscaling = nn.ModuleList(Convolution(_WIDTH, _WIDTH * one**2, 3) for one in factors)
        self.activations = nn.ModuleList(nn.PReLU() for _ in factors)
        self.last = Convolution(_WIDTH, channels, 9)
        initialize_weights(self, generator, self.last)
        nn.init.constant_(self.norm.weight, 0.1)
        for layer in (self.first, self.last):
            pass_image(layer, channels)
        for upscale, one in zip(self.upscaling, factors, strict=True):
            pass_enlarged(upscale, channels, one)

    def predict(self, image: Tensor) -> Tensor:
        """Return the image, upscaled."""
        start = features = self.activation(self.first(image))
        for block in self.blocks:
            features = block(features)
        features = start + self.norm(self.middle(features))
        for upscale, activation, one in zip(self.upscaling, self.activations, self.factors, strict=True):
            features = activation(pixel_shuffle(upscale(features), one))
        result: Tensor = self.last(features)
        return result


METHOD = Method(
    name="srresnet",
    summary="network of 16 residual blocks with batch normalization, on the small image",
    paper="Ledig et al. 2017",
    network=Srresnet,
    objective=pixel_loss(mse_loss),
    settings={"lr": 1e-3, "lr_schedule": "cosine", "num_epochs": 500, "crop_size": 64, "batch_size": 1},
    options={"blocks": 16},
)
