"""Run the tasks of a plan: on this process, in several, or on a cluster, all by executors."""

import logging
from argparse import Namespace
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal

from zssr.cli.imports import importing_torch
from zssr.cli.plan import Task
from zssr.cli.report import Report
from zssr.cli.slide_task import run_slide_task
from zssr.cli.task import (
    ShowProgress,
    TaskOptions,
    limit_threads,
    name_error,
    read_content,
    run_task,
    save_content,
    sum_up,
)
from zssr.cores import count_cores
from zssr.errors import ConfigError, ImageError
from zssr.executors import WINDOW, InlineExecutor, Message, WorkerDiedError, run_calls, share
from zssr.io.atomic import remove_partial_files
from zssr.progress import ProgressEvent

if TYPE_CHECKING:
    from zssr import Model

logger = logging.getLogger(__name__)

_SENT_AT_ONCE = 64  # files whose bytes are held in memory, or twice as many as there are workers


@dataclass(frozen=True)
class Parallelism:
    """How a batch is spread over processes and threads.

    Attributes
    ----------
    jobs
        Processes, each with one picture at a time.
    threads
        Threads of each process; None is its share of the cores, and 1 on a cluster.
    share
        Fit one model before any picture is upscaled, to the "first" picture or to "all"; None fits one to each.
    scheduler, workers
        The address of a Dask scheduler whose workers do the work, or the number of workers of a local cluster.
    send
        Whether files go to workers and back as bytes, and not by their paths.
    """

    jobs: int = 1
    threads: int | None = None
    share: Literal["first", "all"] | None = None
    scheduler: str | None = None
    workers: int | None = None
    send: bool = False

    @property
    def on_cluster(self) -> bool:
        """Whether Dask does the work."""
        return self.scheduler is not None or self.workers is not None

    def limit(self, tasks: int) -> "Parallelism":
        """Return it with no more processes than there are cores and `tasks` (0 is any), and with threads for each."""
        if self.on_cluster:
            return replace(self, threads=self.threads or 1)
        cores = count_cores()
        if self.jobs > cores:
            jobs = f"--jobs {self.jobs}"
            logger.warning("%s: there are only %d cores, so %d jobs are done at a time", jobs, cores, cores)
        jobs_now = min(self.jobs, tasks or cores, cores)
        return replace(
            self, jobs=jobs_now, threads=self.threads or (max(1, cores // jobs_now) if jobs_now > 1 else None)
        )


def build_parallelism(options: Namespace) -> Parallelism:
    """Build it from the command's options. Raises `ConfigError` for those that exclude each other."""
    given = {"--jobs": options.jobs > 1, "--scheduler": options.scheduler, "--workers": options.workers}
    if sum(map(bool, given.values())) > 1:
        raise ConfigError(f"{' and '.join(name for name, value in given.items() if value)} exclude each other")
    if options.send and not (options.scheduler or options.workers):
        raise ConfigError("--send: is for --scheduler or --workers")
    names = ("jobs", "threads", "scheduler", "workers", "send")
    return Parallelism(**{name: getattr(options, name) for name in names}, share=options.share_weights)


def run_tasks(
    tasks: Sequence[Task], options: TaskOptions, parallelism: Parallelism, show: ShowProgress
) -> Generator[Report, None, None]:
    """Run the tasks and yield their reports: first of those without work, then in the order in which they end.

    A task that fails stops no other. Raises `ConfigError` for a setting with which none can be done.
    """
    yield from (Report.from_plan(task) for task in tasks if not task.is_pending)
    pending = [task for task in tasks if task.is_pending]
    if parallelism.share and any(task.source is None for task in tasks):
        raise ConfigError("--share-weights: needs files to learn from, and stdin is none")
    if not pending:
        return
    if parallelism.share and not options.dry_run:
        with limit_threads(parallelism.threads):
            options = replace(options, model=_fit_shared(tasks, options, parallelism.share, show))
    parallelism = parallelism.limit(0 if any(task.is_slide for task in pending) else len(pending))
    options = replace(options, threads=parallelism.threads, send=parallelism.send)
    messages = TaskMessages(show)
    with _open_executor(parallelism, messages) as (executor, window):
        shared = share(executor, options)

        def submit(task: Task) -> Future[Report]:
            return executor.submit(run_task, shared, task, read_content(task, options))

        photos = [task for task in pending if not task.is_slide]
        done = run_calls(submit, photos, window=window, inbox=messages.inbox, handle=messages.handle)
        for task, future in done:
            yield save_content(_report(task, future), options)
        for task in (one for one in pending if one.is_slide):
            yield run_slide_task(task, options, executor, messages.inbox, messages.handle, show)


@contextmanager
def _open_executor(parallelism: Parallelism, messages: "TaskMessages") -> Iterator[tuple[Executor, int]]:
    """Open the executor, and say how many tasks it takes at once."""
    if parallelism.on_cluster:
        from zssr.cluster import connect

        with connect(parallelism.scheduler, parallelism.workers) as cluster:
            yield cluster.executor, max(_SENT_AT_ONCE, 2 * cluster.workers) if parallelism.send else WINDOW
    elif parallelism.jobs > 1:
        from zssr.process_executor import ProcessExecutor  # --help does without

        jobs, threads, hint = parallelism.jobs, parallelism.threads, "fewer --jobs need less"
        with ProcessExecutor(jobs, threads=threads, post=messages.inbox.put, hint=hint) as executor:
            yield executor, WINDOW
    else:
        yield InlineExecutor(messages.handle), 1


class TaskMessages:
    """What tasks post while they are at work: first their names, then progress, and logs; the bars show it."""

    def __init__(self, show: ShowProgress) -> None:
        self.inbox: SimpleQueue[object] = SimpleQueue()
        self._show = show
        self._names: dict[int, str] = {}

    def handle(self, message: Message) -> None:
        """Take a message from a slot."""
        slot, content = message
        if isinstance(content, str):
            self._names[slot] = content
        elif isinstance(content, ProgressEvent):
            self._show(slot, self._names[slot], content)
        elif isinstance(content, logging.LogRecord):
            prefix = f"{self._names[slot]}: " if slot in self._names else ""
            content.msg = prefix + str(content.msg).removeprefix(prefix)
            logging.getLogger(content.name).handle(content)


def _report(task: Task, future: Future[Report]) -> Report:
    """Return what came of a task, whatever ended its call. Raises `ConfigError` if that is of all tasks."""
    try:
        return future.result()
    except ConfigError:
        raise
    except ImageError as error:
        return Report.failure(task, name_error(task, error))
    except WorkerDiedError as error:
        if task.output:
            remove_partial_files(task.output, error.process_id)
        return Report.failure(task, f"{task.name}: its process {error}")
    except CancelledError:
        return Report.failure(task, f"{task.name}: was not done, as the scheduler was lost")
    except Exception as error:
        return Report.failure(task, f"{task.name}: could not be done ({sum_up(error)})")


def _fit_shared(tasks: Sequence[Task], options: TaskOptions, share: str, show: ShowProgress) -> "Model | None":
    """Fit a model to the first picture or to all, of those that can be read.

    Skipped ones are among them, so that a run which is resumed fits the same model. None if no picture can be read:
    then each task has its own error.
    """
    with importing_torch():
        from zssr.api import Upscaler
    from zssr.io.frames import FilePage

    upscaler = Upscaler(options.config)
    photos = [task for task in tasks if task.source and task.source.is_file() and not (task.moves or task.is_slide)]
    files = [(task.source, task.page) for task in photos if task.source]
    sources = [path if page is None else FilePage(path, page) for path, page in files]
    while sources:
        taken = sources[:1] if share == "first" else sources
        name = "all pictures" if share == "all" else str(taken[0])
        try:
            return upscaler.fit(taken, options.request, progress=partial(show, 0, name)).pack()
        except ImageError as error:
            bad = next((path for path in taken if str(error).startswith(f"{path}: ")), taken[0])
            logger.warning("%s; it is not learned from", error)
            sources.remove(bad)
    return None
