"""Sensor noise, and the rounding to 8 bits."""

import torch
from torch import Tensor


def add_noise(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise with standard deviation `sigma` (in 0 to 255) to `image` (values in [0, 1]).

    The values are drawn on the generator's device; the result is not clipped, so that its mean stays right.
    """
    drawn = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=generator.device)
    return image + drawn.to(image.device) * (sigma / 255)


def quantize(image: Tensor) -> Tensor:
    """Bring values to the nearest of the 256 levels in [0, 1] that 8 bits can hold."""
    return (255 * image.clamp(0, 1)).round() / 255


def is_quantized(image: Tensor) -> bool:
    """Tell whether all values are such levels, whatever the image was stored in."""
    return bool(torch.allclose(image, quantize(image), rtol=0, atol=1e-5))
