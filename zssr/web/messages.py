"""What is asked for on the page, within which limits, and what comes back."""

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from zssr.errors import ZssrError
from zssr.io.formats import output_suffix
from zssr.io.metadata import Keep
from zssr.request import Request

_LONGEST_NAME = 50  # characters: of four bytes each at most, and files may have names of 255 bytes
_ODD = re.compile(r"[^\w.-]+")


class QueueFullError(ZssrError):
    """Too many are waiting."""


@dataclass(frozen=True)
class ServerLimits:
    """How much is done for anybody.

    Attributes
    ----------
    max_MB, max_pixels, max_output_pixels
        Of a photo: millions of bytes, pixels in and pixels out.
    seconds
        That a job may work.
    waiting
        Jobs that may wait while one is at work.
    kept, kept_MB
        Seconds after which files are removed, and millions of bytes of them at which no more are taken.
    threads
        That a job computes with; None is all there are.
    device
        As in `upscale`.
    """

    max_MB: float = 10.0  # noqa: N815
    max_pixels: float = 2e6
    max_output_pixels: float = 16e6
    seconds: float = 180.0
    waiting: int = 4
    kept: float = 900.0
    kept_MB: float = 1000.0  # noqa: N815
    threads: int | None = None
    device: str = "auto"


class Upload(NamedTuple):
    """A file that somebody sent: what to call it, and what is in it."""

    name: str
    content: bytes

    @classmethod
    def of(cls, name: str, content: bytes) -> "Upload":
        """Take a name from anywhere: only its last part, without what cannot be printed, and not too long."""
        last = re.split(r"[/\\]", name)[-1]
        return cls("".join(one for one in last if one.isprintable())[-_LONGEST_NAME:] or "photo", content)


@dataclass(frozen=True)
class Wish:
    """What shall become of a photo; most is as in `Upscaler.run_file`.

    Attributes
    ----------
    kernel
        "auto", "bicubic", or the file of a kernel.
    piece
        Whether only a piece of it is tried, quickly.
    """

    photo: Upload
    scale: tuple[float, float] = (2.0, 2.0)
    size: tuple[int, int] | None = None
    preset: str = "default"
    kernel: str | Upload = "auto"
    adversarial: float = 0.0
    seed: int = 0
    keep: Keep = "colors"
    piece: bool = False

    @property
    def output(self) -> str:
        """The name of the file that comes of it: that of the photo with a mark, and nothing in it that does harm."""
        stem = _ODD.sub("_", PurePosixPath(self.photo.name).stem).strip("._-") or "photo"
        return f"{stem}_{Request(self.scale, self.size).suffix}{output_suffix(self.photo.content)}"


class Step(NamedTuple):
    """How far the work is.

    Attributes
    ----------
    done, total, what
        As `upscale` tells its `progress`.
    left
        Seconds that it may still take, if that can be told.
    curves
        Losses and learning rates until now, no more than a drawing shows.
    """

    done: int
    total: int
    what: str
    left: float | None = None
    curves: tuple[list[float], list[float]] = ([], [])


class Glimpse(NamedTuple):
    """The middle of the photo as it is by now: a JPEG file."""

    jpeg: bytes


class ErrorEvent(NamedTuple):
    """Why nothing came of it, in one sentence."""

    sentence: str


@dataclass(frozen=True)
class JobResult:
    """What came of it; files are in the job's folder.

    Attributes
    ----------
    file
        The enlarged photo; None for a piece.
    before, after
        JPEG files for the eye, of the same size: by bicubic interpolation, and by zssr.
    facts
        As the command tells them, and the kernel's numbers (None for bicubic) and why it was taken.
    """

    file: str | None
    before: str
    after: str
    facts: dict[str, Any] = field(default_factory=dict)


Message = Step | Glimpse | ErrorEvent | JobResult
