"""DRCN: one layer that is applied sixteen times, and a prediction from each of them."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from zssr.method import Method
from zssr.networks.layers import PublishedNetwork, initialize_weights
from zssr.networks.sr import Convolution


class Drcn(PublishedNetwork):
    """Embedding, recursion and reconstruction, 256 channels (Kim, Lee and Lee 2016).

    Attributes
    ----------
    shares
        Weights of the recursions' predictions in the result.
    """

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, recursions: int, width: int) -> None:
        super().__init__(channels, factor, 2 + recursions + 2)
        self.embedding = nn.ModuleList([Convolution(channels, width, 3), Convolution(width, width, 3)])
        self.recursion = Convolution(width, width, 3)
        self.reconstruction = nn.ModuleList([Convolution(width, width, 3), Convolution(width, channels, 3)])
        self.shares = nn.Parameter(torch.full((recursions,), 1 / recursions))
        initialize_weights(self, generator, self.reconstruction[-1])
        with torch.no_grad():  # the identity, as in the paper: a layer of noise applied sixteen times blows up or dies
            self.recursion.weight.mul_(0.1)
            self.recursion.weight[:, :, 1, 1] += torch.eye(width)

    def predictions(self, image: Tensor) -> Iterator[Tensor]:
        """Yield what each recursion adds to the interpolated image."""
        features = image
        for layer in self.embedding:
            features = torch.relu(layer(features))
        first, last = self.reconstruction
        for _ in self.shares:
            features = torch.relu(self.recursion(features))
            yield last(torch.relu(first(features)))

    def predict(self, image: Tensor) -> Tensor:
        """Return the residual of the weighted mean of all predictions, which share the interpolated image."""
        return self.average(image, list(self.predictions(image)))

    def average(self, image: Tensor, predictions: list[Tensor]) -> Tensor:
        """Return the residual of the weighted mean of predictions."""
        total = (self.shares.sum() - 1) * image
        for share, prediction in zip(self.shares, predictions, strict=True):
            total = total + share * prediction
        return total


def supervise_recursions(network: Drcn, sons: Tensor, residuals: Tensor, share: Tensor) -> Tensor:
    """Return the loss of all recursions, whose weight falls to nothing, and of their mean (Kim et al. 2016, eq. 7)."""
    image = network.to_features(sons)
    predictions = list(network.predictions(image))
    each = torch.stack([mse_loss(one.to(residuals.dtype), residuals) for one in predictions]).mean()
    final = mse_loss(network.average(image, predictions).to(residuals.dtype), residuals)
    return (1 - share) * each + share * final


METHOD = Method(
    name="drcn",
    summary="network of one layer, recursed 16 times on the interpolated image, each time supervised",
    paper="Kim, Lee and Lee 2016 (CVPR, recursive)",
    network=Drcn,
    on_interpolated=True,
    objective=supervise_recursions,
    clip=0.01,
    settings={
        "lr": 3e-4,
        "lr_schedule": "cosine",
        "num_epochs": 500,
        "crop_size": 32,
        "batch_size": 1,
        "self_ensemble": 1,
    },
    options={"recursions": 16, "width": 256},
)
