"""Writing picture files, each whole or not at all."""

import io
import math
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from zssr.io.atomic import atomic_write
from zssr.io.avif import encode_avif
from zssr.io.boxed import encode_jpeg2000
from zssr.io.formats import AVIF, BMP, JPEG, JPEG2000, JPEGXL, PNG, TIFF, WEBP, FileFormat
from zssr.io.gain_map import append_gain_map
from zssr.io.jpegxl_files import encode_jpegxl
from zssr.io.metadata import Metadata
from zssr.io.output_format import OutputFormat
from zssr.io.picture import Pixels
from zssr.io.pillow import make_image, make_info
from zssr.io.pixel_conversion import convert_pixels
from zssr.io.png import encode_png
from zssr.io.xmp import announce_gain_map

_SEGMENT_BYTES = 65533  # that a segment of a JPEG file holds
_XMP_NAME_BYTES = 29


def write_picture(
    output: Path | BinaryIO,
    output_format: OutputFormat,
    strips: Iterable[Pixels],
    size: tuple[int, int],
    metadata: Metadata,
) -> None:
    """Write a picture file, to a path atomically, to a stream at once; raises `ImageError` if it cannot be written.

    What is raised while the strips are made is passed on.

    Parameters
    ----------
    output
        A path, or a binary stream such as stdout's, which need not be seekable.
    output_format
        What `OutputFormat.choose` made of the output.
    strips
        Consecutive rows (h, W, C) in the format `output_format.source`, H in all. TIFF takes them one by one; for other
        formats they are collected. Black and white are split at 128.
    size
        (H, W) in pixels.
    metadata
        What the file is to hold besides the pixels; what the format has no place for is left out (BMP: all but the
        resolution).
    """
    if output_format.file_format is not JPEG:
        metadata = metadata.without_gain_map()
    if output_format.file_format is not TIFF:
        content = _encode(output_format, strips, size, metadata)
        if isinstance(output, Path):
            with atomic_write(output) as file:
                file.write(content)
        else:
            output.write(content)
    elif isinstance(output, Path):
        with atomic_write(output) as file:
            _write_tiff(file, output_format, strips, size, metadata)
    else:
        with tempfile.NamedTemporaryFile() as file:  # tifffile asks for its name
            _write_tiff(cast("BinaryIO", file), output_format, strips, size, metadata)
            file.seek(0)
            shutil.copyfileobj(file, output)


def _write_tiff(
    file: BinaryIO, output_format: OutputFormat, strips: Iterable[Pixels], size: tuple[int, int], metadata: Metadata
) -> None:
    from zssr.io.tiff.writer import write_tiff

    write_tiff(file, strips, size, output_format.stored, metadata)


def _encode(output_format: OutputFormat, strips: Iterable[Pixels], size: tuple[int, int], metadata: Metadata) -> bytes:
    """Return the bytes of a file in any format but TIFF."""
    file_format, source, stored = output_format.file_format, output_format.source, output_format.stored
    pixels = np.empty((*size, source.channels), source.dtype)
    start = 0
    for strip in strips:
        pixels[start : start + len(strip)] = strip
        start += len(strip)
    pixels = convert_pixels(pixels, source, stored)
    if (stored.colors, stored.photometric) != (source.colors, source.photometric):
        metadata = replace(metadata, icc=None)  # it is a profile of other colors
    if file_format is PNG:
        return encode_png(pixels, stored, metadata)
    if file_format is JPEG2000:
        return encode_jpeg2000(pixels, stored, metadata, output_format.quality or 100)
    if file_format is JPEGXL:
        return encode_jpegxl(pixels, metadata, output_format.quality or 100)
    if file_format is AVIF:
        return encode_avif(pixels, stored, metadata, output_format.quality or 95)
    return _encode_by_pillow(output_format, pixels, metadata)


def _encode_by_pillow(output_format: OutputFormat, pixels: Pixels, metadata: Metadata) -> bytes:
    file_format, gain_map = output_format.file_format, metadata.gain_map
    encoded = gain_map.encode(output_format.quality or 95) if gain_map else b""
    if gain_map and gain_map.is_ultra_hdr:
        metadata = replace(
            metadata, xmp=announce_gain_map(metadata.xmp or b"", len(encoded), _SEGMENT_BYTES - _XMP_NAME_BYTES)
        )
    file = io.BytesIO()
    image = make_image(pixels, output_format.stored)
    if image.mode == "1" and file_format is not BMP:
        image = image.convert("L")
    options = dict(file_format.encoder) | ({"quality": output_format.quality} if output_format.quality else {})
    if output_format.is_lossless and file_format is WEBP:
        options |= {"lossless": True, "exact": True}
    image.save(file, file_format.name, **options, **_fit_metadata(file_format, metadata))
    return append_gain_map(file.getvalue(), gain_map, encoded) if gain_map else file.getvalue()


def _fit_metadata(file_format: FileFormat, metadata: Metadata) -> dict[str, bytes | tuple[float, float]]:
    """Return the metadata for Pillow's encoder, as far as there is room for it."""
    options = make_info(metadata)
    if metadata.dpi and max(metadata.dpi) > 65535:  # as JFIF has it
        del options["dpi"]
    if file_format is BMP:
        return {key: value for key, value in options.items() if key == "dpi"}
    lengths = {"exif": len(options.get("exif", b"")), "xmp": len(options.get("xmp", b"")) + _XMP_NAME_BYTES}
    most = _SEGMENT_BYTES if file_format is JPEG else math.inf
    return {key: value for key, value in options.items() if lengths.get(key, 0) <= most}
