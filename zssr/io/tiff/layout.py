"""What the pixels of a TIFF page mean: which layouts are taken, and how stored samples become it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tifffile import TiffPage

from zssr.errors import ImageError
from zssr.io.picture import Alpha, Colors, PixelFormat, Pixels

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6
COMPRESSIONS = {1: "none", 2: "fax", 3: "fax", 4: "fax", 5: "LZW", 7: "JPEG", 8: "deflate", 32946: "deflate"}
COMPRESSIONS |= {32773: "PackBits", 50000: "Zstandard"}

_MOST_CHANNELS = 1024
_ALPHAS: dict[int, Alpha] = {1: "premultiplied", 2: "straight"}
_COLORS: dict[int, tuple[Colors, int]] = {
    MIN_IS_WHITE: ("gray", 1),
    MIN_IS_BLACK: ("gray", 1),
    RGB: ("rgb", 3),
    SEPARATED: ("cmyk", 4),
    YCBCR: ("rgb", 3),
}
_INTEGERS = {1: np.uint8, 2: np.uint8, 4: np.uint8, 8: np.uint8, 16: np.uint16}


@dataclass(frozen=True)
class PageFormat:
    """The layout of a page, a function from stored samples (h, W, S) to it (h, W, C), and what the user should know."""

    layout: PixelFormat
    convert: Callable[[Pixels], Pixels]
    notes: tuple[str, ...] = ()


def meaning_of(page: TiffPage, name: str) -> PageFormat:
    """Return what a page's samples mean.

    Raises `ImageError`, one sentence, for kinds of samples, colors and compressions that are not taken.
    """
    if page.compression not in COMPRESSIONS:
        known = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        raise ImageError(f"{name}: its compression {page.compression} is not supported; known are {known}")
    if page.imagedepth != 1 or not 1 <= page.samplesperpixel <= _MOST_CHANNELS:
        raise ImageError(
            f"{name}: has {page.imagedepth} layers of {page.samplesperpixel} channels; a photo is one layer"
        )
    if page.photometric == PALETTE:
        return _palette(page, name)
    dtype = _dtype(page, name)
    colors, alpha = _colors(page, name)
    bilevel = page.bitspersample == 1
    if bilevel and page.samplesperpixel > 1:
        raise ImageError(f"{name}: has {page.samplesperpixel} channels of 1 bit, where only one is known")
    layout = PixelFormat(colors, page.samplesperpixel, dtype, alpha, bilevel)
    notes = () if page.sampleformat != 3 or page.bitspersample == 32 else (_rounded(page.bitspersample),)
    return PageFormat(layout, _conversion(page, layout, name), notes)


def _rounded(bits: int) -> str:
    return f"its {bits}-bit floats become 32-bit floats"


def _dtype(page: TiffPage, name: str) -> "np.dtype[np.generic]":
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


def _colors(page: TiffPage, name: str) -> tuple[Colors, Alpha | None]:
    colors, count = _COLORS.get(page.photometric, ("bands", 0))
    if count == 0 or (page.photometric == YCBCR and page.compression != 7):
        kind = getattr(page.photometric, "name", page.photometric)
        raise ImageError(f"{name}: its colors ({kind}) are not supported; convert it to gray, RGB or CMYK")
    extra = page.samplesperpixel - count
    kinds = page.extrasamples
    if extra == 0:
        return colors, None
    if extra == 1 and len(kinds) == 1 and int(kinds[0]) in _ALPHAS:
        return colors, _ALPHAS[int(kinds[0])]
    if extra < 0:
        raise ImageError(f"{name}: has {page.samplesperpixel} channels, too few for {colors.upper()} colors")
    return "bands", None


def _conversion(page: TiffPage, layout: PixelFormat, name: str) -> Callable[[Pixels], Pixels]:
    inverted = page.photometric == MIN_IS_WHITE
    if inverted and layout.dtype.kind == "f":
        raise ImageError(f"{name}: its floats are white at 0, which is not supported; convert it to black at 0")
    factor = 255 // (2**page.bitspersample - 1) if page.bitspersample < 8 else 1
    colors = layout.channels - (layout.alpha is not None)

    def convert(samples: Pixels) -> Pixels:
        with np.errstate(
            over="ignore"
        ):  # 64-bit floats beyond the 32-bit range become infinite, which the core refuses
            pixels = samples.astype(layout.dtype, copy=False)
        if factor > 1:
            pixels = pixels * layout.dtype.type(factor)
        if inverted and layout.colors == "gray":
            pixels[..., :colors] = np.iinfo(layout.dtype).max - pixels[..., :colors]
        return pixels

    return convert


def _palette(page: TiffPage, name: str) -> PageFormat:
    if page.sampleformat != 1 or page.bitspersample not in _INTEGERS or page.samplesperpixel != 1:
        raise ImageError(f"{name}: its palette is not for whole numbers of 1 to 16 bits; convert it to RGB")
    table = np.asarray(page.colormap if page.colormap is not None else (), np.uint16)
    if table.size != 3 * 2**page.bitspersample:
        raise ImageError(f"{name}: cannot be read; its palette has {table.size} values, not 3 for each color")
    table = table.reshape(3, -1).T
    colors = (table if table.max() < 256 else table >> 8).astype(np.uint8)  # some software writes 8-bit levels
    layout = PixelFormat("rgb", 3, np.dtype(np.uint8))
    return PageFormat(layout, lambda samples: colors[samples[..., 0].astype(np.intp)])
