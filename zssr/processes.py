"""Run work in another process, which may crash, be killed or be ended without harm to this one."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from types import FrameType
from typing import Generic, TypeVar

GRACE = 10.0  # seconds for a process to clean up before it is killed

Sent = TypeVar("Sent")
Received = TypeVar("Received")


class WorkerProcess(Generic[Sent, Received]):
    """A child process and the pipe to it; `Sent` goes to the process, `Received` comes back.

    The process ignores Ctrl-C, cleans up and leaves on SIGTERM, and ends when this process does, however that happens.

    Parameters
    ----------
    target
        Called in the process with its end of the pipe; when it returns, the process ends. A function of a module, or
        a `functools.partial` of one: it is pickled. The target may let the EOFError of a closed pipe pass.
    threads
        Threads that torch computes with in the process; None leaves that to torch.
    preload
        Modules that are imported once, in a fork server, so that processes start fast. Without them, or where the
        system has no fork server, the process is spawned.

    Attributes
    ----------
    process, connection
        The process and this end of the pipe.

    Examples
    --------
    ::

        def serve(connection: "Connection[Answer, Task]", config: Config) -> None:
            while True:
                connection.send(do(connection.recv(), config))

        worker = WorkerProcess[Task, Answer](partial(serve, config=config), threads=1)
        worker.send(task)
        while not ready([worker], timeout=0.1):
            ...                                    # look after other things, or call worker.kill()
        try:
            answer = worker.receive()
        except EOFError:
            logger.error("the process %s", worker.exit_reason("a smaller photo needs less"))
        shutdown([worker])                         # or terminate([worker]) while it is at work
    """

    def __init__(
        self,
        target: "Callable[[Connection[Received, Sent]], None]",
        *,
        threads: int | None = None,
        preload: Sequence[str] = (),
    ) -> None:
        self.connection: Connection[Sent, Received]
        self.connection, child_end = multiprocessing.Pipe()
        self.process = _context(preload).Process(target=_run, args=(target, child_end, threads), daemon=True)
        with ignore_sigint():
            self.process.start()
        child_end.close()

    def send(self, message: Sent) -> None:
        """Send something to the process; if it has ended, `receive` raises."""
        with suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Received:
        """Wait for the next thing that the process sends. Raises `EOFError` if it has ended."""
        try:
            return self.connection.recv()
        except OSError as error:
            raise EOFError from error

    def exit_reason(self, memory_hint: str) -> str:
        """Say how a process ended that should not have; `memory_hint` is what helps if memory ran out."""
        self.process.join(GRACE)
        return exit_reason(self.process.exitcode, memory_hint)

    def kill(self) -> None:
        """End the process at once; nothing is cleaned up."""
        self.process.kill()
        terminate([self])


def ready(
    workers: Sequence[WorkerProcess[Sent, Received]], timeout: float | None = None
) -> list[WorkerProcess[Sent, Received]]:
    """Return the workers that sent something or ended; wait for the first of them, at most `timeout` seconds."""
    connections = wait([worker.connection for worker in workers], timeout)
    return [worker for worker in workers if worker.connection in connections]


def shutdown(workers: Sequence[WorkerProcess[Sent, Received]]) -> None:
    """End idle workers: each returns once its pipe is closed; those that do not within GRACE are terminated."""
    for worker in workers:
        worker.connection.close()
    deadline = time.monotonic() + GRACE
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
    terminate(workers)


def terminate(workers: Sequence[WorkerProcess[Sent, Received]]) -> None:
    """End workers: all are asked to clean up and leave, and killed after GRACE."""
    for worker in workers:
        worker.connection.close()
        worker.process.terminate()
    for worker in workers:
        worker.process.join(GRACE)
        worker.process.kill()
        worker.process.join()
        worker.process.close()


def exit_reason(code: int | None, memory_hint: str) -> str:
    """Say in words how a process ended that should not have, from its exit code."""
    if code is not None and code < 0:
        hint = f", perhaps because memory ran out; {memory_hint}" if -code == 9 else ""
        return f"was killed by signal {-code}{hint}"
    return f"ended by itself with code {code}"


@contextmanager
def ignore_sigint() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, which a terminal sends to all: this process ends them in its own way."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start, otherwise part of the first process's, unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def exit_with_parent() -> None:
    """Wait until the parent process has ended, however it did, and end this one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(128 + signal.SIGTERM)


def on_signal(number: int, _: FrameType | None) -> None:
    """Leave, and clean up on the way."""
    sys.exit(128 + number)


def _context(preload: Sequence[str]) -> SpawnContext | ForkServerContext:
    if not preload or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


def _run(
    target: "Callable[[Connection[Received, Sent]], None]",
    connection: "Connection[Received, Sent]",
    threads: int | None,
) -> None:
    """Run `target` in the new process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _handle_stop(on_signal)
    threading.Thread(target=exit_with_parent, daemon=True).start()
    try:
        if threads:
            import torch

            torch.set_num_threads(threads)
        target(connection)
    except (EOFError, ConnectionError):  # nobody is at the other end any more
        pass
    finally:
        _handle_stop(signal.SIG_IGN)  # it ends by itself now, and would only be disturbed


def _handle_stop(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """Set what happens on the signals that ask a process to end."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), handler)
