"""Opening picture files of every format, by their content rather than by their names."""

import io
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from zssr.errors import ImageError
from zssr.io.avif import open_avif
from zssr.io.boxed import open_heic, open_jpeg2000
from zssr.io.decoders import open_bmp, open_dds, open_gif, open_jpeg, open_png, open_tga, open_webp
from zssr.io.decoding import translate_errors
from zssr.io.formats import (
    AVIF,
    BMP,
    DDS,
    FORMATS,
    GIF,
    HEIC,
    JPEG,
    JPEG2000,
    JPEGXL,
    PNG,
    PNM,
    START_BYTES,
    TGA,
    TIFF,
    WEBP,
    FileFormat,
    detect_format,
)
from zssr.io.frames import FilePage, count_frames, open_frame
from zssr.io.jpegxl_files import open_jpegxl
from zssr.io.limits import Limits
from zssr.io.picture import ONE_OF_MORE, Picture
from zssr.io.pnm import open_pnm
from zssr.io.tiff.pages import count_directories

FileSource = str | os.PathLike[str] | bytes | BinaryIO | FilePage
"""A picture file: its path, its bytes, an open binary file, or a page of one."""

_OPENERS = {
    PNG: open_png,
    JPEG: open_jpeg,
    WEBP: open_webp,
    BMP: open_bmp,
    GIF: open_gif,
    JPEG2000: open_jpeg2000,
    JPEGXL: open_jpegxl,
    AVIF: open_avif,
    HEIC: open_heic,
    PNM: open_pnm,
    DDS: open_dds,
    TGA: open_tga,
}


def open_picture(source: Path | bytes | FilePage, limits: Limits, name: str | None = None) -> Picture:
    """Open a picture file of one of `FORMATS`, as its content tells.

    The size is checked from the header; pixels are decoded when rows are first asked for. They are upright, palettes
    are looked up (colors, with an opacity if there is a transparent one), and nothing is rounded to fewer bits.

    Parameters
    ----------
    source
        The file's path, its content, or one of its pages; without that it is the first.
    limits
        The largest file and picture that are wanted.
    name
        What to call it in messages; a path by default.

    Raises
    ------
    ImageError
        If there is no such file or page, or it is not a picture, damaged, or larger than the limits.
    """
    if isinstance(source, FilePage):
        picture = _open_page(source.file, source.page - 1, limits, name or str(source))
        picture.notes = [note for note in picture.notes if note not in ONE_OF_MORE]
        return picture
    return _open_page(source, 0, limits, name or ("image" if isinstance(source, bytes) else str(source)))


def _open_page(file: Path | bytes, page: int, limits: Limits, name: str) -> Picture:
    file_format = _detect(file, name, limits)
    if file_format is TIFF:
        from zssr.io.tiff.reader import open_tiff

        return open_tiff(file, name, limits, page)
    with translate_errors(name):
        content = file.read_bytes() if isinstance(file, Path) else file
        if page:
            return open_frame(name, content, limits, file_format, page)
        return _OPENERS[file_format](name, content, limits)


def count_pages(source: Path | bytes, limits: Limits) -> int:
    """Return how many pages or frames a picture file has. Raises `ImageError` as `open_picture` does."""
    name = "image" if isinstance(source, bytes) else str(source)
    file_format = _detect(source, name, limits)
    with translate_errors(name), io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        return count_directories(file) if file_format is TIFF else count_frames(file.read(), file_format)


def _detect(file: Path | bytes, name: str, limits: Limits) -> FileFormat:
    start = _read_start(file, name, limits)
    file_format = detect_format(start)
    if file_format is None:
        *others, last = (each.name for each in FORMATS)
        seems = "; it seems to be text" if start.lstrip()[:1] in (b"<", b"{") else ""
        raise ImageError(f"{name}: is not a {', '.join(others)} or {last} picture{seems}")
    return file_format


def to_source(source: FileSource, name: str, limits: Limits, others: str = "") -> Path | bytes | FilePage:
    """Return what `open_picture` takes: a path, or the bytes of a picture file; a binary file is read from its start.

    Raises `ImageError`, with `name` in its sentence, for what is none of these (nor of `others`, which the caller takes
    too), and for binary files that cannot be read.
    """
    if isinstance(source, FilePage):
        return source
    if isinstance(source, (str, os.PathLike)):
        return Path(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, io.TextIOBase):
        raise ImageError(f'{name}: is open as a text file; open(..., "rb") opens a picture file')
    if hasattr(source, "read"):
        return _read_binary(source, name, limits)
    kinds = f"the path, the bytes or the open binary file of a picture{others}"
    raise ImageError(f"{name}: {kinds} is needed, not {type(source).__name__}")


def _read_binary(file: BinaryIO, name: str, limits: Limits) -> bytes:
    content = bytearray()
    try:
        with suppress(AttributeError, OSError):  # a pipe has no start to go back to
            file.seek(0)
        while len(content) <= limits.max_MB * 1e6 and (chunk := file.read(2**20)):
            content += chunk
    except (OSError, ValueError, TypeError) as error:
        raise ImageError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(content) > limits.max_MB * 1e6:
        raise ImageError(f"{name}: has more than max_MB = {limits.max_MB:g}")
    return bytes(content)


def _read_start(source: Path | bytes, name: str, limits: Limits) -> bytes:
    """Return the first bytes of a file that is there, can be read and is not too large."""
    if isinstance(source, bytes):
        count, start = len(source), source[:START_BYTES]
    else:
        try:
            status = source.stat()
            if stat.S_ISDIR(status.st_mode):
                raise ImageError(f"{name}: is a folder, not a picture")
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{name}: is not a file")
            with source.open("rb") as file:
                count, start = status.st_size, file.read(START_BYTES)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ImageError(f"{name}: no such file") from error
        except PermissionError as error:
            raise ImageError(f"{name}: cannot be read (no permission)") from error
        except (OSError, ValueError) as error:
            raise ImageError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not start:
        raise ImageError(f"{name}: is empty")
    limits.check_bytes(name, count)
    return start
