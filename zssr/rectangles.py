"""Rectangles that cover a mask: where its pixels can be cut out as images."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice]
"""Rows and columns."""

_CELLS = 32  # along a side, of which rectangles are made at first
_MOST = 6
_LEAST_SHARE = 0.04  # of the mask that a further rectangle adds


def find_rectangles(mask: NDArray[np.bool_], smallest: int) -> list[Box]:
    """Find rectangles, their sides `smallest` or more, that lie in `mask` (H, W) and cover most of it.

    They may overlap. The first is nearly the largest, and each further one adds nearly the most.
    """
    cell = -(-max(mask.shape) // _CELLS)
    rows, columns = (length // cell for length in mask.shape)
    if min(rows, columns) == 0:
        return []
    cells = np.asarray(mask[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell).all((1, 3)))
    candidates = [_grow(mask, box, cell) for box in _maximal_boxes(cells)]
    candidates = [box for box in candidates if min(one.stop - one.start for one in box) >= smallest]
    uncovered, found = mask.copy(), list[Box]()
    while len(found) < _MOST and candidates:
        sums = np.pad(uncovered.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        added, best = max((_sum_box(sums, box), -k) for k, box in enumerate(candidates))
        if added < _LEAST_SHARE * mask.sum():
            break
        found.append(candidates[-best])
        uncovered[found[-1]] = False
    return found


def _maximal_boxes(cells: NDArray[np.bool_]) -> Iterator[Box]:
    """Yield the boxes of true cells (h, w) that cannot be made wider, for all pairs of a first and a last row."""
    for top in range(len(cells)):
        inside = np.ones(cells.shape[1], bool)
        for bottom in range(top, len(cells)):
            inside &= cells[bottom]
            for is_inside, run in groupby(range(len(inside)), key=inside.tolist().__getitem__):
                if is_inside:
                    first, *others = run
                    yield slice(top, bottom + 1), slice(first, first + 1 + len(others))


def _grow(mask: NDArray[np.bool_], box: Box, cell: int) -> Box:
    """Return a box of cells in pixels, grown on each side by less than a cell, as far as it stays in the mask."""
    rows, columns = (slice(cell * one.start, cell * one.stop) for one in box)
    for _ in range(2):  # axes, each seen as that of the rows
        before = np.flip(mask[max(rows.start - cell, 0) : rows.start, columns], 0)
        after = mask[rows.stop : rows.stop + cell, columns]
        grown = slice(rows.start - _count_full(before), rows.stop + _count_full(after))
        rows, columns, mask = columns, grown, mask.T
    return rows, columns


def _count_full(rows: NDArray[np.bool_]) -> int:
    """Return how many rows are true before the first that is not."""
    return int(np.append(rows.all(1), False).argmin())


def _sum_box(sums: NDArray[np.int64], box: Box) -> int:
    (top, bottom), (left, right) = ((one.start, one.stop) for one in box)
    return int(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])
