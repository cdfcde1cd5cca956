"""Do a task of a plan that is a slide: it is upscaled from here, block by block, on the batch's executor."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from queue import SimpleQueue

from zssr.cli.plan import Task
from zssr.cli.report import Report
from zssr.cli.stores import is_store
from zssr.cli.task import ShowProgress, TaskOptions, limit_threads, name_error, sum_up
from zssr.errors import ConfigError, ZssrError
from zssr.executors import Message
from zssr.progress import ProgressEvent

logger = logging.getLogger(__name__)


def run_slide_task(
    task: Task,
    options: TaskOptions,
    executor: Executor,
    inbox: "SimpleQueue[object]",
    handle: Callable[[Message], None],
    show: ShowProgress,
) -> Report:
    """Do the task and report. No error but `ConfigError` is raised."""

    def progress(event: ProgressEvent) -> None:
        show(0, task.name, event)

    try:
        with limit_threads(options.threads):
            return _upscale_slide(task, options, executor, inbox, handle, progress)
    except ConfigError:
        raise
    except (ZssrError, OSError) as error:
        return Report.failure(task, name_error(task, error))
    except Exception as error:
        logger.debug("%s", task.name, exc_info=True)
        return Report.failure(task, f"{task.name}: could not be done ({sum_up(error)})")


def _upscale_slide(
    task: Task,
    options: TaskOptions,
    executor: Executor,
    inbox: "SimpleQueue[object]",
    handle: Callable[[Message], None],
    progress: Callable[[ProgressEvent], None],
) -> Report:
    from zssr.slides.slide_run import SlideRun
    from zssr.slides.upscale_slide import forecast_slide, upscale_slide, upscale_slide_region

    asked, start = options.slide, time.perf_counter()
    if task.source is None or task.output is None:
        return Report.failure(task, f"{task.name}: a slide is upscaled from one file to another")
    if is_store(task.output) == bool(asked.region):
        needs = "a picture file, such as try.png" if asked.region else "a Zarr store, such as slide_x2.ome.zarr"
        return Report.failure(task, f"{task.output}: {'a region' if asked.region else 'a slide'} is written to {needs}")
    run = SlideRun(executor, asked.block, asked.adaptive, asked.resume, progress, inbox, handle)
    if options.dry_run:
        return Report(task, "planned", facts=forecast_slide(task.source, options.request, options.config, run))
    if task.makes_folder:
        task.output.parent.mkdir(parents=True, exist_ok=True)
    if asked.region:
        result = upscale_slide_region(task.source, task.output, asked.region, options.request, options.config, run)
    else:
        result = upscale_slide(task.source, task.output, options.request, options.config, run)
    return Report(task, "done", facts=result.to_dict() | {"seconds": round(time.perf_counter() - start, 3)})
