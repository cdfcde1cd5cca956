"""Run tasks in several processes, so that one which dies takes no other with it."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection

from zssr.cli.plan import Task
from zssr.cli.report import Report
from zssr.cli.task import ShowProgress, TaskOptions, read_stdin, run_task
from zssr.errors import ConfigError, ImageError
from zssr.io.atomic import remove_partial_files
from zssr.processes import WorkerProcess, ready, shutdown, terminate
from zssr.progress import ProgressEvent
from zssr.request import Request

TaskInput = tuple[Task, bytes | None]
PoolMessage = Report | ProgressEvent | logging.LogRecord | ConfigError
PoolWorker = WorkerProcess[TaskInput, PoolMessage]


def run_in_processes(
    tasks: Sequence[Task], options: TaskOptions, jobs: int, threads: int, show: ShowProgress
) -> Iterator[Report]:
    """Do the tasks in `jobs` processes of `threads` threads each, and yield what came of each as it ends.

    However this ends, no process is left behind. A process that dies is one failed task; another takes its place.
    """
    waiting = deque(tasks)
    slots = [Slot(number, options, threads) for number in range(jobs)]
    try:
        yield from _fill(slots, waiting)
        while busy := {slot.worker: (slot, slot.task) for slot in slots if slot.worker and slot.task}:
            for worker in ready(list(busy)):
                slot, task = busy[worker]
                message = slot.receive(worker, task)
                if isinstance(message, ProgressEvent):
                    show(slot.number, task.name, message)
                elif isinstance(message, logging.LogRecord):
                    prefix = f"{task.name}: "
                    message.msg = prefix + str(message.msg).removeprefix(prefix)
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
    """One of the processes at a time: its number, its worker once there is one, and the task that it is at."""

    def __init__(self, number: int, options: TaskOptions, threads: int) -> None:
        self.number = number
        self.task: Task | None = None
        self.worker: PoolWorker | None = None
        self._options, self._threads = options, threads

    def start(self, task: Task) -> None:
        """Start a task; stdin, which this process alone has, is read here. Raises `ImageError` if that is too long."""
        content = read_stdin(self._options.config.max_MB) if task.source is None else None
        if self.worker is None:
            level = logging.getLogger("zssr").getEffectiveLevel()
            target = partial(_serve, options=self._options, slot=self.number, level=level)
            self.worker = WorkerProcess(target, threads=self._threads)
        self.worker.send((task, content))
        self.task = task

    def receive(self, worker: PoolWorker, task: Task) -> PoolMessage:
        """Return what the slot's worker sent; the failure of its task if it died."""
        try:
            message = worker.receive()
        except EOFError:
            message = Report.failure(task, f"{task.name}: its process {self._remove(worker, task)}")
        if isinstance(message, Report):
            self.task = None
        return message

    def _remove(self, worker: PoolWorker, task: Task) -> str:
        """Remove a worker that died, and what it has written; return why it died."""
        reason = worker.exit_reason("fewer --jobs need less")
        if task.output and worker.process.pid:
            remove_partial_files(task.output, worker.process.pid)
        worker.kill()
        self.worker = None
        return reason


def _serve(connection: "Connection[PoolMessage, TaskInput]", options: TaskOptions, slot: int, level: int) -> None:
    """Run tasks in a worker process."""
    from zssr.api import Upscaler

    logger = logging.getLogger("zssr")
    logger.setLevel(level)
    logger.propagate = False
    logger.addHandler(PipeHandler(connection))
    options = replace(options, request=choose_gpu(options.request, slot))
    upscaler = Upscaler(options.config)

    def send_progress(event: ProgressEvent) -> None:
        connection.send(replace(event, losses=(), learning_rates=(), preview=None))

    while True:
        task, content = connection.recv()
        try:
            connection.send(run_task(upscaler, task, options, send_progress, content))
        except ConfigError as error:
            connection.send(error)


def choose_gpu(request: Request, slot: int) -> Request:
    """Return the request with one of the GPUs as its device, if there are any and none is asked for."""
    import torch

    if request.device in ("auto", "cuda") and torch.cuda.is_available():
        return replace(request, device=f"cuda:{slot % torch.cuda.device_count()}")
    return request


class PipeHandler(logging.Handler):
    """Sends log records through a pipe, formatted."""

    def __init__(self, connection: "Connection[PoolMessage, TaskInput]") -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; nothing of it that may not be pickled."""
        plain = {"msg": self.format(record), "args": None, "exc_info": None, "exc_text": None, "stack_info": None}
        with suppress(OSError):
            self._connection.send(logging.makeLogRecord(vars(record) | plain))
