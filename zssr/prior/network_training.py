"""Training of the start weights of a network of the literature, on many pictures."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.method import Method, ResidualNetwork
from zssr.networks.film import CHANNELS
from zssr.prior.network_prior import write_network_prior
from zssr.prior.training_pictures import TrainingPictures, check_range
from zssr.runtime import ComputeType
from zssr.training.pairs import Pairs, make_pair, randint
from zssr.training.schedule import make_schedule
from zssr.training.trainer import TrainingHistory, train

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkTrainingPlan:
    """How a method's networks are trained: scales, steps, crops in each, their side in small pixels, and the seed."""

    scales: tuple[int, ...] = (2,)
    steps: int = 30_000
    crops: int = 8
    crop_size: int = 48
    seed: int = 0

    def __post_init__(self) -> None:
        for scale in self.scales:
            check_range("scale", scale, 2, 9)
        check_range("steps", self.steps, 1, 10**9)
        check_range("crops", self.crops, 1, 4096)
        check_range("crop_size", self.crop_size, 16, 1024)
        check_range("seed", self.seed, 0, 2**32)


class PicturePairs(Pairs):
    """Pairs of fathers that are drawn anew from pictures for each step, at one of several scales."""

    def __init__(
        self, pictures: TrainingPictures, plan: NetworkTrainingPlan, scales: Sequence[int], factor: int
    ) -> None:
        self._pictures, self._scales, self._crop_size = pictures, scales, plan.crop_size
        self.factor, self.count, self.batch_size = factor, plan.crops, plan.crops

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw sons and their residuals, of one scale."""
        scale = self._scales[randint(len(self._scales), generator)]
        fathers = self._pictures.draw_fathers(self.count, scale * self._crop_size, generator, grain=True)
        return make_pair(fathers, Degradation(None, (scale, scale), quantized=True), self.factor, generator)

    def draw_steps(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the crops of each step, without end."""
        while True:
            yield self.draw(generator)


def train_network_prior(
    pictures: Sequence[Tensor], method: Method, plan: NetworkTrainingPlan, compute: ComputeType, path: Path
) -> None:
    """Train a method's networks on pictures (3, H, W) in uint8, by its own loss and rate; write them to `path`.

    There is one network for each scale, or one for all if it works on interpolated images. Sons are bicubic.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    config = method.adapt(Config()).replace(num_epochs=plan.steps, lr_schedule="cosine")
    groups = {1: plan.scales} if method.on_interpolated else {scale: (scale,) for scale in plan.scales}
    networks: dict[int, ResidualNetwork] = {}
    stored = TrainingPictures(pictures, compute.device)
    for factor, scales in groups.items():
        networks[factor] = method.make_network(CHANNELS, factor, config, generator).to(compute.device)
        history, pairs = TrainingHistory(), PicturePairs(stored, plan, scales, factor)

        def report(done: int, most: int, factor: int = factor, history: TrainingHistory = history) -> None:
            if history.losses and (done % 1000 == 0 or done == most):
                logger.info("x%d step %d of %d: loss %.5f", factor, done, most, history.losses[-1])
                write_network_prior(path, method, networks)

        schedule, loss = make_schedule(config, "random", plan.crops), (method.objective, method.clip)
        train(networks[factor], pairs, pairs, config, schedule, compute, generator, report, history, *loss)
        write_network_prior(path, method, networks)
