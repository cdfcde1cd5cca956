"""Do one task of a plan: this is where the command calls the library."""

import io
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.cli.plan import Task
from zssr.cli.report import Report, facts_beforehand, to_dict
from zssr.config import Config
from zssr.errors import ConfigError, ImageError, ZssrError, about
from zssr.io.formats import output_suffix
from zssr.progress import ProgressEvent, Stage
from zssr.request import Request

if TYPE_CHECKING:
    from zssr.model import Model  # at run time only once there is work to do: it brings torch, which takes seconds

logger = logging.getLogger(__name__)

Show = Callable[[int, str, int, int, str], None]
"""Called with (slot, name, done, total, what): how far the picture is that is at work in the slot."""


@dataclass(frozen=True)
class Work:
    """What is done to each picture: the arguments of `Upscaler.run_file`, or a forecast only (`dry_run`)."""

    config: Config
    scale: tuple[float, float] = (2.0, 2.0)
    size: tuple[int, int] | None = None
    kernel: str = "auto"
    device: str = "auto"
    seed: int = 0
    strip: bool = False
    allow_loss: bool = False
    overwrite: bool = False
    dry_run: bool = False
    model: "Model | None" = None

    @property
    def request(self) -> Request:
        """What every call of the library is asked for."""
        return Request(self.scale, self.size, self.kernel, self.device, self.seed)


def describe(event: ProgressEvent) -> str:
    """Describe the stage of an event in words."""
    words = {Stage.TRAIN: f"learning x{event.scale:g}", Stage.TEXTURE: "learning texture"}
    return words.get(event.stage, f"applying x{event.scale:g}")


def run_task(task: Task, work: Work, progress: Callable[[int, int, str], None], content: bytes | None = None) -> Report:
    """Do one task and tell what came of it; `content` is that of stdin if it was read already."""
    try:
        return _do(task, work, progress, content)
    except ConfigError:
        raise
    except (ZssrError, OSError) as error:
        return Report.failure(task, _named(task, error))
    except Exception as error:  # whatever it is, the other pictures are done
        logger.debug("%s", task.name, exc_info=True)
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Report.failure(task, f"{task.name}: could not be done, for no reason that zssr knows of ({reason})")


def _do(task: Task, work: Work, progress: Callable[[int, int, str], None], content: bytes | None) -> Report:
    from zssr.api import Upscaler

    upscaler = Upscaler(work.config)
    source = task.source or content or read_stdin(work.config.max_MB)
    if work.dry_run:
        forecast = upscaler.forecast(source, work.request, name=task.name)
        return Report(task, "planned", facts=facts_beforehand(forecast))
    start = time.perf_counter()
    suffix = task.suffix or (output_suffix(source) if isinstance(source, bytes) else None)
    stream = io.BytesIO()
    result = upscaler.run_file(
        source,
        _ready(task.output, task.makes_folder, work.overwrite) if task.output else stream,
        work.request,
        progress=lambda event: progress(event.done, event.total, describe(event)),
        model=work.model,
        keep="nothing" if work.strip else "all",
        allow_loss=work.allow_loss,
        name=task.name,
        suffix=None if task.output else suffix,
    )
    facts = to_dict(result, result.size, time.perf_counter() - start)
    named = task.output.read_bytes() if task.output and work.config.base64 else None
    return Report(task, "done", facts=facts, content=named if task.output else stream.getvalue())


def _ready(output: Path, makes_folder: bool, overwrite: bool) -> Path:
    """Return the output, once its folder is there; what has come to lie there since the plan was made is kept."""
    if output.exists() and not overwrite:
        raise ImageError(f"{output}: exists already; --overwrite replaces it")
    if makes_folder:
        output.parent.mkdir(parents=True, exist_ok=True)
    return output


def _named(task: Task, error: Exception) -> str:
    """Return the sentence of an error; it begins with a name, as most do already."""
    sentence = about(task.name, error)
    return sentence if ": " in sentence and not sentence.startswith("[Errno") else f"{task.name}: {sentence}"


def read_stdin(most: float) -> bytes:
    """Return what comes on stdin, at most so many MB; raises `ImageError` for more."""
    content = sys.stdin.buffer.read(int(most * 1e6) + 1)
    if len(content) > most * 1e6:
        raise ImageError(f"stdin: has more than max_MB = {most:g}")
    return content
