"""Progress bars on stderr, where that is a terminal: one for the batch, and one for each picture at work."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from zssr.cli.plan import Task

if TYPE_CHECKING:
    from tqdm import tqdm

_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {elapsed} < {remaining}"
_BATCH_FORMAT = "{desc} {n_fmt}/{total_fmt}|{bar}| {elapsed} < {remaining}"


class ProgressBars:
    """All bars of one run; a context manager that keeps the log clear of them, and takes them away.

    Parameters
    ----------
    count
        Number of pictures; the batch has a bar of its own if there are several.
    hidden
        Whether nothing is shown, terminal or not.
    """

    def __init__(self, count: int, *, hidden: bool) -> None:
        self.shown = not hidden and sys.stderr.isatty()
        self._stack = ExitStack()
        self._bars: dict[int, tuple[str, tqdm[Any]]] = {}
        self._batch = self._new("all pictures", count, 0, _BATCH_FORMAT) if self.shown and count > 1 else None

    def show(self, slot: int, name: str, done: int, total: int, what: str) -> None:
        """Show how far the picture `name` is with `what`; those that are at work together have slots 0, 1, ..."""
        if not self.shown:
            return
        title = f"{name}: {what}"
        known, bar = self._bars.get(slot, ("", None))
        if bar is None or known != title:
            self._finish(slot)
            bar = self._new(title, total, slot + (self._batch is not None), _FORMAT)
            self._bars[slot] = (title, bar)
        bar.update(done - bar.n)

    def count(self, task: Task) -> None:
        """Show that a task has ended."""
        for slot in [slot for slot, (title, _) in self._bars.items() if title.startswith(f"{task.name}: ")]:
            self._finish(slot)
        if self._batch is not None and task.waits:
            self._batch.update(1)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bars out of the way of lines that are written to the terminal."""
        if not self.shown:
            yield
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=sys.stderr):
            yield

    def __enter__(self) -> "ProgressBars":
        if self.shown:
            from tqdm.contrib.logging import logging_redirect_tqdm

            self._stack.enter_context(logging_redirect_tqdm())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for slot in list(self._bars):
            self._finish(slot)
        if self._batch is not None:
            self._batch.close()

    def _finish(self, slot: int) -> None:
        if slot in self._bars:
            self._bars.pop(slot)[1].close()

    def _new(self, title: str, total: int, position: int, form: str) -> "tqdm[Any]":
        from tqdm import tqdm

        return tqdm(total=total, desc=title, position=position, leave=False, bar_format=form)
