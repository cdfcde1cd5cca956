"""What comes in and what goes out: `upscale` one image, or set up an `Upscaler` for more."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import BinaryIO, TypeVar, overload

import torch
from PIL import Image
from torch import Tensor

from zssr.batches import BatchRunner
from zssr.blind import estimate_kernel, fit_spectra
from zssr.config import Config
from zssr.degradation.named_kernels import is_kernel_name
from zssr.errors import ConfigError, ImageError
from zssr.forecast import Forecast, estimate_steps, forecast, measure_gain
from zssr.images import Array, FileOrPillow, ImageLike, LazyArray, load, photo_of, pixels_of
from zssr.io.atomic import check_writable
from zssr.io.frames import FilePage
from zssr.io.limits import Limits
from zssr.io.metadata import Keep
from zssr.io.output_format import OutputFormat
from zssr.io.picture import Picture
from zssr.io.reading import FileSource, open_picture, to_source
from zssr.io.writing import write_picture
from zssr.method import StartWeights
from zssr.methods import find_method, list_frame_methods, list_methods
from zssr.model import Model, Result
from zssr.pipeline import RunContext, collect_result, fit_model, resolve_degradation, shrink_photo, upscale_image
from zssr.progress import Progress, ProgressCallback
from zssr.request import Fit, KernelLike, Request, Scale, Size
from zssr.run_context import load_start_weights, start_run
from zssr.runtime import torch_modes

__all__ = [
    "Result",
    "Upscaler",
    "estimate_kernel",
    "estimate_steps",
    "find_method",
    "fit_spectra",
    "is_kernel_name",
    "list_frame_methods",
    "list_methods",
    "upscale",
]

ArrayT = TypeVar("ArrayT", bound=Array | Tensor)
AnyArrayT = TypeVar("AnyArrayT", bound=Array | Tensor | LazyArray)


@overload
def upscale(
    image: FileOrPillow,
    scale: Scale = 2,
    *,
    size: Size | None = None,
    fit: Fit = "stretch",
    preset: str = "default",
    config: Config | None = None,
    kernel: KernelLike = "auto",
    device: str | torch.device = "auto",
    seed: int = 0,
    nodata: float | None = None,
    progress: ProgressCallback | None = None,
    **settings: object,
) -> Image.Image | Array: ...
@overload
def upscale(
    image: AnyArrayT,
    scale: Scale = 2,
    *,
    size: Size | None = None,
    fit: Fit = "stretch",
    preset: str = "default",
    config: Config | None = None,
    kernel: KernelLike = "auto",
    device: str | torch.device = "auto",
    seed: int = 0,
    nodata: float | None = None,
    progress: ProgressCallback | None = None,
    **settings: object,
) -> AnyArrayT: ...
def upscale(
    image: ImageLike | LazyArray,
    scale: Scale = 2,
    *,
    size: Size | None = None,
    fit: Fit = "stretch",
    preset: str = "default",
    config: Config | None = None,
    kernel: KernelLike = "auto",
    device: str | torch.device = "auto",
    seed: int = 0,
    nodata: float | None = None,
    progress: ProgressCallback | None = None,
    **settings: object,
) -> Image.Image | Array | Tensor | LazyArray:
    """Upscale one image by a network that is trained on it, and saw no other photo (Shocher, Cohen, Irani 2018).

    Parameters
    ----------
    image
        A picture file (its path, its bytes or the open binary file), a PIL image, a numpy array (H, W) or (H, W, C), or
        a torch tensor (C, H, W) or (N, C, H, W) with any number of channels; uint8, uint16 or floats in [0, 1]; not
        modified. Each image of a batch has its own network. A Dask array gives one that is computed block by block.
    scale, size, fit
        A number from 1 to 100 or a pair (vertical, horizontal), fractions too; or the output size (H, W) instead, of
        which one may be None; whether that may "stretch" the image, is to be "exact", or a box to "contain" it.
    kernel, device, seed
        What made the image small, by name or as a blur kernel, which "auto" estimates; where to compute; the source of
        randomness: the same seed, device and versions give the same pixels on a CPU. See `Request`.
    nodata
        The number that stands for no data, beside NaN; then floats may be of any range. It is kept.
    preset, config, **settings
        "fast", "default" or "best", a choice between time and quality, or all settings instead; and single ones, such
        as `num_epochs=500` (see `Config`).
    progress
        Called with a `ProgressEvent` after each step; it may stop the run by raising.

    Returns an array or tensor like `image`; for a picture file or PIL image a PIL image, or an array if Pillow has no
    mode for it. Raises `ZssrError`, one sentence about what is wrong: an `ImageError`, `KernelError` or `ConfigError`.
    """
    config = Config.choose(preset, config, settings)
    request = Request(scale, size, kernel, device, seed, fit, nodata)
    if isinstance(image, LazyArray):
        from zssr.slides.lazy import upscale_lazily  # other images do not wait for it

        return upscale_lazily(image, request, config, progress)
    return Upscaler(config).run(image, request, progress=progress).image


class Upscaler(BatchRunner):
    """Upscales images with one configuration; the prior (the start weights of training) is read once."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = Config.choose("default", config, {})
        self._method = find_method(self.config.method)
        self._limits = Limits(self.config.max_MB, self.config.max_pixels)

    @overload
    def run(
        self,
        image: FileOrPillow,
        request: Request | Scale = 2.0,
        *,
        progress: ProgressCallback | None = None,
        model: Model | None = None,
    ) -> Result[Image.Image | Array]: ...
    @overload
    def run(
        self,
        image: ArrayT,
        request: Request | Scale = 2.0,
        *,
        progress: ProgressCallback | None = None,
        model: Model | None = None,
    ) -> Result[ArrayT]: ...
    def run(
        self,
        image: ImageLike,
        request: Request | Scale = 2.0,
        *,
        progress: ProgressCallback | None = None,
        model: Model | None = None,
    ) -> Result[Image.Image | Array | Tensor]:
        """Upscale one image as `upscale` does, and tell how it was made.

        A `model` was fitted to photos that are like this one, by `fit` or in an earlier run: then nothing is trained.
        """
        request = Request.of(request)
        with torch_modes("image"), closing(load(image, self._limits, request.nodata)) as batch:
            for photo in batch.photos:
                request.check_output_size(photo.size, self.config.max_output_pixels)
            name = str(image) if isinstance(image, (str, PathLike)) else None
            context = self._start(request, progress, model, name)
            context.progress.warn(*batch.notes, *(note for photo in batch.photos for note in photo.notes))
            outputs, upscaled = [], []
            for photo in batch.photos:
                upscaled.append(upscale_image(photo, context, model))
                outputs.append(torch.cat(list(upscaled[-1].strips), dim=-2))
            gain = measure_gain(batch.photos[-1], upscaled[-1].model, context)
            return collect_result(batch.restore(outputs), batch.photos[-1].size, context, upscaled, gain)

    def run_file(
        self,
        source: FileSource,
        output: str | Path | BinaryIO,
        request: Request | Scale = 2.0,
        *,
        progress: ProgressCallback | None = None,
        model: Model | None = None,
        name: str | None = None,
        suffix: str | None = None,
        keep: Keep = "all",
        allow_loss: bool = False,
        quality: int | None = None,
    ) -> Result[None]:
        """Upscale a picture file into another, atomically, with everything around its pixels, in bounded memory.

        Parameters
        ----------
        source, output
            Paths; or a `FilePage`, the bytes of a picture file or an open one (error messages call it `name`), and a
            binary file to write to (`suffix`, such as ".png", is its format).
        keep, allow_loss, quality
            Which metadata are kept: "all", those of how "colors" are to look, or "nothing"; whether to go on if the
            output's format cannot hold the transparency, bit depth or colors; and of lossy formats, 1 to 100, which is
            lossless where the format can be (None: the format's usual one; lossless files stay so).

        All else is as in `run`. Raises `ZssrError` before any work, if it can be; an existing file stays as it was.
        """
        request = Request.of(request)
        output = Path(output) if isinstance(output, str) else output
        with self._open(source, name) as picture, torch_modes(picture.name):
            kept = picture.metadata.select(keep)
            scale, size = request.check_output_size(picture.size, self.config.max_output_pixels)
            where = output if isinstance(output, Path) else Path(picture.name + (suffix or ""))
            target = OutputFormat.choose(where, picture.pixel_format, size, allow_loss, quality, picture.is_lossless)
            if isinstance(output, Path):
                check_writable(output)
            context = self._start(request, progress, model, picture.name)
            context.progress.warn(*picture.notes, *target.note_losses(kept))
            photo = photo_of(picture, request.nodata, keeps_nodata=target.stored.dtype == target.source.dtype)
            context.progress.warn(*photo.notes)
            upscaled = upscale_image(photo, context, model)
            strips = (pixels_of(strip, picture.pixel_format) for strip in upscaled.strips)
            write_picture(output, target, strips, size, kept.rescale(scale, size))
            return collect_result(None, photo.size, context, [upscaled], measure_gain(photo, upscaled.model, context))

    def write_son(self, source: FileSource, output: Path, request: Request | Scale = 2.0) -> tuple[int, int]:
        """Write a picture file's son; return the size (H, W) of its father, a multiple of the scale."""
        request = Request.of(request)
        with self._open(source, None) as picture, torch_modes(picture.name):
            photo, context = photo_of(picture), self._start(request, name=picture.name)
            degradation, _ = resolve_degradation(photo, context)
            small, size = shrink_photo(photo, degradation, request.seed)
            small_size = (small.shape[-2], small.shape[-1])
            target = OutputFormat.choose(output, picture.pixel_format, small_size)
            strips = [pixels_of(small, picture.pixel_format)]
            write_picture(output, target, strips, small_size, picture.metadata.select("nothing"))
        return size

    def fit(
        self,
        sources: Sequence[str | Path | FilePage],
        request: Request | Scale = 2.0,
        *,
        progress: ProgressCallback | None = None,
    ) -> Model:
        """Fit one model to picture files that are alike, such as frames or tiles; `run` and `run_file` take it.

        Their degradation is estimated from the first. Raises `ImageError` if they differ in their channels.
        """
        if not sources or isinstance(sources, (str, Path)):
            raise ImageError("sources: a list of picture files is needed, of at least one")
        request = Request.of(request)
        with ExitStack() as open_files, torch_modes("image"):
            pictures = [open_files.enter_context(self._open(source, None)) for source in sources]
            photos = [photo_of(picture, request.nodata) for picture in pictures]
            for picture, photo in zip(pictures, photos, strict=True):
                if photo.channels != photos[0].channels:
                    has = f"has {photo.channels} channels, and {pictures[0].name} {photos[0].channels}"
                    raise ImageError(f"{picture.name}: {has}; photos that share weights have as many")
            return fit_model(photos, self._start(request, progress, name=", ".join(one.name for one in pictures[:3])))

    def forecast(self, source: FileSource, request: Request | Scale = 2.0, *, name: str | None = None) -> Forecast:
        """Forecast what upscaling a picture file would give and how long it would take, by a brief trial."""
        request = Request.of(request)
        with self._open(source, name) as picture, torch_modes(picture.name):
            request.check_output_size(picture.size, self.config.max_output_pixels)
            return forecast(photo_of(picture, request.nodata), self._start(request, name=picture.name))

    def _open(self, source: FileSource, name: str | None) -> Picture:
        return open_picture(to_source(source, name or "source", self._limits), self._limits, name)

    @cached_property
    def _prior(self) -> StartWeights | None:
        return load_start_weights(self.config, self._method)

    def _start(
        self,
        request: Request,
        progress: ProgressCallback | None = None,
        model: Model | None = None,
        name: str | None = None,
    ) -> RunContext:
        if not isinstance(model, (Model, type(None))):
            raise ConfigError(f"model: a Model is needed, not {type(model).__name__}; fit makes one")
        if self._method.takes_frames:
            raise ConfigError(f'method: "{self._method.name}" takes several frames of a video, not a photo')
        return start_run(self.config, self._method, self._prior, request, Progress(progress, name))
