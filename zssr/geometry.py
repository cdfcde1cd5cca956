"""Rectangles of an image at any scale, and the 8 rotations and flips of a square."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Interval:
    """The samples from `start` to `stop` of an axis that has `length` of them."""

    start: int
    stop: int
    length: int

    def __len__(self) -> int:
        return self.stop - self.start

    def expand(self, margin: int) -> "Interval":
        """Add a margin on both sides, as far as the axis reaches."""
        return Interval(max(self.start - margin, 0), min(self.stop + margin, self.length), self.length)

    def scaled(self, scale: float, length: int) -> "Interval":
        """Return the same interval on the axis enlarged by `scale` to `length` samples."""
        start = 0 if self.start == 0 else round(self.start * scale)
        return Interval(start, length if self.stop == self.length else round(self.stop * scale), length)

    def split(self, longest: int) -> "list[Interval]":
        """Split into intervals of nearly equal length, none longer than `longest`."""
        count = -(-len(self) // longest)
        ends = [self.start + k * len(self) // count for k in range(count + 1)]
        return [Interval(start, stop, self.length) for start, stop in pairwise(ends)]

    def slice_within(self, other: "Interval") -> slice:
        """Return the slice that this interval is of an array of the samples of `other`."""
        return slice(self.start - other.start, self.stop - other.start)


@dataclass(frozen=True)
class Region:
    """A rectangle of an image."""

    rows: Interval
    columns: Interval

    @classmethod
    def whole(cls, size: tuple[int, int]) -> "Region":
        """Return all of an image of `size` (H, W)."""
        return cls(Interval(0, size[0], size[0]), Interval(0, size[1], size[1]))

    @classmethod
    def center(cls, size: tuple[int, int], longest: int, grid: int = 1) -> "Region":
        """Return the center of an image of `size` (H, W), its sides at most `longest`, starting on a grid."""
        starts = [max(0, length - longest) // 2 // grid * grid for length in size]
        rows, columns = (Interval(k, min(k + longest, length), length) for k, length in zip(starts, size, strict=True))
        return cls(rows, columns)

    @property
    def size(self) -> tuple[int, int]:
        """The size (H, W)."""
        return len(self.rows), len(self.columns)

    def expand(self, margin: int) -> "Region":
        """Add a margin on all sides, as far as the image reaches."""
        return Region(self.rows.expand(margin), self.columns.expand(margin))

    def scaled(self, scale: tuple[float, float], size: tuple[int, int]) -> "Region":
        """Return the same region of the image enlarged by `scale` (vertical, horizontal) to `size` (H, W)."""
        return Region(self.rows.scaled(scale[0], size[0]), self.columns.scaled(scale[1], size[1]))

    def slices_within(self, other: "Region") -> tuple[slice, slice]:
        """Return the slices that this region is of an array of the pixels of `other`."""
        return self.rows.slice_within(other.rows), self.columns.slice_within(other.columns)

    def split(self, longest: int) -> "Iterator[Region]":
        """Split into regions whose sides are at most `longest`, row by row."""
        for rows in self.rows.split(longest):
            for columns in self.columns.split(longest):
                yield Region(rows, columns)


@dataclass(frozen=True)
class Symmetry:
    """A left-right flip (or none), followed by a number of counter-clockwise quarter turns."""

    turns: int
    flip: bool

    def __call__(self, image: Tensor) -> Tensor:
        """Transform `image` (..., H, W); odd turns give (..., W, H)."""
        flipped = image.flip(-1) if self.flip else image
        return torch.rot90(flipped, self.turns, (-2, -1))

    def inverse(self, image: Tensor) -> Tensor:
        """Undo `__call__`."""
        turned = torch.rot90(image, -self.turns, (-2, -1))
        return turned.flip(-1) if self.flip else turned


SYMMETRIES = tuple(Symmetry(turns, flip) for flip in (False, True) for turns in range(4))
"""The 8 rotations and flips of a square (the dihedral group D4), the identity first."""
