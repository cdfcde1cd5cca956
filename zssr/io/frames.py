"""The pages of files that hold several pictures: the frames of GIF, APNG, WebP, AVIF and JPEG XL, and HEIC's."""

import io
from dataclasses import dataclass
from pathlib import Path

from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from zssr.errors import ConfigError, ImageError
from zssr.io.avif import note_depth
from zssr.io.boxed import count_heic_pictures, open_heic
from zssr.io.decoders import open_image
from zssr.io.formats import AVIF, GIF, HEIC, JPEGXL, PNG, WEBP, FileFormat
from zssr.io.headers import first_frame
from zssr.io.jpegxl_files import count_jpegxl_frames, open_jpegxl
from zssr.io.limits import Limits
from zssr.io.picture import Picture

_READERS: dict[FileFormat, type[ImageFile]] = {
    GIF: GifImageFile,
    PNG: PngImageFile,
    WEBP: WebPImageFile,
    AVIF: AvifImageFile,
}
_OPENERS = {JPEGXL: open_jpegxl, HEIC: open_heic}
_COUNTERS = {JPEGXL: count_jpegxl_frames, HEIC: count_heic_pictures}


@dataclass(frozen=True)
class FilePage:
    """A page of a picture file, or a frame of an animation: `page` is 1 for the first. It is taken where a file is.

    Raises `ConfigError` for a page that is no whole number of 1 or more.
    """

    file: Path | bytes
    page: int

    def __post_init__(self) -> None:
        if isinstance(self.page, bool) or not isinstance(self.page, int) or self.page < 1:
            raise ConfigError(f"page: {self.page!r} is not a whole number, 1 or more")
        if isinstance(self.file, str):
            object.__setattr__(self, "file", Path(self.file))

    def __str__(self) -> str:
        return f"{self.file if isinstance(self.file, Path) else 'image'} (page {self.page})"


def open_frame(name: str, content: bytes, limits: Limits, file_format: FileFormat, page: int) -> Picture:
    """Open a frame as it is shown (1 is the second); only those of HEIC and JPEG XL have more than 8 bits.

    Raises `ImageError` if there is none.
    """
    if file_format in _OPENERS:
        return _OPENERS[file_format](name, content, limits, page)
    if file_format not in _READERS:
        raise ImageError(f"{name}: has no page {page + 1}")
    image = _open_reader(content, file_format)
    limits.check_size(name, (image.height, image.width))
    try:
        image.seek(page)
    except EOFError as error:
        raise ImageError(f"{name}: has no page {page + 1}") from error
    return open_image(name, image, content, limits, note_depth(content) if file_format is AVIF else [])


def count_frames(content: bytes, file_format: FileFormat) -> int:
    """Return the number of frames of a file that is no TIFF file, 1 at least."""
    if file_format in _COUNTERS:
        return _COUNTERS[file_format](content)
    if file_format not in _READERS:
        return 1
    return int(getattr(_open_reader(content, file_format), "n_frames", 1))


def _open_reader(content: bytes, file_format: FileFormat) -> ImageFile:
    if file_format is GIF:
        first_frame(content)  # raises if there are too many blocks
    return _READERS[file_format](io.BytesIO(content))
