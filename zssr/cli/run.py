"""Run the tasks of a plan, one by one or in several processes."""

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from zssr.cli.plan import Task
from zssr.cli.report import Report
from zssr.cli.task import Show, Work, describe, run_task
from zssr.errors import ConfigError, ImageError
from zssr.progress import ProgressEvent

if TYPE_CHECKING:
    from zssr.model import Model  # at run time only once there is work to do: it brings torch, which takes seconds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parallelism:
    """How pictures are done side by side: in `jobs` processes, each with `threads` (None: its share of the cores).

    With `share`, the network learns once, from the "first" picture or from "all", before any is enlarged.
    """

    jobs: int = 1
    threads: int | None = None
    share: Literal["first", "all"] | None = None


def run_tasks(tasks: Sequence[Task], work: Work, side: Parallelism, show: Show) -> Generator[Report, None, None]:
    """Do the tasks and yield what came of each: first of those without work, then in the order in which they end.

    A task that fails stops no other. Raises `ConfigError` for a setting with which none can be done.
    """
    yield from (Report.known(task) for task in tasks if not task.waits)
    waiting = [task for task in tasks if task.waits]
    if side.share and any(task.source is None for task in tasks):
        raise ConfigError("--share-weights: needs files to learn from, and stdin is none")
    if not waiting:
        return
    if side.share and not work.dry_run:
        with _threads(side.threads):
            work = replace(work, model=_learn(tasks, work, side.share, show))
    jobs = _possible(side.jobs, len(waiting))
    if jobs > 1:
        from zssr.cli.pool import run_in_processes

        yield from run_in_processes(waiting, work, jobs, side.threads or max(1, cores() // jobs), show)
        return
    with _threads(side.threads):
        for task in waiting:
            yield run_task(task, work, partial(show, 0, task.name))


def _learn(tasks: Sequence[Task], work: Work, share: str, show: Show) -> "Model | None":
    """Learn from the first picture or from all, of those that can be read; also from skipped ones.

    So a run that is resumed learns from the same pictures. None if there is none: then each task tells by itself why.
    """
    from zssr.api import Upscaler

    sources = [task.source for task in tasks if task.source and task.source.is_file()]
    upscaler = Upscaler(work.config)
    while sources:
        taken = sources[:1] if share == "first" else sources
        try:
            name = "all pictures" if share == "all" else str(taken[0])
            return upscaler.fit(taken, work.request, progress=partial(_show_fit, show, name))
        except ImageError as error:
            bad = next((path for path in taken if str(error).startswith(f"{path}: ")), taken[0])
            logger.warning("%s; it is not learned from", error)
            sources.remove(bad)
    return None


def _show_fit(show: Show, name: str, event: ProgressEvent) -> None:
    show(0, name, event.done, event.total, describe(event))


def _possible(jobs: int, tasks: int) -> int:
    """Return how many processes there is work and cores for."""
    if jobs > cores():
        logger.warning("--jobs %d: there are only %d cores, so %d jobs are done at a time", jobs, cores(), cores())
    return min(jobs, tasks, cores())


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads; None is as many as torch likes."""
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
