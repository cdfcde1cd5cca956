"""Regions of an image, at the size of the photo and at any other, and how an image is cut into them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Span:
    """The samples from `start` to `stop` of an axis that has `length` of them."""

    start: int
    stop: int
    length: int

    def __len__(self) -> int:
        return self.stop - self.start

    def grown(self, margin: int) -> "Span":
        """Return the span with a margin, as far as the axis reaches."""
        return Span(max(self.start - margin, 0), min(self.stop + margin, self.length), self.length)

    def at(self, scale: float, length: int) -> "Span":
        """Return the same span on the axis enlarged by `scale` to `length` samples."""
        start = 0 if self.start == 0 else round(self.start * scale)
        return Span(start, length if self.stop == self.length else round(self.stop * scale), length)

    def cut(self, most: int) -> "list[Span]":
        """Cut into spans of nearly equal length, none longer than `most`."""
        count = -(-len(self) // most)
        ends = [self.start + k * len(self) // count for k in range(count + 1)]
        return [Span(start, stop, self.length) for start, stop in pairwise(ends)]

    def inside(self, other: "Span") -> slice:
        """Return where this span lies in what holds the samples of `other`."""
        return slice(self.start - other.start, self.stop - other.start)


@dataclass(frozen=True)
class Region:
    """A rectangle of an image."""

    rows: Span
    columns: Span

    @classmethod
    def whole(cls, size: tuple[int, int]) -> "Region":
        """Return all of an image of `size` (H, W)."""
        return cls(Span(0, size[0], size[0]), Span(0, size[1], size[1]))

    @classmethod
    def middle(cls, size: tuple[int, int], most: int, grid: int = 1) -> "Region":
        """Return the middle of an image of `size` (H, W), its sides no longer than `most`, beginning on a grid."""
        starts = [max(0, length - most) // 2 // grid * grid for length in size]
        spans = [Span(start, min(start + most, length), length) for start, length in zip(starts, size, strict=True)]
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
