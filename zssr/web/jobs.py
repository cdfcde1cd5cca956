"""A queue of jobs, which run one at a time in worker processes, with a time limit and files that expire."""

import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, TypeAlias

from zssr.processes import WorkerProcess, ready
from zssr.web.messages import (
    ErrorEvent,
    JobRequest,
    JobResult,
    PreviewMessage,
    ProgressMessage,
    QueueFullError,
    ServerLimits,
    WorkerMessage,
)
from zssr.web.storage import remove_old

JobState = Literal["waiting", "running", "done", "failed", "stopped"]
JobWorker: TypeAlias = WorkerProcess[tuple[JobRequest, Path], WorkerMessage]


@dataclass(eq=False)
class Job:
    """A request and its state.

    Attributes
    ----------
    folder
        Holds the files of the result. Its name is random, and a secret.
    progress, preview
        The latest progress, and the latest preview as a JPEG file.
    error
        One sentence, if the job failed.
    result
        If the job is done.
    """

    request: JobRequest
    folder: Path
    state: JobState = "waiting"
    progress: ProgressMessage | None = None
    preview: bytes | None = None
    error: str | None = None
    result: JobResult | None = None
    stop_requested: bool = False

    @property
    def is_finished(self) -> bool:
        """Whether the state is final."""
        return self.state in ("done", "failed", "stopped")

    def update(self, message: WorkerMessage) -> None:
        """Apply a message of the worker."""
        if isinstance(message, ProgressMessage):
            self.progress = message
        elif isinstance(message, PreviewMessage):
            self.preview = message.jpeg
        elif isinstance(message, JobResult):
            self.result, self.state = message, "done"
        else:
            self.error, self.state = message.sentence, "failed"


class JobQueue:
    """Runs jobs one after the other, each in a process of its own that is started before it is needed.

    A process that crashes, is killed or exceeds the time limit fails one job. Each job has a private folder below
    `folder`, where everything is removed when it is old. A context manager that stops all jobs at the end.

    Parameters
    ----------
    limits, folder
        Limits of the server, and its private folder.
    cleanup_interval
        Seconds between two searches for old files.
    """

    def __init__(self, limits: ServerLimits, folder: Path, cleanup_interval: float = 5.0) -> None:
        self.limits, self.folder = limits, folder
        self._cleanup_interval = min(cleanup_interval, limits.kept)
        self._last_cleanup = time.monotonic()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def __enter__(self) -> "JobQueue":
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def submit(self, request: JobRequest) -> Job:
        """Queue a request. Raises `QueueFullError`."""
        with self._changed:
            if self._closing:
                raise QueueFullError("zssr is about to end; nothing new is begun")
            if len(self._waiting) >= self.limits.waiting + (self._running is None):
                raise QueueFullError(f"{len(self._waiting)} photos wait already; please come back in a few minutes")
            folder = self.folder / secrets.token_urlsafe(16)
            folder.mkdir(mode=0o700, parents=True)
            job = Job(request, folder)
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def count_ahead(self, job: Job) -> int:
        """Count the jobs that come before a waiting one; 0 if it does not wait."""
        with self._changed:
            return self._waiting.index(job) + (self._running is not None) if job in self._waiting else 0

    def stop(self, job: Job) -> None:
        """Stop a job; does nothing if it is finished."""
        with self._changed:
            job.stop_requested = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._finish(job, "stopped")
            self._changed.notify_all()

    def follow(self, job: Job, interval: float = 0.25) -> Iterator[Job]:
        """Yield a job every `interval` seconds, and once more when it is finished."""
        while not job.is_finished:
            yield job
            with self._changed:
                self._changed.wait_for(lambda: job.is_finished, interval)
        yield job

    def _run(self) -> None:
        """Run the jobs until the queue is closed."""
        worker: JobWorker | None = None
        while not self._closing:
            job = self._take_next()
            if worker and not worker.process.is_alive():  # killed while it was idle
                worker.kill()
                worker = None
            worker = worker or _start_worker(self.limits)  # before the next job comes, but after the page is served
            if job:
                self._run_job(job, worker)
                worker.kill()
                worker = None
        if worker:
            worker.kill()
        with self._changed:
            for job in self._waiting:
                self._finish(job, "stopped")
            self._waiting.clear()

    def _take_next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing, self._cleanup_interval)
            self._running = self._waiting.popleft() if self._waiting and not self._closing else None
            if self._running:
                self._running.state = "running"
        self._clean_up()
        return self._running

    def _run_job(self, job: Job, worker: JobWorker) -> None:
        worker.send((job.request, job.folder))
        deadline = time.monotonic() + self.limits.seconds
        while not (job.is_finished or job.stop_requested or self._closing):
            message = _receive(worker, timeout=0.1)
            if message is None and time.monotonic() > deadline:
                name, limit = job.request.photo.name, self.limits.seconds
                message = ErrorEvent(f"{name}: took more than {limit:g} seconds, which is the limit")
            if message:
                with self._changed:
                    job.update(message)
            self._clean_up()
        with self._changed:
            self._running = None
            self._finish(job, job.state if job.is_finished else "stopped")

    def _finish(self, job: Job, state: JobState) -> None:
        job.state = state
        if state != "done":
            shutil.rmtree(job.folder, ignore_errors=True)
        self._changed.notify_all()

    def _clean_up(self) -> None:
        """Remove old files from time to time, except those of jobs that wait or run."""
        if time.monotonic() - self._last_cleanup < self._cleanup_interval:
            return
        self._last_cleanup = time.monotonic()
        with self._changed:
            in_use = {job.folder for job in (*self._waiting, self._running) if job}
        remove_old(self.folder, self.limits.kept, in_use)


def _start_worker(limits: ServerLimits) -> JobWorker:
    target = partial(_run_worker, limits=limits)
    worker = JobWorker(target, threads=limits.threads, preload=("zssr.api", "zssr.web.worker"))
    with suppress(OSError):  # Linux: if memory runs out, kill this process first and not the server
        Path(f"/proc/{worker.process.pid}/oom_score_adj").write_text("1000")
    return worker


def _run_worker(connection: "Connection[WorkerMessage, tuple[JobRequest, Path]]", limits: ServerLimits) -> None:
    from zssr.web.worker import run_one_job  # imports torch, which the server does not need

    run_one_job(connection, limits)


def _receive(worker: JobWorker, timeout: float) -> WorkerMessage | None:
    """Return the worker's next message, an error if its process has ended, or None after `timeout` seconds."""
    if not ready([worker], timeout):
        return None
    try:
        return worker.receive()
    except EOFError:
        return ErrorEvent(f"the process that worked on the photo {worker.exit_reason('a smaller photo needs less')}")
