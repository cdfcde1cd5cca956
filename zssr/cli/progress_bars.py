"""Progress on stderr: bars where it is a terminal, for the batch and each picture at work; or else a line at times."""

import sys
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, NoReturn

from zssr.cli.plan import Task
from zssr.progress import ProgressEvent, Stage, format_duration

if TYPE_CHECKING:
    from tqdm import tqdm


INTERVAL = 30.0
"""Seconds between two lines where there is no terminal."""

_TITLES = {
    Stage.TEXTURE: "training texture",
    Stage.SCAN: "looking at all frames",
    Stage.FRAMES: "upscaling x{:g}",
    Stage.REGISTER: "registering",
    Stage.FUSE: "fusing x{:g}",
}


def describe(event: ProgressEvent) -> str:
    """Describe the stage of an event in words, such as "training x2"."""
    if event.stage in _TITLES:
        return _TITLES[event.stage].format(event.scale)
    return f"{'training' if event.stage == Stage.TRAIN else 'applying'} x{event.scale:g}"


def describe_rate(event: ProgressEvent) -> str:
    """Return what a bar says beside its title, in tqdm's words."""
    if event.stage in (Stage.SCAN, Stage.FRAMES):
        return "{n_fmt}/{total_fmt} frames, {rate_noinv_fmt}"
    return "{percentage:3.0f}%"


def describe_pace(event: ProgressEvent, done: int, seconds: float) -> str:
    """Describe how fast the frames of a video are done, and the time that is left; nothing of other stages."""
    if event.stage not in (Stage.SCAN, Stage.FRAMES) or not done or seconds <= 0:
        return ""
    left = seconds / done * (event.total - event.done)
    return f", {done / seconds:.2f} frames/s, {format_duration(left)} left"


class ProgressLines:
    """A line about the progress at times, for a stderr that is no terminal, such as a log."""

    def __init__(self, count: int) -> None:
        self._count, self._finished = count, 0
        self._next = time.monotonic() + INTERVAL
        self._begun: dict[tuple[str, Stage], tuple[float, int]] = {}

    def show(self, name: str, event: ProgressEvent) -> None:
        """Write how far a picture is, if the last line was long enough ago."""
        start, first = self._begun.setdefault((name, event.stage), (time.monotonic(), event.done))
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + INTERVAL
            batch = f" ({self._finished} of {self._count} pictures are finished)" if self._count > 1 else ""
            share = 100 * event.done // max(event.total, 1)
            pace = describe_pace(event, event.done - first, time.monotonic() - start)
            sys.stderr.write(f"zssr: {name}: {describe(event)}, {share} %{pace}{batch}\n")
            sys.stderr.flush()

    def finish(self) -> None:
        """Count a picture that is finished."""
        self._finished += 1


class ProgressBars:
    """All bars of one run; a context manager that keeps the log clear of them, and removes them at the end.

    Parameters
    ----------
    count
        Number of pictures; the batch has a bar of its own if there are several.
    hidden
        Whether nothing is shown, terminal or not.
    """

    def __init__(self, count: int, *, hidden: bool) -> None:
        self._shown = not hidden and sys.stderr.isatty()
        self._lines = None if hidden or self._shown else ProgressLines(count)
        self._stack = ExitStack()
        self._bars: dict[int, tuple[str, tqdm[NoReturn]]] = {}
        self._batch = _make_bar("all pictures", "{n_fmt}/{total_fmt}", count, 0) if self._shown and count > 1 else None

    def show(self, slot: int, name: str, event: ProgressEvent) -> None:
        """Show how far a picture is; those that are at work together have slots 0, 1, ..."""
        if self._lines:
            self._lines.show(name, event)
        if not self._shown:
            return
        title = f"{name}: {describe(event)}"
        known, bar = self._bars.get(slot, ("", None))
        if bar is None or known != title:
            self._close(slot)
            bar = _make_bar(title, describe_rate(event), event.total, slot + (self._batch is not None))
            self._bars[slot] = (title, bar)
        bar.update(event.done - bar.n)

    def finish(self, task: Task) -> None:
        """Show that a task has ended."""
        for slot in [slot for slot, (title, _) in self._bars.items() if title.startswith(f"{task.name}: ")]:
            self._close(slot)
        if self._batch is not None and task.is_pending:
            self._batch.update(1)
        if self._lines and task.is_pending:
            self._lines.finish()

    def paused(self) -> AbstractContextManager[None]:
        """Take the bars out of the way of lines that are written to the terminal."""
        from tqdm import tqdm

        return tqdm.external_write_mode(file=sys.stderr) if self._shown else nullcontext()

    def __enter__(self) -> "ProgressBars":
        if self._shown:
            from tqdm.contrib.logging import logging_redirect_tqdm

            self._stack.enter_context(logging_redirect_tqdm())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for slot in list(self._bars):
            self._close(slot)
        if self._batch is not None:
            self._batch.close()

    def _close(self, slot: int) -> None:
        if slot in self._bars:
            self._bars.pop(slot)[1].close()


def _make_bar(title: str, count: str, total: int, position: int) -> "tqdm[NoReturn]":
    from tqdm import tqdm

    form = f"{{desc}} {count}|{{bar}}| {{elapsed}} < {{remaining}}"
    return tqdm(total=total, desc=title, position=position, leave=False, bar_format=form, unit=" frames")
