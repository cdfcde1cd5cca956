"""Do one task of a plan: here the command calls the library."""

import io
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.cli.imports import importing_torch
from zssr.cli.plan import Task
from zssr.cli.report import Report
from zssr.config import Config
from zssr.errors import ConfigError, ImageError, ZssrError, about
from zssr.executors import choose_gpu, post, post_progress, worker_slot
from zssr.io.atomic import atomic_write
from zssr.io.formats import output_suffix
from zssr.io.limits import Limits
from zssr.progress import ProgressEvent
from zssr.request import Request

if TYPE_CHECKING:
    from zssr import FilePage, Model, Upscaler  # they bring torch, which takes seconds

logger = logging.getLogger(__name__)

ShowProgress = Callable[[int, str, ProgressEvent], None]
"""Called with (slot, name, event); pictures that are at work together have slots 0, 1, ..."""


@dataclass(frozen=True)
class SlideOptions:
    """What the command says of slides.

    Attributes
    ----------
    region
        The box (left, top, width, height) that alone is upscaled.
    block, adaptive, resume
        As `Upscaler.run_slide` takes them.
    """

    region: tuple[int, int, int, int] | None = None
    block: int | None = None
    adaptive: bool = False
    resume: bool = False


@dataclass(frozen=True)
class TaskOptions:
    """What is done to each picture of a batch.

    Attributes
    ----------
    config, request, model
        As `Upscaler` takes them.
    strip
        Whether metadata are dropped.
    allow_loss
        Whether what the output's format cannot hold is dropped.
    quality
        Of lossy outputs, from 1 to 100; None is that of the format.
    overwrite
        Whether files that exist are replaced.
    dry_run
        Whether there is a forecast only.
    video
        The fields of `VideoOptions`.
    threads
        How many torch computes with; None leaves that to torch.
    send
        Whether files are sent as bytes, and come back as bytes.
    slide
        What is asked for of slides.
    """

    config: Config
    request: Request
    model: "Model | None" = None
    strip: bool = False
    allow_loss: bool = False
    quality: int | None = None
    overwrite: bool = False
    dry_run: bool = False
    video: Mapping[str, object] = field(default_factory=dict)
    threads: int | None = None
    send: bool = False
    slide: SlideOptions = SlideOptions()


def run_task(options: TaskOptions, task: Task, content: bytes | None) -> Report:
    """Do one task and report; `content` is that of its file if it is read already. Posts its name, and its progress.

    No error but `ConfigError` is raised, and that only if the settings are those of all: the others are done.
    """
    post(task.name)
    try:
        with limit_threads(options.threads):
            run = _upscale_video if task.moves else _forecast if options.dry_run else _upscale
            return run(task, options, content)
    except ConfigError as error:
        if task.method is None:
            raise
        return Report.failure(task, str(error))
    except (ZssrError, OSError) as error:
        return Report.failure(task, name_error(task, error))
    except Exception as error:
        logger.debug("%s", task.name, exc_info=True)
        return Report.failure(
            task, f"{task.name}: could not be done, for no reason that zssr knows of ({sum_up(error)})"
        )


def sum_up(error: BaseException) -> str:
    """Return one line about an error that nobody expected."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def read_content(task: Task, options: TaskOptions) -> bytes | None:
    """Read what a call cannot read elsewhere: stdin, and files that are sent. Raises `ImageError`."""
    if task.source is None:
        return read_stdin(options.config.max_MB)
    if not options.send:
        return None
    if task.moves:
        raise ImageError(f"{task.name}: a video goes by its path; leave --send away")
    try:
        Limits(options.config.max_MB).check_bytes(task.name, task.source.stat().st_size)
        return task.source.read_bytes()
    except OSError as error:
        raise ImageError(name_error(task, error)) from error


def save_content(report: Report, options: TaskOptions) -> Report:
    """Write the bytes of an output that were sent, if the report has any for a file."""
    task = report.task
    if not options.send or task.output is None or report.content is None:
        return report
    try:
        _prepare_output(task.output, task.makes_folder, options.overwrite)
        with atomic_write(task.output) as file:
            file.write(report.content)
    except (ZssrError, OSError) as error:
        return Report.failure(task, name_error(task, error))
    return report if options.config.base64 else replace(report, content=None)


@contextmanager
def limit_threads(count: int | None) -> Iterator[None]:
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


def read_stdin(max_megabytes: float) -> bytes:
    """Read stdin to its end. Raises `ImageError` if it has more megabytes."""
    try:
        content = sys.stdin.buffer.read(int(max_megabytes * 1e6) + 1)
    except (OSError, ValueError) as error:
        raise ImageError(f"stdin: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(content) > max_megabytes * 1e6:
        raise ImageError(f"stdin: has more than max_MB = {max_megabytes:g}")
    return content


@lru_cache(4)
def _make_upscaler(config: Config) -> "Upscaler":
    """Make one for the whole process, so that its prior is read once."""
    with importing_torch():
        from zssr.api import Upscaler

    return Upscaler(config)


def _find_upscaler(task: Task, options: TaskOptions) -> "Upscaler":
    return _make_upscaler(_find_config(task, options))


def _find_config(task: Task, options: TaskOptions) -> Config:
    return options.config if task.method is None else options.config.replace(method=task.method)


def _forecast(task: Task, options: TaskOptions, content: bytes | None) -> Report:
    source = _take_page(task, content or task.source or b"")
    upscaler = _find_upscaler(task, options)
    request = choose_gpu(options.request, worker_slot())
    return Report(task, "planned", facts=upscaler.forecast(source, request, name=task.name).to_dict())


def _upscale(task: Task, options: TaskOptions, content: bytes | None) -> Report:
    upscaler, source = _find_upscaler(task, options), content or task.source or b""
    start = time.perf_counter()
    output = None if options.send else task.output
    named = task.output.suffix if task.output else task.suffix
    suffix = named or (output_suffix(source) if isinstance(source, bytes) else None)
    stream = io.BytesIO()
    if output:
        _prepare_output(output, task.makes_folder, options.overwrite)
    result = upscaler.run_file(
        _take_page(task, source),
        output or stream,
        choose_gpu(options.request, worker_slot()),
        progress=post_progress,
        model=options.model,
        keep="nothing" if options.strip else "all",
        allow_loss=options.allow_loss,
        quality=options.quality,
        name=task.name,
        suffix=None if output else suffix,
    )
    facts = result.to_dict() | {"seconds": round(time.perf_counter() - start, 3)}
    written = output.read_bytes() if output and options.config.base64 else None
    return Report(task, "done", facts=facts, content=written if output else stream.getvalue())


def _upscale_video(task: Task, options: TaskOptions, _: bytes | None) -> Report:
    from zssr.cli.video_command import forecast_clip, upscale_clip

    config = _find_config(task, options)
    if task.source is None or task.output is None:
        raise ImageError(f"{task.name}: a video is upscaled from one file to another")
    if options.dry_run:
        return Report(task, "planned", facts=forecast_clip(task.source, options.request, config, options.video))
    _prepare_output(task.output, task.makes_folder, options.overwrite)
    start = time.perf_counter()
    facts = upscale_clip(task.source, task.output, options.request, config, options.video, post_progress)
    return Report(task, "done", facts=facts | {"seconds": round(time.perf_counter() - start, 3)})


def _take_page(task: Task, source: Path | bytes) -> "Path | bytes | FilePage":
    from zssr.io.frames import FilePage

    return source if task.page is None else FilePage(source, task.page)


def _prepare_output(output: Path, makes_folder: bool, overwrite: bool) -> None:
    """Make the output's folder, and see that no file has come to lie there since the plan was made."""
    if output.exists() and not overwrite:
        raise ImageError(f"{output}: exists already; --overwrite replaces it")
    if makes_folder:
        output.parent.mkdir(parents=True, exist_ok=True)


def name_error(task: Task, error: Exception) -> str:
    """Return the sentence of an error, with a name in front of it as most have already."""
    sentence = about(task.name, error)
    return sentence if ": " in sentence and not sentence.startswith("[Errno") else f"{task.name}: {sentence}"
