"""An executor whose processes may die one by one."""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from queue import LifoQueue
from threading import Lock
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from zssr import processes
from zssr.executors import Message, WorkerDiedError, posting_to
from zssr.processes import GRACE, WorkerProcess

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")

_Call = Callable[[], object]
_Answer = tuple[str, Any]
_Worker = WorkerProcess[_Call, _Answer]


class ProcessExecutor(Executor):
    """Runs calls in processes that ignore Ctrl-C and end with this one; each is started when it is first needed.

    A process that dies is one failed call, with `WorkerDiedError`; another takes its place.

    Parameters
    ----------
    count
        The number of processes.
    threads
        Threads that torch computes with in each; None leaves that to torch.
    post
        Gets messages (slot, message), on any thread: what calls post, and the log records of "zssr".
    hint
        What helps if memory ran out.
    """

    def __init__(
        self,
        count: int,
        *,
        threads: int | None = None,
        post: Callable[[Message], None] = lambda _: None,
        hint: str = "fewer processes need less",
    ) -> None:
        self._pool = ThreadPoolExecutor(count, "zssr-slot")  # one waits for each process
        self._slots = [_Slot(number, threads, partial(_post_from, post, number), hint) for number in range(count)]
        self._free: LifoQueue[_Slot] = LifoQueue()
        for slot in reversed(self._slots):
            self._free.put(slot)

    def submit(
        self, fn: Callable[Parameters, Value], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Value]:
        """Submit a call that can be pickled."""
        return self._pool.submit(self._call, partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait until what has been submitted has ended, unless that is canceled, and end the processes."""
        self._pool.shutdown(wait=True, cancel_futures=cancel_futures)
        processes.shutdown([slot.worker for slot in self._slots if slot.worker])

    def terminate_workers(self) -> None:
        """End the processes now; the calls that are at work fail."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for slot in self._slots:
            slot.terminate()
        self._pool.shutdown(wait=True)
        processes.terminate([slot.worker for slot in self._slots if slot.worker])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.shutdown()
        else:
            self.terminate_workers()

    def _call(self, call: Callable[[], Value]) -> Value:
        slot = self._free.get()
        try:
            return slot.run(call)
        finally:
            self._free.put(slot)


def _post_from(post: Callable[[Message], None], slot: int, message: object) -> None:
    post((slot, message))


class _Slot:
    """One of the processes at a time: its number, and the worker once there is one."""

    def __init__(self, number: int, threads: int | None, post: Callable[[object], None], hint: str) -> None:
        self.number = number
        self.worker: _Worker | None = None
        self._threads, self._post, self._hint = threads, post, hint
        self._lock, self._is_ended = Lock(), False

    def run(self, call: Callable[[], Value]) -> Value:
        """Run a call in the process; what it posts is passed on."""
        worker = self._start()
        worker.send(call)
        while True:
            try:
                kind, content = worker.receive()
            except EOFError:
                raise self._remove(worker) from None
            if kind == "posted":
                self._post(content)
            elif kind == "failed":
                raise content
            else:
                value: Value = content
                return value

    def terminate(self) -> None:
        """End the process, whatever it does; none is started any more."""
        with self._lock:
            self._is_ended = True
        if self.worker:
            self.worker.process.terminate()
            self.worker.process.join(GRACE)
            self.worker.process.kill()

    def _start(self) -> _Worker:
        with self._lock:
            if self._is_ended:
                raise WorkerDiedError("was ended", 0)
            if self.worker is None:
                level = logging.getLogger("zssr").getEffectiveLevel()
                serve = partial(_serve, slot=self.number, level=level)
                self.worker = WorkerProcess(serve, threads=self._threads)
            return self.worker

    def _remove(self, worker: _Worker) -> WorkerDiedError:
        """Remove a worker that died; return that as an error."""
        with self._lock:
            error = WorkerDiedError(worker.exit_reason(self._hint), worker.process.pid or 0)
            if not self._is_ended:
                worker.kill()
                self.worker = None
        return error


def _serve(connection: "Connection[_Answer, _Call]", slot: int, level: int) -> None:
    """Run calls in a worker process."""

    def send(message: object) -> None:
        connection.send(("posted", message))

    logger = logging.getLogger("zssr")
    logger.setLevel(level)
    logger.propagate = False
    logger.addHandler(PostHandler(send))
    with posting_to(send, slot):
        while True:
            _answer(connection, connection.recv())


def _answer(connection: "Connection[_Answer, _Call]", call: _Call) -> None:
    try:
        connection.send(("done", call()))
    except (EOFError, ConnectionError):
        raise
    except Exception as error:
        try:
            connection.send(("failed", error))
        except (TypeError, AttributeError, ValueError):  # it cannot be pickled
            connection.send(("failed", RuntimeError(f"{type(error).__name__}: {error}")))


class PostHandler(logging.Handler):
    """Sends log records, formatted."""

    def __init__(self, send: Callable[[object], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; nothing of it that may not be pickled."""
        plain = {"msg": self.format(record), "args": None, "exc_info": None, "exc_text": None, "stack_info": None}
        with suppress(OSError):
            self._send(logging.makeLogRecord(vars(record) | plain))
