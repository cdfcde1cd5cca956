"""TIFF files are written tile by tile, without the picture ever being in memory whole."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from tifffile import TiffWriter

from zssr.io.metadata import Metadata
from zssr.io.picture import PixelFormat, Pixels
from zssr.io.tiff import ifd
from zssr.io.tiff.reading import EXIF_TAGS, ICC, UNIT, XMP, XRES, YRES

_TILE = 512
_CLASSIC_BYTES = (1 << 32) - (1 << 26)  # a classic TIFF's offsets have 32 bits; noise grows a little when compressed
_PHOTOMETRICS = {"gray": ("minisblack", 1), "rgb": ("rgb", 3), "cmyk": ("separated", 4), "bands": ("minisblack", 1)}
_BYTE, _SHORT, _RATIONAL, _UNDEFINED = 1, 3, 5, 7
_INCH = 2


def write_tiff(
    file: BinaryIO, bands: Iterable[Pixels], size: tuple[int, int], layout: PixelFormat, metadata: Metadata
) -> None:
    """Write a TIFF file in tiles, compressed without loss, and as BigTIFF if it could outgrow 4 GB.

    `bands` are the rows of the picture in order, (h, W, C) with any h, that together have `size` (H, W). Of them, one
    is held at a time besides one row of tiles. `file` is empty, can be read and sought, and is left open.

    Raises `ValueError` if the bands do not have the size and layout that they should have, `OSError` as `file` does.
    """
    height, width = size
    dtype = np.dtype(np.bool_) if layout.bilevel else layout.dtype
    tile = (min(_TILE, -(-height // 16) * 16), min(_TILE, -(-width // 16) * 16))
    photometric, colors = _PHOTOMETRICS[layout.colors]
    extra = [0] * (layout.channels - colors)
    if layout.alpha is not None:
        extra[-1] = 1 if layout.alpha == "premultiplied" else 2
    big = height * width * layout.channels * dtype.itemsize > _CLASSIC_BYTES
    with TiffWriter(file, bigtiff=big, byteorder="<") as writer:
        writer.write(
            _tiles(_lines(bands, size, layout, tile[0]), tile, layout),
            shape=(height, width, layout.channels) if layout.channels > 1 else size,
            dtype=dtype,
            photometric=photometric,
            planarconfig="contig" if layout.channels > 1 else None,
            extrasamples=extra or None,
            tile=tile,
            compression="deflate",
            predictor=not layout.bilevel,
            metadata=None,
            software=False,
            maxworkers=1,
        )
    _add_metadata(file, metadata)


def _lines(bands: Iterable[Pixels], size: tuple[int, int], layout: PixelFormat, length: int) -> Iterator[Pixels]:
    """Yield the rows again in bands of `length`, the last one maybe shorter."""
    height, width = size
    line = np.empty((length, width, layout.channels), layout.dtype)
    filled = done = 0
    for band in bands:
        if band.shape[1:] != line.shape[1:] or band.dtype != line.dtype or done + len(band) > height:
            raise ValueError(f"a band {band.shape} of {band.dtype} does not fit rows {line.shape[1:]} of {line.dtype}")
        done += len(band)
        taken = 0
        while taken < len(band):
            part = band[taken : taken + length - filled]
            line[filled : filled + len(part)] = part
            filled, taken = filled + len(part), taken + len(part)
            if filled == length:
                yield line
                filled = 0
    if done != height:
        raise ValueError(f"there are {done} rows, not {height}")
    if filled:
        yield line[:filled]


def _tiles(lines: Iterable[Pixels], tile: tuple[int, int], layout: PixelFormat) -> Iterator[Pixels]:
    for line in lines:
        for left in range(0, line.shape[1], tile[1]):
            part = line[:, left : left + tile[1]]
            whole = np.zeros((*tile, layout.channels), layout.dtype)
            whole[: part.shape[0], : part.shape[1]] = part
            pixels = whole >= 128 if layout.bilevel else whole
            yield pixels if layout.channels > 1 else pixels[..., 0]


def _add_metadata(file: BinaryIO, metadata: Metadata) -> None:
    """Write the directory once more at the end of the file, with everything in it, and let the header lead there.

    tifffile writes neither EXIF's directories nor texts that are not ASCII.
    """
    form = ifd.form_of(file)
    directory = ifd.read_directory(file, form, ifd.read_offset(file, form))
    for code in (XRES, YRES, UNIT):
        directory.pop(code, None)  # tifffile's, which say nothing
    directory |= _entries(metadata)
    start = ifd.append_directory(file, form, directory)
    file.seek(len(form.header))
    file.write(form.offset.pack(start))


def _entries(metadata: Metadata) -> ifd.Directory:
    entries = {code: ifd.Tag(kind, count, value) for code, kind, count, value in metadata.tags}
    if metadata.exif:
        block = ifd.from_block(metadata.exif)
        entries |= {code: entry for code, entry in block.items() if code in EXIF_TAGS}
    for code, kind, value in ((ICC, _UNDEFINED, metadata.icc), (XMP, _BYTE, metadata.xmp)):
        if value:
            entries[code] = ifd.Tag(kind, len(value), value)
    if metadata.dpi:
        entries[XRES], entries[YRES] = (ifd.Tag(_RATIONAL, 1, _rational(value)) for value in metadata.dpi)
        entries[UNIT] = ifd.Tag(_SHORT, 1, (_INCH,))
    return entries


def _rational(value: float) -> tuple[Any, Any]:
    nearest = Fraction(value).limit_denominator(10_000)
    return nearest.numerator, nearest.denominator
