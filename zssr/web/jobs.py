"""Jobs, one at a time: a queue, a process for each, a time-out, and files that go away. It knows no page."""

import math
import multiprocessing
import secrets
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zssr.processes import exit_reason
from zssr.web.messages import ErrorEvent, Glimpse, JobResult, Message, QueueFullError, ServerLimits, Step, Wish

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

State = Literal["waiting", "working", "done", "failed", "stopped"]

_BEAT = 0.1  # seconds between two looks at what goes on
_TIDYING = 5.0  # seconds between two looks at what is old
_LOUDEST = 1000  # of Linux's oom_score_adj: what goes first when memory runs out


class Job:
    """A wish, and what has become of it by now.

    Attributes
    ----------
    key
        Its secret name.
    state
        "waiting", "working", and at last "done", "failed" or "stopped".
    step, glimpse
        How far it is, and what the photo looks like.
    error
        One sentence, if it failed.
    outcome
        What came of it, if it is done; the files are in `folder`.
    """

    def __init__(self, wish: Wish, folder: Path) -> None:
        self.key = folder.name
        self.wish, self.folder = wish, folder
        self.state: State = "waiting"
        self.step: Step | None = None
        self.glimpse: bytes | None = None
        self.error: str | None = None
        self.outcome: JobResult | None = None
        self.is_unwanted = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("done", "failed", "stopped")

    def hear(self, message: Message) -> None:
        """Take in what the worker says."""
        if isinstance(message, Step):
            self.step = message
        elif isinstance(message, Glimpse):
            self.glimpse = message.jpeg
        elif isinstance(message, JobResult):
            self.outcome, self.state = message, "done"
        else:
            self.fail(message.sentence)

    def fail(self, sentence: str) -> None:
        """End it with a sentence."""
        self.error, self.state = sentence, "failed"


class Jobs:
    """Does jobs one after the other, each in a process of its own that is ready before it is needed.

    A process that crashes, is killed or takes too long ends one job. What jobs leave lies in private folders below
    `folder`, and is removed when it is old, as is everything else there; a context manager that ends the work.
    """

    def __init__(self, rules: ServerLimits, folder: Path) -> None:
        self.rules, self.folder = rules, folder
        self._waiting: deque[Job] = deque()
        self._at_work: Job | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._tidied = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Jobs":
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def submit(self, wish: Wish) -> Job:
        """Queue a wish; raises `QueueFullError` if too many wait already."""
        with self._changed:
            if self._closing:
                raise QueueFullError("zssr is about to end; nothing new is begun")
            if len(self._waiting) >= self.rules.waiting + (self._at_work is None):
                raise QueueFullError(f"{len(self._waiting)} photos wait already; please come back in a few minutes")
            folder = self.folder / secrets.token_urlsafe(16)
            folder.mkdir(mode=0o700, parents=True)
            job = Job(wish, folder)
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def before(self, job: Job) -> int:
        """Return how many jobs come before one that waits."""
        with self._changed:
            return self._waiting.index(job) + (self._at_work is not None) if job in self._waiting else 0

    def stop(self, job: Job) -> None:
        """End a job that nobody wants any more; nothing happens to one that is over."""
        with self._changed:
            job.is_unwanted = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._over(job, "stopped")
            self._changed.notify_all()

    def follow(self, job: Job, every: float = 0.25) -> Iterator[Job]:
        """Yield a job every few moments, and when it is over."""
        while not job.is_over:
            yield job
            with self._changed:
                self._changed.wait_for(lambda: job.is_over, every)
        yield job

    def _work(self) -> None:
        """Be the thread that sees to everything."""
        if hasattr(signal, "pthread_sigmask"):  # Ctrl-C is for the main thread, and not for the processes from here
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        worker: _Worker | None = None
        while not self._closing:
            job = self._next()
            if worker and not worker.process.is_alive():  # killed while there was nothing to do
                worker.end()
                worker = None
            worker = worker or _Worker(self.rules)  # ahead of the next job, but not of the page's first moments
            if job:
                self._do(job, worker)
                worker.end()
                worker = None
        if worker:
            worker.end()
        with self._changed:
            for job in (*self._waiting,):
                self._over(job, "stopped")

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing, _TIDYING)
            self._at_work = self._waiting.popleft() if self._waiting and not self._closing else None
            if self._at_work:
                self._at_work.state = "working"
        self._tidy()
        return self._at_work

    def _do(self, job: Job, worker: "_Worker") -> None:
        """See a job through."""
        worker.give(job)
        deadline = time.monotonic() + self.rules.seconds
        while not (job.is_over or job.is_unwanted or self._closing):
            message = worker.message()
            with self._changed:
                if message:
                    job.hear(message)
                elif time.monotonic() > deadline:
                    job.fail(
                        f"{job.wish.photo.name}: took more than {self.rules.seconds:g} seconds, which is the limit"
                    )
            self._tidy()
        with self._changed:
            self._at_work = None
            self._over(job, job.state if job.is_over else "stopped")

    def _over(self, job: Job, state: State) -> None:
        """Note that a job is over; only what is done leaves something."""
        job.state = state
        if state != "done":
            shutil.rmtree(job.folder, ignore_errors=True)
        self._changed.notify_all()

    def _tidy(self) -> None:
        """Remove what is older than the rules allow, but for what is in use."""
        if time.monotonic() - self._tidied < min(_TIDYING, self.rules.kept):
            return
        self._tidied = time.monotonic()
        with self._changed:
            used = {job.folder for job in (*self._waiting, self._at_work) if job}
        oldest = time.time() - self.rules.kept
        found = [path for path in self.folder.rglob("*") if used.isdisjoint((path, *path.parents))]
        old = [path for path in found if _changed_at(path) < oldest]  # before what goes changes its folder
        for path in sorted(old, reverse=True):  # what is in a folder before the folder
            with suppress(OSError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _changed_at(path: Path) -> float:
    """Return when something was last changed; what has just gone needs nothing more."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return math.inf


def _context() -> "SpawnContext | ForkServerContext":
    """Return what begins processes: copies of one in which PyTorch is loaded, where there are such."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["zssr.api", "zssr.web.worker"])
    return context


def _serve(connection: "Connection[Any, Any]", rules: ServerLimits) -> None:
    from zssr.web.worker import serve  # it brings torch, which the server does without

    serve(connection, rules)


class _Worker:
    """A process that does one job and ends."""

    def __init__(self, rules: ServerLimits) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.process = _context().Process(target=_serve, args=(theirs, rules), daemon=True)
        self.process.start()
        theirs.close()
        with suppress(OSError):  # rather this one than the server
            Path(f"/proc/{self.process.pid}/oom_score_adj").write_text(str(_LOUDEST))

    def give(self, job: Job) -> None:
        """Hand a job over; if the process is dead, `message` tells."""
        with suppress(OSError):
            self.connection.send((job.wish, str(job.folder)))

    def message(self) -> Message | None:
        """Return the next thing it says; None if it is silent for a moment."""
        try:
            if not self.connection.poll(_BEAT):
                return None
            message: Message = self.connection.recv()
            return message
        except (EOFError, OSError):
            self.process.join(1.0)
            cause = exit_reason(self.process.exitcode, "a smaller photo or scale needs less")
            return ErrorEvent(f"the process that worked on the photo {cause}")

    def end(self) -> None:
        """End it at once: what it has left is removed with the job's folder."""
        self.connection.close()
        self.process.kill()
        self.process.join()
        self.process.close()
