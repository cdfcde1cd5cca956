"""Rectangles of an image at any scale, and the 8 rotations and flips of a square."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

Factors = tuple[float, float]  # (vertical, horizontal)
Wraps = tuple[bool, bool]
"""Whether the ends of the vertical and of the horizontal axis join."""


@dataclass(frozen=True)
class Interval:
    """The samples from `start` to `stop` of an axis that has `length` of them.

    If the axis `wraps`, its ends join: intervals go on beyond them, and sample `length` is sample 0 again.
    """

    start: int
    stop: int
    length: int
    wraps: bool = False

    def __len__(self) -> int:
        return self.stop - self.start

    def expand(self, margin: int) -> "Interval":
        """Add a margin on both sides, as far as the axis reaches."""
        if self.wraps:
            return replace(self, start=self.start - margin, stop=self.stop + margin)
        return Interval(max(self.start - margin, 0), min(self.stop + margin, self.length), self.length)

    def scaled(self, scale: float, length: int) -> "Interval":
        """Return the same interval on the axis enlarged by `scale` to `length` samples.

        An axis that wraps is enlarged by `length / self.length`, and all its parts are rounded alike.
        """
        if self.wraps:
            start, stop = ((2 * at * length + self.length) // (2 * self.length) for at in (self.start, self.stop))
            return Interval(start, stop, length, wraps=True)
        start = 0 if self.start == 0 else round(self.start * scale)
        return Interval(start, length if self.stop == self.length else round(self.stop * scale), length)

    def split(self, longest: int) -> "list[Interval]":
        """Split into intervals of nearly equal length, none longer than `longest`."""
        count = -(-len(self) // longest)
        ends = [self.start + k * len(self) // count for k in range(count + 1)]
        return [replace(self, start=start, stop=stop) for start, stop in pairwise(ends)]

    def cut(self, start: int, stop: int) -> "Interval":
        """Return the samples from `start` to `stop` of the same axis."""
        return replace(self, start=start, stop=stop)

    def shift(self, offset: int) -> "Interval":
        """Move by a number of samples."""
        return replace(self, start=self.start + offset, stop=self.stop + offset)

    def overlap(self, margin: int) -> "Interval":
        """Go on beyond the end of an axis that wraps, at most once around."""
        return replace(self, stop=self.stop + min(margin, self.length)) if self.wraps else self

    def pieces_of(self, other: "Interval") -> list[slice]:
        """Return the slices that make up this interval of an array of the samples of `other`.

        It is one if it lies within `other`. Otherwise the axis wraps, and `other` is the whole of it.
        """
        if not self.wraps or (other.start <= self.start and self.stop <= other.stop):
            return [self.slice_within(other)]
        pieces, at = [], self.start
        while at < self.stop:
            start = (at - other.start) % self.length
            stop = min(start + self.stop - at, self.length)
            pieces.append(slice(start, stop))
            at += stop - start
        return pieces

    def slice_within(self, other: "Interval") -> slice:
        """Return the slice that this interval is of an array of the samples of `other`."""
        return slice(self.start - other.start, self.stop - other.start)


@dataclass(frozen=True)
class Region:
    """A rectangle of an image."""

    rows: Interval
    columns: Interval

    @classmethod
    def whole(cls, size: tuple[int, int], wraps: Wraps = (False, False)) -> "Region":
        """Return all of an image of `size` (H, W), whose axes may wrap."""
        return cls(Interval(0, size[0], size[0], wraps[0]), Interval(0, size[1], size[1], wraps[1]))

    @classmethod
    def center(cls, size: tuple[int, int], longest: int, grid: int = 1, wraps: Wraps = (False, False)) -> "Region":
        """Return the center of an image of `size` (H, W), its sides at most `longest`, starting on a grid."""
        return cls.whole(size, wraps).cut_center(longest, grid)

    @property
    def size(self) -> tuple[int, int]:
        """The size (H, W)."""
        return len(self.rows), len(self.columns)

    def expand(self, margin: int) -> "Region":
        """Add a margin on all sides, as far as the image reaches."""
        return Region(self.rows.expand(margin), self.columns.expand(margin))

    def scaled(self, scale: Factors, size: tuple[int, int]) -> "Region":
        """Return the same region of the image enlarged by `scale` (vertical, horizontal) to `size` (H, W)."""
        return Region(self.rows.scaled(scale[0], size[0]), self.columns.scaled(scale[1], size[1]))

    def slices_within(self, other: "Region") -> tuple[slice, slice]:
        """Return the slices that this region is of an array of the pixels of `other`."""
        return self.rows.slice_within(other.rows), self.columns.slice_within(other.columns)

    def shift(self, offset: tuple[int, int]) -> "Region":
        """Move by a number of rows and columns."""
        return Region(self.rows.shift(offset[0]), self.columns.shift(offset[1]))

    def overlap(self, margin: int) -> "Region":
        """Go on beyond the end of axes that wrap, so that what lies across the seam is in the region, too."""
        return Region(self.rows.overlap(margin), self.columns.overlap(margin))

    def cut_center(self, longest: int, grid: int = 1) -> "Region":
        """Return the center, its sides at most `longest`, or a grid's step longer; it starts on a grid."""

        def cut(whole: Interval) -> Interval:
            start = (whole.start + max(0, len(whole) - longest) // 2) // grid * grid
            return replace(whole, start=start, stop=min(max(start, whole.start) + longest, whole.stop))

        return Region(cut(self.rows), cut(self.columns))

    def take(self, image: Tensor, other: "Region") -> Tensor:
        """Cut this region out of `image` (..., h, w), which has the pixels of `other`: the whole, or a larger one."""
        rows = [image[..., piece, :] for piece in self.rows.pieces_of(other.rows)]
        image = rows[0] if len(rows) == 1 else torch.cat(rows, dim=-2)
        columns = [image[..., piece] for piece in self.columns.pieces_of(other.columns)]
        return columns[0] if len(columns) == 1 else torch.cat(columns, dim=-1)

    def split(self, longest: int) -> "Iterator[Region]":
        """Split into regions whose sides are at most `longest`, row by row."""
        for rows in self.rows.split(longest):
            for columns in self.columns.split(longest):
                yield Region(rows, columns)


def relative_offset(inner: Region, inner_scale: Factors, outer: Region, outer_scale: Factors) -> Factors:
    """Return where `inner`, times its scale, begins relative to `outer`, times its scale, in pixels (down, right)."""
    vertical = inner.rows.start * inner_scale[0] - outer.rows.start * outer_scale[0]
    horizontal = inner.columns.start * inner_scale[1] - outer.columns.start * outer_scale[1]
    return round(vertical, 9), round(horizontal, 9)


class Margins(NamedTuple):
    """Numbers of pixels at the sides of an image that are its context: they are seen, and not wanted."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def limit(self, most: int) -> "Margins":
        """Return margins of at most so many pixels."""
        return Margins(*(min(most, side) for side in self))

    def crop(self, image: Tensor, factor: int = 1) -> Tensor:
        """Cut the margins, times a factor, off an image (..., H, W)."""
        top, bottom, left, right = (factor * side for side in self)
        return image[..., top : image.shape[-2] - bottom, left : image.shape[-1] - right]


@dataclass(frozen=True)
class Symmetry:
    """A left-right flip (or none), followed by a number of counter-clockwise quarter turns."""

    turns: int
    flip: bool

    def __call__(self, image: Tensor) -> Tensor:
        """Transform `image` (..., H, W); odd turns give (..., W, H)."""
        flipped = image.flip(-1) if self.flip else image
        return torch.rot90(flipped, self.turns, (-2, -1))

    def turn_margins(self, margins: Margins) -> Margins:
        """Return the margins of a transformed image."""
        top, bottom, left, right = margins
        if self.flip:
            left, right = right, left
        for _ in range(self.turns):
            top, bottom, left, right = right, left, top, bottom
        return Margins(top, bottom, left, right)

    def inverse(self, image: Tensor) -> Tensor:
        """Undo `__call__`."""
        turned = torch.rot90(image, -self.turns, (-2, -1))
        return turned.flip(-1) if self.flip else turned


SYMMETRIES = tuple(Symmetry(turns, flip) for flip in (False, True) for turns in range(4))
"""The 8 rotations and flips of a square (the dihedral group D4), the identity first."""
