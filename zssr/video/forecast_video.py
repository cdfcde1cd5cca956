"""What to expect of a video: its size, and the time that upscaling it takes, by a trial on one frame."""

import time
from pathlib import Path

from zssr.config import Config
from zssr.io.formats import ANIMATION_SUFFIXES, writable_suffix
from zssr.request import Request
from zssr.runtime import torch_modes
from zssr.video.plan_video import plan_video
from zssr.video.planes import read_planes
from zssr.video.preview_frame import take_frames
from zssr.video.video_request import VideoOptions


def forecast_video(path: Path, request: Request, config: Config, options: VideoOptions) -> dict[str, object]:
    """Return the facts of a video that is not upscaled; one shot is assumed. Raises `ZssrError` as the work would."""
    writable = ".mkv" if path.suffix.lower() in ANIMATION_SUFFIXES else writable_suffix(path.suffix)
    with torch_modes(str(path)):
        plan = plan_video(path, writable, request, config, options)
        upsampler, count = plan.upsampler, 2 * plan.upsampler.taken + 1
        (frame,) = take_frames(plan.source, 0, 1)
        window = [read_planes(frame, plan.traits.layout)] * count
        start = time.perf_counter()
        model = upsampler.fit([window])
        fitted = time.perf_counter()
        large = upsampler.upscale(window, model)
        seen = [upsampler.see(window[0], large) for _ in range(2 * upsampler.reach(model) + 1)]
        fused = upsampler.fuse(seen, model)
        upsampler.average([fused._replace(frame=one) for one in seen], large, model)
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
