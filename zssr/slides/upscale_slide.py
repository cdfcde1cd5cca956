"""Upscale a slide: learn once, then block by block on an executor, each worker writing its own."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import zssr
from zssr.config import Config
from zssr.errors import ConfigError, ImageError
from zssr.executors import post, post_progress, share
from zssr.geometry import Region
from zssr.io.metadata import Metadata
from zssr.io.output_format import OutputFormat
from zssr.io.picture import PixelFormat
from zssr.io.writing import write_picture
from zssr.model import Model
from zssr.progress import Progress, ProgressEvent, Stage
from zssr.request import Request
from zssr.runtime import torch_modes
from zssr.slides.blocks import BlockUpsampler, make_worker_context
from zssr.slides.layout import BlockGrid, Layout, Plane
from zssr.slides.learned_bytes import decode_learned, encode_learned
from zssr.slides.learning import REGION_CELLS, Learned, learn, learn_anew
from zssr.slides.slide_image import SlideImage, open_slide, to_dtype
from zssr.slides.slide_run import SlideResult, SlideRun
from zssr.slides.slide_store import SlideStore

logger = logging.getLogger(__name__)

_NOT_OF_PIXELS = ("image", "output", "max_MB", "max_pixels", "max_output_pixels", "base64", "measure_gain")
_OF_STORES = ("zarr.json", ".zgroup", ".zarray")
_MOST_REGION = 2**27  # pixels of the output


def upscale_slide(source: Path, output: Path, request: Request, config: Config, run: SlideRun) -> SlideResult:
    """Upscale a slide into an OME-Zarr store, as `Upscaler.run_slide` does."""
    image, grid, request = _plan(source, request, config, run.block)
    store = SlideStore(output, image.layout.resize(grid.output_size), image.dtype, grid.block)
    watch, origin = Progress(), describe_origin(image, grid, config, request, adaptive=run.adaptive)
    resumes = run.resume and output.exists()
    if resumes:
        store.check_origin(origin)
    with watch.timed(Stage.TRAIN):
        learned = (resumes and _read_learned(store, config, request)) or _learn_slide(image, grid, config, request, run)
    if resumes:
        store.check_origin({"model": learned.digest})
    else:
        _make_store(store, image, grid, origin, learned)
    with watch.timed(Stage.APPLY):
        upsampler = share(run.executor, BlockUpsampler(grid, learned, config, request))
        kept = _do_blocks(store, 0, (_write_block, image, store, upsampler), run, max(grid.scale))
        averages = learned.models[0].kind != "labels" and image.nodata is None
        for number in range(1, len(store.levels)):
            _do_blocks(store, number, (_write_coarser, store, number, averages), run, 1.0)
    store.finish()
    count = len(store.blocks(0))
    return SlideResult(grid.size, grid.output_size, learned, count, kept, watch.seconds, request.seed)


def upscale_slide_region(
    source: Path, output: Path, box: tuple[int, int, int, int], request: Request, config: Config, run: SlideRun
) -> SlideResult:
    """Upscale a box (left, top, width, height) of a slide into a picture file, with the pixels of the whole's result.

    Of several images it is that in the middle.
    """
    image, grid, request = _plan(source, request, config, run.block)
    region = _find_region(box, grid, source)
    watch = Progress()
    with watch.timed(Stage.TRAIN):
        learned = _learn_slide(image, grid, config, request, run)
    with watch.timed(Stage.APPLY):
        upsampler = BlockUpsampler(grid, learned, config, request)
        pixels = run.call(_upscale_block, image, upsampler, _middle(image), region)
    colors = {1: "gray", 3: "rgb"}.get(len(pixels) - (image.alpha is not None), "bands")
    pixel_format = PixelFormat(colors, len(pixels), image.dtype, image.alpha)  # type: ignore[arg-type]
    target = OutputFormat.choose(output, pixel_format, region.size)
    write_picture(output, target, [pixels.transpose(1, 2, 0)], region.size, Metadata())
    return SlideResult((box[3], box[2]), region.size, learned, 1, 0, watch.seconds, request.seed)


def forecast_slide(source: Path, request: Request, config: Config, run: SlideRun) -> dict[str, object]:
    """Forecast what `upscale_slide` would give: learn, time one block, and return the facts ready for JSON."""
    image, grid, request = _plan(source, request, config, run.block)
    watch, blocks = Progress(), grid.blocks
    with watch.timed(Stage.TRAIN):
        learned = _learn_slide(image, grid, config, request, run)
    with watch.timed(Stage.APPLY):
        upsampler = BlockUpsampler(grid, learned, config, request)
        run.call(_upscale_block, image, upsampler, _middle(image), blocks[len(blocks) // 2])
    count = len(blocks) * len(image.layout.planes)
    return {
        "input_width": grid.size[1],
        "input_height": grid.size[0],
        "width": grid.output_size[1],
        "height": grid.output_size[0],
        "assumed": learned.models[0].assumed,
        "blocks": count,
        "seconds_per_block": round(watch.seconds["apply"], 3),
        "seconds": round(watch.seconds["train"] + count * watch.seconds["apply"], 3),
    }


def plan_grid(
    name: str, layout: Layout, request: Request, config: Config, block: int | None = None
) -> tuple[BlockGrid, Request]:
    """Return the blocks of an upscaled image, and the request by its scale. Raises `ZssrError` for what cannot be."""
    if config.wrap != "off":
        raise ConfigError("wrap: is not for slides, whose sides do not join")
    scale, size = request.output_size(layout.size)
    if max(scale) == 1:
        raise ImageError(f"{name}: the output is as large as the input, so that there is nothing to upscale")
    grid = BlockGrid.plan(layout.size, size, scale, config.patch_size, block)
    return grid, replace(request, scale=scale, size=None, fit="stretch")


def _plan(source: Path, request: Request, config: Config, block: int | None) -> tuple[SlideImage, BlockGrid, Request]:
    image = open_slide(source)
    return image, *plan_grid(str(source), image.layout, request, config, block)


def _learn_slide(image: SlideImage, grid: BlockGrid, config: Config, request: Request, run: SlideRun) -> Learned:
    learned = run.call(_learn_whole, image, config, request)
    if not run.adaptive or learned.photo.kind != "photo":
        return learned
    height, width = (side * REGION_CELLS for side in grid.cell)
    large = replace(grid, block=(height, width)).blocks
    places = {(one.rows.start // height, one.columns.start // width): grid.source_of(one) for one in large}
    shared, submit = share(run.executor, learned), run.executor.submit
    done = run.calls(lambda one: submit(_learn_region, image, shared, one[1], config, request), places.items())
    return learned.add({place: future.result() for (place, _), future in done})


def _learn_whole(image: SlideImage, config: Config, request: Request) -> Learned:
    post(str(image.path))
    context = make_worker_context(config, request, Progress(post_progress, str(image.path)))
    with torch_modes(str(image.path)):
        return learn(image.to_photo(_middle(image)), context)


def _learn_region(
    image: SlideImage, learned: Learned, region: Region, config: Config, request: Request
) -> Model | None:
    post(str(image.path))
    context = make_worker_context(config, request, Progress(post_progress, str(image.path)))
    photo = image.to_photo(_middle(image))
    with torch_modes(str(image.path)):
        return learn_anew(replace(learned.photo, rows=photo.rows, window=photo.window), learned, region, context)


def _upscale_block(image: SlideImage, upsampler: BlockUpsampler, plane: Plane, region: Region) -> NDArray[Any]:
    pixels = upsampler.upscale(region, partial(image.read, plane)).numpy()
    return to_dtype(pixels, image.dtype)


def _write_block(image: SlideImage, store: SlideStore, upsampler: BlockUpsampler, plane: Plane, block: Region) -> bool:
    """Write a block unless it is there; return whether it was not."""
    if store.holds(0, plane, block):
        return False
    store.write(0, plane, block, _upscale_block(image, upsampler, plane, block))
    return True


def _write_coarser(store: SlideStore, number: int, averages: bool, plane: Plane, block: Region) -> bool:
    return store.write_coarser(number, plane, block, averages=averages)


def _do_blocks(store: SlideStore, number: int, call: tuple[Any, ...], run: SlideRun, scale: float) -> int:
    """Do all blocks of a level, and return how many were there. Raises `ImageError` at the end if some failed.

    `call` is a function, and its arguments before those that say which block it is; it returns whether it was not
    there.
    """
    blocks, kept, failures = store.blocks(number), 0, list[str]()
    submit: Callable[..., Future[bool]] = run.executor.submit
    done = run.calls(lambda item: submit(*call, *item), blocks)
    for count, ((_, block), future) in enumerate(done, 1):
        if reason := _find_reason(future):
            failures.append(f"the block at ({block.columns.start}, {block.rows.start}) failed ({reason})")
            logger.warning("%s: %s", store.path, failures[-1])
        else:
            kept += not future.result()
        if number == 0:
            run.progress(ProgressEvent(Stage.APPLY, count, len(blocks), scale))
    if failures:
        told = f"{len(failures)} of {len(blocks)} blocks are not done, the others are; {failures[0]}"
        raise ImageError(f"{store.path}: {told}; --skip-existing does what is not there")
    return kept


def _find_reason(future: Future[bool]) -> str | None:
    """Return why a block failed, if it did. Raises `ConfigError`, with which all would."""
    try:
        future.result()
    except ConfigError:
        raise
    except Exception as error:
        return f"{error}" or type(error).__name__
    return None


def describe_origin(
    image: SlideImage, grid: BlockGrid, config: Config, request: Request, *, adaptive: bool
) -> dict[str, str]:
    """Describe what the blocks of a store are made from, and how."""
    settings = {key: value for key, value in asdict(config).items() if key not in _NOT_OF_PIXELS}
    asked = repr(replace(request, device="auto"))
    known = json.dumps([settings, asked, grid.block, image.layout.shape, adaptive], default=str)
    hashed = hashlib.sha256(known.encode()).hexdigest()
    return {"version": zssr.__version__, "source": image.path.name, "settings": hashed}


def _make_store(
    store: SlideStore, image: SlideImage, grid: BlockGrid, origin: dict[str, str], learned: Learned
) -> None:
    """Make the store in the place of one that is there, and keep in it what was learned."""
    if store.path.exists():
        if not any((store.path / name).is_file() for name in _OF_STORES):
            raise ImageError(f"{store.path}: is no Zarr store, and not replaced by one")
        shutil.rmtree(store.path)
    store.create(origin | {"model": learned.digest}, image.placement.rescale(grid.scale), image.omero)
    if content := encode_learned(learned):
        store.keep(content)


def _read_learned(store: SlideStore, config: Config, request: Request) -> Learned | None:
    content = store.kept()
    return decode_learned(content, make_worker_context(config, request)) if content else None


def _middle(image: SlideImage) -> Plane:
    planes = image.layout.planes
    return planes[len(planes) // 2]


def _find_region(box: tuple[int, int, int, int], grid: BlockGrid, source: Path) -> Region:
    """Return a box of the slide as a region of the output."""
    left, top, width, height = box
    if min(width, height) < 1 or min(left, top) < 0 or left + width > grid.size[1] or top + height > grid.size[0]:
        sides = f"{grid.size[1]}x{grid.size[0]}"
        raise ConfigError(
            f"--region: {left},{top},{width},{height} does not lie within {source}, which has {sides} pixels"
        )
    whole = Region.whole(grid.size)
    region = Region(whole.rows.cut(top, top + height), whole.columns.cut(left, left + width))
    region = region.scaled(grid.scale, grid.output_size)
    if region.size[0] * region.size[1] > _MOST_REGION:
        raise ConfigError(f"--region: {region.size[1]}x{region.size[0]} pixels are for a store, without --region")
    return region
