"""Sensor noise, and rounding to 8 bits."""

import torch
from torch import Tensor


def add_noise(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise of standard deviation `sigma` (in 0 to 255) to `image` (any shape, in [0, 1])."""
    drawn = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=generator.device)
    return image + drawn.to(image.device) * (sigma / 255)  # not clipped, so that the mean stays right


def quantize(image: Tensor) -> Tensor:
    """Clip `image` (any shape) to [0, 1] and round it to the 256 levels of 8 bits."""
    return (255 * image.clamp(0, 1)).round() / 255


def is_quantized(image: Tensor, content: Tensor | None = None) -> bool:
    """Tell whether all values (of the `content` (H, W), if it is given) are levels of 8 bits, whatever they were in."""
    image = image if content is None else image[..., content]
    return bool(torch.allclose(image, quantize(image), rtol=0, atol=1e-5))
