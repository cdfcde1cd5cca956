"""RED: convolutions and deconvolutions with symmetric skips."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from zssr.method import Method, pixel_loss
from zssr.networks.layers import Deconvolution, PublishedNetwork, initialize_weights
from zssr.networks.sr import Convolution


class Red(PublishedNetwork):
    """As many convolutions as deconvolutions, 64 channels; every second pair is linked (Mao, Shen and Yang 2016)."""

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, layers: int) -> None:
        super().__init__(channels, factor, layers)
        half = layers // 2
        pairs = list(pairwise([channels, *[64] * half]))
        self.encoder = nn.ModuleList(Convolution(a, b, 3) for a, b in pairs)
        self.decoder = nn.ModuleList(Deconvolution(b, a, 3, 1) for a, b in reversed(pairs))
        initialize_weights(self, generator, self.decoder[-1])
        with torch.no_grad():
            for layer in self.decoder[:-1]:
                layer.weight.mul_(0.5)  # type: ignore[operator]

    def predict(self, image: Tensor) -> Tensor:
        """Return the residual."""
        features, kept = image, []
        for k, layer in enumerate(self.encoder):
            features = torch.relu(layer(features))
            if k % 2:
                kept.append(features)
        *inner, last = self.decoder
        if len(self.encoder) % 2 == 0:
            kept.pop()  # the innermost is the decoder's own input
        for k, layer in enumerate(inner):
            features = layer(features)
            if (len(self.encoder) - 2 - k) % 2 and kept:
                features = features + kept.pop()
            features = torch.relu(features)
        result: Tensor = last(features)
        return result


METHOD = Method(
    name="red",
    summary="network of convolutions and deconvolutions on the interpolated image, linked in pairs",
    paper="Mao, Shen and Yang 2016",
    network=Red,
    on_interpolated=True,
    objective=pixel_loss(mse_loss),
    settings={"lr": 1e-3, "lr_schedule": "cosine", "num_epochs": 600, "crop_size": 64, "batch_size": 1},
    options={"layers": (30, 20, 10)},
)
