"""Do one task of a plan: here the command calls the library."""

import io
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.cli.plan import Task
from zssr.cli.report import Report
from zssr.config import Config
from zssr.errors import ConfigError, ImageError, ZssrError, about
from zssr.io.formats import output_suffix
from zssr.progress import ProgressCallback, ProgressEvent
from zssr.request import Request

if TYPE_CHECKING:
    from zssr import FilePage, Model, Upscaler  # they bring torch, which takes seconds

logger = logging.getLogger(__name__)

ShowProgress = Callable[[int, str, ProgressEvent], None]
"""Called with (slot, name, event); pictures that are at work together have slots 0, 1, ..."""


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


def run_task(
    upscaler: "Upscaler", task: Task, options: TaskOptions, progress: ProgressCallback, content: bytes | None = None
) -> Report:
    """Do one task and report; `content` is that of stdin if it is read already.

    No error but `ConfigError` is raised, and that only if the settings are those of all: the others are done.
    """
    try:
        if task.method is not None:
            upscaler = type(upscaler)(upscaler.config.replace(method=task.method))
        if task.moves:
            return _upscale_video(upscaler.config, task, options, progress)
        if options.dry_run:
            return _forecast(upscaler, task, options, content)
        return _upscale(upscaler, task, options, progress, content)
    except ConfigError as error:
        if task.method is None:
            raise
        return Report.failure(task, str(error))
    except (ZssrError, OSError) as error:
        return Report.failure(task, _name_error(task, error))
    except Exception as error:
        logger.debug("%s", task.name, exc_info=True)
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Report.failure(task, f"{task.name}: could not be done, for no reason that zssr knows of ({reason})")


def read_stdin(max_megabytes: float) -> bytes:
    """Read stdin to its end. Raises `ImageError` if it has more megabytes."""
    try:
        content = sys.stdin.buffer.read(int(max_megabytes * 1e6) + 1)
    except (OSError, ValueError) as error:
        raise ImageError(f"stdin: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(content) > max_megabytes * 1e6:
        raise ImageError(f"stdin: has more than max_MB = {max_megabytes:g}")
    return content


def _forecast(upscaler: "Upscaler", task: Task, options: TaskOptions, content: bytes | None) -> Report:
    source = _take_page(task, task.source or content or read_stdin(options.config.max_MB))
    return Report(task, "planned", facts=upscaler.forecast(source, options.request, name=task.name).to_dict())


def _upscale(
    upscaler: "Upscaler", task: Task, options: TaskOptions, progress: ProgressCallback, content: bytes | None
) -> Report:
    source = task.source or content or read_stdin(options.config.max_MB)
    start = time.perf_counter()
    suffix = task.suffix or (output_suffix(source) if isinstance(source, bytes) else None)
    stream = io.BytesIO()
    if task.output:
        _prepare_output(task.output, task.makes_folder, options.overwrite)
    result = upscaler.run_file(
        _take_page(task, source),
        task.output or stream,
        options.request,
        progress=progress,
        model=options.model,
        keep="nothing" if options.strip else "all",
        allow_loss=options.allow_loss,
        quality=options.quality,
        name=task.name,
        suffix=None if task.output else suffix,
    )
    facts = result.to_dict() | {"seconds": round(time.perf_counter() - start, 3)}
    named = task.output.read_bytes() if task.output and options.config.base64 else None
    return Report(task, "done", facts=facts, content=named if task.output else stream.getvalue())


def _upscale_video(config: Config, task: Task, options: TaskOptions, progress: ProgressCallback) -> Report:
    from zssr.cli.video_command import forecast_clip, upscale_clip

    if task.source is None or task.output is None:
        raise ImageError(f"{task.name}: a video is upscaled from one file to another")
    if options.dry_run:
        return Report(task, "planned", facts=forecast_clip(task.source, options.request, config, options.video))
    _prepare_output(task.output, task.makes_folder, options.overwrite)
    start = time.perf_counter()
    facts = upscale_clip(task.source, task.output, options.request, config, options.video, progress)
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


def _name_error(task: Task, error: Exception) -> str:
    """Return the sentence of an error, with a name in front of it as most have already."""
    sentence = about(task.name, error)
    return sentence if ": " in sentence and not sentence.startswith("[Errno") else f"{task.name}: {sentence}"
