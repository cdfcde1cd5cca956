"""From one video file to a larger one: scan, learn from each shot, upscale and encode, and join all that there is."""

import hashlib
from dataclasses import asdict
from pathlib import Path

import av
import numpy as np
import torch

import zssr
from zssr.config import Config
from zssr.errors import ImageError
from zssr.io.atomic import check_writable
from zssr.io.formats import ANIMATION_SUFFIXES
from zssr.progress import Progress, ProgressCallback, Stage
from zssr.request import Fit, KernelLike, Request, Scale, Size
from zssr.runtime import torch_modes
from zssr.video.animation import upscale_animation
from zssr.video.encoders import CONTAINERS
from zssr.video.plan_video import VideoPlan, plan_video
from zssr.video.preview_frame import write_preview
from zssr.video.remux import Remux, find_losses
from zssr.video.segment_store import SegmentStore
from zssr.video.shots import scan
from zssr.video.upscale_shots import SEGMENT_FRAMES, ShotUpscaling
from zssr.video.video_request import VideoOptions
from zssr.video.video_result import VideoResult

_HASHED = 2**20  # bytes of a source's start and end that tell it from others


def upscale_video(
    source: str | Path,
    output: str | Path,
    scale: Scale = 2,
    *,
    size: Size | None = None,
    fit: Fit = "stretch",
    preset: str = "default",
    config: Config | None = None,
    kernel: KernelLike = "auto",
    device: str | torch.device = "auto",
    seed: int = 0,
    options: VideoOptions | None = None,
    progress: ProgressCallback | None = None,
    **settings: object,
) -> VideoResult:
    """Upscale a video file into another, with its sound, subtitles, timing and colors as they were.

    A network is trained for each shot, on some of its frames. A run that was killed goes on where it was when it is
    called again with the same arguments; the output is there as a whole or not at all.

    Parameters
    ----------
    source, output
        Paths, to .mp4, .m4v, .mov, .mkv or .webm; and animations, from and to .gif, .png, .apng and .webp.
    options
        Codec, quality, the part that is wanted, and other things that only videos have.

    All else is as in `zssr.upscale`. Raises `ZssrError`, one sentence about what is wrong.
    """
    config = Config.choose(preset, config, settings)
    request = Request(scale, size, kernel, device, seed, fit)
    return run_video(Path(source), Path(output), request, config, options or VideoOptions(), progress)


def run_video(
    path: Path,
    output: Path,
    request: Request,
    config: Config,
    options: VideoOptions,
    callback: ProgressCallback | None = None,
) -> VideoResult:
    """Upscale a video file as `upscale_video` does: the steps, one after the other."""
    check_output(path, output)
    if path.suffix.lower() in ANIMATION_SUFFIXES:
        return upscale_animation(path, output, request, config, callback)
    events = Progress(callback)
    with torch_modes(str(path)):
        plan = plan_video(path, output.suffix.lower(), request, config, options)
        source, settings, progress = plan.source, plan.settings, plan.context.progress
        if options.preview:
            return write_preview(plan, output)
        progress.warn(*settings.notes, *find_losses(source, output, allow_loss=options.allow_loss))
        with progress.timed(Stage.SCAN):
            timeline = scan(source, plan.traits, events.make_notifier(Stage.SCAN, 1.0))
        segments = SegmentStore.open(output, make_key(plan))
        notify = events.make_notifier(Stage.FRAMES, max(plan.scale))
        model = ShotUpscaling(source, timeline, plan.upsampler, settings, segments).run(notify)
        if refused := Remux(source, settings, timeline).write(output, segments):
            progress.warn(f"damaged packets of its sound or subtitles are left out: {refused}")
        segments.remove()
    count, shots = len(timeline.times), len(timeline.shots)
    return VideoResult(output, settings.size, count, shots, settings.codec, model, plan.context)


def check_output(path: Path, output: Path) -> None:
    """Raise `ImageError` for an output that cannot be written, or is the source."""
    known = list(ANIMATION_SUFFIXES if path.suffix.lower() in ANIMATION_SUFFIXES else CONTAINERS)
    if output.suffix.lower() not in known:
        raise ImageError(f'{output}: the output format "{output.suffix}" is unknown; known are {", ".join(known)}')
    check_writable(output)
    if path.exists() and output.exists() and path.samefile(output):
        raise ImageError(f"{output}: is the source; another name is needed")


def make_key(plan: VideoPlan) -> dict[str, object]:
    """Return all that the segments of a video depend on."""
    source, settings, context = plan.source, plan.settings, plan.context
    request, kernel = context.request, context.request.load_kernel(settings.traits.size)
    return {
        "versions": [zssr.__version__, av.__version__, torch.__version__],
        "source": [hash_ends(source.path), source.start, source.duration, source.deinterlaces],
        "request": [request.scale, request.size, request.seed, str(context.runtime.compute)],
        "kernel": kernel.tolist() if isinstance(kernel, np.ndarray) else repr(kernel),
        "config": asdict(context.config),
        "encoder": [settings.kind.encoder, dict(settings.kind.options), settings.crf, settings.pixel_format],
        "segment": SEGMENT_FRAMES,
        "fuse": plan.upsampler.fuses,
    }


def hash_ends(path: Path) -> str:
    """Return what tells a file from others: its size, and a hash of its start and end."""
    with path.open("rb") as file:
        start = file.read(_HASHED)
        size = file.seek(0, 2)
        file.seek(max(0, size - _HASHED))
        return f"{size}-{hashlib.sha256(start + file.read()).hexdigest()}"
