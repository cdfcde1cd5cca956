"""Opening picture files of every format, by their content rather than by their names."""

import stat
from pathlib import Path

from zssr.errors import ImageError
from zssr.io.decoders import open_bmp, open_gif, open_jpeg, open_png, open_webp
from zssr.io.decoding import translate_errors
from zssr.io.formats import BMP, FORMATS, GIF, JPEG, PNG, TIFF, WEBP, detect_format
from zssr.io.limits import Limits
from zssr.io.picture import Picture


def open_picture(source: Path | bytes, limits: Limits, name: str | None = None) -> Picture:
    """Open a picture file: PNG, JPEG, WebP, BMP, GIF (its first frame) or TIFF, as its content tells.

    The size is checked from the header; pixels are decoded when rows are first asked for. They are upright, palettes
    are looked up (colors, with an opacity if there is a transparent one), and nothing is rounded to fewer bits.

    Parameters
    ----------
    source
        The file's path, or its content.
    limits
        The largest file and picture that are wanted.
    name
        What to call it in messages; a path by default.

    Raises
    ------
    ImageError
        If there is no such file, or it is not a picture, damaged, or larger than the limits.
    """
    name = name or (str(source) if isinstance(source, Path) else "image")
    start = _read_start(source, name, limits)
    file_format = detect_format(start)
    if file_format is None:
        *others, last = (each.name for each in FORMATS)
        seems = "; it seems to be text" if start.lstrip()[:1] in (b"<", b"{") else ""
        raise ImageError(f"{name}: is not a {', '.join(others)} or {last} picture{seems}")
    if file_format is TIFF:
        from zssr.io.tiff.reader import open_tiff

        return open_tiff(source, name, limits)
    openers = {PNG: open_png, JPEG: open_jpeg, WEBP: open_webp, BMP: open_bmp, GIF: open_gif}
    with translate_errors(name):
        content = source.read_bytes() if isinstance(source, Path) else source
        return openers[file_format](name, content, limits)


def _read_start(source: Path | bytes, name: str, limits: Limits) -> bytes:
    """Return the first 16 bytes of a file that is there, can be read and is not too large."""
    if isinstance(source, bytes):
        count, start = len(source), source[:16]
    else:
        try:
            status = source.stat()
            if stat.S_ISDIR(status.st_mode):
                raise ImageError(f"{name}: is a folder, not a picture")
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{name}: is not a file")
            with source.open("rb") as file:
                count, start = status.st_size, file.read(16)
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
