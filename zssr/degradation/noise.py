"""Noise of sensor and film, and rounding to 8 bits."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


@dataclass(frozen=True)
class Grain:
    """The kind of noise: how it is spread over frequencies, channels and brightness; by default evenly.

    Attributes
    ----------
    blur
        Standard deviation, in pixels, of the Gaussian that made it of white noise. Film is grainy, and photos that were
        developed, denoised or enlarged are.
    correlation
        Of the channels' noise with each other: 1 if it is gray.
    shot
        Share of the variance that is in proportion to brightness, at middle gray: that of counted photons.
    """

    blur: float = 0.0
    correlation: float = 0.0
    shot: float = 0.0

    def __str__(self) -> str:
        parts = [f"blurred by {self.blur:.1f} px"] if self.blur else []
        parts += [f"{self.correlation:.0%} gray"] if self.correlation else []
        parts += [f"{self.shot:.0%} with brightness"] if self.shot else []
        return f" ({', '.join(parts)})" if parts else ""


WHITE = Grain()


def add_noise(image: Tensor, sigma: float, generator: torch.Generator, grain: Grain = WHITE) -> Tensor:
    """Add normal noise of standard deviation `sigma` (in 0 to 255, at middle gray) to `image` (N, C, H, W) in [0, 1].

    It is white unless `grain` says more.
    """

    def draw(shape: tuple[int, ...]) -> Tensor:
        drawn = torch.randn(shape, generator=generator, dtype=image.dtype, device=generator.device)
        return drawn.to(image.device)

    noise = draw(tuple(image.shape))
    if grain.correlation:
        common = draw((len(image), 1, *image.shape[2:]))
        noise = math.sqrt(1 - grain.correlation) * noise + math.sqrt(grain.correlation) * common
    if grain.blur:
        noise = _blur_noise(noise, grain.blur)
    if grain.shot:
        noise = noise * (1 - grain.shot + 2 * grain.shot * image.clamp(0, 1)).sqrt()
    return image + noise * (sigma / 255)  # not clipped, so that the mean stays right


def _blur_noise(noise: Tensor, sigma: float) -> Tensor:
    """Blur white `noise` (N, C, H, W) by a Gaussian, and keep its standard deviation."""
    radius = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=noise.dtype, device=noise.device) / sigma) ** 2)
    taps /= taps.square().sum().sqrt()
    planes = noise.flatten(0, 1)[:, None]
    planes = conv2d(pad(planes, (radius, radius, radius, radius), "circular"), taps.view(1, 1, -1, 1))
    return conv2d(planes, taps.view(1, 1, 1, -1)).view(noise.shape)


def quantize(image: Tensor) -> Tensor:
    """Clip `image` (any shape) to [0, 1] and round it to the 256 levels of 8 bits."""
    return (255 * image.clamp(0, 1)).round() / 255


def is_quantized(image: Tensor, content: Tensor | None = None) -> bool:
    """Tell whether all values (of the `content` (H, W), if it is given) are levels of 8 bits, whatever they were in."""
    image = image if content is None else image[..., content]
    return image.numel() == 0 or bool((image - quantize(image)).abs().max() <= 1e-5)
