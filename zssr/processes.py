"""Processes that work for this one: how they end."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

PATIENCE = 10.0  # seconds for a process to clean up before it is killed


def end(processes: Sequence[BaseProcess]) -> None:
    """End processes: all are asked to clean up, and killed if they do not."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def exit_reason(code: int | None, help_with_memory: str) -> str:
    """Return in words how a process ended that should not have."""
    if code is not None and code < 0:
        hint = f", perhaps because memory ran out; {help_with_memory}" if -code == 9 else ""
        return f"was killed by signal {-code}{hint}"
    return f"ended by itself with code {code}"


def exit_with_parent() -> None:
    """Leave when the parent has ended, however it did."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
