"""Tasks side by side, each in a process of its own, so that one which dies takes no other with it."""

import logging
import multiprocessing
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from zssr.cli.plan import Task
from zssr.cli.report import Report
from zssr.cli.run import Show, Work, read_stdin, run_task
from zssr.cli.signals import STOPPING
from zssr.errors import ConfigError, ImageError
from zssr.processes import PATIENCE, end, exit_reason, exit_with_parent


class _Progress(NamedTuple):
    done: int
    total: int
    what: str


_Message = Report | _Progress | logging.LogRecord | ConfigError


def run_in_processes(tasks: Sequence[Task], work: Work, jobs: int, threads: int, show: Show) -> Iterator[Report]:
    """Do the tasks in `jobs` processes of `threads` threads each, and yield what came of each as it ends.

    However this ends, no process is left behind. A process that dies is one failed task; another takes its place.
    """
    waiting = deque(tasks)
    free = deque(range(jobs))
    workers: dict[int, _Worker] = {}  # by slot; only those that are at work or can be given more
    try:
        while waiting or len(free) < jobs:
            while waiting and free:
                slot = free.popleft()
                worker = workers[slot] = workers.get(slot) or _Worker(slot, work, threads)
                try:
                    worker.give(waiting.popleft())
                except ImageError as error:
                    free.append(slot)
                    yield Report.failure(worker.task, str(error))
            for worker in _heard([workers[slot] for slot in workers if slot not in free]):
                message = worker.receive()
                if isinstance(message, _Progress):
                    show(worker.slot, worker.task.name, *message)
                elif isinstance(message, logging.LogRecord):
                    message.msg = f"{worker.task.name}: {message.msg}"
                    logging.getLogger(message.name).handle(message)
                elif isinstance(message, ConfigError):
                    raise message
                else:
                    if worker.is_dead:
                        del workers[worker.slot]
                    free.append(worker.slot)
                    yield message
    finally:
        for worker in workers.values():
            worker.connection.close()
        end([worker.process for worker in workers.values()])


class _Worker:
    """A process that does one task after the other."""

    def __init__(self, slot: int, work: Work, threads: int) -> None:
        self.slot = slot
        self.is_dead = False
        self._work = work
        self.connection, theirs = multiprocessing.Pipe()
        level = logging.getLogger("zssr").getEffectiveLevel()
        arguments = (theirs, work, slot, threads, level)
        self.process = multiprocessing.get_context("spawn").Process(target=_serve, args=arguments, daemon=True)
        with _deaf_to_ctrl_c():
            self.process.start()
        theirs.close()

    def give(self, task: Task) -> None:
        """Let it do a task; stdin, which is ours alone, is read here, and may raise `ImageError`."""
        self.task = task
        content = read_stdin(self._work.config.max_MB) if task.source is None else None
        with suppress(OSError):  # if it is dead, `receive` tells
            self.connection.send((task, content))

    def receive(self) -> _Message:
        """Return what it has to say; the failure of its task if it has died."""
        try:
            message: _Message = self.connection.recv()
            return message
        except (EOFError, OSError):
            self.is_dead = True
            self.connection.close()
            self.process.join(PATIENCE)
            self._clear()
            cause = exit_reason(self.process.exitcode, "fewer --jobs need less")
            return Report.failure(self.task, f"{self.task.name}: its process {cause}")

    def _clear(self) -> None:
        """Remove what a killed process has left of a file beside the output."""
        if self.task.output:
            for partial in self.task.output.resolve().parent.glob(f".zssr-{self.process.pid}-*.part"):
                with suppress(OSError):
                    partial.unlink()


def _heard(workers: "list[_Worker]") -> "list[_Worker]":
    """Return those workers that have something to say, once one has."""
    ready = wait([worker.connection for worker in workers]) if workers else []
    return [worker for worker in workers if worker.connection in ready]


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, which a terminal sends to all: we end them, in our own way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: "Connection[Any, Any]", work: Work, slot: int, threads: int, level: int) -> None:
    """Be a worker: do what comes, until nothing comes any more."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else _leave)
    threading.Thread(target=exit_with_parent, daemon=True).start()
    logger = logging.getLogger("zssr")
    logger.setLevel(level)
    logger.propagate = False
    logger.addHandler(QueueHandler(_Mouth(connection)))  # type: ignore[arg-type]
    work = _placed(work, slot, threads)
    while True:
        try:
            task, content = connection.recv()
            connection.send(_answer(task, work, connection, content))
        except (EOFError, OSError):  # nobody is there any more
            return


def _answer(task: Task, work: Work, connection: "Connection[Any, Any]", content: bytes | None) -> _Message:
    try:
        return run_task(task, work, lambda *state: connection.send(_Progress(*state)), content)
    except ConfigError as error:
        return error


def _placed(work: Work, slot: int, threads: int) -> Work:
    """Take this process's share of the cores; return the work with its share of the GPUs."""
    from dataclasses import replace

    import torch

    torch.set_num_threads(threads)
    if work.device in ("auto", "cuda") and torch.cuda.is_available():
        return replace(work, device=f"cuda:{slot % torch.cuda.device_count()}")
    return work


class _Mouth:
    """What a `QueueHandler` takes for a queue."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection

    def put_nowait(self, record: logging.LogRecord) -> None:
        """Send a record."""
        self._connection.send(record)


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)  # cleans up on its way
