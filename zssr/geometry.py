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

    def grown(self, margin: int) -> "Interval":
        """Return the span with a margin, as far as the axis reaches."""
        return Interval(max(self.start - margin, 0), min(self.stop + margin, self.length), self.length)

    def at(self, scale: float, length: int) -> "Interval":
        """Return the same span on the axis enlarged by `scale` to `length` samples."""
        start = 0 if self.start == 0 else round(self.start * scale)
        return Interval(start, length if self.stop == self.length else round(self.stop * scale), length)

    def cut(self, most: int) -> "list[Interval]":
        """Cut into spans of nearly equal length, none longer than `most`."""
        count = -(-len(self) // most)
        ends = [self.start + k * len(self) // count for k in range(count + 1)]
        return [Interval(start, stop, self.length) for start, stop in pairwise(ends)]

    def inside(self, other: "Interval") -> slice:
        """Return where this span lies in what holds the samples of `other`."""
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
    def middle(cls, size: tuple[int, int], most: int, grid: int = 1) -> "Region":
        """Return the middle of an image of `size` (H, W), its sides no longer than `most`, beginning on a grid."""
        starts = [max(0, length - most) // 2 // grid * grid for length in size]
        spans = [Interval(start, min(start + most, length), length) for start, length in zip(starts, size, strict=True)]
        return cls(spans[0], spans[1])

    @property
    def size(self) -> tuple[int, int]:
        """Return (H, W)."""
        return len(self.rows), len(self.columns)

    def grown(self, margin: int) -> "Region":
        """Return the region with a margin, as far as the image reaches."""
        return Region(self.rows.grown(margin), self.columns.grown(margin))

    def at(self, scale: tuple[float, float], size: tuple[int, int]) -> "Region":
        """Return the same region of the image enlarged by `scale` (vertical, horizontal) to `size` (H, W)."""
        return Region(self.rows.at(scale[0], size[0]), self.columns.at(scale[1], size[1]))

    def inside(self, other: "Region") -> tuple[slice, slice]:
        """Return where this region lies in what holds the pixels of `other`."""
        return self.rows.inside(other.rows), self.columns.inside(other.columns)

    def cut(self, most: int) -> "Iterator[Region]":
        """Cut into regions whose sides are no longer than `most`, row by row."""
        for rows in self.rows.cut(most):
            for columns in self.columns.cut(most):
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
"""All 8, the identity first."""
