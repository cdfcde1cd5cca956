"""Adversarial training of a texture generator on a photo and its sons, both upscaled."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from zssr.config import Config
from zssr.networks.discriminator import Discriminator
from zssr.networks.texture import TextureGenerator
from zssr.runtime import run_single_threaded
from zssr.training.divergence import DivergedError, DivergenceGuard
from zssr.training.gan_trainer import GanBatch, GanTrainer, NetworkT
from zssr.training.patches import PatchBatchSampler, TextureExample
from zssr.training.schedule import count_most_steps
from zssr.training.texture_strength import choose_strength

logger = logging.getLogger(__name__)

SMALLEST_PATCH = 24
"""Side in pixels of the smallest patch that a discriminator can judge."""

WARM_UP_STEPS = 30
"""Steps of the discriminator alone, before the generator is trained."""


@dataclass
class GanHistory:
    """The course of an adversarial training: losses per step, and why there is no generator if there is none."""

    generator_losses: list[float] = field(default_factory=list)
    discriminator_losses: list[float] = field(default_factory=list)
    failure: str | None = None


def train_texture_gan(
    examples: Sequence[TextureExample], scale: float, config: Config, seed: int, on_step: Callable[[int, int], None]
) -> tuple[TextureGenerator | None, GanHistory]:
    """Train a texture generator on examples of one photo, or of several that are alike.

    Real patches are the photos'; fake ones are the generator's, from upscaled photos (unpaired, as it will be applied)
    and from their upscaled sons (paired: an L1 loss holds them to their fathers). `on_step` gets (steps done, most
    steps). The generator's strength is chosen at the end by `choose_strength`.

    If the photo is smaller than patches, if the training diverges or if no strength will do, there is no generator, and
    the history says why.
    """
    history = GanHistory()
    side = min(48, *(min(image.shape[-2:]) for example in examples for image in (example.photo, example.father)))
    if side < SMALLEST_PATCH:
        history.failure = f"the photo is too small to learn textures from (patches need {SMALLEST_PATCH} pixels a side)"
        return None, history
    random = torch.Generator().manual_seed(seed)
    channels, device = examples[0].photo.shape[1], examples[0].photo.device
    generator = TextureGenerator(channels, random, seed).to(device)
    trainer = GanTrainer(generator, Discriminator(channels, random).to(device), config)
    try:
        draw = partial(make_texture_batch, generator, PatchBatchSampler(examples, side), random)
        run_gan(trainer, draw, count_gan_steps(config), device, history, on_step)
    except DivergedError as error:
        history.failure = f"the adversarial training diverged ({error})"
        return None, history
    texture = trainer.averaged
    texture.strength = choose_strength(texture, examples, scale)
    if texture.strength < 0.02:
        history.failure = "the adversarial training found no texture that is both like the photo and faithful to it"
        return None, history
    return texture, history


def make_texture_batch(generator: TextureGenerator, sampler: PatchBatchSampler, random: torch.Generator) -> GanBatch:
    """Draw patches, and add texture to what is upscaled."""
    patches = sampler.draw(random)
    size, device = patches.photo.shape[-2:], patches.photo.device

    def add_noise_texture(image: Tensor, std: Tensor) -> Tensor:
        result: Tensor = image + generator(image, std, torch.randn(1, 1, *size, generator=random).to(device))
        return result

    restored = add_noise_texture(patches.upscaled_son, patches.son_std)
    return GanBatch(patches.father, restored, patches.photo, add_noise_texture(patches.upscaled, patches.upscaled_std))


def run_gan(
    trainer: GanTrainer[NetworkT],
    draw: Callable[[], GanBatch],
    steps: int,
    device: torch.device,
    history: GanHistory,
    on_step: Callable[[int, int], None],
) -> None:
    """Take `steps` adversarial steps, or fewer if the discriminator saturates; `history` grows meanwhile.

    The learning rate falls to zero in the last third. Raises `DivergedError`.
    """
    guard = DivergenceGuard(trainer.weights, trainer.restore)
    for done in range(steps):
        rate_factor = guard.rate_factor * min(1.0, (steps - done) / (1 / 3 * (steps - WARM_UP_STEPS)))
        rate_factor = rate_factor if done >= WARM_UP_STEPS else 0.0
        next(run_single_threaded([partial(trainer.step, draw, rate_factor)], device))
        if (done + 1) % 10 == 0 or done + 1 == steps:
            guard.check(trainer.is_finite, done + 1)
        history.generator_losses.append(trainer.losses[0])
        history.discriminator_losses.append(trainer.losses[1])
        on_step(done + 1, steps)
        if trainer.discriminator_saturated:
            logger.info("step %d: the discriminator is saturated", done + 1)
            break


def count_gan_steps(config: Config) -> int:
    """Return how many steps an adversarial training takes: at most 250, and 3 times those of the training before."""
    return WARM_UP_STEPS + max(1, min(250, 3 * count_most_steps(config, config.init)))
