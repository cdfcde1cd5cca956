"""Progress of a run: its stages, the events that callbacks get, timings and warnings."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


class Stage(StrEnum):
    """A stage of a run; events and timings are named by it."""

    ESTIMATE = "estimate"
    PAIRS = "pairs"
    TRAIN = "train"
    TEXTURE = "texture"
    APPLY = "apply"
    SCAN = "scan"
    FRAMES = "frames"
    REGISTER = "register"
    FUSE = "fuse"
    GAIN = "measure_gain"


@dataclass(frozen=True)
class ProgressEvent:
    """One step of a stage is done.

    Attributes
    ----------
    stage
        TRAIN, TEXTURE or APPLY; SCAN and FRAMES of a video, REGISTER and FUSE of a burst.
    done, total
        Steps, tiles or frames that are done, and the most there will be; training may end before.
    scale
        The scale that the stage's result has, relative to the photo.
    losses, learning_rates
        Of the training until now, if `stage` is TRAIN: one each per measured optimizer step.
    preview
        If `stage` is TRAIN: renders the center of the photo (C, h, w) in its own dtype, as the network upscales it now.
    """

    stage: Stage
    done: int
    total: int
    scale: float
    losses: Sequence[float] = field(default=(), repr=False)
    learning_rates: Sequence[float] = field(default=(), repr=False)
    preview: "Callable[[], Tensor] | None" = field(default=None, repr=False)


ProgressCallback = Callable[[ProgressEvent], None]
"""Called after each step; may stop the run by raising."""


class CallbackError(Exception):
    """Carries what a callback raised past all that handles errors of the package's own."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Progress:
    """Collects the timings and warnings of a run, and passes its events to a callback.

    `name` is that of the picture, which is logged with its warnings.

    Attributes
    ----------
    seconds
        Wall-clock time of each stage.
    warnings
        One sentence each.
    """

    def __init__(self, callback: ProgressCallback | None = None, name: str | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []
        self._callback = callback
        self._prefix = f"{name}: " if name else ""

    def for_trial(self) -> "Progress":
        """Return that of a trial within the run: timings of its own, no events, and warnings that are told once."""
        trial = Progress()
        trial.warnings, trial._prefix = self.warnings, self._prefix
        return trial

    def make_notifier(
        self,
        stage: Stage,
        scale: float,
        losses: Sequence[float] = (),
        learning_rates: Sequence[float] = (),
        preview: "Callable[[], Tensor] | None" = None,
    ) -> Callable[[int, int], None]:
        """Return a function that takes (done, total) and passes on an event; see `ProgressEvent`.

        It raises `CallbackError` around what the callback raises.
        """

        def notify(done: int, total: int) -> None:
            try:
                if self._callback:
                    self._callback(ProgressEvent(stage, done, total, scale, losses, learning_rates, preview))
            except Exception as error:
                raise CallbackError(error) from error

        return notify

    def warn(self, *sentences: str) -> None:
        """Keep and log sentences, each once."""
        for sentence in sentences:
            if sentence not in self.warnings:
                self.warnings.append(sentence)
                logger.warning("%s%s", self._prefix, sentence)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage.value] = self.seconds.get(stage.value, 0.0) + time.perf_counter() - start

    def time_items(self, stage: Stage, items: Iterator[Item]) -> Iterator[Item]:
        """Yield `items`, and add the time that making them takes to a stage."""
        take = self.timed(stage)(partial(next, items, None))
        while (item := take()) is not None:
            yield item


def count_calls(notify: Callable[[int, int], None], total: int) -> Callable[[], None]:
    """Return a function that calls `notify` with (done, total), each time with one more done."""
    calls = itertools.count(1)
    return lambda: notify(min(next(calls), total), total)


def format_duration(seconds: float) -> str:
    """Format a time as 42 s, 12 min or 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
