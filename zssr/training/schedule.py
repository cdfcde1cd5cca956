"""When to lower the learning rate, and when to stop."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from zssr.config import Config

_FEWEST = 4  # errors that a trend is judged by once the rate was lowered
_NEGLIGIBLE = 1e-3  # a fall by this share of the error, 0.01 dB, is not worth going on for


class Schedule(Protocol):
    """A learning rate that may answer to an error measured now and then."""

    rate: float
    finished: bool

    def observe(self, error: float) -> None:
        """Take note of the held-back error, measured every `lr_decay_step` steps."""

    def advance(self, step: int) -> None:
        """Set `rate` for the optimizer step number `step`, the first being 0."""


class SlopeRule:
    """Divide the rate when the error's trend no longer stands out of its noise (Shocher et al. 2018, sec. 3.1).

    Every `lr_decay_step` steps a straight line is fitted by least squares to the last `lr_decay_range` errors since the
    rate changed; fewer will do once it was lowered, for then they are smooth. If `lr_decay_ratio` times the fall that
    the line promises until the next look is smaller than the scatter around it, the rate is multiplied by `lr_decay`.
    Below `lr_stop` the training ends.
    """

    def __init__(self, config: Config, rate: float) -> None:
        self.rate = self._first = rate
        self.finished = False
        self._config = config
        self._errors: list[float] = []

    def advance(self, step: int) -> None:
        """Do nothing: the rate changes only with the errors."""

    def observe(self, error: float) -> None:
        """Add an error, and judge the trend once there are enough."""
        config = self._config
        self._errors = [*self._errors, error][-config.lr_decay_range :]
        first = self.rate == self._first
        if len(self._errors) < (config.lr_decay_range if first else min(_FEWEST, config.lr_decay_range)):
            return
        fall, scatter = fit_trend(self._errors)
        if config.lr_decay_ratio * fall < max(scatter, _NEGLIGIBLE * error):
            self._errors.clear()
            self.rate *= config.lr_decay
            self.finished = self.rate < config.lr_stop * (1 - 1e-9)


def fit_trend(errors: Sequence[float]) -> tuple[float, float]:
    """Fit a line to equally spaced `errors`; return its fall per error, and the standard deviation around it."""
    at = np.arange(len(errors))
    slope, level = np.polyfit(at, errors, 1)
    return float(-slope), float(np.std(errors - (slope * at + level), ddof=2))


class Cosine:
    """Half a cosine from the first rate to `lr_stop` over `num_epochs` steps (Loshchilov and Hutter 2017, eq. 5)."""

    def __init__(self, config: Config, rate: float) -> None:
        self.rate = self._first = rate
        self.finished = False
        self._config = config

    def advance(self, step: int) -> None:
        """Follow the cosine."""
        config = self._config
        wave = 0.5 * (1 + math.cos(math.pi * step / config.num_epochs))
        self.rate = config.lr_stop + (self._first - config.lr_stop) * wave

    def observe(self, error: float) -> None:
        """Do nothing: the rate is known beforehand."""


def make_schedule(config: Config, rate: float) -> Schedule:
    """Return the schedule that `config.lr_schedule` names, with its first learning rate."""
    return Cosine(config, rate) if config.lr_schedule == "cosine" else SlopeRule(config, rate)
