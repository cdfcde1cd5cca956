"""Run calls on any `concurrent.futures.Executor`, and an executor whose processes may die one by one."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from multiprocessing.connection import Connection
from queue import LifoQueue, SimpleQueue
from threading import Lock
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from zssr import processes
from zssr.errors import ZssrError
from zssr.processes import GRACE, WorkerProcess

WINDOW = 4096
"""How many calls are submitted before the first of them has ended."""

Item = TypeVar("Item")
Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")
Message = tuple[int, object]
"""The slot of a worker process, 0 for the caller's, and what a call there has posted."""


_Call = Callable[[], object]
_Answer = tuple[str, Any]
_Worker = WorkerProcess[_Call, _Answer]


class WorkerDiedError(ZssrError):
    """The process died that a call ran in; `process_id` is its number."""

    def __init__(self, reason: str, process_id: int) -> None:
        super().__init__(reason)
        self.process_id = process_id


def share(executor: Executor, value: Value) -> Value:
    """Return what stands for a value among the arguments of calls: to Dask it is sent once, and not with each call."""
    client: Any = getattr(executor, "_client", None)
    shared: Value = client.submit(_return, value, pure=False) if hasattr(client, "scheduler_info") else value
    return shared


def _return(value: Value) -> Value:
    return value  # a call and not Dask's scatter, whose values are lost with the workers that hold them


def run_calls(
    submit: Callable[[Item], Future[Value]],
    items: Iterable[Item],
    *,
    window: int = WINDOW,
    inbox: "SimpleQueue[object] | None" = None,
    handle: Callable[[Message], None] = lambda _: None,
) -> Iterator[tuple[Item, Future[Value]]]:
    """Submit a call for each item, and yield (item, future) in the order in which they end.

    At most `window` are submitted at a time, so that items are taken from an endless iterable, too. What `submit`
    raises is that item's error. Messages that come to the `inbox` meanwhile are handled here, on this thread. However
    this ends, what has not begun is canceled.
    """
    inbox = SimpleQueue() if inbox is None else inbox
    waiting, running = iter(items), dict[Future[Value], Item]()

    def start() -> None:
        for item in waiting:
            future = _try_submit(submit, item)
            running[future] = item
            future.add_done_callback(inbox.put)
            if len(running) >= window:
                return

    try:
        start()
        while running:
            message: Any = inbox.get()
            if isinstance(message, Future):
                yield running.pop(message), message
                start()
            else:
                handle(message)
    finally:
        for future in running:
            future.cancel()


def _try_submit(submit: Callable[[Item], Future[Value]], item: Item) -> Future[Value]:
    try:
        return submit(item)
    except Exception as error:
        failed: Future[Value] = Future()
        failed.set_exception(error)
        return failed


_post: ContextVar[Callable[[object], None] | None] = ContextVar("_post", default=None)
_slot: ContextVar[int | None] = ContextVar("_slot", default=None)


def post(message: object) -> None:
    """Send a message to the process that submitted the call which this is part of, if it listens."""
    if send := _post.get():
        send(message)


def worker_slot() -> int | None:
    """Return the number of this worker among those of its machine, from 0; None elsewhere, and if it has none."""
    dask = sys.modules.get("distributed.worker")
    try:
        name = dask.get_worker().name if dask else None
    except ValueError:  # this is none of its workers
        name = None
    return name if isinstance(name, int) else _slot.get()


class InlineExecutor(Executor):
    """Runs each call at once, on the thread that submits it; `handle` gets the messages."""

    def __init__(self, handle: Callable[[Message], None] = lambda _: None) -> None:
        self._handle = handle

    def submit(
        self, fn: Callable[Parameters, Value], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Value]:
        """Return a future that is done."""
        future: Future[Value] = Future()
        with _posting_to(lambda message: self._handle((0, message))):
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)
        return future


@contextmanager
def _posting_to(send: Callable[[object], None]) -> Iterator[None]:
    token = _post.set(send)
    try:
        yield
    finally:
        _post.reset(token)


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

    _slot.set(slot)
    _post.set(send)
    logger = logging.getLogger("zssr")
    logger.setLevel(level)
    logger.propagate = False
    logger.addHandler(PostHandler(send))
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
