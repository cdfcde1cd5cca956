"""SRResNet: residual blocks with batch normalization, and sub-pixel layers."""

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, mse_loss, pixel_shuffle

from zssr.method import Method, pixel_loss
from zssr.networks.layers import (
    PublishedNetwork,
    factorize,
    initialize_weights,
    keep_image,
    pass_enlarged,
    pass_image,
)
from zssr.networks.sr import Convolution

_WIDTH = 64
_GAIN = 0.1  # before the last layer, whose many weights would move the result too much in a step of Adam
_MOMENTUM = 0.1  # share of a step in the running statistics


class Normalization(nn.BatchNorm2d):
    """Batch normalization that normalizes by running statistics while it is trained, too (Ioffe 2017).

    There is a crop or two in a step: by their own statistics they would be normalized otherwise than the photo is.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalize (N, C, H, W)."""
        if not self.training:
            return super().forward(features)
        with torch.no_grad():
            variance, mean = torch.var_mean(features, (0, 2, 3), correction=0)
            running_mean, running_variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
            steps = self.get_buffer("num_batches_tracked").add_(1)
            share = (1 / steps).clamp_min(_MOMENTUM).to(mean.dtype)  # the first step's statistics are taken as they are
            running_mean.lerp_(mean, share)
            running_variance.lerp_(variance, share)
            inverse = (running_variance + self.eps).rsqrt()
            ratio, shift = (variance + self.eps).sqrt() * inverse, (mean - running_mean) * inverse
        gain, bias = self.weight * ratio, self.bias + self.weight * shift
        return batch_norm(features, None, None, gain, bias, training=True, eps=self.eps)


class NormalizedBlock(nn.Module):
    """Convolution, normalization, PReLU, convolution, normalization, and the input added (He et al. 2016)."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.one, self.two = Convolution(_WIDTH, _WIDTH, 3), Convolution(_WIDTH, _WIDTH, 3)
        self.first_norm, self.second_norm = Normalization(_WIDTH), Normalization(_WIDTH)
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
        self.blocks = nn.ModuleList(NormalizedBlock(blocks**-0.5) for _ in range(blocks))
        self.middle, self.norm = Convolution(_WIDTH, _WIDTH, 3), Normalization(_WIDTH)
        self.upscaling = nn.ModuleList(Convolution(_WIDTH, _WIDTH * one**2, 3) for one in factors)
        self.activations = nn.ModuleList(nn.PReLU() for _ in factors)
        self.last = Convolution(_WIDTH, channels, 9)
        initialize_weights(self, generator, self.last)
        keep_image(self, channels, "second_norm", "norm")
        pass_image(self.first, channels)
        pass_image(self.last, channels, 1 / _GAIN)
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
        result: Tensor = self.last(_GAIN * features)
        return result


METHOD = Method(
    name="srresnet",
    summary="network of 16 residual blocks with batch normalization, on the small image",
    paper="Ledig et al. 2017",
    network=Srresnet,
    objective=pixel_loss(mse_loss),
    settings={"lr": 5e-4, "lr_schedule": "cosine", "num_epochs": 400, "crop_size": 64, "batch_size": 1},
    options={"blocks": 16},
)
