"""One network on one image: in tiles with the result of the whole, over rotations and flips, back-projected."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from zssr.degradation import Degradation
from zssr.geometry import Symmetry
from zssr.method import ResidualNetwork
from zssr.runtime import Runtime, run_single_threaded

OnTile = Callable[[], None]


@torch.no_grad()
def apply_network(
    network: ResidualNetwork,
    image: Tensor,
    degradation: Degradation,
    runtime: Runtime,
    on_tile: OnTile,
    *,
    self_ensemble: int,
    back_projection: int,
) -> Tensor:
    """Upscale an image by a network's factor, self-ensembled and back-projected.

    In a self-ensemble the network sees the first of the rotations and flips that commute with the degradation (8 do
    with bicubic). Each residual is turned back, and their mean is added (Timofte et al. 2016; Shocher et al. 2018 take
    the median, which measures worse). The sum is back-projected once: back-projection is linear.

    Parameters
    ----------
    network, image, degradation
        A network for the factor f, (N, C, H, W) in [0, 1], and the degradation at the scale f.
    runtime, on_tile
        Device, precision and tile size; called after each tile.
    self_ensemble, back_projection
        Number of rotations and flips that the network is applied to; of iterations.

    Returns
    -------
    Tensor
        (N, C, f * H, f * W), not clipped.
    """
    large = degradation.upsample(image, (network.factor * image.shape[-2], network.factor * image.shape[-1]))
    add_residual(network, image, large, degradation, runtime, on_tile, self_ensemble=self_ensemble)
    return degradation.back_project(large, image, back_projection)


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
) -> None:
    """Add to `large` what the network predicts from `image`, over its rotations and flips: see `apply_network`."""
    symmetries = _symmetries(degradation, self_ensemble)
    network = copy.deepcopy(network).to(runtime.compute.dtype).eval()
    shift = network.factor - 1 if degradation.sampling == "top_left" else 0
    functions = [partial(_predict_turned, network, symmetry, shift) for symmetry in symmetries]
    margin = network.margin + (shift > 0)
    for rows, columns, residual in map_tiles(functions, image, network.factor, runtime.tile_size, margin, on_tile):
        large[..., rows, columns].add_(residual, alpha=1 / len(symmetries))


def _predict_turned(network: ResidualNetwork, symmetry: Symmetry, shift: int, image: Tensor) -> Tensor:
    """Return the residual that the network predicts from the turned image, turned back."""
    residual: Tensor = symmetry.inverse(network(symmetry(image)))
    return _realign(residual, symmetry, shift) if shift else residual


def count_tiles(size: tuple[int, int], degradation: Degradation, tile: int, *, self_ensemble: int) -> int:
    """Count the tiles that `apply_network` applies a network to for an image of `size` (H, W)."""
    return -(-size[0] // tile) * -(-size[1] // tile) * len(_symmetries(degradation, self_ensemble))


def map_tiles(
    functions: Sequence[Callable[[Tensor], Tensor]], image: Tensor, factor: int, tile: int, margin: int, on_tile: OnTile
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Apply shift-invariant functions to an image (N, C, H, W) tile by tile, with the results that the whole has.

    On a CPU each tile is computed on one thread, and as many at once as there are threads.

    Parameters
    ----------
    functions
        Each takes (N, C, h, w) to (N, C, factor * h, factor * w); an output depends on inputs within `margin` pixels.
    tile
        Side of a tile in pixels of the image, without the margin. Each tile is read with its margin as far as the image
        reaches, so that the functions see the image's own border and no other.
    on_tile
        Called after each tile of each function.

    Yields
    ------
    tuple
        Rows and columns of a tile in the result, and its values (N, C, h, w) by one of the functions.
    """
    tiles = [
        (function, rows, columns)
        for rows in _tile_intervals(image.shape[-2], tile, margin)
        for columns in _tile_intervals(image.shape[-1], tile, margin)
        for function in functions
    ]
    calls = (partial(_apply_to_tile, function, image, rows, columns, factor) for function, rows, columns in tiles)
    parts = run_single_threaded(calls, image.device)
    for (_, rows, columns), part in zip(tiles, parts, strict=True):
        yield rows.scaled(factor), columns.scaled(factor), part
        on_tile()


class _TileInterval(NamedTuple):
    """Where a tile lies along an axis, without and with its margin."""

    start: int
    stop: int
    outer_start: int
    outer_stop: int

    def scaled(self, factor: int) -> slice:
        """Return where the tile lies in the result."""
        return slice(factor * self.start, factor * self.stop)

    def within_outer(self, factor: int) -> slice:
        """Return where the tile lies in the result for the tile with its margin."""
        return slice(factor * (self.start - self.outer_start), factor * (self.stop - self.outer_start))


@torch.no_grad()
def _apply_to_tile(
    function: Callable[[Tensor], Tensor], image: Tensor, rows: _TileInterval, columns: _TileInterval, factor: int
) -> Tensor:
    outer = image[..., rows.outer_start : rows.outer_stop, columns.outer_start : columns.outer_stop]
    return function(outer)[..., rows.within_outer(factor), columns.within_outer(factor)]


def _tile_intervals(length: int, tile: int, margin: int) -> list[_TileInterval]:
    """Split an axis into tiles of nearly equal length."""
    count = -(-length // tile)
    edges = [k * length // count for k in range(count + 1)]
    return [_TileInterval(a, b, max(a - margin, 0), min(b + margin, length)) for a, b in pairwise(edges)]


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
