"""From fitted networks to the output's pixels, block by block."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from threading import Event

import torch
from torch import Tensor, nn

from zssr.geometry import Region
from zssr.inference.regions import RegionUpsampler
from zssr.inference.texture_synthesis import add_texture, texture_margin
from zssr.inference.tiles import OnTile
from zssr.method import ResidualNetwork
from zssr.networks.texture import TextureGenerator
from zssr.progress import count_calls
from zssr.runtime import run_single_threaded

_TILES_PER_BLOCK = 3  # along a side
_BLOCKS_AT_ONCE = 4  # of half a gigabyte each
_LARGEST_BLOCK = 4096  # side in pixels of the output


def upscale_blocks(
    upsampler: RegionUpsampler,
    networks: Sequence[ResidualNetwork],
    texture: TextureGenerator | None,
    previous: Tensor | None,
    on_tile: Callable[[int, int], None],
) -> Iterator[Tensor]:
    """Upscale a photo block by block: yields strips of rows (channels, h, width), top to bottom, in the photo's dtype.

    There is a network for each scale step; without any the photo is interpolated. `texture` is added to what they make.
    `previous` is the last step's input for the whole photo (N, C, h, w), if it is known; then the photo is one block.
    `on_tile` is called with (done, total) after each tile.
    """
    tile_size, cascade = upsampler.runtime.tile_size, upsampler.cascade
    whole = Region.whole(upsampler.photo.size, upsampler.photo.wraps)
    margin = max((made for _, made in cascade.margins(networks, upsampler.config.back_projection)), default=0)
    most = max(tile_size, _TILES_PER_BLOCK * tile_size - 2 * margin)  # so that its tiles are whole ones
    side = min(most, math.ceil(_LARGEST_BLOCK / max(cascade.scales[-1])))
    blocks = list(whole.split(side)) if previous is None else [whole]
    start = 0 if previous is None else len(networks) - 1
    tiles = [cascade.count_tiles(block, networks, tile_size, upsampler.config, start) for block in blocks]
    count = count_calls(on_tile, sum(tiles))
    upscale = partial(upscale_to_pixels, upsampler, networks=networks, texture=texture, previous=previous)
    if len(blocks) == 1:
        yield upscale(blocks[0], on_tile=count)
        return
    parts = zip(blocks, _upscale_side_by_side(upscale, blocks, upsampler.runtime.compute.device), tiles, strict=True)
    for _, row in itertools.groupby(parts, key=lambda part: part[0].rows):
        strip = []
        for _, pixels, done in row:
            strip.append(pixels)
            for _ in range(done):
                count()
        yield torch.cat(strip, dim=-1)


def _upscale_side_by_side(
    upscale: Callable[..., Tensor], blocks: Sequence[Region], device: torch.device
) -> Iterator[Tensor]:
    """Upscale blocks on single threads, several at once on a CPU; those that are begun end soon if nobody waits."""
    stopped = Event()

    def check() -> None:
        if stopped.is_set():
            raise CancelledError

    try:
        calls = (partial(upscale, block, on_tile=check) for block in blocks)
        yield from run_single_threaded(calls, device, _BLOCKS_AT_ONCE)
    finally:
        stopped.set()


def upscale_to_pixels(
    upsampler: RegionUpsampler,
    region: Region,
    networks: Sequence[ResidualNetwork],
    texture: TextureGenerator | None = None,
    previous: Tensor | None = None,
    on_tile: OnTile = lambda: None,
) -> Tensor:
    """Upscale a region, add texture if there is any, and return the photo's own dtype (channels, h, w), on the CPU."""
    outer = region.expand(texture_margin(upsampler, texture)) if texture else region
    large = upsampler.upscale(outer, networks, on_tile, previous)
    if texture:
        rows, columns = upsampler.cascade.scaled(region).slices_within(upsampler.cascade.scaled(outer))
        large = add_texture(upsampler, large, outer, texture)[..., rows, columns]
    colors, opacity = upsampler.split_opacity(large)
    if len(opacity) or upsampler.photo.kind == "graphics" or upsampler.photo.value_range.dtype != torch.uint8:
        colors, opacity = colors.cpu(), opacity.cpu()
    colors = colors.transpose(0, 1) if upsampler.by_band else colors
    alpha = _clamp_alpha(upsampler, opacity.mean(1, keepdim=True), region) if len(opacity) else None
    if upsampler.photo.kind == "graphics":
        if upsampler.config.palette:
            return _choose_colors(upsampler, colors, alpha, region)
        colors = _clamp_colors(upsampler, colors, region)
    pixels = upsampler.photo.to_pixels(colors, alpha).cpu()  # bytes are copied faster than floats
    return upsampler.photo.restore_numbers(pixels, region, *nearest_pixels(upsampler, region, region))


def preview(upsampler: RegionUpsampler, networks: Sequence[ResidualNetwork], size: int) -> Tensor:
    """Render the center of the photo, at most `size` pixels a side, as the networks upscale it now (C', h, w).

    Without self-ensemble, by as many steps as there are networks.
    """
    quick = replace(
        upsampler,
        cascade=replace(upsampler.cascade.truncate(len(networks)), self_ensemble=1),
        runtime=replace(upsampler.runtime),
    )
    return upscale_to_pixels(quick, Region.center(upsampler.photo.size, size), networks)


def _clamp_alpha(upsampler: RegionUpsampler, alpha: Tensor, region: Region) -> Tensor:
    """Clamp an upscaled opacity (1, 1, h, w) to the values around it in the photo: what is clear stays clear."""
    outer = region.expand(2)
    return _clamp(upsampler, alpha, upsampler.to_images(outer)[-1:, :1].cpu(), region, outer, 2)


def _clamp(
    upsampler: RegionUpsampler, large: Tensor, small: Tensor, region: Region, outer: Region, reach: int
) -> Tensor:
    """Clamp an upscaled region (1, C, h, w) to what is within `reach` pixels in the photo, whose `outer` is `small`."""
    high, low = (sign * nn.functional.max_pool2d(sign * small, 2 * reach + 1, 1, reach) for sign in (1, -1))
    rows, columns = nearest_pixels(upsampler, region, outer)
    return large.clamp(low[..., rows[:, None], columns], high[..., rows[:, None], columns])


def _clamp_colors(upsampler: RegionUpsampler, colors: Tensor, region: Region) -> Tensor:
    """Clamp upscaled graphics (1, C, h, w) to the colors around them in the image."""
    outer = region.expand(1)
    return _clamp(upsampler, colors, upsampler.photo.region(outer)[0], region, outer, 1)


def _choose_colors(upsampler: RegionUpsampler, colors: Tensor, alpha: Tensor | None, region: Region) -> Tensor:
    """Return for each pixel of upscaled graphics (1, C, h, w) the nearest of those around it, in its own numbers."""
    outer = region.expand(1)
    rows, columns = nearest_pixels(upsampler, region, outer)
    small, large = (
        torch.cat([one for one in part if one is not None], 1)
        for part in (upsampler.photo.region(outer), (colors, alpha))
    )
    chosen, least = torch.zeros(large.shape[-2:], dtype=torch.long), torch.full(large.shape[-2:], torch.inf)
    for down in (0, -1, 1):
        for right in (0, -1, 1):
            y, x = (rows + down).clamp(0, outer.size[0] - 1), (columns + right).clamp(0, outer.size[1] - 1)
            distance = (small[0][:, y[:, None], x] - large[0]).square().sum(0)
            chosen = torch.where(distance < least, y[:, None] * outer.size[1] + x, chosen)
            least = torch.minimum(distance, least)
    return torch.stack([plane.flatten()[chosen] for plane in upsampler.photo.stored_numbers(outer)])


def nearest_pixels(upsampler: RegionUpsampler, region: Region, outer: Region) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of `outer` that are nearest to those of an upscaled region within it."""
    large, scale = upsampler.cascade.scaled(region), upsampler.cascade.scales[-1]
    rows, columns = (
        ((torch.arange(now.start, now.stop) + 0.5) / by - was.start).long().clamp(0, len(was) - 1)
        for now, by, was in ((large.rows, scale[0], outer.rows), (large.columns, scale[1], outer.columns))
    )
    return rows, columns
