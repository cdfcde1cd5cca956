"""One network on one image: in tiles with the result of the whole, over rotations and flips, back-projected."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zssr.degradation import Degradation
from zssr.geometry import Symmetry
from zssr.networks.sr import Network
from zssr.runtime import Runtime

OnTile = Callable[[], None]


@torch.no_grad()
def apply_network(
    network: Network,
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
    symmetries = _symmetries(degradation, self_ensemble)
    network = copy.deepcopy(network).to(runtime.compute.dtype)
    large = degradation.upsample(image, (network.factor * image.shape[-2], network.factor * image.shape[-1]))
    border: Tensor | None = None
    for symmetry in symmetries:
        turned = symmetry(image)
        residual = symmetry.inverse(
            map_tiles(network, turned, network.factor, runtime.tile_size, network.margin, on_tile)
        )
        if degradation.sampling == "top_left":
            border = residual if border is None else border
            residual = _realign(residual, symmetry, network.factor - 1, border)
        large.add_(residual, alpha=1 / len(symmetries))
    return degradation.back_project(large, image, back_projection)


def count_tiles(size: tuple[int, int], degradation: Degradation, tile: int, *, self_ensemble: bool) -> int:
    """Count the tiles that `apply_network` applies a network to for an image of `size` (H, W)."""
    return -(-size[0] // tile) * -(-size[1] // tile) * len(_symmetries(degradation, self_ensemble))


def map_tiles(
    function: Callable[[Tensor], Tensor], image: Tensor, factor: int, tile: int, margin: int, on_tile: OnTile
) -> Tensor:
    """Apply a shift-invariant function to `image` (N, C, H, W) tile by tile, with the result that the whole has.

    Parameters
    ----------
    function
        Takes (N, C, h, w) to (N, C, factor * h, factor * w); an output depends on inputs within `margin` pixels only.
    tile
        Side of a tile in pixels of `image`, without the margin. Each tile is read with its margin as far as the image
        reaches, so that the function sees the image's own border and no other.
    on_tile
        Called after each tile.

    Returns
    -------
    Tensor
        (N, C, factor * H, factor * W).
    """
    height, width = image.shape[-2:]
    out: Tensor | None = None
    for top, bottom, outer_top, outer_bottom in _tile_intervals(height, tile, margin):
        for left, right, outer_left, outer_right in _tile_intervals(width, tile, margin):
            part = function(image[..., outer_top:outer_bottom, outer_left:outer_right])
            if out is None:
                out = part.new_empty(*part.shape[:-2], factor * height, factor * width)
            rows = slice(factor * (top - outer_top), factor * (bottom - outer_top))
            columns = slice(factor * (left - outer_left), factor * (right - outer_left))
            out[..., factor * top : factor * bottom, factor * left : factor * right] = part[..., rows, columns]
            on_tile()
    return image if out is None else out


def _tile_intervals(length: int, tile: int, margin: int) -> Iterator[tuple[int, int, int, int]]:
    """Split an axis into tiles of nearly equal length: yields (start, stop) and the same with margins."""
    count = -(-length // tile)
    for k in range(count):
        start, stop = k * length // count, (k + 1) * length // count
        yield start, stop, max(start - margin, 0), min(stop + margin, length)


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
