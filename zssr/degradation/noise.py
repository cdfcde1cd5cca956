"""Sensor noise."""

import torch
from torch import Tensor


def add_noise(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise with standard deviation `sigma` (in 0 to 255) to `image` (values in [0, 1]).

    The values are drawn on the generator's device; the result is not clipped, so that its mean stays right.
    """
    drawn = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=generator.device)
    return image + drawn.to(image.device) * (sigma / 255)
