"""Adversarial training of a network that upscales, after its own training: the game of SRGAN (Ledig et al. 2017)."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.method import ResidualNetwork
from zssr.networks.discriminator import Discriminator
from zssr.training.divergence import DivergedError
from zssr.training.gan_trainer import GanBatch, GanConstants, GanTrainer
from zssr.training.pairs import Pairs
from zssr.training.schedule import count_most_steps
from zssr.training.texture_gan import SMALLEST_PATCH, WARM_UP_STEPS, GanHistory, run_gan


def train_network_gan(
    network: ResidualNetwork,
    pairs: Pairs,
    degradation: Degradation,
    rate: float,
    config: Config,
    generator: torch.Generator,
    on_step: Callable[[int, int], None],
) -> GanHistory:
    """Train a network in place to make what a discriminator takes for fathers, with Adam at `rate`.

    A perceptual and a pixel loss hold its results to the fathers. There are a third as many steps as in the training
    before, and the weights are averaged over them. If crops are too small to judge, or if the training diverges, the
    network stays as it is, and the history says why.
    """
    history, device = GanHistory(), next(network.parameters()).device
    if pairs.factor * pairs.side < SMALLEST_PATCH:
        history.failure = f"crops are too small for a discriminator (it needs {SMALLEST_PATCH} pixels a side)"
        return history
    network.train()
    discriminator = Discriminator(network.channels, generator).to(device)
    trainer = GanTrainer(network, discriminator, config, GanConstants(generator_rate=rate))
    crops = pairs.draw_steps(generator)
    try:
        draw = partial(make_pair_batch, network, degradation, crops)
        steps = WARM_UP_STEPS + max(1, count_most_steps(config, config.init) // 3)
        run_gan(trainer, draw, steps, device, history, on_step)
    except DivergedError as error:
        history.failure = f"the adversarial training diverged ({error})"
        return history
    for weight, mean in zip(network.parameters(), trainer.averaged.parameters(), strict=True):
        weight.data.copy_(mean)
    return history


def make_pair_batch(
    network: ResidualNetwork, degradation: Degradation, crops: Iterator[tuple[Tensor, Tensor]]
) -> GanBatch:
    """Draw crops of sons, and upscale them by the network."""
    sons, residuals = next(crops)
    height, width = residuals.shape[-2:]
    interpolated = sons if network.factor == 1 else degradation.upsample(sons, (height, width))
    father, restored = interpolated + residuals, interpolated + network(sons)
    return GanBatch(father, restored, father[:0], restored[:0])
