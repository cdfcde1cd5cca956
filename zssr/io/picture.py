"""Pictures as files hold them: pixels that are read by rows, their format, and the metadata."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from zssr.degradation.jpeg import Jpeg
from zssr.io.metadata import Metadata

Pixels = NDArray[Any]
"""Pixels (H, W, C) of uint8, uint16 or float32; of TIFF files also of signed or 32-bit integers."""

Colors = Literal["gray", "rgb", "cmyk", "bands"]
Alpha = Literal["straight", "premultiplied"]
Photometric = Literal["miniswhite", "rgb", "separated", "cielab", "icclab"]

FIRST_FRAME = "it is an animation, of which only the first frame is taken"
MAIN_PICTURE = "it holds more pictures, of which only the main one is taken"
FIRST_PAGE = "only the first of its pictures is taken"
FILM = "it holds a film, too (a motion photo), which is left out"
GAIN_MAP = "its HDR gain map is left out; that of a JPEG would be kept"
"""What is said of files that hold more than is taken."""
ONE_OF_MORE = (FIRST_FRAME, MAIN_PICTURE, FIRST_PAGE)
"""What is said unless a picture was asked for by its number."""


@dataclass(frozen=True)
class PixelFormat:
    """The channels of pixels and their type.

    Attributes
    ----------
    colors
        "gray" has 1 channel, "rgb" 3, "cmyk" 4, "bands" any number.
    channels
        Number of channels, with the opacity.
    dtype
        uint8, uint16 or float32; of TIFF files also int8, int16, int32 or uint32, whose range is the picture's own.
    alpha
        Whether the last channel is an opacity, and whether the colors were multiplied by it; None if it is none.
    bilevel
        Whether there is only black and white, 1 bit: in memory 0 and 255 of uint8.
    bits
        How many bits a TIFF file has for each sample, if fewer than `dtype`: in memory they fill its range.
    photometric
        What a TIFF file calls the first bands ("miniswhite", "rgb" or "separated"), or another space that the colors
        are stored in ("cielab" or "icclab"); None for the usual.
    extra_samples
        What a TIFF file says of the other bands: 0 nothing, 1 a premultiplied opacity, 2 a straight one; () is all 0.
    palette
        The colors of a PNG file or PIL image that indexes them: red, green, blue and opacity, 4 bytes each.
    """

    colors: Colors
    channels: int
    dtype: np.dtype[Any]
    alpha: Alpha | None = None
    bilevel: bool = False
    bits: int | None = None
    photometric: Photometric | None = None
    extra_samples: tuple[int, ...] = ()
    palette: bytes | None = None

    @property
    def color_channels(self) -> int:
        """The number of channels without the opacity."""
        return self.channels - (self.alpha is not None)

    @property
    def has_own_range(self) -> bool:
        """Whether the numbers mean what the picture makes of them: signed or 32-bit integers, such as heights."""
        return self.dtype.kind == "i" or self.dtype == np.uint32


@dataclass
class Picture(ABC):
    """An open picture file, upright as its orientation says; a context manager that closes the file.

    Attributes
    ----------
    name
        What to call it in messages: its path, or "stdin".
    size
        (H, W) in pixels.
    pixel_format
        Its channels and their type.
    metadata
        What the file holds besides the pixels.
    jpeg
        How it was compressed, if it is a JPEG file.
    notes
        One sentence for each thing that the user should know, such as frames that are left out.
    is_lossless
        Whether it is a lossless file of a format that has lossy ones, too.
    nodata
        The number that stands for no data, if the file states one.
    """

    name: str
    size: tuple[int, int]
    pixel_format: PixelFormat
    metadata: Metadata = field(default_factory=Metadata)
    jpeg: Jpeg | None = None
    notes: list[str] = field(default_factory=list)
    is_lossless: bool = False
    nodata: float | None = None

    @abstractmethod
    def rows(self, start: int, stop: int) -> Pixels:
        """Return the rows from `start` to `stop` as (stop - start, W, C), a fresh array in native byte order.

        Raises `ImageError` if the file is damaged.
        """

    def close(self) -> None:  # noqa: B027
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class InMemoryPicture(Picture):
    """A picture whose pixels (H, W, C) are all decoded."""

    def __init__(
        self,
        name: str,
        pixels: Pixels,
        pixel_format: PixelFormat,
        metadata: Metadata,
        jpeg: Jpeg | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(name, (pixels.shape[0], pixels.shape[1]), pixel_format, metadata, jpeg, list(notes))
        self.pixels = pixels

    def rows(self, start: int, stop: int) -> Pixels:
        """Return a copy of the rows."""
        return self.pixels[start:stop].copy(order="C")
