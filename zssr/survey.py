"""What only all pixels of a photo together show: value range, outliers, transparency, and pixels without data."""

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from zssr.content import holds_content
from zssr.errors import ImageError
from zssr.geometry import Region
from zssr.photo import Photo
from zssr.value_range import FLOATS, WHITE, ValueRange

SUPPORTED_DTYPES = "uint8, uint16 and floats in [0, 1] are"

_SAMPLE = 2**17  # numbers


@dataclass
class _Survey:
    """The least and the largest number, some of the others, and what there is besides."""

    low: float = math.inf
    high: float = -math.inf
    sample: list[Tensor] = field(default_factory=list)
    clearest: float = math.inf
    has_voids: bool = False
    hides: bool = False
    hides_content: bool = False


def measure_values(photo: Photo, name: str = "image", *, any_range: bool = False) -> Photo:
    """Complete what only all pixels together show.

    Raises `ImageError` for numbers that are of another type, infinite, all NaN, or, unless `any_range`, outside [0, 1].
    """
    dtype = photo.value_range.dtype
    if dtype not in WHITE and dtype not in FLOATS:
        raise ImageError(f"{name}: {dtype} is not supported; {SUPPORTED_DTYPES}")
    if dtype == torch.uint8 and photo.alpha is None and photo.nodata is None:
        return replace(photo, value_range=ValueRange(dtype, 0, WHITE[dtype]))
    nodata = math.nan if photo.nodata is None and dtype in FLOATS else photo.nodata
    seen = _look(replace(photo, nodata=nodata), name)
    if math.isinf(seen.low) and photo.nodata is None:
        raise ImageError(f"{name}: has no data, as all its values are NaN")
    low, high = (0.0, 1.0) if math.isinf(seen.low) else (seen.low, seen.high)
    any_range, may_narrow = any_range and photo.alpha is None, photo.alpha is None
    sample = torch.cat(seen.sample) if seen.sample else torch.zeros(0)
    value_range = ValueRange.infer(dtype, low, high, sample, any_range=any_range, may_narrow=may_narrow)
    if value_range is None:
        raise ImageError(f"{name}: floats must lie in [0, 1], but these lie in [{low:.8g}, {high:.8g}]")
    opaque = photo.alpha is not None and seen.clearest == value_range.high
    done = "enlarged as they are" if seen.hides_content else "filled from around them, as they hold no content"
    return replace(
        photo,
        value_range=value_range,
        alpha="opaque" if opaque else photo.alpha,
        nodata=nodata if seen.has_voids else None,
        has_outliers=low < value_range.low or high > value_range.high,
        keeps_hidden=seen.hides_content,
        notes=(*photo.notes, *[f"the colors under full transparency are {done}"] * seen.hides),
    )


def _look(photo: Photo, name: str) -> _Survey:
    """Look at all pixels. Raises `ImageError` if some are infinite."""
    whole, seen = Region.whole(photo.size), _Survey()
    step = 1 + math.prod(photo.size) * photo.channels // _SAMPLE
    for rows in whole.rows.split(max(1, 2**24 // (photo.size[1] * (photo.channels + 1)))):
        numbers = photo.rows(rows.start, rows.stop)
        voids = photo.find_voids(numbers, Region(rows, whole.columns))
        numbers = numbers.float() if photo.value_range.dtype in WHITE else numbers
        colors, opacity = numbers[: photo.channels], numbers[photo.channels :]
        valid = colors.flatten() if voids is None or not voids.any() else colors[~voids]
        seen.has_voids |= len(valid) < colors.numel()
        seen.sample.append(valid[::step])
        for part in (valid, opacity.flatten()):
            if not torch.isfinite(part).all():
                raise ImageError(f"{name}: has values that are infinite")
            if len(part):
                seen.low, seen.high = min(seen.low, part.min().item()), max(seen.high, part.max().item())
        if photo.alpha is not None:
            _look_under(photo, numbers, seen)
    return seen


def _look_under(photo: Photo, numbers: Tensor, seen: _Survey) -> None:
    """Look at the opacity of some rows, and at colors that it hides."""
    seen.clearest = min(seen.clearest, numbers[-1].min().item())
    hidden = numbers[-1] == 0
    if hidden.any() and photo.alpha == "straight":
        seen.hides = True
        colors = numbers[: photo.channels].float()
        seen.hides_content |= holds_content(colors / max(float(colors.max()), 1e-9), hidden)
