"""Animations: GIF, APNG and WebP, upscaled frame by frame into an animation."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from zssr.config import Config
from zssr.errors import ImageError
from zssr.images import photo_of, pixels_of
from zssr.io.atomic import atomic_write
from zssr.io.decoding import translate_errors
from zssr.io.limits import Limits
from zssr.io.picture import Picture
from zssr.io.pillow import from_pillow
from zssr.io.reading import count_pages
from zssr.model import Model
from zssr.pipeline import RunContext, fit_model, upscale_image
from zssr.progress import Progress, ProgressCallback, Stage
from zssr.request import Request
from zssr.run_context import make_context
from zssr.runtime import torch_modes
from zssr.video.frame_upsampler import SAMPLES
from zssr.video.video_result import VideoResult
from zssr.video.windows import spread

_USUAL_DURATION = 100  # milliseconds, where none is said
_FORMATS = {".gif": "GIF", ".png": "PNG", ".apng": "PNG", ".webp": "WEBP"}


@dataclass(frozen=True)
class Animation:
    """An animation in a file: its number of frames, how long each is shown in milliseconds, and how often all are."""

    path: Path
    durations: list[int]
    loop: int | None

    @classmethod
    def read(cls, path: Path, limits: Limits) -> "Animation":
        """Read what an animation is like. Raises `ImageError` for a file that is damaged or too large."""
        count = count_pages(path, limits)
        with translate_errors(str(path)), Image.open(path) as image:
            limits.check_size(str(path), (image.height, image.width))
            durations = []
            for k in range(count):
                image.seek(k)
                image.load()  # before, that of WebP is not known
                durations.append(round(image.info.get("duration") or _USUAL_DURATION))
            return cls(path, durations, image.info.get("loop"))

    def pictures(self) -> Iterator[Picture]:
        """Yield the frames as they are shown."""
        with translate_errors(str(self.path)), Image.open(self.path) as image:
            for k in range(len(self.durations)):
                image.seek(k)
                yield from_pillow(Image.frombytes("RGBA", image.size, image.convert("RGBA").tobytes()))


def upscale_animation(
    path: Path, output: Path, request: Request, config: Config, callback: ProgressCallback | None = None
) -> VideoResult:
    """Upscale an animation into another, by one network that is trained on some of its frames."""
    animation = Animation.read(path, Limits(config.max_MB, config.max_pixels))
    config = config.replace(self_ensemble=config.choose_self_ensemble(math.inf))  # of all frames
    context = make_context(config, request, Progress(name=str(path)))
    count = len(animation.durations)
    notify = Progress(callback).make_notifier(Stage.FRAMES, 1.0)
    with torch_modes(str(path)), context.progress.timed(Stage.FRAMES):
        samples = [photo_of(one) for k, one in enumerate(animation.pictures()) if k in spread(count, SAMPLES)]
        _, size = request.check_output_size(samples[0].size, config.max_output_pixels / count)
        model = fit_model(samples, context)
        frames = []
        for k, picture in enumerate(animation.pictures()):
            frames.append(_upscale(picture, model, context))
            notify(k + 1, count)
    _write(output, frames, animation)
    return VideoResult(output, size, count, 1, _FORMATS[output.suffix.lower()].lower(), model, context)


def _upscale(picture: Picture, model: Model, context: RunContext) -> Image.Image:
    settled = replace(context, config=context.config.replace(content=model.kind))
    strips = upscale_image(photo_of(picture), settled, model).strips
    return Image.fromarray(pixels_of(torch.cat(list(strips), -2), picture.pixel_format))


def _write(output: Path, frames: list[Image.Image], animation: Animation) -> None:
    """Write an animation, whole or not at all."""
    suffix = output.suffix.lower()
    options: dict[str, object] = {"duration": animation.durations}
    if animation.loop is not None:
        options["loop"] = animation.loop
    if suffix == ".webp":
        options |= {"lossless": animation.path.suffix.lower() != ".webp", "quality": 90}
    else:
        options |= {"disposal": 2 if suffix == ".gif" else 1}
    try:
        with atomic_write(output) as file:
            frames[0].save(file, _FORMATS[suffix], save_all=True, append_images=frames[1:], **options)
    except (ValueError, SystemError) as error:
        raise ImageError(f"{output}: cannot be written ({error})") from error
