"""A picture of one frame, before and after: what a video would look like, in seconds."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zssr.errors import ImageError
from zssr.io.atomic import atomic_write
from zssr.video.neighbor_fusion import FUSED
from zssr.video.plan_video import VideoPlan
from zssr.video.planes import make_frame, read_planes
from zssr.video.source import VideoSource
from zssr.video.video_result import VideoResult
from zssr.video.windows import slide


def write_preview(plan: VideoPlan, output: Path) -> VideoResult:
    """Write a PNG beside the output: a frame interpolated by bicubic at the left, and upscaled at the right.

    It is one at the beginning of the part that is wanted, or in the middle of the whole.
    """
    upsampler, layout = plan.upsampler, plan.traits.layout
    count = 4 * FUSED + 1 if upsampler.fuses else 1  # neighbors are fused with theirs
    frames = take_frames(plan.source, plan.traits.frame_count / 2 / plan.traits.rate, count)
    frame, planes = frames[len(frames) // 2], [read_planes(one, layout) for one in frames]
    model = upsampler.fit(list(slide(iter(planes), upsampler.taken))[len(frames) // 2 :][:1])
    large = make_frame(upsampler.upscale_middle(planes, model), plan.settings.layout)
    large.color_primaries, large.color_trc, large.colorspace, large.color_range = plan.settings.colors
    height, width = plan.settings.size
    views = [to_pixels(one, width, height, frame.rotation) for one in (frame, large)]
    path = output.with_name(f"{output.stem}_preview.png")
    with atomic_write(path) as file:
        Image.fromarray(np.concatenate(views, 1)).save(file, "PNG")
    return VideoResult(path, plan.settings.size, 1, 1, "png", model, plan.context)


def take_frames(source: VideoSource, middle: float, count: int) -> list[av.VideoFrame]:
    """Return the first frames of a part, or those at `middle` seconds of the whole; there may be fewer."""
    begun = source if source.is_part else replace(source, start=float(middle))
    frames = list(islice(begun.frames(), count)) or list(islice(source.frames(), count))
    if not frames:
        raise ImageError(f"{source.path}: holds no frames in the part that is asked for")
    return frames


def draw_first_frame(path: Path) -> Image.Image:
    """Return the first frame of a video as it is shown."""
    (frame,) = take_frames(VideoSource(path), 0.0, 1)
    return Image.fromarray(np.ascontiguousarray(to_pixels(frame, frame.width, frame.height, frame.rotation)))


def to_pixels(frame: av.VideoFrame, width: int, height: int, rotation: int) -> NDArray[Any]:
    """Return a frame of a size as 8-bit RGB (H, W, 3), turned as it is shown."""
    rgb = frame.reformat(width, height, "rgb24", interpolation="BICUBIC")
    return np.rot90(rgb.to_ndarray(), rotation // 90)
