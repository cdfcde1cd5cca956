"""EDSR: residual blocks without normalization."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from zssr.method import Method
from zssr.networks.layers import (
    PublishedNetwork,
    factorize,
    initialize_weights,
    keep_image,
    pass_enlarged,
    pass_image,
)
from zssr.networks.sr import Convolution


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, scaled, and the input added (Lim et al. 2017)."""

    def __init__(self, width: int, scaling: float, kernel_size: int = 3) -> None:
        super().__init__()
        self.one, self.two = Convolution(width, width, kernel_size), Convolution(width, width, kernel_size)
        self.scaling = scaling

    def forward(self, features: Tensor) -> Tensor:
        """Take (N, width, H, W) to the same shape."""
        inner: Tensor = self.two(torch.relu_(self.one(features)))
        return features + self.scaling * inner


class Enlargement(nn.Module):
    """A convolution and a pixel shuffle for each doubling, and a last convolution."""

    def __init__(self, channels: int, width: int, factor: int) -> None:
        super().__init__()
        self.factors = factorize(factor)
        self.layers = nn.ModuleList(Convolution(width, width * one**2, 3) for one in self.factors)
        self.last = Convolution(width, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Take (N, width, H, W) to an image, upscaled."""
        for layer, factor in zip(self.layers, self.factors, strict=True):
            features = pixel_shuffle(layer(features), factor)
        result: Tensor = self.last(features)
        return result

    def pass_image(self) -> None:
        """Let the first channels pass, interpolated linearly."""
        for layer, factor in zip(self.layers, self.factors, strict=True):
            pass_enlarged(layer, self.last.out_channels, factor)
        pass_image(self.last, self.last.out_channels)


class Edsr(PublishedNetwork):
    """The baseline, 16 blocks of 64 channels; the large one is `width=256,blocks=32` (Lim et al. 2017).

    Blocks are scaled such that all of them add as much as there was before; the wide ones by a tenth, as in the paper.
    """

    predicts_residual = False
    mean = 0.5

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, width: int, blocks: int) -> None:
        super().__init__(channels, factor, 1 + 2 * blocks + 1 + len(factorize(factor)) + 1)
        self.first, self.middle = Convolution(channels, width, 3), Convolution(width, width, 3)
        scaling = 0.1 if width >= 256 else blocks**-0.5
        self.blocks = nn.ModuleList(ResidualBlock(width, scaling) for _ in range(blocks))
        self.enlargement = Enlargement(channels, width, factor)
        initialize_weights(self, generator, self.enlargement.last)
        keep_image(self, channels, "two", "middle")
        pass_image(self.first, channels)
        self.enlargement.pass_image()

    def predict(self, image: Tensor) -> Tensor:
        """Return the image, upscaled."""
        start = features = self.first(image)
        for block in self.blocks:
            features = block(features)
        result: Tensor = self.enlargement(start + self.middle(features))
        return result


METHOD = Method(
    name="edsr",
    summary="network of 16 residual blocks on the small image (the baseline), or of 32 wide ones",
    paper="Lim et al. 2017",
    network=Edsr,
    settings={"lr": 5e-4, "lr_schedule": "cosine", "num_epochs": 650, "crop_size": 64, "batch_size": 1},
    options={"width": 64, "blocks": 16},
)
