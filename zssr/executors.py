"""Run calls on any `concurrent.futures.Executor`, and what a call may ask and say there."""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from zssr.errors import ZssrError
from zssr.progress import ProgressEvent
from zssr.request import Request

WINDOW = 4096
"""How many calls are submitted before the first of them has ended."""

Item = TypeVar("Item")
Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")
Message = tuple[int, object]
"""The slot of a worker process, 0 for the caller's, and what a call there has posted."""


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


_poster: ContextVar[Callable[[object], None] | None] = ContextVar("_poster", default=None)
_number: ContextVar[int | None] = ContextVar("_number", default=None)


def post(message: object) -> None:
    """Send a message to the process that submitted the call which this is part of, if it listens."""
    if send := _poster.get():
        send(message)


def post_progress(event: ProgressEvent) -> None:
    """Post an event without what is not for other processes."""
    post(replace(event, losses=(), learning_rates=(), preview=None))


def worker_slot() -> int | None:
    """Return the number of this worker among those of its machine, from 0; None elsewhere, and if it has none."""
    dask = sys.modules.get("distributed.worker")
    try:
        name = dask.get_worker().name if dask else None
    except ValueError:  # this is none of its workers
        name = None
    return name if isinstance(name, int) else _number.get()


class InlineExecutor(Executor):
    """Runs each call at once, on the thread that submits it; `handle` gets the messages."""

    def __init__(self, handle: Callable[[Message], None] = lambda _: None) -> None:
        self._handle = handle

    def submit(
        self, fn: Callable[Parameters, Value], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Value]:
        """Return a future that is done."""
        future: Future[Value] = Future()
        with posting_to(lambda message: self._handle((0, message))):
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)
        return future


@contextmanager
def posting_to(send: Callable[[object], None], slot: int | None = None) -> Iterator[None]:
    """Send what is posted inside by `send`; the `slot` is that of a worker."""
    tokens = _poster.set(send), _number.set(slot)
    try:
        yield
    finally:
        _poster.reset(tokens[0])
        _number.reset(tokens[1])


def choose_gpu(request: Request, slot: int | None) -> Request:
    """Return the request of a worker with one of the GPUs as its device, if there are any and none is asked for."""
    import torch

    if slot is not None and request.device in ("auto", "cuda") and torch.cuda.is_available():
        return replace(request, device=f"cuda:{slot % torch.cuda.device_count()}")
    return request
