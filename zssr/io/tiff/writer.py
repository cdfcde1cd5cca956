"""Writing TIFF files tile by tile, without the picture ever being in memory whole."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from tifffile import TiffWriter

from zssr.io.metadata import Metadata
from zssr.io.picture import PixelFormat, Pixels
from zssr.io.pixel_conversion import rescale_levels
from zssr.io.tiff import ifd
from zssr.io.tiff.lab import rgb_to_lab
from zssr.io.tiff.reader import EXIF_TAGS
from zssr.io.tiff.tags import Directory, Tag, TagCode, TagType

TILE_SIDE = 512
CLASSIC_BYTES = (1 << 32) - (1 << 26)
"""Pixels that fit into a classic TIFF, whose offsets have 32 bits; noise grows a little when compressed."""


def write_tiff(
    file: BinaryIO, strips: Iterable[Pixels], size: tuple[int, int], pixel_format: PixelFormat, metadata: Metadata
) -> None:
    """Write a TIFF file in tiles, compressed without loss, and as BigTIFF if it could outgrow 4 GB.

    `strips` are the rows of the picture in order, (h, W, C) with any h, that together have `size` (H, W). Of them, one
    is held at a time besides one row of tiles. `file` is empty, can be read and sought, and is left open.

    Raises `ValueError` if the strips do not have the size and format that they should have, `OSError` as `file` does.
    """
    height, width = size
    channels = pixel_format.channels
    dtype = np.dtype(np.bool_) if pixel_format.bilevel else pixel_format.dtype
    tile = (min(TILE_SIDE, -(-height // 16) * 16), min(TILE_SIDE, -(-width // 16) * 16))
    usual = {"rgb": "rgb", "cmyk": "separated"}.get(pixel_format.colors, "minisblack")
    photometric = pixel_format.photometric or usual
    colors = {"rgb": 3, "separated": 4, "cielab": 3, "icclab": 3}.get(photometric, 1)
    extra = list(pixel_format.extra_samples) or [0] * (channels - colors)
    if pixel_format.alpha is not None:
        extra[-1] = 1 if pixel_format.alpha == "premultiplied" else 2
    is_packed = pixel_format.bits is not None
    is_big = height * width * channels * dtype.itemsize > CLASSIC_BYTES
    with TiffWriter(file, bigtiff=is_big, byteorder="<") as writer:
        writer.write(
            _cut_tiles(_regroup_rows(strips, size, pixel_format, tile[0]), tile, pixel_format),
            shape=(height, width, channels) if channels > 1 else size,
            dtype=dtype,
            photometric=photometric,
            planarconfig="contig" if channels > 1 else None,
            extrasamples=extra or None,
            tile=tile,
            bitspersample=pixel_format.bits,
            compression=None if is_packed else "deflate",
            predictor=not pixel_format.bilevel and not is_packed,
            metadata=None,
            software=False,
            maxworkers=1,
        )
    _add_metadata(file, metadata)


def _regroup_rows(
    strips: Iterable[Pixels], size: tuple[int, int], pixel_format: PixelFormat, height: int
) -> Iterator[Pixels]:
    """Yield the rows again in strips of `height`, the last one maybe smaller."""
    rows = np.empty((height, size[1], pixel_format.channels), pixel_format.dtype)
    filled = done = 0
    for strip in strips:
        if strip.shape[1:] != rows.shape[1:] or strip.dtype != rows.dtype or done + len(strip) > size[0]:
            needed = f"{rows.shape[1:]} of {rows.dtype}"
            raise ValueError(f"a strip {strip.shape} of {strip.dtype} does not fit rows {needed}")
        done += len(strip)
        taken = 0
        while taken < len(strip):
            part = strip[taken : taken + height - filled]
            rows[filled : filled + len(part)] = part
            filled, taken = filled + len(part), taken + len(part)
            if filled == height:
                yield rows
                filled = 0
    if done != size[0]:
        raise ValueError(f"there are {done} rows, not {size[0]}")
    if filled:
        yield rows[:filled]


def _cut_tiles(strips: Iterable[Pixels], tile: tuple[int, int], pixel_format: PixelFormat) -> Iterator[Pixels]:
    """Yield the tiles of strips that have a tile's height, filled up with zeros."""
    for strip in strips:
        for left in range(0, strip.shape[1], tile[1]):
            part = strip[:, left : left + tile[1]]
            whole = np.zeros((*tile, pixel_format.channels), pixel_format.dtype)
            whole[: part.shape[0], : part.shape[1]] = part
            pixels = _store(whole, pixel_format)
            yield pixels if pixel_format.channels > 1 else pixels[..., 0]


def _store(pixels: Pixels, pixel_format: PixelFormat) -> Pixels:
    """Return the samples that the file has for pixels."""
    if pixel_format.bilevel:
        return pixels >= 128
    if pixel_format.photometric in ("cielab", "icclab"):
        return rgb_to_lab(pixels, pixel_format.photometric)
    if pixel_format.bits is not None:
        return rescale_levels(pixels, 8 * pixel_format.dtype.itemsize, pixel_format.bits)
    return pixels


def _add_metadata(file: BinaryIO, metadata: Metadata) -> None:
    """Write the directory once more at the end of the file, with everything in it, and let the header point there.

    tifffile writes neither EXIF's directories nor texts that are not ASCII.
    """
    header, directory = ifd.read_first_directory(file)
    for code in (TagCode.X_RESOLUTION, TagCode.Y_RESOLUTION, TagCode.RESOLUTION_UNIT):
        directory.pop(code, None)  # tifffile's, which say nothing
    ifd.append_first_directory(file, header, directory | _make_tags(metadata))


def _make_tags(metadata: Metadata) -> Directory:
    tags = dict(metadata.tags)
    if metadata.exif:
        tags |= {code: tag for code, tag in ifd.decode_block(metadata.exif).items() if code in EXIF_TAGS}
    if metadata.icc:
        tags[TagCode.ICC] = Tag(TagType.UNDEFINED, len(metadata.icc), metadata.icc)
    if metadata.xmp:
        tags[TagCode.XMP] = Tag(TagType.BYTE, len(metadata.xmp), metadata.xmp)
    if metadata.dpi and max(metadata.dpi) < 2**32:
        for code, value in zip((TagCode.X_RESOLUTION, TagCode.Y_RESOLUTION), metadata.dpi, strict=True):
            denominator = min(10_000, int((2**32 - 1) / value))  # the numerator has 32 bits, too
            tags[code] = Tag(TagType.RATIONAL, 1, Fraction(value).limit_denominator(denominator).as_integer_ratio())
        tags[TagCode.RESOLUTION_UNIT] = Tag(TagType.SHORT, 1, (2,))  # per inch
    return tags
