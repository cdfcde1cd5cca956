"""What is asked for of a video, beside its size."""

from dataclasses import dataclass

from zssr.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """What is asked for of a video, beside what is asked for of a photo.

    Attributes
    ----------
    codec, crf
        What its frames are coded in, such as "hevc", and how well: lower is better and larger. None is as in the
        source, and nearly without loss.
    start, duration
        The part that is wanted, in seconds; None is to the end.
    deinterlace
        Whether interlaced frames are made progressive; otherwise they are refused.
    fuse
        Whether what the neighbors of a frame know of it is used. None is where the method is "zssr".
    preview
        Whether a picture of one frame before and after is written beside the output, and no video.
    allow_loss
        Whether streams and bits that the output's format cannot hold are left out; otherwise that is an error.

    Raises
    ------
    ConfigError
        If a time is none.
    """

    codec: str | None = None
    crf: float | None = None
    start: float = 0.0
    duration: float | None = None
    deinterlace: bool = False
    fuse: bool | None = None
    preview: bool = False
    allow_loss: bool = False

    def __post_init__(self) -> None:
        if not self.start >= 0:
            raise ConfigError(f"start: {self.start!r} is not a time in seconds, 0 or more")
        if self.duration is not None and not self.duration > 0:
            raise ConfigError(f"duration: {self.duration!r} is not a time in seconds, more than 0")
