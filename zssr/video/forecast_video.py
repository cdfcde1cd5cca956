"""What to expect of a video: its size, and the time that upscaling it takes, by a trial on one frame."""

import time
from pathlib import Path

from zssr.config import Config
from zssr.io.formats import ANIMATION_SUFFIXES, writable_suffix
from zssr.request import Request
from zssr.runtime import torch_modes
from zssr.video.plan_video import plan_video
from zssr.video.planes import read_planes
from zssr.video.preview_frame import take_frame
from zssr.video.video_request import VideoOptions


def forecast_video(path: Path, request: Request, config: Config, options: VideoOptions) -> dict[str, object]:
    """Return the facts of a video that is not upscaled; one shot is assumed. Raises `ZssrError` as the work would."""
    writable = ".mkv" if path.suffix.lower() in ANIMATION_SUFFIXES else writable_suffix(path.suffix)
    with torch_modes(str(path)):
        plan = plan_video(path, writable, request, config, options)
        window = [read_planes(take_frame(plan.source, 0), plan.traits.layout)] * (2 * plan.upsampler.reach + 1)
        start = time.perf_counter()
        model = plan.upsampler.fit([window])
        fitted = time.perf_counter()
        plan.upsampler.upscale(window, model)
        seconds = fitted - start + plan.traits.frame_count * (time.perf_counter() - fitted)
    return {
        "input_width": plan.traits.size[1],
        "input_height": plan.traits.size[0],
        "width": plan.settings.size[1],
        "height": plan.settings.size[0],
        "frames": plan.traits.frame_count,
        "assumed": model.assumed,
        "seconds": round(seconds, 3),
    }
