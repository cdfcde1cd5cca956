"""Stages of work that overlap: each makes its items in a thread of its own, a few ahead of who takes them."""

import threading
from collections.abc import Generator
from concurrent.futures import Future
from queue import Full, Queue
from typing import TypeVar

Item = TypeVar("Item")

_PATIENCE = 0.1  # seconds between two looks at whether anybody still waits


def prefetch(items: Generator[Item, None, None], ahead: int = 2) -> Generator[Item, None, None]:
    """Yield `items`, which a thread makes, at most `ahead` of them before they are asked for.

    What making them raises is raised here. When this iterator is closed, the thread ends after the item at work.
    """
    queue: Queue[Future[Item] | None] = Queue(ahead)
    closed = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, queue, closed), name="zssr-prefetch", daemon=True)
    thread.start()
    try:
        while (made := queue.get()) is not None:
            yield made.result()
    finally:
        closed.set()
        thread.join()


def _fill(items: Generator[Item, None, None], queue: "Queue[Future[Item] | None]", closed: threading.Event) -> None:
    is_open = True
    while is_open and not closed.is_set():
        made: Future[Item] = Future()
        try:
            made.set_result(next(items))
        except StopIteration:
            break
        except BaseException as error:  # who takes the items raises it
            made.set_exception(error)
            is_open = False
        _put(made, queue, closed)
    items.close()
    _put(None, queue, closed)


def _put(made: "Future[Item] | None", queue: "Queue[Future[Item] | None]", closed: threading.Event) -> None:
    while not closed.is_set():
        try:
            return queue.put(made, timeout=_PATIENCE)
        except Full:
            continue
