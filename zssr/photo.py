"""A photo: regions of floats, wherever its pixels are stored, and the way back to its own numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zssr.degradation.jpeg import Jpeg
from zssr.errors import ImageError
from zssr.geometry import Region

_WHITE = {torch.uint8: 255, torch.uint16: 65535}
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SUPPORTED_DTYPES = "uint8, uint16 and floats in [0, 1] are"


@dataclass(frozen=True)
class ValueRange:
    """The numbers of an image: `low` is 0 and `high` is 1.

    16-bit images seldom use all their bits: `high` is the largest number of as many bits as the image does use.
    """

    dtype: torch.dtype
    low: float = 0.0
    high: float = 1.0

    def to_floats(self, values: Tensor) -> Tensor:
        """Convert numbers to float32 in [0, 1]."""
        floats = values.to(torch.float64 if self.dtype == torch.float64 else torch.float32)
        unit = floats if (self.low, self.high) == (0, 1) else (floats - self.low) / (self.high - self.low)
        return unit.float().clamp(0, 1)

    def from_floats(self, values: Tensor) -> Tensor:
        """Convert floats, clipped to [0, 1], to numbers, the inverse of `to_floats`; rounds to the nearest integer."""
        values = values.clamp(0, 1)
        if self.dtype in _WHITE:
            return (values * self.high).round().to(torch.int32).to(self.dtype)
        if (self.low, self.high) == (0, 1):
            return values.to(self.dtype)
        wide = values.double() if self.dtype == torch.float64 else values
        return (wide * (self.high - self.low) + self.low).to(self.dtype)


@dataclass(frozen=True)
class Photo:
    """One image, wherever its pixels are stored.

    Attributes
    ----------
    size
        (H, W) in pixels.
    channels
        Number of channels without the opacity.
    rows
        Returns the rows from `start` to `stop` as they are, (C, stop - start, W), the opacity last.
    value_range
        The meaning of the numbers.
    alpha
        "straight" or "premultiplied" if there is an opacity; "opaque" if it is full everywhere; None if there is none.
    jpeg
        How the pixels were compressed, if they come from a JPEG file.
    wraps, origin
        Whether top and bottom, and left and right, join; and the row and column at which it begins for what depends on
        that (see `zssr.seam`).
    """

    size: tuple[int, int]
    channels: int
    rows: Callable[[int, int], Tensor]
    value_range: ValueRange
    alpha: str | None = None
    jpeg: Jpeg | None = None
    wraps: tuple[bool, bool] = (False, False)
    origin: tuple[int, int] = (0, 0)

    @property
    def whole(self) -> Region:
        """Return all of it as a region, which begins at the origin."""
        return Region.whole(self.size, self.wraps).shift(self.origin)

    def region(self, region: Region) -> tuple[Tensor, Tensor | None]:
        """Return float32 colors (1, C, h, w) and the opacity (1, 1, h, w), None if it is full, in [0, 1].

        Colors of fully transparent pixels, which nobody sees, are those of the nearest pixel that is seen.
        """
        stored = Region.whole(self.size, self.wraps)
        pieces = [self.rows(piece.start, piece.stop) for piece in region.rows.pieces_of(stored.rows)]
        rows = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)
        columns = [rows[..., piece] for piece in region.columns.pieces_of(stored.columns)]
        values = self.value_range.to_floats(columns[0] if len(columns) == 1 else torch.cat(columns, dim=-1))[None]
        colors = values[:, : self.channels].contiguous()
        if self.alpha in (None, "opaque"):
            return colors, None
        opacity = values[:, self.channels :].clamp(0, 1)
        if self.alpha == "premultiplied":
            colors = (colors / opacity.clamp(min=1e-6)).clamp(0, 1)
        return _fill_transparent(colors, opacity), opacity.contiguous()

    def center(self, longest: int = 2048, *, is_aligned: bool = False) -> Tensor:
        """Return the colors (1, C, h, w) of the center, at most `longest` a side, on which estimates are made."""
        # it starts on a grid of 16 pixels, as the blocks of a JPEG do, from the origin, or if aligned from pixel 0
        center = Region.center(self.size, longest, 16, self.wraps)
        return self.region(center if is_aligned else center.shift(self.origin))[0]

    def to_pixels(self, colors: Tensor, opacity: Tensor | None) -> Tensor:
        """Convert float colors (1, C, h, w) and opacity (1, 1, h, w) to the image's own numbers (C', h, w)."""
        if self.alpha is None:
            return self.value_range.from_floats(colors[0])
        if opacity is None:
            opacity = colors.new_ones(1, 1, *colors.shape[-2:])
        if self.alpha == "premultiplied":
            colors = colors * opacity
        return self.value_range.from_floats(torch.cat([colors, opacity], 1)[0])


def photo_from(image: Tensor) -> Photo:
    """Return an image (1, C, H, W) as a photo; values are clipped to [0, 1]."""
    pixels = image[0].clamp(0, 1).cpu()
    size = (pixels.shape[-2], pixels.shape[-1])
    return Photo(size, len(pixels), lambda start, stop: pixels[:, start:stop], ValueRange(torch.float32))


def measure_values(photo: Photo, name: str = "image", *, any_range: bool = False) -> Photo:
    """Complete what only all pixels together show: the value range, and whether there is any transparency.

    Raises `ImageError` for numbers that are of another type, NaN, infinite, or, unless `any_range`, outside [0, 1].
    """
    dtype = photo.value_range.dtype
    if dtype not in _WHITE and dtype not in _FLOATS:
        raise ImageError(f"{name}: {dtype} is not supported; {SUPPORTED_DTYPES}")
    if dtype == torch.uint8 and photo.alpha is None:
        return replace(photo, value_range=ValueRange(dtype, 0, _WHITE[dtype]))
    low, high, clearest = math.inf, -math.inf, math.inf
    count = max(1, 2**24 // (photo.size[1] * (photo.channels + 1)))  # rows that are read together
    for start in range(0, photo.size[0], count):
        rows = photo.rows(start, min(start + count, photo.size[0]))
        rows = rows.float() if dtype in _WHITE else rows
        if not torch.isfinite(rows).all():
            raise ImageError(f"{name}: has values that are NaN or infinite")
        low, high = min(low, rows.min().item()), max(high, rows.max().item())
        clearest = min(clearest, rows[-1].min().item())
    value_range = _infer_value_range(dtype, low, high, any_range=any_range and photo.alpha is None)
    if value_range is None:
        raise ImageError(f"{name}: floats must lie in [0, 1], but these lie in [{low:.8g}, {high:.8g}]")
    opaque = photo.alpha is not None and clearest == value_range.high
    return replace(photo, value_range=value_range, alpha="opaque" if opaque else photo.alpha)


def _infer_value_range(dtype: torch.dtype, low: float, high: float, *, any_range: bool) -> ValueRange | None:
    """Return the value range of an image whose numbers lie between `low` and `high`; None if they are out of range."""
    if dtype == torch.uint8:
        return ValueRange(dtype, 0, _WHITE[dtype])
    if dtype == torch.uint16:
        return ValueRange(dtype, 0, 2 ** max(8, int(high).bit_length()) - 1)
    if low < 0 or high > 1:
        if any_range:
            return ValueRange(dtype, low, high if high > low else low + 1)
        rounding = max(1e-5, torch.finfo(dtype).eps)
        if low < -rounding or high > 1 + rounding:
            return None
    return ValueRange(dtype)


def _fill_transparent(colors: Tensor, opacity: Tensor) -> Tensor:
    """Return `colors` (1, C, h, w) with those of transparent pixels replaced by the nearest ones that are seen."""
    hidden = (opacity[0, 0] == 0).cpu().numpy()
    if not hidden.any() or hidden.all():
        return colors

    from scipy.ndimage import distance_transform_edt  # other images do not wait for it

    nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    y, x = torch.from_numpy(np.asarray(nearest, np.int64)).to(colors.device)
    return colors[..., y, x]
