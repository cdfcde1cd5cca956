"""Bursts, top to bottom: several frames of one scene become one image, which none of them could.

1. **Register.** Each frame is registered with the reference, and its exposure undone.
2. **Estimate.** All frames together show their blur.
3. **Upscale** the reference, as a single image: the start, and what is taken where the frames say nothing.
4. **Fuse.** The image is found that gives all frames when it is moved, blurred and sampled like each of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, cast

import torch
from PIL import Image
from torch import Tensor

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.errors import ConfigError
from zssr.estimation.noise_level import estimate_noise_level
from zssr.geometry import Region
from zssr.images import Array, ImageLike, ImageT, pixels_of
from zssr.io.atomic import check_writable
from zssr.io.limits import Limits
from zssr.io.metadata import Keep
from zssr.io.output_format import OutputFormat
from zssr.io.reading import open_picture
from zssr.io.writing import write_picture
from zssr.methods import find_method
from zssr.model import Result
from zssr.multiframe.alignment import AlignedFrame, align_frames
from zssr.multiframe.burst_options import BurstOptions
from zssr.multiframe.frame_blur import FrameBlur, estimate_frame_blur
from zssr.multiframe.frames_of_burst import Frame, Page, choose_reference, load_frames
from zssr.multiframe.fusion import fuse
from zssr.photo import Photo
from zssr.pipeline import RunContext, collect_result, output_scale, resolve_degradation, upscale_image
from zssr.progress import Progress, ProgressCallback, Stage, count_calls
from zssr.request import Fit, KernelLike, Request, Scale, Size
from zssr.run_context import load_start_weights, start_run
from zssr.runtime import torch_modes


@dataclass(frozen=True)
class BurstResult(Generic[ImageT]):
    """The image that a burst became, and how.

    Attributes
    ----------
    result
        The image, and how the reference was upscaled.
    reference
        The name of the frame that it looks like.
    scores
        How much of each frame matches the reference, from 0 to 1, by the frames' names in their order.
    used
        How many frames were used: those that show the scene.
    blur
        That of the frames, if it was estimated from all of them.
    """

    result: Result[ImageT]
    reference: str
    scores: list[tuple[str, float]] = field(repr=False)
    used: int
    blur: FrameBlur | None

    @property
    def image(self) -> ImageT:
        """The image."""
        return self.result.image

    def to_dict(self) -> dict[str, object]:
        """Return the facts ready for JSON."""
        facts = self.result.to_dict()
        frames = [{"name": name, "score": round(score, 3)} for name, score in self.scores]
        blur = {} if self.blur is None else {"assumed": f"kernel: {self.blur}"}
        counts = {"frames_given": len(frames), "frames_used": self.used}
        return {**facts, **blur, "reference": self.reference, **counts, "frames": frames}


def upscale_burst(
    images: ImageLike | Sequence[ImageLike],
    scale: Scale = 2,
    *,
    options: BurstOptions | None = None,
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
) -> Image.Image | Array | Tensor:
    """Upscale several frames of one scene to one image, with what they show together (Tsai and Huang 1984).

    Parameters
    ----------
    images
        The frames: a sequence of images of any kind that `upscale` takes, alike or not; or one image that holds
        several, such as a TIFF stack, an animation, or a tensor (N, C, H, W).
    options
        Which frame is the reference, how the frames move, and how the image is reconstructed.

    All else is as in `upscale`. Returns an image like the reference. Raises `ZssrError`, one sentence.
    """
    config = Config.choose(preset, config, settings)
    request = Request(scale, size, kernel, device, seed, fit, nodata)
    return run_burst(images, request, config, options or BurstOptions(), progress).image


def run_burst(
    images: ImageLike | Sequence[ImageLike],
    request: Request,
    config: Config,
    options: BurstOptions,
    progress: ProgressCallback | None = None,
) -> BurstResult[Image.Image | Array | Tensor]:
    """Upscale a burst as `upscale_burst` does, and tell how."""
    _check_settings(config)
    with torch_modes("images"):
        burst = Burst.open(images, request, config, options, progress)
        return burst.run(lambda pixels: burst.reference.restore([pixels]))


def run_burst_files(
    sources: Sequence[str | Path],
    output: Path,
    request: Request,
    config: Config,
    options: BurstOptions,
    *,
    progress: ProgressCallback | None = None,
    keep: Keep = "all",
    allow_loss: bool = False,
    quality: int | None = None,
) -> BurstResult[None]:
    """Upscale picture files of one scene to one file, with the metadata of the reference; see `Upscaler.run_file`."""
    _check_settings(config)
    limits = Limits(config.max_MB, config.max_pixels)
    with torch_modes("images"):
        burst = Burst.open(list(sources), request, config, options, progress)
        page = cast("Page", burst.reference.page)  # all frames are files
        with open_picture(page, limits, burst.reference.name) as picture:
            scale, size = output_scale(burst.reference.photo, request)
            kept, layout = picture.metadata.select(keep), picture.pixel_format
            target = OutputFormat.choose(output, layout, size, allow_loss, quality, picture.is_lossless)
            check_writable(output)
            burst.context.progress.warn(*target.note_losses(kept))

            def write(pixels: Tensor) -> None:
                write_picture(output, target, [pixels_of(pixels, layout)], size, kept.rescale(scale, size))

            return burst.run(write)


@dataclass(frozen=True)
class Burst:
    """The frames of a burst, which of them is the reference, and the run."""

    frames: Sequence[Frame]
    index: int
    options: BurstOptions
    context: RunContext

    @classmethod
    def open(
        cls,
        images: ImageLike | Sequence[ImageLike],
        request: Request,
        config: Config,
        options: BurstOptions,
        progress: ProgressCallback | None,
    ) -> "Burst":
        """Read the frames and set up the run; raises `ZssrError` for what cannot be done, before any work."""
        method = find_method(config.method)
        frames = load_frames(images, Limits(config.max_MB, config.max_pixels), request.nodata)
        index = choose_reference(frames, options.reference)
        request.check_output_size(frames[index].photo.size, config.max_output_pixels)
        told, prior = Progress(progress, frames[index].name), load_start_weights(config, method)
        context = start_run(config, method, prior, request, told)
        context.progress.warn(*frames[index].notes)
        return cls(frames, index, options, context)

    @property
    def reference(self) -> Frame:
        """The frame that the result looks like."""
        return self.frames[self.index]

    def run(self, finish: Callable[[Tensor], ImageT]) -> BurstResult[ImageT]:
        """Register, estimate, upscale and fuse; `finish` takes the numbers (C', H, W) of the result."""
        aligned = self.register()
        used = [frame for frame in aligned if frame.is_used]
        degradation, blur = self.estimate(used)
        upscaled = upscale_image(self.reference.photo, self.context, degradation=degradation)
        pixels = torch.cat(list(upscaled.strips), dim=-2)
        pixels = self.fuse(used, pixels, degradation) if len(used) > 1 else pixels
        result = collect_result(finish(pixels), self.reference.photo.size, self.context, [upscaled], None)
        scores = [(frame.name, frame.score) for frame in aligned]
        return BurstResult(result, self.reference.name, scores, len(used), blur)

    def register(self) -> list[AlignedFrame]:
        """Register all frames with the reference; warn of those that show something else."""
        progress = self.context.progress
        with progress.timed(Stage.REGISTER):
            count = count_calls(progress.make_notifier(Stage.REGISTER, 1.0), len(self.frames))
            aligned = []
            for frame in align_frames(self.frames, self.index, self.options.motion):
                aligned.append(frame)
                count()
        strange = [f"{frame.name} does not show what the reference does, and is left out" for frame in aligned]
        progress.warn(*(note for note, frame in zip(strange, aligned, strict=True) if not frame.is_used))
        return aligned

    def estimate(self, used: Sequence[AlignedFrame]) -> tuple[Degradation, FrameBlur | None]:
        """Estimate the degradation of the reference; its blur from all frames, unless it is given."""
        degradation, _ = resolve_degradation(self.reference.photo, self.context)
        if not (isinstance(self.context.request.kernel, str) and self.context.request.kernel == "auto"):
            return degradation, None
        with self.context.progress.timed(Stage.ESTIMATE):
            blur = estimate_frame_blur(used)
        return degradation if blur is None else replace(degradation, kernel=blur.to_kernel(degradation.scale)), blur

    def fuse(self, used: Sequence[AlignedFrame], pixels: Tensor, degradation: Degradation) -> Tensor:
        """Fuse the frames with the numbers (C', H, W) that the reference alone gives; return the same kind."""
        photo, progress = self.reference.photo, self.context.progress
        single, opacity = enlarge_photo(photo, pixels).region(Region.whole((pixels.shape[-2], pixels.shape[-1])))
        sigma = estimate_noise_level(self.reference.colors[None]) / 255
        with progress.timed(Stage.FUSE):
            notify = progress.make_notifier(Stage.FUSE, max(degradation.scale))
            fused = fuse(used, single[0], degradation, sigma, self.options.reconstruction, notify)
        rows, columns = (
            ((torch.arange(n) + 0.5) / factor).long().clamp_max(most - 1)
            for n, factor, most in zip(pixels.shape[-2:], degradation.scale, photo.size, strict=True)
        )
        return photo.restore_numbers(photo.to_pixels(fused[None], opacity), photo.whole, rows, columns)


def enlarge_photo(photo: Photo, pixels: Tensor) -> Photo:
    """Return the numbers (C', H, W) that a photo became as a photo."""
    size, nodata = (pixels.shape[-2], pixels.shape[-1]), photo.nodata
    number = nodata if isinstance(nodata, float) else None
    return replace(photo, size=size, rows=lambda start, stop: pixels[:, start:stop], nodata=number)


def _check_settings(config: Config) -> None:
    if config.content == "labels":
        raise ConfigError('content: "labels" have no values between them, so that no burst of them can be fused')
    if config.wrap != "off":
        raise ConfigError('wrap: the sides of moving frames do not join; "off" is right for a burst')
