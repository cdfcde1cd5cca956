"""One network on one image: in tiles with the result of the whole, over rotations and flips, back-projected."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby, pairwise
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
    self_ensemble: bool,
    back_projection: int,
) -> Tensor:
    """Upscale an image by a network's factor, self-ensembled and back-projected.

    In a self-ensemble the network sees the rotations and flips that commute with the degradation (8 for bicubic). Each
    residual is turned back, and their mean is added (Timofte et al. 2016; Shocher et al. 2018 take the median, which
    measures worse). The sum is back-projected once: back-projection is linear.

    Parameters
    ----------
    network, image, degradation
        A network for the factor f, (N, C, H, W) in [0, 1], and the degradation at the scale f.
    runtime, on_tile
        Device, precision and tile size; called after each tile.
    self_ensemble, back_projection
        Whether the network is applied to rotations and flips; number of iterations.

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
    self_ensemble: bool,
) -> None:
    """Add to `large` what the network predicts from `image`, over its rotations and flips: see `apply_network`."""
    symmetries = _symmetries(degradation, self_ensemble)
    network = copy.deepcopy(network).to(runtime.compute.dtype).eval()
    turned = [symmetry(image) for symmetry in symmetries]
    residuals = map_tiles(network, turned, network.factor, runtime.tile_size, network.margin, on_tile)
    border: Tensor | None = None
    for symmetry, residual in zip(symmetries, residuals, strict=True):
        residual = symmetry.inverse(residual)
        if degradation.sampling == "top_left":
            border = residual if border is None else border
            residual = _realign(residual, symmetry, network.factor - 1, border)
        large.add_(residual, alpha=1 / len(symmetries))


def count_tiles(size: tuple[int, int], degradation: Degradation, tile: int, *, self_ensemble: bool) -> int:
    """Count the tiles that `apply_network` applies a network to for an image of `size` (H, W)."""
    return -(-size[0] // tile) * -(-size[1] // tile) * len(_symmetries(degradation, self_ensemble))


def map_tiles(
    function: Callable[[Tensor], Tensor], images: Sequence[Tensor], factor: int, tile: int, margin: int, on_tile: OnTile
) -> Iterator[Tensor]:
    """Apply a shift-invariant function to images (N, C, H, W) tile by tile, with the results that the whole ones have.

    On a CPU each tile is computed on one thread, and as many at once as there are threads.

    Parameters
    ----------
    function
        Takes (N, C, h, w) to (N, C, factor * h, factor * w); an output depends on inputs within `margin` pixels only.
    tile
        Side of a tile in pixels of an image, without the margin. Each tile is read with its margin as far as the image
        reaches, so that the function sees the image's own border and no other.
    on_tile
        Called after each tile.

    Yields
    ------
    Tensor
        (N, C, factor * H, factor * W) for each image.
    """
    tiles = [
        (k, rows, columns)
        for k, image in enumerate(images)
        for rows in _tile_intervals(image.shape[-2], tile, margin)
        for columns in _tile_intervals(image.shape[-1], tile, margin)
    ]
    calls = (partial(_apply_to_tile, function, images[k], rows, columns, factor) for k, rows, columns in tiles)
    parts = zip(tiles, run_single_threaded(calls, images[0].device), strict=True)
    for k, own in groupby(parts, lambda each: each[0][0]):
        out: Tensor | None = None
        for (_, rows, columns), part in own:
            if out is None:
                out = part.new_empty(*part.shape[:-2], *(factor * side for side in images[k].shape[-2:]))
            out[..., rows.scaled(factor), columns.scaled(factor)] = part
            on_tile()
        if out is not None:
            yield out


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


def _symmetries(degradation: Degradation, self_ensemble: bool) -> tuple[Symmetry, ...]:
    return degradation.symmetries() if self_ensemble else degradation.symmetries()[:1]


def _realign(large: Tensor, symmetry: Symmetry, shift: int, border: Tensor) -> Tensor:
    """Move back by `shift` pixels what was sampled at another corner of its blocks; the gap is filled from `border`."""
    corner = int(symmetry(torch.tensor([[0, 1], [2, 3]]))[0, 0])  # which one became the first
    for axis, flipped in ((-2, corner // 2), (-1, corner % 2)):
        if flipped and shift:
            length = large.shape[axis]
            moved = large.narrow(axis, shift, length - shift)
            large = torch.cat([moved, border.narrow(axis, length - shift, shift)], axis)
    return large
