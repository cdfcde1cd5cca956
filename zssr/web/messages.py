"""What the server asks a worker process for, within which limits, and what the worker answers."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple, TypedDict

from zssr.errors import ZssrError
from zssr.io.formats import VIDEO_SUFFIXES, output_suffix, writable_suffix
from zssr.io.metadata import Keep
from zssr.progress import ProgressEvent
from zssr.request import Request


class QueueFullError(ZssrError):
    """Too many photos are waiting, or the server is shutting down."""


@dataclass(frozen=True)
class ServerLimits:
    """Limits on what the server does for its users.

    Attributes
    ----------
    max_MB, max_pixels, max_output_pixels
        Of a photo: millions of bytes, pixels of the input and of the output.
    max_frames
        Of a clip.
    seconds
        Time limit of a job.
    waiting
        Jobs that may wait while one is running.
    kept, kept_MB
        Seconds after which files are removed, and millions of bytes of files at which uploads are rejected.
    threads
        Of a job; None for as many as there are cores.
    device
        As in `upscale`.
    """

    max_MB: float = 10.0  # noqa: N815
    max_pixels: float = 2e6
    max_output_pixels: float = 16e6
    max_frames: int = 250
    seconds: float = 180.0
    waiting: int = 4
    kept: float = 900.0
    kept_MB: float = 1000.0  # noqa: N815
    threads: int | None = None
    device: str = "auto"


class Upload(NamedTuple):
    """An uploaded file: its name in messages, and its bytes."""

    name: str
    content: bytes

    @classmethod
    def sanitize(cls, name: str, content: bytes) -> "Upload":
        """Accept a file under any name: of that the last 50 printable characters of the last part are kept."""
        last = re.split(r"[/\\]", name)[-1]
        # 50 characters have at most 200 bytes; file systems allow 255
        return cls("".join(character for character in last if character.isprintable())[-50:] or "photo", content)


@dataclass(frozen=True)
class JobRequest:
    """A request to upscale an uploaded photo.

    Attributes
    ----------
    request
        As in `Upscaler.run_file`; its kernel is "auto" or one by name, and its device is left to the server.
    kernel_file
        A blur kernel to use instead of the request's.
    preset, adversarial
        The preset, and a setting that may differ from it.
    keep
        The metadata that the output keeps.
    wrap, content, method
        Which sides join, what the image is, and by which method it is upscaled: settings, too.
    crop_only
        Whether only a small crop is upscaled, with the preset "fast", to look at.
    """

    photo: Upload
    request: Request
    kernel_file: Upload | None = None
    preset: str = "default"
    adversarial: float = 0.0
    keep: Keep = "colors"
    wrap: str = "off"
    content: str = "auto"
    method: str = "zssr"
    crop_only: bool = False

    @property
    def output(self) -> str:
        """Name of the output file: the photo's, in letters and digits, and the scale."""
        stem = re.sub(r"[^\w.-]+", "_", PurePosixPath(self.photo.name).stem).strip("._-") or "photo"
        own = PurePosixPath(self.photo.name).suffix.lower()
        suffix = writable_suffix(own) if own in VIDEO_SUFFIXES else output_suffix(self.photo.content)
        return f"{stem}_{self.request.suffix}{suffix}"


class ProgressMessage(NamedTuple):
    """The progress of a job.

    Attributes
    ----------
    event
        The latest, with as many losses and learning rates as a plot shows, and without its preview.
    seconds_left
        An estimate for this stage and what follows from it; None while it is unknown.
    """

    event: ProgressEvent
    seconds_left: float | None


class PreviewMessage(NamedTuple):
    """The center of the photo as the network upscales it now: a JPEG file."""

    jpeg: bytes


class ErrorEvent(NamedTuple):
    """The reason, in one sentence, why a job failed."""

    sentence: str


class JobFacts(TypedDict):
    """`Result.to_dict()`, the seconds of the whole job, the kernel (None for bicubic) and the reason it was chosen.

    A clip has no steps.
    """

    width: int
    height: int
    scale: tuple[float, float]
    noise: float
    jpeg: str | None
    steps: int | None
    stages: dict[str, float]
    device: str
    precision: str
    seed: int
    assumed: str
    expected_gain: float | None
    warnings: list[str]
    seconds: float
    kernel: list[list[float]] | None
    reason: str | None


@dataclass(frozen=True)
class JobResult:
    """The result of a job; its files are in the job's folder.

    Attributes
    ----------
    file
        The upscaled photo; None for a crop.
    before, after
        JPEG files of the same size to look at: upscaled by bicubic interpolation, and by zssr.
    facts
        How it was made, ready for JSON.
    """

    file: str | None
    before: str
    after: str
    facts: JobFacts


WorkerMessage = ProgressMessage | PreviewMessage | ErrorEvent | JobResult
Send = Callable[[WorkerMessage], None]
