"""What an output format can hold, checked before any work, and what is done to pixels that do not fit."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from zssr.errors import ImageError
from zssr.io.formats import BMP, FORMATS, TIFF, WRITABLE_SUFFIXES, Feature, FileFormat, find_format
from zssr.io.picture import PixelFormat, Pixels

_BMP_BYTES = 2**32 - 2**12  # its sizes have 32 bits
_UINT8, _UINT16, _FLOAT32 = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)


@dataclass(frozen=True)
class OutputFormat:
    """Where pixels go.

    Attributes
    ----------
    name
        What to call it in messages.
    format
        That of the file.
    source
        The layout of the pixels that come.
    layout
        The layout of the file.
    """

    name: str
    format: FileFormat
    source: PixelFormat
    layout: PixelFormat

    @classmethod
    def of(cls, output: Path | str, layout: PixelFormat, size: tuple[int, int], allow_loss: bool = False) -> Self:
        """Return how pixels of `layout` and `size` (H, W) go to a path, or to a stream by a suffix such as ".png".

        Raises `ImageError` if the format cannot hold them; with `allow_loss` only if they are too many. What does not
        fit is then reduced: opacity onto white, floats and 16 bits to what the format has, CMYK to RGB, bands to the
        first three.
        """
        name, suffix = (str(output), output.suffix) if isinstance(output, Path) else ("output", output)
        kind = find_format(suffix)
        if kind is None or not kind.is_written:
            raise ImageError(f"{name}: {_unknown(suffix)}; known are {', '.join(WRITABLE_SUFFIXES)}")
        lost = [feature for feature in _needs(layout) if feature not in kind.features]
        if lost and not allow_loss:
            able = [
                suffix
                for other in FORMATS
                for suffix in other.suffixes
                if other.is_written and other.features.issuperset(_needs(layout))
            ]
            raise ImageError(
                f"{name}: {kind.name} cannot hold the photo's {' and '.join(lost)}; {', '.join(able)} can, "
                "or --allow-loss goes on without"
            )
        if kind.longest_side and max(size) > kind.longest_side:
            raise ImageError(
                f"{name}: {kind.name} ends at {kind.longest_side} pixels a side, but {max(size)} are asked for"
            )
        if kind is BMP and 3 * size[0] * size[1] > _BMP_BYTES:
            raise ImageError(f"{name}: BMP ends at 4 GB, but more are asked for; .png and .tif can hold them")
        return cls(name, kind, layout, _reduced_layout(layout, set(lost), kind))

    def reduced(self, pixels: Pixels) -> Pixels:
        """Return the pixels (H, W, C) of the source's layout in the layout of the file."""
        source, layout = self.source, self.layout
        if source == layout:
            return pixels
        if source.dtype == _FLOAT32 and layout.dtype != _FLOAT32:
            pixels = _rounded(_stretched(pixels, source), layout.dtype)
        elif source.dtype == _UINT16 and layout.dtype == _UINT8:
            pixels = _rounded(pixels / np.float32(65535), _UINT8)
        colors, opacity = (pixels[..., :-1], pixels[..., -1:]) if source.alpha else (pixels, None)
        if source.colors == "bands" and layout.colors != "bands":
            colors = colors[..., : 3 if layout.colors == "rgb" else 1]
        if opacity is not None and layout.alpha != source.alpha:
            colors = _composited(colors, opacity, source, onto_white=layout.alpha is None)
        if source.colors == "cmyk" and layout.colors == "rgb":
            colors = _from_cmyk(colors)
        return colors if layout.alpha is None or opacity is None else np.concatenate([colors, opacity], axis=-1)


def _unknown(suffix: str) -> str:
    known = find_format(suffix)
    if known:
        return f"{known.name} is read, but not written"
    return f'the output format "{suffix}" is unknown' if suffix else "has no suffix that tells the format"


def _needs(layout: PixelFormat) -> list[Feature]:
    """Return what a format must be able to hold."""
    needs = {
        Feature.ALPHA: layout.alpha is not None,
        Feature.UINT16: layout.dtype == _UINT16,
        Feature.FLOAT32: layout.dtype == _FLOAT32,
        Feature.CMYK: layout.colors == "cmyk",
        Feature.BANDS: layout.colors == "bands",
    }
    return [what for what, needed in needs.items() if needed]


def _reduced_layout(layout: PixelFormat, lost: set[Feature], kind: FileFormat) -> PixelFormat:
    colors, dtype, alpha = layout.colors, layout.dtype, layout.alpha
    if Feature.ALPHA in lost:
        alpha = None
    elif alpha and kind is not TIFF:
        alpha = "straight"
    if {Feature.CMYK, Feature.BANDS} & lost:
        count = layout.channels - (layout.alpha is not None)
        colors = "rgb" if count >= 3 else "gray"
    if {Feature.FLOAT32, Feature.UINT16} & lost:
        dtype = _UINT8 if Feature.UINT16 not in kind.features else _UINT16
    count = {"gray": 1, "rgb": 3, "cmyk": 4}.get(colors, layout.channels - (layout.alpha is not None))
    return replace(layout, colors=colors, channels=count + (alpha is not None), dtype=dtype, alpha=alpha)


def _stretched(pixels: Pixels, layout: PixelFormat) -> Pixels:
    """Return floats in [0, 1]: as they are if they lie there, or else their range (but not the opacity's) made so."""
    values = pixels[..., :-1] if layout.alpha else pixels
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        return pixels
    stretched = pixels.copy()
    stretched[..., : values.shape[-1]] = (values - low) / ((high - low) or 1.0)
    return stretched


def _rounded(pixels: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Return floats in [0, 1] as whole numbers."""
    return (pixels.clip(0, 1) * _top(dtype) + 0.5).astype(dtype)


def _top(dtype: np.dtype[Any]) -> int:
    return int(np.iinfo(dtype).max)


def _composited(colors: Pixels, opacity: Pixels, source: PixelFormat, onto_white: bool) -> Pixels:
    """Return the colors on white, or else those that were multiplied by the opacity without it."""
    top = _top(colors.dtype)
    share = opacity.astype(np.float32) / top
    light: Pixels = colors.astype(np.float32)
    if onto_white:
        white = 0 if source.colors == "cmyk" else top
        light = light * share if source.alpha == "straight" else light
        light += white * (1 - share)
    else:
        light = np.divide(light, share, out=np.zeros_like(light), where=share > 0)
    return (light.clip(0, top) + 0.5).astype(colors.dtype)


def _from_cmyk(colors: Pixels) -> Pixels:
    """Return RGB as a device without a profile would show it."""
    top = _top(colors.dtype)
    light: Pixels = 1 - colors.astype(np.float32) / top
    return _rounded(light[..., :3] * light[..., 3:], colors.dtype)
