"""Writing picture files, each whole or not at all."""

import io
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image

from zssr.io.atomic import atomic_write
from zssr.io.formats import BMP, JPEG, PNG, TIFF, FileFormat
from zssr.io.metadata import Metadata
from zssr.io.output_format import OutputFormat
from zssr.io.picture import Picture, PixelFormat, Pixels
from zssr.io.png import encode_png

_SEGMENT = 65533  # bytes that a segment of a JPEG file can hold
_XMP_NAME = 29
_MOST_DPI = 65535  # as JFIF has it
_EXIF = b"Exif\0\0"
_MODES = {("gray", 1): "L", ("gray", 2): "LA", ("rgb", 3): "RGB", ("rgb", 4): "RGBA", ("cmyk", 4): "CMYK"}


def write_picture(
    output: Path | BinaryIO, target: OutputFormat, bands: Iterable[Pixels], size: tuple[int, int], metadata: Metadata
) -> None:
    """Write a picture file, at a path whole or not at all, to a stream at once.

    Parameters
    ----------
    output
        A path, or a binary stream such as stdout's, which need not be seekable.
    target
        What `OutputFormat.of` made of the output.
    bands
        Consecutive rows (h, W, C) in the layout `target.source`, H in all. TIFF takes them one by one; for other
        formats they are collected. Black and white is told apart at 128.
    size
        (H, W) in pixels.
    metadata
        What shall stand around the pixels; what the format has no place for is left out (BMP: all but the resolution).

    Raises
    ------
    ImageError
        If the file cannot be written. What is raised while the bands are made is passed on.
    """
    if target.format is not TIFF:
        content = _encoded(target, bands, size, metadata)
        if isinstance(output, Path):
            with atomic_write(output) as file:
                file.write(content)
        else:
            output.write(content)
    elif isinstance(output, Path):
        with atomic_write(output) as file:
            _write_tiff(file, target, bands, size, metadata)
    else:
        with tempfile.NamedTemporaryFile() as file:  # tifffile asks for its name
            _write_tiff(cast("BinaryIO", file), target, bands, size, metadata)
            file.seek(0)
            shutil.copyfileobj(file, output)


def _write_tiff(
    file: BinaryIO, target: OutputFormat, bands: Iterable[Pixels], size: tuple[int, int], metadata: Metadata
) -> None:
    from zssr.io.tiff.writing import write_tiff

    write_tiff(file, bands, size, target.layout, metadata)


def _encoded(target: OutputFormat, bands: Iterable[Pixels], size: tuple[int, int], metadata: Metadata) -> bytes:
    """Return the bytes of a file in any format but TIFF."""
    pixels = np.empty((*size, target.source.channels), target.source.dtype)
    start = 0
    for band in bands:
        pixels[start : start + len(band)] = band
        start += len(band)
    pixels = target.reduced(pixels)
    if target.layout.colors != target.source.colors:
        metadata = replace(metadata, icc=None)  # it tells other colors
    if target.format is PNG:
        return encode_png(pixels, target.layout, metadata)
    file = io.BytesIO()
    image = _image(pixels, target.layout)
    if image.mode == "1" and target.format is not BMP:
        image = image.convert("L")
    image.save(file, target.format.name, **target.format.encoder, **_options(target.format, metadata))
    return file.getvalue()


def _options(kind: FileFormat, metadata: Metadata) -> dict[str, Any]:
    """Return what Pillow shall write around the pixels, as far as there is room for it."""
    options: dict[str, Any] = {}
    if metadata.dpi and max(metadata.dpi) <= _MOST_DPI:
        options["dpi"] = metadata.dpi
    if kind is BMP:
        return options
    limited = kind is JPEG
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.exif and not (limited and len(metadata.exif) + len(_EXIF) > _SEGMENT):
        options["exif"] = _EXIF + metadata.exif
    if metadata.xmp and not (limited and len(metadata.xmp) + _XMP_NAME > _SEGMENT):
        options["xmp"] = metadata.xmp
    return options


def _image(pixels: Pixels, layout: PixelFormat) -> Image.Image:
    """Return a PIL image of pixels (H, W, C) in one of the layouts that Pillow has a mode for."""
    plane = np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if layout.bilevel:
        return Image.fromarray(plane >= 128)
    return Image.fromarray(plane, "CMYK" if layout.colors == "cmyk" else None)


def as_pillow(picture: Picture, pixels: Pixels) -> Image.Image | Pixels:
    """Return pixels (H, W, C) in the layout of `picture` as a PIL image, or as they are if Pillow has no mode for them.

    Pillow has none for 16-bit colors, floats of several channels and other numbers of bands. What stood around the
    picture is in the image's `info`, adjusted to its new size.
    """
    layout = picture.layout
    if layout.alpha == "premultiplied" and layout.dtype == np.uint8:
        straight = replace(layout, alpha="straight")
        pixels, layout = OutputFormat("image", PNG, layout, straight).reduced(pixels), straight
    gray_deep = layout.dtype == np.uint16 and layout.colors == "gray" and layout.channels == 1
    known = layout.dtype == np.uint8 and (layout.colors, layout.channels) in _MODES
    if not (known or gray_deep):
        return pixels
    image = _image(pixels, layout)
    scale = (image.height / picture.size[0], image.width / picture.size[1])
    metadata = picture.metadata.enlarged(scale, (image.height, image.width))
    around = {
        "icc_profile": metadata.icc,
        "exif": metadata.exif and _EXIF + metadata.exif,
        "dpi": metadata.dpi,
        "xmp": metadata.xmp,
    }
    image.info |= {key: value for key, value in around.items() if value}
    return image
