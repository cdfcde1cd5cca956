"""Videos on the command line: their options, and how they are upscaled and forecast."""

import argparse
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zssr.config import Config
from zssr.errors import ConfigError
from zssr.progress import ProgressCallback
from zssr.request import Request

OPTIONS = ("codec", "crf", "start", "duration", "deinterlace", "fuse", "preview", "allow_loss")
"""Options that `zssr.video` takes, too."""


def add_video_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only videos have."""
    add = parser.add_argument_group("videos (with the extra zssr[video])").add_argument
    add(
        "--codec",
        metavar="NAME",
        help="h264, hevc, av1, vp9, prores, ffv1, ...; default: the source's, if it is written",
    )
    add("--crf", type=float, metavar="N", help="quality of the frames: lower is better and larger; 0 is the best")
    add("--start", type=parse_time, default=0.0, metavar="TIME", help="begin there: seconds, or H:M:S")
    add("--duration", type=parse_time, metavar="TIME", help="upscale so much of it: seconds, or H:M:S")
    add(
        "--fuse",
        action=argparse.BooleanOptionalAction,
        help="use what the frames before and after know, or do not; default: use it with the method zssr",
    )
    add("--preview", action="store_true", help="write a picture of one frame before and after, and no video")
    add("--deinterlace", action="store_true", help="make interlaced frames progressive, instead of refusing them")
    add("--animate", action="store_true", help="upscale all frames of GIF, APNG and WebP animations")


def read_video_options(options: argparse.Namespace) -> dict[str, object]:
    """Return what was asked for of videos, as `VideoOptions` takes it."""
    return {name: getattr(options, name) for name in OPTIONS}


def parse_time(text: str) -> float:
    """Parse seconds, M:S or H:M:S."""
    parts = text.split(":")
    try:
        seconds = sum(float(part) * (1, 60, 3600)[k] for k, part in enumerate(reversed(parts)))
    except (ValueError, IndexError):
        seconds = -1.0
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f'"{text}" is no time: seconds, or H:M:S')
    return seconds


def upscale_clip(
    source: Path,
    output: Path,
    request: Request,
    config: Config,
    options: Mapping[str, Any],
    progress: ProgressCallback,
) -> dict[str, object]:
    """Upscale a video or an animation; return the facts."""
    _check_installed()
    from zssr.video.upscale_video import run_video
    from zssr.video.video_request import VideoOptions

    return run_video(source, output, request, config, VideoOptions(**options), progress).to_dict()


def forecast_clip(source: Path, request: Request, config: Config, options: Mapping[str, Any]) -> dict[str, object]:
    """Forecast the size of a video, and the time that upscaling it takes; return the facts."""
    _check_installed()
    from zssr.video.forecast_video import forecast_video
    from zssr.video.video_request import VideoOptions

    return forecast_video(source, request, config, VideoOptions(**options))


def _check_installed() -> None:
    if find_spec("av") is None:
        raise ConfigError("INPUT: videos need PyAV: pip install 'zssr[video]'")
