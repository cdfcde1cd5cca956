"""The axes of an array of images, and the grid of blocks in which one is upscaled."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zssr.errors import ConfigError
from zssr.geometry import Factors, Interval, Region

AXES = "tczyx"
"""The axes of OME-Zarr, in their order: time, channel, depth, height, width."""

_TILES_PER_CELL = 3  # along a side, as in blocks of smaller images
_LARGEST_CELL = 4096  # side in pixels of the output

Plane = tuple[int, ...]
"""The place of an image among those of an array: its index along the axes of time and depth."""


@dataclass(frozen=True)
class Layout:
    """The axes of an array, by their letters as in `AXES`, and its shape."""

    axes: str
    shape: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """The size (H, W) of each image."""
        return self.length("y"), self.length("x")

    @property
    def planes(self) -> list[Plane]:
        """All images, in their order."""
        rest = [n for axis, n in zip(self.axes, self.shape, strict=True) if axis not in "cyx"]
        return list(itertools.product(*map(range, rest)))

    def length(self, axis: str) -> int:
        """Return the length of an axis; 1 if there is none."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def locate(self, plane: Plane, region: Region) -> tuple[int | slice, ...]:
        """Return the index of a region of an image, with all its channels."""
        rows, columns = (slice(one.start, one.stop) for one in (region.rows, region.columns))
        known, rest = {"c": slice(None), "y": rows, "x": columns}, iter(plane)
        return tuple(known[axis] if axis in known else next(rest) for axis in self.axes)

    def to_channels_first(self, part: NDArray[Any]) -> NDArray[Any]:
        """Return what an index of `locate` gives as (C, h, w)."""
        order = "".join(axis for axis in self.axes if axis in "cyx")
        part, order = (part, order) if "c" in order else (part[None], "c" + order)
        return part.transpose([order.index(axis) for axis in "cyx"])

    def from_channels_first(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return pixels (C, h, w) as an index of `locate` takes them."""
        order = "".join(axis for axis in self.axes if axis in "cyx")
        return pixels.transpose(["cyx".index(axis) for axis in order]) if "c" in order else pixels[0]

    def resize(self, size: tuple[int, int]) -> "Layout":
        """Return the layout of images of another size (H, W), with its axes in OME-Zarr's order."""
        axes = "".join(axis for axis in AXES if axis in self.axes)
        sides = {"y": size[0], "x": size[1]}
        return Layout(axes, tuple(sides[axis] if axis in sides else self.length(axis) for axis in axes))


@dataclass(frozen=True)
class BlockGrid:
    """The blocks of an upscaled image, and the cells of which they consist.

    A block is what a worker makes and writes at a time. A cell is what is computed at a time, the same whatever the
    size of blocks, so that all sizes give the same pixels to the bit.

    Attributes
    ----------
    size, output_size, scale
        (H, W) of the image and of the output, and the factors (vertical, horizontal) between them.
    cell, block
        (H, W) in pixels of the output; blocks are whole cells.
    """

    size: tuple[int, int]
    output_size: tuple[int, int]
    scale: Factors
    cell: tuple[int, int]
    block: tuple[int, int]

    @classmethod
    def plan(
        cls,
        size: tuple[int, int],
        output_size: tuple[int, int],
        scale: Factors,
        patch_size: int,
        block: int | None = None,
    ) -> "BlockGrid":
        """Plan the grid; `block` is the height of blocks, and the cell's if it is not given.

        Raises `ConfigError` if that is no multiple of the cell's.
        """
        longest = min(_TILES_PER_CELL * patch_size, _LARGEST_CELL / max(scale))
        side = 2 ** int(math.log2(max(longest, 1)))  # chunks of the image have such sides, too
        cell = (round(side * scale[0]), round(side * scale[1]))
        if block is not None and (block < 1 or block % cell[0]):
            raise ConfigError(
                f"--block: {block} is not a multiple of {cell[0]}, the side of what is computed at a time"
            )
        count = 1 if block is None else block // cell[0]
        return cls(size, output_size, scale, cell, (count * cell[0], count * cell[1]))

    @property
    def blocks(self) -> list[Region]:
        """The blocks as regions of the output, row by row."""
        return list(self._tile(Region.whole(self.output_size), self.block))

    def cells_of(self, region: Region) -> Iterator[Region]:
        """Yield the cells that a region of the output touches, as regions of the output."""
        return self._tile(region, self.cell)

    def number(self, cell: Region) -> tuple[int, int]:
        """Return the place of a cell among the cells (row, column)."""
        return cell.rows.start // self.cell[0], cell.columns.start // self.cell[1]

    def source_of(self, region: Region) -> Region:
        """Return a region of the image whose upscaled pixels hold a region of the output."""
        rows, columns = (
            Interval(math.floor(one.start / by + 1e-9), min(math.ceil(one.stop / by - 1e-9), n), n)
            for one, by, n in zip((region.rows, region.columns), self.scale, self.size, strict=True)
        )
        return Region(_end_with(rows, region.rows), _end_with(columns, region.columns))

    def _tile(self, region: Region, sides: tuple[int, int]) -> Iterator[Region]:
        rows, columns = (
            [
                Interval(start, min(start + side, one.length), one.length)
                for start in range(one.start // side * side, one.stop, side)
            ]
            for one, side in zip((region.rows, region.columns), sides, strict=True)
        )
        return (Region(row, column) for row in rows for column in columns)


def _end_with(source: Interval, output: Interval) -> Interval:
    """Return `source`, with the end of its axis if `output` reaches that of its own."""
    return Interval(source.start, source.length, source.length) if output.stop == output.length else source


def intersect(region: Region, other: Region) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where two regions of one image overlap: the slices of the first and of the second."""
    rows, columns = (
        Interval(max(a.start, b.start), min(a.stop, b.stop), a.length)
        for a, b in ((region.rows, other.rows), (region.columns, other.columns))
    )
    common = Region(rows, columns)
    return common.slices_within(region), common.slices_within(other)


def coarsen(pixels: NDArray[Any], *, averages: bool) -> NDArray[Any]:
    """Halve pixels (C, h, w), rounding sides up: means of 2x2 pixels, or each second pixel of each second row."""
    if not averages:
        return pixels[:, ::2, ::2]
    even = np.pad(pixels, [(0, 0), (0, pixels.shape[1] % 2), (0, pixels.shape[2] % 2)], mode="edge")
    wide = np.float64 if pixels.dtype.itemsize > 2 else np.float32
    total: NDArray[Any] = even[:, ::2, ::2].astype(wide)
    for down, right in ((0, 1), (1, 0), (1, 1)):
        total = np.add(total, even[:, down::2, right::2])
    mean: NDArray[Any] = np.divide(total, 4)
    mean = mean if pixels.dtype.kind == "f" else np.rint(mean)
    return mean.astype(pixels.dtype)
