"""The numbers that an image really uses, as floats in [0, 1], and the way back."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

WHITE = {torch.uint8: 255, torch.uint16: 65535}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_TAIL = 0.005  # the share of numbers, on each side, that may be outliers
_NARROW = 1 / 3  # of the possible numbers: an image that uses less is stretched


@dataclass(frozen=True)
class ValueRange:
    """The numbers of an image: `low` is 0 and `high` is 1.

    16-bit images seldom use all their bits: `high` is the largest number of as many bits as the image does use. Where
    an image uses less than a third of that, or has outliers, `low` and `high` are those that the others use.
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
        if self.dtype in WHITE:
            return (values * (self.high - self.low) + self.low).round().to(torch.int32).to(self.dtype)
        if (self.low, self.high) == (0, 1):
            return values.to(self.dtype)
        wide = values.double() if self.dtype == torch.float64 else values
        return (wide * (self.high - self.low) + self.low).to(self.dtype)

    @classmethod
    def infer(
        cls, dtype: torch.dtype, low: float, high: float, sample: Tensor, *, any_range: bool, may_narrow: bool
    ) -> "ValueRange | None":
        """Return the range of an image whose numbers lie between `low` and `high`; None if they are out of range.

        `sample` are some of its numbers, of which few may be outliers. Floats may be of `any_range` or lie in [0, 1].
        """
        if dtype == torch.uint8:
            return cls(dtype, 0, WHITE[dtype])
        used_low, used_high = _find_used(low, high, sample) if may_narrow else (low, high)
        if dtype == torch.uint16:
            whole = cls(dtype, 0, 2 ** max(8, math.ceil(used_high).bit_length()) - 1)
        elif low >= 0 and high <= 1:
            whole = cls(dtype)
        elif any_range:
            return cls(dtype, used_low, used_high if used_high > used_low else used_low + 1)
        else:
            rounding = max(1e-5, torch.finfo(dtype).eps)
            whole = cls(dtype)
            if low < -rounding or high > 1 + rounding:
                return None
        return whole._narrow(used_low, used_high, sample) if may_narrow else whole

    def _narrow(self, low: float, high: float, sample: Tensor) -> "ValueRange":
        """Return the range around what is used, with some room, if that is little and not in levels of 8 bits."""
        if not 0 < high - low < _NARROW * (self.high - self.low):
            return self
        levels = 255 * sample / self.high
        if torch.allclose(levels, levels.round(), rtol=0, atol=2.5e-3):
            return self
        room = 0.1 * (high - low)
        return ValueRange(self.dtype, max(low - room, self.low), min(high + room, self.high))


def _find_used(low: float, high: float, sample: Tensor) -> tuple[float, float]:
    """Return the least and the largest number that is used, without outliers: those far beyond the others.

    They are few, or all the same, such as a sky at 65535, or what has no data and does not say so.
    """
    ordered = sample.double().sort().values
    ordered = ordered[(ordered > low) & (ordered < high)]
    tail = int(_TAIL * len(ordered))
    if tail == 0:
        return low, high
    first, last = float(ordered[tail]), float(ordered[-1 - tail])
    span = last - first
    if span == 0:
        return low, high
    used_low = low if low >= first - span else first - 0.25 * span
    return used_low, high if high <= last + span else last + 0.25 * span
