"""The strength of a texture generator: as much as the photo's fine detail asks for and its sons allow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zssr.networks.texture import TextureGenerator
from zssr.training.patches import TextureExample


@dataclass(frozen=True)
class StrengthLimits:
    """Limits of the strength, chosen by `python -m benchmarks texture` at x4 (see benchmarks/README.md).

    Attributes
    ----------
    energy_share
        Share of the missing fine energy that is added, times the square root of the scale.
    error_growth
        How much larger the squared error of the upscaled sons may become: by 1.6 dB.
    highest
        The highest strength.
    """

    energy_share: float = 0.8
    error_growth: float = 10**0.16
    highest: float = 3.0


@torch.no_grad()
def choose_strength(
    texture: TextureGenerator,
    examples: Sequence[TextureExample],
    scale: float,
    limits: StrengthLimits = StrengthLimits(),
) -> float:
    """Return the strength at which texture adds a share of the fine energy that upscaled photos lack.

    It is lower where the squared error of the upscaled sons against their fathers would grow too much.
    """
    random = torch.Generator().manual_seed(texture.seed)
    lack = error = energy_mixed = energy_added = error_mixed = error_added = 0.0
    for example in examples:
        photo, upscaled = fine_spectrum(example.photo), fine_spectrum(example.upscaled)
        added = fine_spectrum(generate_texture(texture, example.upscaled, example.upscaled_std, random))
        lack += float(photo.abs().square().mean()) * upscaled.numel() - float(upscaled.abs().square().sum())
        energy_mixed += float((upscaled.conj() * added).real.sum())
        energy_added += float(added.abs().square().sum())
        wrong = example.upscaled_son - example.father
        added = generate_texture(texture, example.upscaled_son, example.son_std, random)
        error += float(wrong.square().sum())
        error_mixed += float((wrong * added).sum())
        error_added += float(added.square().sum())
    by_energy = _solve_growth(energy_mixed, energy_added, limits.energy_share / math.sqrt(scale) * lack)
    by_error = _solve_growth(error_mixed, error_added, (limits.error_growth - 1) * error)
    return min(limits.highest, by_energy, by_error)


def generate_texture(texture: TextureGenerator, image: Tensor, std: Tensor, random: torch.Generator) -> Tensor:
    """Return the texture (1, C, H, W) of an image with random noise."""
    noise = torch.randn(1, 1, *image.shape[-2:], generator=random)
    added: Tensor = texture(image, std, noise.to(image.device))
    return added


def _solve_growth(mixed: float, own: float, growth: float) -> float:
    """Return the s > 0 at which 2 * s * mixed + s**2 * own is `growth`; 0 if there is none."""
    if growth <= 0 or own <= 0:
        return 0.0
    return max(0.0, (math.sqrt(mixed**2 + own * growth) - mixed) / own)


def fine_spectrum(images: Tensor) -> Tensor:
    """Return the spectrum (H, W) of the gray of images (1, C, H, W) above half the Nyquist frequency.

    Its mean power does not depend on the size.
    """
    gray = images.mean(1)[0]
    height, width = gray.shape
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)
    spectrum: Tensor = torch.fft.fft2((gray - gray.mean()) * window.to(gray)) / window.square().sum().sqrt()
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width))
    return spectrum * (frequency >= 0.25).to(gray)
