"""When to lower the learning rate, and when to stop."""

import math
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from zssr.config import Config

Start = Literal["prior", "random"]
"""Start weights of a training."""

_STEPS = {"cosine": 60, "slope": 4000}

_RATES = {"prior": 2e-4, "random": 1e-3}  # the latter with two crops in a step


class Schedule(Protocol):
    """A learning rate that changes with the steps, or with the validation error; `steps` are the most there will be."""

    rate: float
    steps: int
    finished: bool

    def observe(self, error: float) -> None:
        """Adapt the rate to the validation error, which is measured every `lr_decay_step` steps."""

    def advance(self, step: int) -> None:
        """Set `rate` for the optimizer step number `step`, the first being 0."""


class SlopeRule:
    """Lower the rate when the fitted improvement is less than the residual noise (Shocher et al. 2018, sec. 3.1).

    Every `lr_decay_step` steps a line is fitted by least squares to the last `lr_decay_range` validation errors since
    the rate changed. Four are enough once it was lowered, since they are smooth then. If `lr_decay_ratio` times the
    line's fall per measurement is less than the residuals' standard deviation, the rate is multiplied by `lr_decay`.
    The training is finished when the rate is less than `lr_stop`.
    """

    def __init__(self, config: Config, rate: float, steps: int) -> None:
        self.rate = self._first = rate
        self.steps = steps
        self.finished = False
        self._config = config
        self._errors: list[float] = []

    def advance(self, step: int) -> None:
        """Do nothing: the rate depends on errors only."""

    def observe(self, error: float) -> None:
        """Add an error, and lower the rate if the trend of the last ones is flat."""
        config = self._config
        self._errors = [*self._errors, error][-config.lr_decay_range :]
        first = self.rate == self._first
        if len(self._errors) < (config.lr_decay_range if first else min(4, config.lr_decay_range)):
            return
        fall, scatter = fit_trend(self._errors)
        negligible = 1e-3 * error  # 0.01 dB
        if config.lr_decay_ratio * fall < max(scatter, negligible):
            self._errors.clear()
            self.rate *= config.lr_decay
            self.finished = self.rate < config.lr_stop * (1 - 1e-9)


def fit_trend(errors: Sequence[float]) -> tuple[float, float]:
    """Fit a line to equally spaced `errors`; return its fall per error, and the residuals' standard deviation."""
    x = np.arange(len(errors))
    slope, level = np.polyfit(x, errors, 1)
    return float(-slope), float(np.std(errors - (slope * x + level), ddof=2))


class Cosine:
    """Lower the rate along half a cosine to `lr_stop` over all steps (Loshchilov and Hutter 2017, eq. 5).

    It rises over the first `warm_up` steps, where deep networks of random weights would be thrown far off.
    """

    def __init__(self, config: Config, rate: float, steps: int, warm_up: int = 0) -> None:
        self.rate = self._first = rate
        self.steps = steps
        self.finished = False
        self._last, self._warm_up = config.lr_stop, warm_up

    def advance(self, step: int) -> None:
        """Set the rate by the cosine."""
        share = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        rise = min(1.0, (step + 1) / (self._warm_up + 1))
        self.rate = rise * (self._last + (self._first - self._last) * share)

    def observe(self, error: float) -> None:
        """Do nothing: the rate does not depend on errors."""


def make_schedule(config: Config, start: Start, batch_size: int = 2) -> Schedule:
    """Make the schedule that `config.lr_schedule` names, or that suits the start weights.

    Rates that are not given grow with the root of the crops in a step where all is to be learned. From the prior, whose
    steps are small, that costs 0.04 to 0.1 dB (`benchmarks quality --set batch_size=8 --set lr=0.0004`).
    """
    name, steps = choose_schedule(config, start), count_most_steps(config, start)
    growth = math.sqrt(batch_size / 2) if start == "random" else 1.0
    rate = _RATES[start] * growth if config.lr is None else config.lr
    if name == "slope":
        return SlopeRule(config, rate, steps)
    return Cosine(config, rate, steps, warm_up=steps // 20 if start == "random" else 0)


def choose_schedule(config: Config, start: Start) -> Literal["slope", "cosine"]:
    """Return the name of the schedule from these start weights."""
    if config.lr_schedule == "auto":
        return "cosine" if start == "prior" else "slope"
    return config.lr_schedule


def count_most_steps(config: Config, start: Start) -> int:
    """Return the most optimizer steps of a scale step."""
    return _STEPS[choose_schedule(config, start)] if config.num_epochs is None else config.num_epochs
