"""The format of a TIFF page: which kinds of samples are known, and how they become pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tifffile import COMPRESSION, PHOTOMETRIC, TiffPage

from zssr.errors import ImageError
from zssr.io.limits import SAFETY
from zssr.io.picture import Alpha, Colors, PixelFormat, Pixels

_INTEGERS = {1: np.uint8, 2: np.uint8, 4: np.uint8, 8: np.uint8, 16: np.uint16}
"""The types of pixels for whole numbers of so many bits."""

_COLORS: dict[int, tuple[Colors, int]] = {
    PHOTOMETRIC.MINISWHITE: ("gray", 1),
    PHOTOMETRIC.MINISBLACK: ("gray", 1),
    PHOTOMETRIC.RGB: ("rgb", 3),
    PHOTOMETRIC.SEPARATED: ("cmyk", 4),
    PHOTOMETRIC.YCBCR: ("rgb", 3),
}
"""The colors of each photometric interpretation, and their number of channels."""


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
    dtype = _find_dtype(page, name)
    colors, alpha = _find_colors(page, name)
    bilevel = page.bitspersample == 1
    if bilevel and page.samplesperpixel > 1:
        raise ImageError(f"{name}: has {page.samplesperpixel} channels of 1 bit, where only one is known")
    is_rounded = page.sampleformat == 3 and page.bitspersample != 32
    notes = (f"its {page.bitspersample}-bit floats become 32-bit floats",) if is_rounded else ()
    pixel_format = PixelFormat(colors, page.samplesperpixel, dtype, alpha, bilevel)
    return PageFormat(pixel_format, _make_converter(page, pixel_format, name), notes)


def _check_page(page: TiffPage, name: str) -> None:
    names = {
        COMPRESSION.NONE: "none",
        COMPRESSION.CCITTRLE: "fax",
        COMPRESSION.CCITT_T4: "fax",
        COMPRESSION.CCITT_T6: "fax",
        COMPRESSION.LZW: "LZW",
        COMPRESSION.JPEG: "JPEG",
        COMPRESSION.ADOBE_DEFLATE: "deflate",
        COMPRESSION.DEFLATE: "deflate",
        COMPRESSION.PACKBITS: "PackBits",
        COMPRESSION.ZSTD: "Zstandard",
    }
    if page.compression not in names:
        known = ", ".join(dict.fromkeys(names.values()))
        raise ImageError(f"{name}: its compression {page.compression} is not supported; known are {known}")
    if page.imagedepth != 1 or not 1 <= page.samplesperpixel <= SAFETY.tiff_channels:
        raise ImageError(
            f"{name}: has {page.imagedepth} layers of {page.samplesperpixel} channels; a photo is one layer"
        )


def _find_dtype(page: TiffPage, name: str) -> "np.dtype[np.generic]":
    if page.sampleformat == 1 and page.bitspersample in _INTEGERS:
        return np.dtype(_INTEGERS[page.bitspersample])
    if page.sampleformat == 3 and page.bitspersample in (16, 32, 64):
        return np.dtype(np.float32)
    kind = {1: "unsigned integers", 2: "signed integers", 3: "floats"}.get(
        page.sampleformat, "complex or unknown numbers"
    )
    bits = page.bitspersample if isinstance(page.bitspersample, int) else "differing numbers of"
    raise ImageError(
        f"{name}: its samples are {kind} of {bits} bits; unsigned integers of 8 and 16 bits and 32-bit floats are known"
    )


def _find_colors(page: TiffPage, name: str) -> tuple[Colors, Alpha | None]:
    is_ycbcr = page.photometric == PHOTOMETRIC.YCBCR
    if page.photometric not in _COLORS or (is_ycbcr and page.compression != COMPRESSION.JPEG):
        kind = getattr(page.photometric, "name", page.photometric)
        raise ImageError(f"{name}: its colors ({kind}) are not supported; convert it to gray, RGB or CMYK")
    colors, count = _COLORS[page.photometric]
    extra = page.samplesperpixel - count
    if extra < 0:
        raise ImageError(f"{name}: has {page.samplesperpixel} channels, too few for {colors.upper()} colors")
    if extra == 0:
        return colors, None
    alphas: dict[int, Alpha] = {1: "premultiplied", 2: "straight"}
    alpha = alphas.get(int(page.extrasamples[0])) if extra == len(page.extrasamples) == 1 else None
    return (colors, alpha) if alpha else ("bands", None)


def _make_converter(page: TiffPage, pixel_format: PixelFormat, name: str) -> Callable[[Pixels], Pixels]:
    inverted = page.photometric == PHOTOMETRIC.MINISWHITE
    if inverted and pixel_format.dtype.kind == "f":
        raise ImageError(f"{name}: its floats are white at 0, which is not supported; convert it to black at 0")
    factor = 255 // (2**page.bitspersample - 1) if page.bitspersample < 8 else 1
    colors = pixel_format.color_channels

    def convert(samples: Pixels) -> Pixels:
        with np.errstate(over="ignore"):  # 64-bit floats beyond the 32-bit range become infinite, which is refused
            pixels = samples.astype(pixel_format.dtype, copy=False)
        if factor > 1:
            pixels = pixels * pixel_format.dtype.type(factor)
        if inverted and pixel_format.colors == "gray":
            pixels[..., :colors] = np.iinfo(pixel_format.dtype).max - pixels[..., :colors]
        return pixels

    return convert


def _palette_format(page: TiffPage, name: str) -> PageFormat:
    if page.sampleformat != 1 or page.bitspersample not in _INTEGERS or page.samplesperpixel != 1:
        raise ImageError(f"{name}: its palette is not for whole numbers of 1 to 16 bits; convert it to RGB")
    table = np.asarray(page.colormap if page.colormap is not None else (), np.uint16)
    if table.size != 3 * 2**page.bitspersample:
        raise ImageError(f"{name}: cannot be read; its palette has {table.size} values, not 3 for each color")
    table = table.reshape(3, -1).T
    colors = (table if table.max() < 256 else table >> 8).astype(np.uint8)  # some software writes 8-bit levels
    pixel_format = PixelFormat("rgb", 3, np.dtype(np.uint8))
    return PageFormat(pixel_format, lambda samples: colors[samples[..., 0].astype(np.intp)])
