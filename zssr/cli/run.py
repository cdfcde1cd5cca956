"""Run the tasks of a plan, one by one or in several processes."""

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from zssr.cli.plan import Task
from zssr.cli.report import Report
from zssr.cli.task import ShowProgress, TaskOptions, run_task
from zssr.cores import count_cores
from zssr.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from zssr import Model, Upscaler

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parallelism:
    """How a batch is spread over processes and threads.

    Attributes
    ----------
    jobs
        Processes, each with one picture at a time.
    threads
        Threads of each process; None is its share of the cores.
    share
        Fit one model before any picture is upscaled, to the "first" picture or to "all"; None fits one to each.
    """

    jobs: int = 1
    threads: int | None = None
    share: Literal["first", "all"] | None = None


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
    from zssr.api import Upscaler  # it brings torch, which takes seconds

    upscaler = Upscaler(options.config)
    if parallelism.share and not options.dry_run:
        with _torch_threads(parallelism.threads):
            options = replace(options, model=_fit_shared(upscaler, tasks, options, parallelism.share, show))
    jobs = _limit_jobs(parallelism.jobs, len(pending))
    if jobs > 1:
        from zssr.cli.pool import run_in_processes

        threads = parallelism.threads or max(1, count_cores() // jobs)
        yield from run_in_processes(pending, options, jobs, threads, show)
        return
    with _torch_threads(parallelism.threads):
        for task in pending:
            yield run_task(upscaler, task, options, partial(show, 0, task.name))


def _fit_shared(
    upscaler: "Upscaler", tasks: Sequence[Task], options: TaskOptions, share: str, show: ShowProgress
) -> "Model | None":
    """Fit a model to the first picture or to all, of those that can be read.

    Skipped ones are among them, so that a run which is resumed fits the same model. None if no picture can be read:
    then each task has its own error.
    """
    from zssr.io.frames import FilePage

    files = [(task.source, task.page) for task in tasks if task.source and task.source.is_file() and not task.moves]
    sources = [path if page is None else FilePage(path, page) for path, page in files]
    while sources:
        taken = sources[:1] if share == "first" else sources
        name = "all pictures" if share == "all" else str(taken[0])
        try:
            return upscaler.fit(taken, options.request, progress=partial(show, 0, name))
        except ImageError as error:
            bad = next((path for path in taken if str(error).startswith(f"{path}: ")), taken[0])
            logger.warning("%s; it is not learned from", error)
            sources.remove(bad)
    return None


def _limit_jobs(jobs: int, tasks: int) -> int:
    """Return how many processes there is work and cores for."""
    cores = count_cores()
    if jobs > cores:
        logger.warning("--jobs %d: there are only %d cores, so %d jobs are done at a time", jobs, cores, cores)
    return min(jobs, tasks, cores)


@contextmanager
def _torch_threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads; None leaves the number as it is."""
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
