"""Upscale any region of a slide: cell by cell, so that the pixels do not depend on how it is cut into blocks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from zssr.config import Config
from zssr.executors import choose_gpu, worker_slot
from zssr.filling import FILL_REACH
from zssr.geometry import Region
from zssr.inference.blockwise import upscale_to_pixels
from zssr.inference.regions import RegionUpsampler
from zssr.inference.texture_synthesis import texture_margin
from zssr.method import Method, StartWeights
from zssr.methods import find_method
from zssr.model import Model
from zssr.photo import Photo
from zssr.pipeline import RunContext, check_compatible, plan_upsampler
from zssr.progress import Progress
from zssr.request import Request
from zssr.run_context import load_start_weights, start_run
from zssr.runtime import torch_modes
from zssr.slides.layout import BlockGrid, intersect
from zssr.slides.learning import Learned, read_by
from zssr.training.pairs import SMALLEST_FATHER

_AROUND = 4  # pixels around a region by which its values are bounded


@dataclass(frozen=True)
class BlockUpsampler:
    """Upscales regions of one slide.

    Attributes
    ----------
    grid, learned
        How the slide is cut, and what was learned from it.
    config, request
        As `Upscaler` takes them.
    """

    grid: BlockGrid
    learned: Learned
    config: Config
    request: Request

    def upscale(self, region: Region, read: Callable[[Region], Tensor]) -> Tensor:
        """Upscale a region of the output, (C, h, w); `read` reads regions of the slide, with any margin."""
        context = make_worker_context(self.config, self.request)
        photo = read_by(self.learned.photo, read)
        whole: Tensor | None = None
        with torch_modes("image"):
            for cell in self.grid.cells_of(region):
                pixels = self._upscale_cell(cell, photo, context)
                (rows, columns), (cell_rows, cell_columns) = intersect(region, cell)
                if whole is None:
                    whole = pixels.new_empty(len(pixels), *region.size)
                whole[:, rows, columns] = pixels[:, cell_rows, cell_columns]
        return torch.empty(0) if whole is None else whole

    def margin(self) -> int:
        """Return how far beyond a region of the slide is read to upscale it, at most."""
        context = make_worker_context(self.config, self.request)
        return max(_find_margin(self._plan(model, self.learned.photo, context), model) for model in self.learned.models)

    def _upscale_cell(self, cell: Region, photo: Photo, context: RunContext) -> Tensor:
        model, source = self.learned.choose(self.grid.number(cell)), self.grid.source_of(cell)
        if model.kind == "labels":
            return _enlarge_cell(photo, cell)
        upsampler = self._plan(model, photo, replace(context, runtime=replace(context.runtime)))
        networks = [network.to(context.runtime.compute.device) for network in model.networks]
        has_texture = self.config.texture and min(photo.size) >= SMALLEST_FATHER
        texture = model.texture.to(context.runtime.compute.device) if model.texture and has_texture else None
        pixels = upscale_to_pixels(upsampler, source, networks, texture)
        (rows, columns), _ = intersect(upsampler.cascade.scaled(source), cell)
        return pixels[:, rows, columns]

    def _plan(self, model: Model, photo: Photo, context: RunContext) -> RegionUpsampler:
        upsampler = plan_upsampler(photo, model.degradation.at_scale(self.grid.scale), context)
        check_compatible(model, upsampler)
        return upsampler


def make_worker_context(config: Config, request: Request, progress: Progress | None = None) -> RunContext:
    """Make the context of a call in a worker, which reads the start weights once, and takes its own GPU."""
    method, prior = _load(config)
    return start_run(config, method, prior, choose_gpu(request, worker_slot()), progress or Progress())


@lru_cache(2)
def _load(config: Config) -> tuple[Method, StartWeights | None]:
    method = find_method(config.method)
    return method, load_start_weights(config, method)


def _find_margin(upsampler: RegionUpsampler, model: Model) -> int:
    """Return how far a region depends on the slide: by its networks, its interpolation, its texture, and holes."""
    cascade, method = upsampler.cascade, upsampler.method
    networks = max((read for read, _ in cascade.margins(model.networks, upsampler.config.back_projection)), default=0)
    reach = cascade.back_projection_radius(-1, upsampler.config.back_projection) if cascade.steps else 0
    if upsampler.reconstruct and cascade.steps:
        reach = method.reach(cascade.photo_degradations[-1])
    texture = texture_margin(upsampler, model.texture) + _AROUND if model.texture else 0
    return max(networks, method.support + 1 + reach) + texture + _AROUND + FILL_REACH


def _enlarge_cell(photo: Photo, cell: Region) -> Tensor:
    """Enlarge labels by nearest neighbor, to a region of the output."""
    rows, columns = (
        (2 * torch.arange(one.start, one.stop) + 1) * small // (2 * one.length)
        for one, small in zip((cell.rows, cell.columns), photo.size, strict=True)
    )
    whole = Region.whole(photo.size)
    first = (int(rows[0]), int(columns[0]))
    source = Region(whole.rows.cut(first[0], int(rows[-1]) + 1), whole.columns.cut(first[1], int(columns[-1]) + 1))
    return photo.stored_numbers(source)[:, (rows - first[0])[:, None], columns - first[1]]
