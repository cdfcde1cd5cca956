"""Being stopped: Ctrl-C and SIGTERM once end a run cleanly, twice at once."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from zssr.processes import STOP_SIGNALS

_ECHO = 0.3  # seconds within which one Ctrl-C may come twice: from the terminal, and passed on by a program around us


class Signals:
    """A context manager under which the first signal raises `KeyboardInterrupt` and the second ends the process.

    Signals that are ignored stay so (nohup). Outside of the main thread nothing is changed.

    Attributes
    ----------
    code
        The exit code, 128 and the number of the signal that came: 130 for SIGINT, 143 for SIGTERM. None if none came.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self._came = 0.0
        self._before: dict[int, Callable[[int, FrameType | None], object] | int] = {}

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if a signal came; the one that its handler raised may have been swallowed."""
        if self.code is not None:
            raise KeyboardInterrupt

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                handler = signal.getsignal(number)
                if handler not in (signal.SIG_IGN, None):
                    self._before[number] = handler
                    signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self.code is None:
            self.code, self._came = 128 + number, time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - self._came > _ECHO:
            os._exit(128 + number)
