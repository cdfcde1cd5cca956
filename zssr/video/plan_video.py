"""What is known of a video before its frames are decoded: size, encoder, and how frames are upscaled."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from zssr.config import Config
from zssr.io.limits import Limits
from zssr.pipeline import RunContext
from zssr.progress import Progress
from zssr.request import Request
from zssr.run_context import make_context
from zssr.video.encoders import EncoderSettings, choose_encoder, round_size
from zssr.video.frame_upsampler import FrameUpsampler
from zssr.video.source import VideoSource, VideoTraits, read_traits
from zssr.video.video_request import VideoOptions


@dataclass(frozen=True)
class VideoPlan:
    """How a video is upscaled.

    Attributes
    ----------
    source, traits
        The file, and what its frames have in common.
    settings
        How frames are encoded.
    upsampler
        How frames are upscaled.
    """

    source: VideoSource
    traits: VideoTraits
    settings: EncoderSettings
    upsampler: FrameUpsampler

    @property
    def context(self) -> RunContext:
        """The context in which frames are upscaled."""
        return self.upsampler.context

    @property
    def scale(self) -> tuple[float, float]:
        """The scale (vertical, horizontal) of frames as they are stored."""
        return self.context.request.output_size(self.traits.size)[0]


def plan_video(path: Path, suffix: str, request: Request, config: Config, options: VideoOptions) -> VideoPlan:
    """Plan how a video becomes a file of a suffix. Raises `ZssrError` for what cannot be done."""
    source = VideoSource(path, options.start, options.duration, options.deinterlace)
    traits = read_traits(source, Limits(max_pixels=config.max_pixels))
    request, size = choose_size(request, traits, config)
    settings = choose_encoder(traits, size, suffix, options)
    config = config.replace(self_ensemble=config.choose_self_ensemble(math.inf))  # of all frames
    context = make_context(config, request, Progress(name=str(path)))
    fuses = context.method.name == "zssr" if options.fuse is None else options.fuse
    return VideoPlan(source, traits, settings, FrameUpsampler(traits, settings.layout, context, fuses))


def choose_size(request: Request, traits: VideoTraits, config: Config) -> tuple[Request, tuple[int, int]]:
    """Return the request for the frames as they are stored, and the size (H, W) of the result.

    What is asked for is about the frames as they are shown. Sizes are rounded to what the pixel format can hold. Raises
    `ImageError` for sizes beyond the limits.
    """
    if traits.is_turned:
        vertical, horizontal = request.scale if isinstance(request.scale, tuple) else (request.scale, request.scale)
        turned = None if request.size is None else (request.size[1], request.size[0])
        request = replace(request, scale=(horizontal, vertical), size=turned)
    _, size = request.check_output_size(traits.size, config.max_output_pixels)
    rounded = round_size(size, traits.layout)
    return request if rounded == size else replace(request, size=rounded, fit="stretch"), rounded
