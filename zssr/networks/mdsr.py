"""MDSR: one trunk for three scales, each with its own head and tail."""

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from zssr.method import Method
from zssr.networks.edsr import Enlargement, ResidualBlock
from zssr.networks.layers import PublishedNetwork, factorize, initialize_weights, keep_image, pass_image
from zssr.networks.sr import Convolution

_FACTORS = (2, 3, 4)


class Mdsr(PublishedNetwork):
    """The baseline, 16 blocks of 64 channels; heads are two blocks of 5x5 (Lim et al. 2017). The large one has 80."""

    predicts_residual = False
    mean = 0.5

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, width: int, blocks: int) -> None:
        super().__init__(channels, factor, 1 + 8 + 2 * blocks + 1 + len(factorize(factor)) + 1)
        factors = sorted({*_FACTORS, factor})
        self.first, self.middle = Convolution(channels, width, 3), Convolution(width, width, 3)
        self.heads = nn.ModuleDict(
            {f"x{one}": nn.Sequential(*(ResidualBlock(width, 0.5, 5) for _ in range(2))) for one in factors}
        )
        self.blocks = nn.ModuleList(ResidualBlock(width, blocks**-0.5) for _ in range(blocks))
        self.tails = nn.ModuleDict({f"x{one}": Enlargement(channels, width, one) for one in factors})
        initialize_weights(self, generator, *(tail.get_submodule("last") for tail in self.tails.values()))
        keep_image(self, channels, "two", "middle")
        pass_image(self.first, channels)
        for one in factors:
            self.tails[f"x{one}"].pass_image()  # type: ignore[operator]

    def predict(self, image: Tensor) -> Tensor:
        """Return the image, upscaled by the network's factor."""
        return self.predict_at(image, self.factor)

    def predict_at(self, image: Tensor, factor: int) -> Tensor:
        """Return the image, upscaled by one of the factors."""
        start = features = self.heads[f"x{factor}"](self.first(image))
        for block in self.blocks:
            features = block(features)
        result: Tensor = self.tails[f"x{factor}"](start + self.middle(features))
        return result


def compare_at_scale(network: Mdsr, sons: Tensor, residuals: Tensor, _share: Tensor) -> Tensor:
    """Return the L1 loss at the factor that the residuals have."""
    predicted = network.predict_at(network.to_features(sons), residuals.shape[-1] // sons.shape[-1])
    return l1_loss(network.to_residual(predicted, sons), residuals)


METHOD = Method(
    name="mdsr",
    summary="network of 16 residual blocks on the small image, with heads and tails for three scales",
    paper="Lim et al. 2017",
    network=Mdsr,
    objective=compare_at_scale,
    companions=_FACTORS,
    settings={"lr": 4e-4, "lr_schedule": "cosine", "num_epochs": 700, "crop_size": 64, "batch_size": 1},
    options={"width": 64, "blocks": 16},
)
