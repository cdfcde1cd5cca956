"""A picture of one frame, before and after: what a video would look like, in seconds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zssr.errors import ImageError
from zssr.io.atomic import atomic_write
from zssr.video.plan_video import VideoPlan
from zssr.video.planes import make_frame, read_planes
from zssr.video.source import VideoSource
from zssr.video.video_result import VideoResult


def write_preview(plan: VideoPlan, output: Path) -> VideoResult:
    """Write a PNG beside the output: a frame interpolated by bicubic at the left, and upscaled at the right.

    It is the first of the part that is wanted, or that in the middle of the whole.
    """
    frame = take_frame(plan.source, plan.traits.frame_count / 2 / plan.traits.rate)
    window = [read_planes(frame, plan.traits.layout)] * (2 * plan.upsampler.reach + 1)
    model = plan.upsampler.fit([window])
    large = make_frame(plan.upsampler.upscale(window, model), plan.settings.layout)
    large.color_primaries, large.color_trc, large.colorspace, large.color_range = plan.settings.colors
    height, width = plan.settings.size
    views = [to_pixels(one, width, height, frame.rotation) for one in (frame, large)]
    path = output.with_name(f"{output.stem}_preview.png")
    with atomic_write(path) as file:
        Image.fromarray(np.concatenate(views, 1)).save(file, "PNG")
    return VideoResult(path, plan.settings.size, 1, 1, "png", model, plan.context)


def take_frame(source: VideoSource, middle: float) -> av.VideoFrame:
    """Return the first frame of a part, or that at `middle` seconds of the whole."""
    begun = source if source.is_part else replace(source, start=float(middle))
    frame = next(begun.frames(), None) or next(source.frames(), None)
    if frame is None:
        raise ImageError(f"{source.path}: holds no frames in the part that is asked for")
    return frame


def draw_first_frame(path: Path) -> Image.Image:
    """Return the first frame of a video as it is shown."""
    frame = take_frame(VideoSource(path), 0.0)
    return Image.fromarray(np.ascontiguousarray(to_pixels(frame, frame.width, frame.height, frame.rotation)))


def to_pixels(frame: av.VideoFrame, width: int, height: int, rotation: int) -> NDArray[Any]:
    """Return a frame of a size as 8-bit RGB (H, W, 3), turned as it is shown."""
    rgb = frame.reformat(width, height, "rgb24", interpolation="BICUBIC")
    return np.rot90(rgb.to_ndarray(), rotation // 90)
