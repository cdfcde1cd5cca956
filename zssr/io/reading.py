"""Opening picture files of every kind, by what is in them rather than by their names."""

import io
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from zssr.degradation.jpeg import Jpeg
from zssr.errors import ImageError
from zssr.io.decoding import silence
from zssr.io.formats import BMP, FORMATS, GIF, JPEG, PNG, TIFF, WEBP, detect_format
from zssr.io.headers import check_jpeg, first_frame, webp_size
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata, checked
from zssr.io.picture import InMemory, Picture, PixelFormat, Pixels
from zssr.io.png import open_png

_DENSEST = 4096  # pixels that one byte can stand for: the most that GIF and JPEG allow, and some more
_FEW = 16e6  # pixels that do no harm, however few bytes they have
_MOST_RUNS = 20e6  # bytes of run-length encoding in a BMP file, which Pillow decodes in Python
_ANIMATION = 2  # a flag in a WebP file's header
_BYTES = np.dtype(np.uint8)
_GRAY, _RGB = PixelFormat("gray", 1, _BYTES), PixelFormat("rgb", 3, _BYTES)
_LAYOUTS = {
    "1": replace(_GRAY, bilevel=True),
    "L": _GRAY,
    "P": _RGB,
    "RGB": _RGB,
    "CMYK": PixelFormat("cmyk", 4, _BYTES),
}
_WITH_ALPHA = {
    "gray": PixelFormat("gray", 2, _BYTES, alpha="straight"),
    "rgb": PixelFormat("rgb", 4, _BYTES, alpha="straight"),
}
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N")
_MODES = {("gray", 1): "L", ("gray", 2): "LA", ("rgb", 3): "RGB", ("rgb", 4): "RGBA", ("cmyk", 4): "CMYK"}


class _Jpeg(JpegImageFile):
    """A JPEG file whose EXIF data are not looked into: what is wrong with them is no matter of Pillow's warnings."""

    def _read_dpi_from_exif(self) -> None:
        """Leave it to `Metadata`."""


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
    start = _start(source, name, limits)
    kind = detect_format(start)
    if kind is None:
        *others, last = (each.name for each in FORMATS)
        seems = "; it seems to be text" if start.lstrip()[:1] in (b"<", b"{") else ""
        raise ImageError(f"{name}: is not a {', '.join(others)} or {last} picture{seems}")
    if kind is TIFF:
        from zssr.io.tiff.reading import open_tiff

        return open_tiff(source, name, limits)
    openers = {PNG: _open_png, JPEG: _open_jpeg, WEBP: _open_webp, BMP: _open_bmp, GIF: _open_gif}
    with _reading(name):
        content = source.read_bytes() if isinstance(source, Path) else source
        return openers[kind](name, content, limits)


def _start(source: Path | bytes, name: str, limits: Limits) -> bytes:
    """Return the first bytes of a file that is there, can be read and is not too large."""
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


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn whatever a damaged file leads a decoder to into an `ImageError`."""
    try:
        with silence(name):
            yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name}: is too large for the memory there is") from error
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete ({why})") from error


class _Decoded(Picture):
    """A picture that is decoded as a whole, when its rows are first asked for."""

    def __init__(self, decode: Callable[[], Pixels], size: tuple[int, int], metadata: Metadata, **others: Any) -> None:  # noqa: ANN401
        sound, notes = checked(metadata)
        self._orientation = sound.orientation
        super().__init__(size=size[::-1] if self._orientation > 4 else size, metadata=sound, **others)
        self.notes += notes
        self._decode: Callable[[], Pixels] | None = decode
        self._pixels: Pixels | None = None

    def rows(self, start: int, stop: int) -> Pixels:
        """Return the rows from `start` to `stop` as (stop - start, W, C); the first call decodes all of them."""
        if self._decode is not None:
            with _reading(self.name):
                self._pixels = apply_orientation(self._decode(), self._orientation)
            self._decode = None
        if self._pixels is None:
            raise ImageError(f"{self.name}: is closed")
        return self._pixels[start:stop].copy(order="C")

    def close(self) -> None:
        """Let go of the file's content and of the pixels."""
        self._decode = self._pixels = None


def apply_orientation(pixels: Pixels, orientation: int) -> Pixels:
    """Return a view of `pixels` (H, W, C) that is upright, given EXIF's orientation from 1 to 8."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels


def _open_png(name: str, content: bytes, limits: Limits) -> Picture:
    png = open_png(name, content, limits)
    return _Decoded(png.decoded, png.size, png.metadata, name=name, layout=png.layout, notes=png.notes)


def _open_jpeg(name: str, content: bytes, limits: Limits) -> Picture:
    check_jpeg(content)
    image = _Jpeg(io.BytesIO(content))
    notes = ["it holds more pictures, of which only the main one is taken"] if "mp" in image.info else []
    _check(name, (image.height, image.width), content, limits)
    return _opened(image, name, notes, Jpeg.from_pillow(image))


def _open_webp(name: str, content: bytes, limits: Limits) -> Picture:
    size = webp_size(content)
    limits.check(name, size)
    try:
        image = WebPImageFile(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: has {size[1]}x{size[0]} pixels, more than Pillow reads of a WebP file") from error
    if content[12:16] == b"VP8X" and content[20] & _ANIMATION:
        _check(name, size, content, limits)  # frames may be small, but room is made for the canvas, and thrice
    layout = _layout_of(image)

    def decoded() -> Pixels:  # in a quarter of the memory that Pillow takes
        pixels = imagecodecs.webp_decode(content, hasalpha=layout.alpha is not None)
        if pixels.shape != (*size, layout.channels):
            raise ValueError("the pixels are not what the header says")
        return pixels

    notes = _first_only(image.is_animated)
    return _Decoded(decoded, size, _metadata(image), name=name, layout=layout, notes=notes)


def _open_gif(name: str, content: bytes, limits: Limits) -> Picture:
    width, height = struct.unpack("<HH", content[6:10])
    _check(name, (height, width), content, limits)
    still, more = first_frame(content)
    image = GifImageFile(io.BytesIO(still))
    _check(name, (image.height, image.width), still, limits)  # a frame may be larger than the screen
    return _opened(image, name, _first_only(more))


def _open_bmp(name: str, content: bytes, limits: Limits) -> Picture:
    image = BmpImageFile(io.BytesIO(content))
    _check(name, (image.height, image.width), content, limits)
    if image.tile[0].codec_name == "bmp_rle" and len(content) > _MOST_RUNS:
        raise ImageError(f"{name}: has too many run-length encoded pixels; save it as PNG")
    return _opened(image, name, [])


def _check(name: str, size: tuple[int, int], content: bytes, limits: Limits) -> None:
    """Raise `ImageError` for too large a picture, and for one that claims to be far larger than its bytes can tell."""
    limits.check(name, size)
    if size[0] * size[1] > max(_FEW, _DENSEST * len(content)):
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete (too few bytes for its pixels)")


def _first_only(animated: bool) -> list[str]:
    return ["it is an animation, of which only the first frame is taken"] if animated else []


def picture_of(image: Image.Image) -> Picture:
    """Return a PIL image as a picture, as it lies; its palette is looked up, and what comes from a JPEG file is known.

    Raises `ImageError` for modes of other numbers than 8 and 16 bits, and for an image that cannot be decoded.
    """
    with _reading("image"):
        known = {*_LAYOUTS, *_DEEP, "LA", "RGBA", "PA", "La", "RGBa", "RGBX", "YCbCr", "LAB", "HSV"}
        if image.mode not in known or 0 in image.size:
            has = "no pixels" if 0 in image.size else f'mode "{image.mode}", which is not supported'
            raise ImageError(f"image: has {has}; convert it to L, LA, RGB, RGBA, CMYK or I;16")
        layout = _layout_of(image)
        if image.mode in _DEEP:
            pixels = np.asarray(image).astype(np.uint16)[..., None]
            return InMemory("image", pixels, replace(_GRAY, dtype=np.dtype(np.uint16)), _metadata(image))
        pixels = _decoded(image, layout)
        return InMemory("image", pixels, layout, _metadata(image), jpeg=Jpeg.from_pillow(image))


def _layout_of(image: Image.Image) -> PixelFormat:
    if image.has_transparency_data:
        return _WITH_ALPHA["gray" if image.mode in ("1", "L", "LA", "La") else "rgb"]
    return _LAYOUTS.get(image.mode, _RGB)


def _decoded(image: Image.Image, layout: PixelFormat) -> Pixels:
    image.load()
    mode = _MODES[layout.colors, layout.channels]
    return np.asarray(image if image.mode == mode else image.convert(mode)).reshape(image.height, image.width, -1)


def _opened(image: ImageFile, name: str, notes: list[str], jpeg: Jpeg | None = None) -> Picture:
    size, layout = (image.height, image.width), _layout_of(image)
    decode = partial(_decoded, image, layout)
    return _Decoded(decode, size, _metadata(image), name=name, layout=layout, notes=notes, jpeg=jpeg)


def _metadata(image: Image.Image) -> Metadata:
    """Return what Pillow found around the pixels."""
    info = image.info
    exif, xmp = info.get("exif") or b"", info.get("xmp") or b""
    return Metadata(
        icc=info.get("icc_profile") or None,
        exif=exif.removeprefix(b"Exif\0\0") or None,
        xmp=xmp or None,
        dpi=info.get("dpi"),
    )
