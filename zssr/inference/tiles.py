"""One network on one image: in tiles with the result of the whole, over rotations and flips."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from zssr.degradation import Degradation
from zssr.geometry import Margins, Symmetry
from zssr.method import FASTEST_SIDES, ResidualNetwork
from zssr.runtime import Runtime, run_single_threaded

OnTile = Callable[[], None]

EVERYWHERE = (slice(None), slice(None))
"""All rows and columns."""


@torch.no_grad()
def add_residual(
    network: ResidualNetwork,
    image: Tensor,
    large: Tensor,
    degradation: Degradation,
    runtime: Runtime,
    on_tile: OnTile,
    *,
    self_ensemble: int,
    inner: tuple[slice, slice] = EVERYWHERE,
) -> None:
    """Add to the interpolated image what a network predicts from the image, self-ensembled.

    In a self-ensemble the network sees the first of the rotations and flips that commute with the degradation (8 do
    with bicubic). Each residual is turned back, and their mean is added (Timofte et al. 2016; Shocher et al. 2018 take
    the median, which measures worse).

    Parameters
    ----------
    network, image
        A network for the factor f, and (N, C, H, W) in [0, 1].
    large
        The interpolated image (N, C, f * h, f * w), to which the residual is added.
    degradation
        At the scale f.
    runtime, on_tile
        Device, precision and tile size; called after each tile.
    self_ensemble
        Number of rotations and flips that the network is applied to.
    inner
        Rows and columns of the image, h and w of them, whose result is wanted; the rest is context.
    """
    symmetries = _symmetries(degradation, self_ensemble)
    network = copy.deepcopy(network).to(runtime.compute.dtype).eval()
    shift = network.factor - 1 if degradation.sampling == "top_left" else 0
    functions = [partial(_predict_turned, network, symmetry, shift) for symmetry in symmetries]
    margin, factor, tile = network.margin + (shift > 0), network.factor, runtime.tile_size
    for rows, columns, residual in map_tiles(functions, image, factor, tile, margin, on_tile, inner):
        large[..., rows, columns].add_(residual, alpha=1 / len(symmetries))


def _predict_turned(
    network: ResidualNetwork, symmetry: Symmetry, shift: int, image: Tensor, margins: Margins
) -> Tensor:
    """Return the residual that the network predicts from the turned image, turned back."""
    left = margins.limit(1 if shift else 0)  # what is moved into the result
    others = Margins(*(side - rest for side, rest in zip(margins, left, strict=True)))
    residual = symmetry.inverse(network.predict_inside(symmetry(image), symmetry.turn_margins(others)))
    return left.crop(_realign(residual, symmetry, shift), network.factor) if shift else residual


def count_tiles(size: tuple[int, int], degradation: Degradation, tile: int, *, self_ensemble: int) -> int:
    """Count the tiles that `add_residual` applies a network to for a result of `size` (h, w) pixels of the image."""
    return -(-size[0] // tile) * -(-size[1] // tile) * len(_symmetries(degradation, self_ensemble))


def map_tiles(
    functions: Sequence[Callable[[Tensor, Margins], Tensor]],
    image: Tensor,
    factor: int,
    tile: int,
    margin: int,
    on_tile: OnTile,
    inner: tuple[slice, slice] = EVERYWHERE,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Apply shift-invariant functions to an image (N, C, H, W) tile by tile, with the results that the whole has.

    On a CPU each tile is computed on one thread, and as many at once as there are threads.

    Parameters
    ----------
    functions
        Each takes a tile (N, C, h, w) and its margins to the result of the tile without them, times the factor. An
        output depends on inputs within `margin` pixels.
    tile
        Side of a tile in pixels of the image, without the margin. Each tile is read with its margin, or a little more,
        as far as the image reaches, so that the functions see the image's own border and no other.
    on_tile
        Called after each tile of each function.
    inner
        Rows and columns of the image whose result is wanted.

    Yields
    ------
    tuple
        Rows and columns of a tile in the result for `inner`, and its values (N, C, h, w) by one of the functions.
    """
    tiles = [
        (function, rows, columns)
        for rows in _tile_intervals(image.shape[-2], inner[0], tile, margin)
        for columns in _tile_intervals(image.shape[-1], inner[1], tile, margin)
        for function in functions
    ]
    calls = (partial(_apply_to_tile, function, image, rows, columns) for function, rows, columns in tiles)
    parts = run_single_threaded(calls, image.device)
    for (_, rows, columns), part in zip(tiles, parts, strict=True):
        yield rows.in_result(factor), columns.in_result(factor), part
        on_tile()


class _TileInterval(NamedTuple):
    """Where a tile lies along an axis, without and with its margin, and where the result begins."""

    start: int
    stop: int
    outer_start: int
    outer_stop: int
    first: int

    @property
    def margins(self) -> tuple[int, int]:
        """How far the margin reaches before and after the tile."""
        return self.start - self.outer_start, self.outer_stop - self.stop

    def in_result(self, factor: int) -> slice:
        """Return where the tile lies in the result."""
        return slice(factor * (self.start - self.first), factor * (self.stop - self.first))


@torch.no_grad()
def _apply_to_tile(
    function: Callable[[Tensor, Margins], Tensor], image: Tensor, rows: _TileInterval, columns: _TileInterval
) -> Tensor:
    outer = image[..., rows.outer_start : rows.outer_stop, columns.outer_start : columns.outer_stop]
    return function(outer, Margins(*rows.margins, *columns.margins))


def _tile_intervals(length: int, inner: slice, tile: int, margin: int) -> list[_TileInterval]:
    """Split a part of an axis into tiles of nearly equal length; with margins they have the `FASTEST_SIDES`."""
    first, last, _ = inner.indices(length)
    count = -(-(last - first) // tile)
    edges = [first + k * (last - first) // count for k in range(count + 1)]
    return [_TileInterval(a, b, *_add_margins(length, a, b, margin), first) for a, b in pairwise(edges)]


def _add_margins(length: int, start: int, stop: int, margin: int) -> tuple[int, int]:
    start, stop = max(start - margin, 0), min(stop + margin, length)
    start = max(start - (start - stop) % FASTEST_SIDES, 0)
    return start, min(stop + (start - stop) % FASTEST_SIDES, length)


def _symmetries(degradation: Degradation, self_ensemble: int) -> tuple[Symmetry, ...]:
    return degradation.symmetries()[:self_ensemble]


def _realign(large: Tensor, symmetry: Symmetry, shift: int) -> Tensor:
    """Move back by `shift` pixels what was sampled at another corner of its blocks; the last pixels stay."""
    corner = int(symmetry(torch.tensor([[0, 1], [2, 3]]))[0, 0])  # which one became the first
    for axis, flipped in ((-2, corner // 2), (-1, corner % 2)):
        if flipped:
            length = large.shape[axis]
            moved, last = (large.narrow(axis, start, length - start) for start in (shift, length - shift))
            large = torch.cat([moved, last], axis)
    return large
