"""End a run cleanly on the first Ctrl-C or SIGTERM, at once on the second."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType


class Signals:
    """A context manager under which the first signal raises `KeyboardInterrupt` and the second ends the process.

    Signals that are ignored stay so (nohup). Outside of the main thread nothing is changed. What a signal breaks off in
    a destructor, or in a connection of Dask's, is not reported.

    Attributes
    ----------
    code
        The exit code, 128 and the number of the signal that came: 130 for SIGINT, 143 for SIGTERM. None if none came.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self._received = 0.0
        self._previous: dict[int, Callable[[int, FrameType | None], object] | int] = {}
        self._report: Callable[[sys.UnraisableHookArgs], object] | None = None

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if a signal came; the one that its handler raised may have been swallowed."""
        if self.code is not None:
            raise KeyboardInterrupt

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
            for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
                handler = signal.getsignal(number)
                if handler not in (signal.SIG_IGN, None):
                    self._previous[number] = handler
                    signal.signal(number, self._on_signal)
            self._report, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._report:
            sys.unraisablehook = self._report

    def _on_unraisable(self, found: "sys.UnraisableHookArgs") -> None:
        if self._report and self.code is None:
            self._report(found)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.code is None:
            self.code, self._received = 128 + number, time.monotonic()
            for name in ("asyncio", "tornado.application"):
                logging.getLogger(name).disabled = True
            raise KeyboardInterrupt
        if time.monotonic() - self._received > 0.3:  # one Ctrl-C may come twice: a program around this passes it on
            os._exit(128 + number)
