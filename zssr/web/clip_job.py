"""The job of a short clip: upscaled like a photo, with one of its frames to look at."""

import time
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from zssr.config import Config
from zssr.errors import ConfigError, ImageError
from zssr.io.formats import VIDEO_SUFFIXES
from zssr.io.limits import Limits
from zssr.io.picture import PixelFormat
from zssr.request import Request
from zssr.web.messages import JobFacts, JobRequest, JobResult, Send, ServerLimits
from zssr.web.previews import to_jpeg
from zssr.web.reporter import ProgressReporter

_TRIAL = 0.3  # seconds of a clip that are tried


def is_clip(name: str) -> bool:
    """Tell whether an upload is taken for a video, by its name."""
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def upscale_clip_job(job: JobRequest, config: Config, request: Request, limits: ServerLimits, send: Send) -> JobResult:
    """Upscale a clip in the working folder. Raises `ZssrError` for one that is beyond the limits."""
    try:
        from zssr.video.preview_frame import draw_first_frame
        from zssr.video.source import VideoSource, read_traits
        from zssr.video.upscale_video import run_video
        from zssr.video.video_request import VideoOptions
    except ImportError as error:
        raise ConfigError("photo: videos are not taken here; they need the extra zssr[video]") from error

    start, source = time.perf_counter(), Path("clip" + Path(job.photo.name).suffix.lower())
    source.write_bytes(job.photo.content)
    traits = read_traits(VideoSource(source), Limits(max_pixels=limits.max_pixels))
    if traits.frame_count > limits.max_frames:
        raise ImageError(f"image: has {traits.frame_count} frames, more than max_frames = {limits.max_frames}")
    reporter = ProgressReporter(send, config, traits.size, PixelFormat("rgb", 3, np.dtype(np.uint8)))
    output = Path(job.output)
    options = VideoOptions(duration=_TRIAL if job.crop_only else None, allow_loss=True)
    result = run_video(source, output, request, config, options, reporter)
    after = draw_first_frame(output)
    Path("before.jpg").write_bytes(to_jpeg(draw_first_frame(source).resize(after.size, Image.Resampling.BICUBIC)))
    Path("after.jpg").write_bytes(to_jpeg(after))
    rest = {"scale": request.output_size(traits.size)[0][::-1], "noise": 0.0, "jpeg": None, "steps": None}
    unknown = {"expected_gain": None, "kernel": None, "reason": None}
    facts = result.to_dict() | rest | unknown | {"seconds": round(time.perf_counter() - start, 3)}
    return JobResult(None if job.crop_only else job.output, "before.jpg", "after.jpg", cast(JobFacts, facts))
