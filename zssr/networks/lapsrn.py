"""LapSRN: a Laplacian pyramid, whose levels share their weights."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from zssr.degradation import resize
from zssr.errors import ConfigError
from zssr.method import Method
from zssr.networks.layers import (
    Deconvolution,
    PublishedNetwork,
    initialize_weights,
    make_chain,
    pass_enlarged,
    upsample_cubic,
)
from zssr.networks.sr import Convolution


class Lapsrn(PublishedNetwork):
    """Each level doubles features and image, and adds a residual (Lai et al. 2017); levels share weights (2018).

    A level has ten convolutions of 64 channels and a deconvolution, with leaky ReLU. Raises `ConfigError` for a factor
    that is no power of two.
    """

    predicts_residual = False

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, depth: int) -> None:
        super().__init__(channels, factor, 2 + depth + 2)
        self.levels = factor.bit_length() - 1
        if 2**self.levels != factor:
            raise ConfigError(f"method: lapsrn doubles, so it has no step of x{factor}; scale_factor=2 suits it")
        self.first = Convolution(channels, 64, 3)
        self.layers = make_chain([64] * (depth + 1), [3] * depth)
        self.upscale_features = Deconvolution(64, 64, 4, 2)
        self.upscale_image = Deconvolution(channels, channels, 4, 2)
        self.residual = Convolution(64, channels, 3)
        initialize_weights(self, generator, self.residual)
        pass_enlarged(self.upscale_image, channels, 2)

    def pyramid(self, image: Tensor) -> Iterator[Tensor]:
        """Yield the image of each level, smallest first."""
        features = leaky_relu(self.first(image), 0.2)
        for _ in range(self.levels):
            for layer in self.layers:
                features = leaky_relu(layer(features), 0.2)
            features = leaky_relu(self.upscale_features(features), 0.2)
            image = self.upscale_image(image) + self.residual(features)
            yield image

    def predict(self, image: Tensor) -> Tensor:
        """Return the image of the last level."""
        *_, result = self.pyramid(image)
        return result


def supervise_levels(network: Lapsrn, sons: Tensor, residuals: Tensor, _share: Tensor) -> Tensor:
    """Return the sum of Charbonnier losses of all levels (Lai et al. 2017, eq. 3); targets are bicubic."""
    target = residuals + upsample_cubic(sons, network.factor)
    losses = []
    for image in reversed(list(network.pyramid(network.to_features(sons)))):
        losses.append(charbonnier(image.to(target.dtype), target))
        target = resize(target, (target.shape[-2] // 2, target.shape[-1] // 2), (0.5, 0.5))
    return torch.stack(losses).sum()


def charbonnier(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean of the differentiable absolute error."""
    return (one - other).square().add(1e-6).sqrt().mean()


METHOD = Method(
    name="lapsrn",
    summary="network of a pyramid, whose levels double and share weights",
    paper="Lai et al. 2017 and 2018",
    network=Lapsrn,
    objective=supervise_levels,
    settings={"lr": 1e-3, "lr_schedule": "cosine", "num_epochs": 1800, "crop_size": 64, "batch_size": 1},
    options={"depth": 10},
)
