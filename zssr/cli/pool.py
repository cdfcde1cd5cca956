"""Run tasks in several processes, so that one which dies takes no other with it."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from multiprocessing.connection import Connection
from typing import NamedTuple

from zssr.cli.plan import Task
from zssr.cli.report import Report
from zssr.cli.task import Show, Work, read_stdin, run_task
from zssr.errors import ConfigError, ImageError
from zssr.processes import WorkerProcess, ready, shutdown, terminate


class _Progress(NamedTuple):
    done: int
    total: int
    what: str


Order = tuple[Task, bytes | None]
Message = Report | _Progress | logging.LogRecord | ConfigError


def run_in_processes(tasks: Sequence[Task], work: Work, jobs: int, threads: int, show: Show) -> Iterator[Report]:
    """Do the tasks in `jobs` processes of `threads` threads each, and yield what came of each as it ends.

    However this ends, no process is left behind. A process that dies is one failed task; another takes its place.
    """
    waiting = deque(tasks)
    slots = [Slot(number, work, threads) for number in range(jobs)]
    try:
        yield from _fill(slots, waiting)
        while busy := {slot.worker: slot for slot in slots if slot.worker and slot.task}:
            for worker in ready(list(busy)):
                slot = busy[worker]
                name, message = slot.name, slot.receive()
                if isinstance(message, _Progress):
                    show(slot.number, name, *message)
                elif isinstance(message, logging.LogRecord):
                    message.msg = f"{name}: {message.msg}"
                    logging.getLogger(message.name).handle(message)
                elif isinstance(message, ConfigError):
                    raise message
                else:
                    yield message
            yield from _fill(slots, waiting)
    except BaseException:
        terminate([slot.worker for slot in slots if slot.worker])
        raise
    shutdown([slot.worker for slot in slots if slot.worker])


def _fill(slots: "Sequence[Slot]", waiting: deque[Task]) -> Iterator[Report]:
    """Start a task in each free slot; yield the failures of those that cannot be started."""
    for slot in slots:
        while waiting and slot.task is None:
            task = waiting.popleft()
            try:
                slot.start(task)
            except ImageError as error:
                yield Report.failure(task, str(error))


class Slot:
    """A place for a worker, and the task that it is at."""

    def __init__(self, number: int, work: Work, threads: int) -> None:
        self.number = number
        self.task: Task | None = None
        self.worker: WorkerProcess[Order, Message] | None = None
        self._work, self._threads = work, threads

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.task.name if self.task else ""

    def start(self, task: Task) -> None:
        """Start a task; stdin, which this process alone has, is read here. Raises `ImageError` if that is too long."""
        content = read_stdin(self._work.config.max_MB) if task.source is None else None
        if self.worker is None:
            level = logging.getLogger("zssr").getEffectiveLevel()
            target = partial(_serve, work=self._work, slot=self.number, level=level)
            self.worker = WorkerProcess(target, threads=self._threads)
        self.worker.send((task, content))
        self.task = task

    def receive(self) -> Message:
        """Return what the worker sent; the failure of its task if it died."""
        if self.worker is None or self.task is None:
            raise EOFError
        task = self.task
        try:
            message = self.worker.receive()
        except EOFError:
            message = Report.failure(task, f"{task.name}: its process {self._bury(self.worker, task)}")
        if isinstance(message, Report):
            self.task = None
        return message

    def _bury(self, worker: WorkerProcess[Order, Message], task: Task) -> str:
        """Remove what a worker that died has left, and return why it died."""
        reason = worker.exit_reason("fewer --jobs need less")
        if task.output:
            for partial_file in task.output.resolve().parent.glob(f".zssr-{worker.process.pid}-*.part"):
                with suppress(OSError):
                    partial_file.unlink()
        worker.kill()
        self.worker = None
        return reason


def _serve(connection: "Connection[Message, Order]", work: Work, slot: int, level: int) -> None:
    """Do tasks in a worker process."""
    logger = logging.getLogger("zssr")
    logger.setLevel(level)
    logger.propagate = False
    logger.addHandler(PipeHandler(connection))
    work = _on_own_gpu(work, slot)
    while True:
        task, content = connection.recv()
        try:
            connection.send(run_task(task, work, lambda *state: connection.send(_Progress(*state)), content))
        except ConfigError as error:
            connection.send(error)


def _on_own_gpu(work: Work, slot: int) -> Work:
    """Return the work on one of the GPUs, if there are any."""
    from dataclasses import replace

    import torch

    if work.device in ("auto", "cuda") and torch.cuda.is_available():
        return replace(work, device=f"cuda:{slot % torch.cuda.device_count()}")
    return work


class PipeHandler(logging.Handler):
    """Sends log records through a pipe, formatted."""

    def __init__(self, connection: "Connection[Message, Order]") -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; nothing of it that may not be pickled."""
        record = copy(record)
        record.msg, record.args = self.format(record), None
        record.exc_info = record.exc_text = record.stack_info = None
        with suppress(OSError):
            self._connection.send(record)
