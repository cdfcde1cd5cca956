"""Dask arrays: learned from when they are given, upscaled block by block when the result is computed."""

from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zssr.config import Config
from zssr.errors import ImageError
from zssr.geometry import Region
from zssr.images import LazyArray
from zssr.progress import Progress, ProgressCallback
from zssr.request import Request
from zssr.runtime import torch_modes
from zssr.slides.blocks import BlockUpsampler, make_worker_context
from zssr.slides.layout import Layout
from zssr.slides.learning import learn
from zssr.slides.slide_image import make_photo, to_dtype, to_tensor
from zssr.slides.upscale_slide import plan_grid


def upscale_lazily(
    array: LazyArray, request: Request, config: Config, progress: ProgressCallback | None = None
) -> LazyArray:
    """Return the upscaled Dask array (H', W') or (H', W', C) of an array (H, W) or (H, W, C), whose chunks are blocks.

    Crops of all over it are computed and learned from at once; each block is computed when it is asked for, from a
    region of the array with a margin. Its pixels are those of `upscale_slide`.
    """
    dask: Any = import_module("dask")
    import_module("dask.array")
    if len(array.shape) not in (2, 3) or 0 in array.shape:
        raise ImageError(f"image: a Dask array has shape (H, W) or (H, W, C), not {array.shape}")
    layout = Layout("yxc"[: len(array.shape)], array.shape)
    grid, request = plan_grid("image", layout, request, config)
    photo = make_photo(layout, array.dtype, lambda region: _take(layout, np.asarray(_cut(layout, array, region))))
    context = make_worker_context(config, request, Progress(progress))
    with torch_modes("image"):
        upsampler = BlockUpsampler(grid, learn(photo, context), config, request)
    node, margin = dask.delayed(upsampler, traverse=False), upsampler.margin()
    rows: dict[int, list[object]] = {}
    for block in grid.blocks:
        source = grid.source_of(block).expand(margin)
        pixels = dask.delayed(_upscale_part)(node, layout.axes, _cut(layout, array, source), source, block)
        shape = (*block.size, *layout.shape[2:])
        rows.setdefault(block.rows.start, []).append(dask.array.from_delayed(pixels, shape, array.dtype))
    strips = [dask.array.concatenate(row, axis=1) for row in rows.values()]
    joined: LazyArray = dask.array.concatenate(strips, axis=0)
    return joined


def _cut(layout: Layout, array: LazyArray, region: Region) -> LazyArray:
    return array[layout.locate((), region)]


def _take(layout: Layout, part: NDArray[Any]) -> Tensor:
    return to_tensor(layout.to_channels_first(part))


def _upscale_part(
    upsampler: BlockUpsampler, axes: str, part: NDArray[Any], source: Region, block: Region
) -> NDArray[Any]:
    """Upscale a block, of which `part` is the source with its margin."""
    layout = Layout(axes, part.shape)
    pixels = upsampler.upscale(block, partial(_read_part, _take(layout, part), source))
    return layout.from_channels_first(to_dtype(pixels.numpy(), part.dtype))


def _read_part(numbers: Tensor, source: Region, region: Region) -> Tensor:
    rows, columns = region.slices_within(source)
    if min(rows.start, columns.start) < 0 or rows.stop > source.size[0] or columns.stop > source.size[1]:
        raise IndexError(f"{region} is not within {source}")
    return numbers[:, rows, columns]
