"""Train one network of a prior, with checkpoints from which an interrupted training resumes."""

import io
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import TypedDict

import torch
from torch import Tensor

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.errors import ConfigError
from zssr.io.atomic import atomic_write
from zssr.networks.film import ConditionedNetwork, DegradationKind, degradation_embedding
from zssr.prior.dead_leaves import PICTURE_SIZE
from zssr.prior.random_degradations import draw_degradations
from zssr.prior.training_pictures import check_range, draw_fathers
from zssr.runtime import ComputeType
from zssr.training.pairs import make_pair, randint
from zssr.training.train_step import TrainStep

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingPlan:
    """How one network of a prior is trained.

    Attributes
    ----------
    kind
        Of degradations: "bicubic", "blurred" for all kernels and samplings, or "noisy" for noise and JPEG too.
    scale
        Factor by which the network upscales.
    steps, crops, crop_size
        Optimizer steps; crops in each; side of a crop in pixels of the picture.
    rate
        Adam's learning rate at the start; it falls along half a cosine wave to a thousandth.
    seed
        Source of all randomness.
    degradations
        Number of random degradations to train for, unless the kind is "bicubic".
    checkpoint_steps
        Steps from one checkpoint, and one line of the log, to the next.
    """

    kind: DegradationKind = "bicubic"
    scale: int = 2
    steps: int = 32_000
    crops: int = 8
    crop_size: int = 96
    rate: float = 1e-3
    seed: int = 0
    degradations: int = 400
    checkpoint_steps: int = 500

    def __post_init__(self) -> None:
        check_range("scale", self.scale, 2, 9)
        check_range("steps", self.steps, 1, 10**9)
        check_range("crops", self.crops, 1, 4096)
        check_range("crop_size", self.crop_size, 32, PICTURE_SIZE)
        check_range("seed", self.seed, 0, 2**32)

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0; it rises over the first 200 steps, then falls."""
        wave = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.rate * (1e-3 + (1 - 1e-3) * wave) * min(1.0, (step + 1) / 200)

    def draw_fathers(self, pictures: Sequence[Tensor], generator: torch.Generator) -> Tensor:
        """Draw the fathers (N, 3, H, W) of one step, with grain unless noise is to be removed."""
        side = self.crop_size // self.scale * self.scale
        return draw_fathers(pictures, self.crops, side, generator, grain=self.kind != "noisy")

    def draw_degradations(self) -> list[Degradation]:
        """Draw the degradations to train for; they depend on the plan alone."""
        if self.kind == "bicubic":
            return [Degradation(None, (self.scale, self.scale), quantized=True)]
        return draw_degradations(self.degradations, self.seed, self.scale, noisy=self.kind == "noisy")


def train_prior(
    pictures: Sequence[Tensor],
    plan: TrainingPlan,
    config: Config,
    compute: ComputeType,
    checkpoint: Path,
    start: ConditionedNetwork | None = None,
) -> ConditionedNetwork:
    """Train a network of `config`'s shape on `pictures`, each (3, H, W) in uint8; return it on the CPU.

    It starts from the weights of `start`, or from random ones. If the file `checkpoint` exists, training resumes from
    there, and the result is that of an uninterrupted training. Raises `ConfigError` if that file is no checkpoint of
    the same plan and shape.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    network = ConditionedNetwork(plan.scale, config.shape, generator)
    if start:
        network.load_state_dict(start.state_dict())
    training = _Training(network.to(compute.device), plan, compute, generator)
    if checkpoint.exists():
        training.load(checkpoint)
    degradations = plan.draw_degradations()
    embed = cache(lambda k: degradation_embedding(degradations[k]))
    losses: list[Tensor] = []
    began = time.perf_counter()
    while training.steps < plan.steps:
        fathers = plan.draw_fathers(pictures, generator)
        k = randint(len(degradations), generator)
        losses.append(training.update(*make_pair(fathers, degradations[k], plan.scale, generator), embed(k)))
        if training.steps % plan.checkpoint_steps == 0 or training.steps == plan.steps:
            loss, seconds = float(torch.stack(losses).mean()), time.perf_counter() - began
            done = (plan.kind, plan.scale, training.steps, plan.steps)
            logger.info("%s x%d step %d of %d: loss %.5f, %.0f s", *done, loss, seconds)
            losses.clear()
            training.save(checkpoint)
    training.step.restore(training.average)
    return network.cpu()


class _Checkpoint(TypedDict):
    """What a checkpoint file holds."""

    weights: Tensor
    optimizer_state: dict[str, Tensor]
    average: Tensor
    steps: int
    generator: Tensor
    plan: dict[str, object]


class _Training:
    """The state of a training: weights, optimizer, running average of the weights, steps done, random generator."""

    def __init__(
        self, network: ConditionedNetwork, plan: TrainingPlan, compute: ComputeType, generator: torch.Generator
    ) -> None:
        self.plan, self.compute, self.generator, self.steps = plan, compute, generator, 0
        self.step = TrainStep(network, compute, betas=(0.9, 0.99))
        self.average = self.step.weights()

    def update(self, sons: Tensor, residuals: Tensor, z: Tensor) -> Tensor:
        """Do one optimizer step on sons (N, 3, h, w) of the degradation with the embedding `z`; return the loss."""
        self.step.network.condition(z)
        device, rate = self.compute.device, self.plan.rate_at(self.steps)
        loss = self.step(sons.to(device), residuals.to(device), rate)
        self.steps += 1
        self.average.lerp_(self.step.weights(), max(1e-3, min(1.0, 10 / self.steps)))
        return loss

    def save(self, path: Path) -> None:
        """Write a checkpoint atomically."""
        checkpoint = _Checkpoint(
            weights=self.step.weights(),
            optimizer_state=self.step.optimizer_state(),
            average=self.average,
            steps=self.steps,
            generator=self.generator.get_state(),
            plan=asdict(self.plan),
        )
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with atomic_write(path) as file:
            file.write(content.getvalue())

    def load(self, path: Path) -> None:
        """Restore a checkpoint; raise `ConfigError` if it is none of this training."""
        try:
            checkpoint: _Checkpoint = torch.load(path, weights_only=True, map_location=self.compute.device)
            if set(checkpoint) != set(_Checkpoint.__annotations__):
                raise KeyError
        except (OSError, EOFError, RuntimeError, KeyError, TypeError, UnpicklingError) as error:
            raise ConfigError(f"{path}: is not a checkpoint of such a training; remove it to start anew") from error
        if checkpoint["plan"] != asdict(self.plan) or len(checkpoint["weights"]) != len(self.average):
            raise ConfigError(f"{path}: belongs to a training with other settings; remove it to start anew")
        self.step.resume(checkpoint["weights"], checkpoint["optimizer_state"])
        self.average, self.steps = checkpoint["average"], checkpoint["steps"]
        self.generator.set_state(checkpoint["generator"].cpu())
