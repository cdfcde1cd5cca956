"""Training the network on the pairs of one image."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zssr.config import Config
from zssr.method import L1, Objective, ResidualNetwork
from zssr.runtime import ComputeType
from zssr.training.divergence import DivergenceGuard
from zssr.training.pairs import Pairs
from zssr.training.schedule import Schedule
from zssr.training.train_step import TrainStep

logger = logging.getLogger(__name__)

OnStep = Callable[[int, int], None]


@dataclass
class TrainingHistory:
    """The course of a training: a loss and a learning rate per step, and validation errors by steps done.

    `graph_failure` says why a GPU's steps were not replayed as a CUDA graph.
    """

    losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    validation_errors: dict[int, float] = field(default_factory=dict)
    restarts: int = 0
    graph_failure: str | None = None

    @property
    def warnings(self) -> list[str]:
        """Sentences that the user should know."""
        restarted = "the loss was not finite at times; the training went back and on with a smaller learning rate"
        eager = f"the GPU's training steps could not be captured, so they are slower ({self.graph_failure})"
        return [restarted] * bool(self.restarts) + [eager] * bool(self.graph_failure)


def train(
    network: ResidualNetwork,
    pairs: Pairs,
    validation: Pairs,
    config: Config,
    schedule: Schedule,
    compute: ComputeType,
    generator: torch.Generator,
    on_step: OnStep,
    history: TrainingHistory | None = None,
    objective: Objective = L1,
    clip: float | None = None,
) -> TrainingHistory:
    """Train `network` in place to predict the residuals of `pairs` from their sons, with Adam (Kingma, Ba 2015).

    `on_step` gets (steps done, most steps) and may stop it by raising; `history`, which is returned, grows meanwhile.
    Where the loss is not finite, good weights are restored with a tenth of the rate; then `DivergedError` is raised.
    """
    history = history or TrainingHistory()
    step = TrainStep(network, compute, objective, clip)
    validation_crops = [validation.draw(generator) for _ in range(max(1, 8 // validation.count))]
    crops = pairs.draw_steps(generator)
    guard = DivergenceGuard(step.weights, step.restore)
    pending: list[Tensor] = []
    interval = config.validation_interval(pairs.batch_size)
    for done in range(1, schedule.steps + 1):
        schedule.advance(done - 1)
        history.learning_rates.append(schedule.rate * guard.rate_factor)
        pending.append(step(*next(crops), history.learning_rates[-1], (done - 1) / schedule.steps))
        if done % interval == 0 or done == schedule.steps:
            history.losses += torch.stack(pending).tolist()
            pending.clear()
            error = step.measure_error(validation_crops)
            step.copy_statistics(network)
            logger.debug("step %d: error %.5f, rate %.1e", done, error, schedule.rate)
            finite = math.isfinite(error) and math.isfinite(sum(history.losses[-interval:]))
            guard.check(finite, done)
            history.restarts, history.graph_failure = guard.restarts, step.graph_failure
            if finite:
                history.validation_errors[done] = error
                schedule.observe(error)
        on_step(done, schedule.steps)
        if schedule.finished:
            break
    return history
