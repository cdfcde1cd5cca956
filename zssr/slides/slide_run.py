"""How a slide is upscaled, and what comes of it."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeVar

from zssr.executors import WINDOW, InlineExecutor, Message, run_calls
from zssr.model import Model
from zssr.progress import ProgressCallback
from zssr.slides.learning import Learned

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class SlideRun:
    """How a slide is upscaled.

    Attributes
    ----------
    executor
        Who does the work.
    block
        Height of blocks in pixels of the output; None is the smallest.
    adaptive
        Whether large regions whose estimate differs are learned from anew.
    resume
        Whether a store that is there is gone on with; otherwise it is replaced.
    progress
        Called after each block.
    inbox, handle
        As `run_calls` takes them.
    """

    executor: Executor
    block: int | None = None
    adaptive: bool = False
    resume: bool = False
    progress: ProgressCallback = lambda _: None
    inbox: "SimpleQueue[object]" = field(default_factory=SimpleQueue)
    handle: Callable[[Message], None] = lambda _: None

    def call(self, function: Callable[..., Value], *arguments: object) -> Value:
        """Do one call on the executor, and return what it returns."""
        ((_, future),) = self.calls(lambda _: self.executor.submit(function, *arguments), [None])
        return future.result()

    def calls(
        self, submit: Callable[[Item], Future[Value]], items: Iterable[Item]
    ) -> Iterable[tuple[Item, Future[Value]]]:
        """Do calls as `run_calls` does; those that fail do not stop the others."""
        window = 1 if isinstance(self.executor, InlineExecutor) else WINDOW
        return run_calls(submit, items, window=window, inbox=self.inbox, handle=self.handle)


@dataclass(frozen=True)
class SlideResult:
    """An upscaled slide: its sizes (H, W), models, number of blocks, and how many of them were there before."""

    input_size: tuple[int, int]
    size: tuple[int, int]
    learned: Learned
    blocks: int
    kept: int
    seconds: dict[str, float]
    seed: int

    @property
    def model(self) -> Model:
        """The model of the whole."""
        return self.learned.models[0]

    def to_dict(self) -> dict[str, object]:
        """Return the facts ready for JSON."""
        return {
            "width": self.size[1],
            "height": self.size[0],
            "input_width": self.input_size[1],
            "input_height": self.input_size[0],
            "blocks": self.blocks,
            "blocks_kept": self.kept,
            "models": len(self.learned.models),
            "stages": {stage: round(spent, 3) for stage, spent in self.seconds.items()},
            "device": self.learned.device,
            "precision": self.learned.precision,
            "seed": self.seed,
            "assumed": self.model.assumed,
            "expected_gain": None,
        }
