"""The format of a TIFF page: which kinds of samples are known, and how they become pixels."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tifffile import COMPRESSION, PHOTOMETRIC, TiffPage

from zssr.errors import ImageError
from zssr.io.limits import SAFETY
from zssr.io.picture import Alpha, Colors, Photometric, PixelFormat, Pixels
from zssr.io.pixel_conversion import rescale_levels
from zssr.io.tiff.lab import lab_to_rgb

_COLORS: dict[int, tuple[Colors, int]] = {
    PHOTOMETRIC.MINISWHITE: ("gray", 1),
    PHOTOMETRIC.MINISBLACK: ("gray", 1),
    PHOTOMETRIC.RGB: ("rgb", 3),
    PHOTOMETRIC.SEPARATED: ("cmyk", 4),
    PHOTOMETRIC.YCBCR: ("rgb", 3),
    PHOTOMETRIC.CIELAB: ("rgb", 3),
    PHOTOMETRIC.ICCLAB: ("rgb", 3),
}
"""The colors of each photometric interpretation, and their number of channels."""

_PHOTOMETRICS: dict[int, Photometric] = {
    PHOTOMETRIC.MINISWHITE: "miniswhite",
    PHOTOMETRIC.RGB: "rgb",
    PHOTOMETRIC.SEPARATED: "separated",
    PHOTOMETRIC.CIELAB: "cielab",
    PHOTOMETRIC.ICCLAB: "icclab",
}
_LAB = (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB)

COMPRESSIONS = {
    COMPRESSION.NONE: "none",
    COMPRESSION.CCITTRLE: "fax",
    COMPRESSION.CCITT_T4: "fax",
    COMPRESSION.CCITT_T6: "fax",
    COMPRESSION.LZW: "LZW",
    COMPRESSION.OJPEG: "old-style JPEG",
    COMPRESSION.JPEG: "JPEG",
    COMPRESSION.ADOBE_DEFLATE: "deflate",
    COMPRESSION.DEFLATE: "deflate",
    COMPRESSION.PACKBITS: "PackBits",
    COMPRESSION.ZSTD: "Zstandard",
    COMPRESSION.LZMA: "LZMA",
    COMPRESSION.WEBP: "WebP",
    COMPRESSION.JPEG2000: "JPEG 2000",
    COMPRESSION.APERIO_JP2000_RGB: "JPEG 2000",
    COMPRESSION.LERC: "LERC",
    COMPRESSION.JPEGXL: "JPEG XL",
    COMPRESSION.JPEGXL_DNG: "JPEG XL",
}
"""The compressions that are read, by their names."""


@dataclass(frozen=True)
class PageFormat:
    """The format of a page's pixels.

    Attributes
    ----------
    pixel_format
        Of the pixels.
    convert
        Turns stored samples (h, W, S) into pixels (h, W, C).
    notes
        One sentence for each thing that the user should know.
    """

    pixel_format: PixelFormat
    convert: Callable[[Pixels], Pixels]
    notes: tuple[str, ...] = ()


def read_page_format(page: TiffPage, name: str) -> PageFormat:
    """Return the format of a page.

    Raises `ImageError`, one sentence, for kinds of samples, colors and compressions that are not known.
    """
    _check_page(page, name)
    if page.photometric == PHOTOMETRIC.PALETTE:
        return _palette_format(page, name)
    pixel_format = _find_pixel_format(page, name)
    if pixel_format.bilevel and page.samplesperpixel > 1:
        raise ImageError(f"{name}: has {page.samplesperpixel} channels of 1 bit, where only one is known")
    notes = []
    if page.sampleformat == 3 and page.bitspersample != 32:
        notes.append(f"its {page.bitspersample}-bit floats become 32-bit floats")
    if page.photometric in _LAB:
        notes.append("its CIELAB colors are upscaled in sRGB")
    return PageFormat(pixel_format, _make_converter(page, pixel_format, name), tuple(notes))


def _check_page(page: TiffPage, name: str) -> None:
    if page.compression not in COMPRESSIONS:
        known = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        raise ImageError(f"{name}: its compression {page.compression} is not supported; known are {known}")
    if page.imagedepth != 1 or not 1 <= page.samplesperpixel <= SAFETY.tiff_channels:
        raise ImageError(
            f"{name}: has {page.imagedepth} layers of {page.samplesperpixel} channels; a photo is one layer"
        )


def _find_pixel_format(page: TiffPage, name: str) -> PixelFormat:
    dtype, (colors, count) = _find_dtype(page, name), _find_colors(page, name)
    pixel_format = PixelFormat(colors, page.samplesperpixel, dtype, bilevel=page.bitspersample == 1)
    if page.sampleformat == 1 and page.bitspersample not in (1, 2, 4, 8, 16, 32):
        pixel_format = replace(pixel_format, bits=page.bitspersample)
    if page.photometric in _LAB:
        pixel_format = replace(pixel_format, photometric=_PHOTOMETRICS[page.photometric])
    extra = (*map(int, page.extrasamples), *[0] * page.samplesperpixel)[: page.samplesperpixel - count]
    if not extra:
        return pixel_format
    alphas: dict[tuple[int, ...], Alpha] = {(1,): "premultiplied", (2,): "straight"}
    if extra in alphas and not pixel_format.has_own_range:
        return replace(pixel_format, alpha=alphas[extra])
    if page.photometric in _LAB:
        raise ImageError(f"{name}: has bands beyond its CIELAB colors, which is not supported; convert it to RGB")
    extra = extra if any(extra) or count > 1 else ()
    return replace(pixel_format, colors="bands", photometric=_PHOTOMETRICS.get(page.photometric), extra_samples=extra)


def _find_dtype(page: TiffPage, name: str) -> "np.dtype[Any]":
    kinds = {1: ("unsigned integers", "u"), 2: ("signed integers", "i"), 3: ("floats", "f")}
    words, kind = kinds.get(page.sampleformat, ("complex or unknown numbers", ""))
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 0
    if (kind == "u" and 1 <= bits <= 16) or (kind in ("u", "i") and bits in (8, 16, 32)):
        return np.dtype(f"{kind}{max(1, math.ceil(bits / 8))}")
    if kind == "f" and bits in (16, 32, 64):
        return np.dtype(np.float32)
    known = "integers of 1 to 16 and of 32 bits, and floats, are known"
    raise ImageError(f"{name}: its samples are {words} of {bits or 'differing numbers of'} bits; {known}")


def _find_colors(page: TiffPage, name: str) -> tuple[Colors, int]:
    is_ycbcr = page.photometric == PHOTOMETRIC.YCBCR
    is_lab = page.photometric in _LAB
    encodes = page.compression in (COMPRESSION.JPEG, COMPRESSION.OJPEG, COMPRESSION.WEBP)  # the decoder gives RGB
    unknown = is_lab and (page.sampleformat != 1 or page.bitspersample not in (8, 16))
    if page.photometric not in _COLORS or (is_ycbcr and not encodes) or unknown:
        kind = getattr(page.photometric, "name", page.photometric)
        raise ImageError(f"{name}: its colors ({kind}) are not supported; convert it to gray, RGB or CMYK")
    colors, count = _COLORS[page.photometric]
    if page.samplesperpixel < count:
        raise ImageError(f"{name}: has {page.samplesperpixel} channels, too few for {colors.upper()} colors")
    return colors, count


def _make_converter(page: TiffPage, pixel_format: PixelFormat, name: str) -> Callable[[Pixels], Pixels]:
    inverted = page.photometric == PHOTOMETRIC.MINISWHITE and pixel_format.colors == "gray"
    if page.photometric == PHOTOMETRIC.MINISWHITE and pixel_format.dtype.kind == "f":
        raise ImageError(f"{name}: its floats are white at 0, which is not supported; convert it to black at 0")
    bits = pixel_format.bits or page.bitspersample
    widened = page.sampleformat == 1 and bits < 8 * pixel_format.dtype.itemsize
    colors = pixel_format.color_channels

    def convert(samples: Pixels) -> Pixels:
        with np.errstate(over="ignore"):  # 64-bit floats beyond the 32-bit range become infinite, which is refused
            pixels = samples.astype(pixel_format.dtype, copy=False)
        if widened:
            pixels = rescale_levels(pixels, bits, 8 * pixel_format.dtype.itemsize)
        if pixel_format.photometric in ("cielab", "icclab"):
            pixels = lab_to_rgb(pixels, pixel_format.photometric)
        if inverted:
            low, high = np.iinfo(pixel_format.dtype).min, np.iinfo(pixel_format.dtype).max
            pixels[..., :colors] = high - pixels[..., :colors] + low
        return pixels

    return convert


def _palette_format(page: TiffPage, name: str) -> PageFormat:
    if page.sampleformat != 1 or page.bitspersample not in (1, 2, 4, 8, 16) or page.samplesperpixel != 1:
        raise ImageError(f"{name}: its palette is not for whole numbers of 1 to 16 bits; convert it to RGB")
    table = np.asarray(page.colormap if page.colormap is not None else (), np.uint16)
    if table.size != 3 * 2**page.bitspersample:
        raise ImageError(f"{name}: cannot be read; its palette has {table.size} values, not 3 for each color")
    table = table.reshape(3, -1).T
    colors = (table if table.max() < 256 else table >> 8).astype(np.uint8)  # some software writes 8-bit levels
    pixel_format = PixelFormat("rgb", 3, np.dtype(np.uint8))
    return PageFormat(pixel_format, lambda samples: colors[samples[..., 0].astype(np.intp)])
