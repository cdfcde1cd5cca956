"""SRDenseNet: dense blocks, and skips from all of them."""

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from zssr.method import Method, pixel_loss
from zssr.networks.layers import (
    Deconvolution,
    PublishedNetwork,
    factorize,
    initialize_weights,
    pass_enlarged,
    pass_image,
)
from zssr.networks.sr import Convolution

_GROWTH, _LAYERS = 16, 8  # channels that a layer adds, and layers of a block
_WIDTH = _GROWTH * _LAYERS


class DenseBlock(nn.Module):
    """Layers that see the results of all before them (Huang et al. 2017); what they add is the block's result."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Convolution(_WIDTH + k * _GROWTH, _GROWTH, 3) for k in range(_LAYERS))

    def forward(self, features: Tensor) -> Tensor:
        """Take (N, 128, H, W) to the same shape."""
        seen = [features]
        for layer in self.layers:
            seen.append(torch.relu(layer(torch.cat(seen, 1))))
        return torch.cat(seen[1:], 1)


class Srdensenet(PublishedNetwork):
    """SRDenseNet_All: 8 dense blocks, a bottleneck of 256, a deconvolution for each doubling (Tong et al. 2017)."""

    predicts_residual = False

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, blocks: int) -> None:
        factors = factorize(factor)
        super().__init__(channels, factor, 1 + blocks * _LAYERS + 2 * len(factors))
        self.first = Convolution(channels, _WIDTH, 3)
        self.blocks = nn.ModuleList(DenseBlock() for _ in range(blocks))
        self.bottleneck = Convolution(_WIDTH * (blocks + 1), 256, 1)
        self.deconvolutions = nn.ModuleList(Deconvolution(256, 256, 3, one) for one in factors)
        self.last = Convolution(256, channels, 3)
        initialize_weights(self, generator, self.last)
        for layer in (self.first, self.bottleneck, self.last):
            pass_image(layer, channels)
        for deconvolution, one in zip(self.deconvolutions, factors, strict=True):
            pass_enlarged(deconvolution, channels, one)

    def predict(self, image: Tensor) -> Tensor:
        """Return the image, upscaled."""
        features = [torch.relu(self.first(image))]
        for block in self.blocks:
            features.append(block(features[-1]))
        merged = torch.relu(self.bottleneck(torch.cat(features, 1)))
        for deconvolution in self.deconvolutions:
            merged = torch.relu(deconvolution(merged))
        result: Tensor = self.last(merged)
        return result


METHOD = Method(
    name="srdensenet",
    summary="network of 8 dense blocks on the small image, all of which are seen at the end",
    paper="Tong et al. 2017",
    network=Srdensenet,
    objective=pixel_loss(mse_loss),
    settings={"lr": 1e-3, "lr_schedule": "cosine", "num_epochs": 270, "crop_size": 64, "batch_size": 1},
    options={"blocks": 8},
)
