"""zssr: upscale one photo by a network that is trained on that photo alone."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zssr.api import Upscaler, upscale
    from zssr.batches import Outcome
    from zssr.blind import estimate_kernel
    from zssr.config import Config
    from zssr.errors import ConfigError, ImageError, KernelError, ZssrError
    from zssr.estimation.blur_kernel import KernelEstimate
    from zssr.forecast import Forecast
    from zssr.io.frames import FilePage
    from zssr.model import Model, Result
    from zssr.multiframe.burst import BurstResult, upscale_burst
    from zssr.multiframe.burst_options import BurstOptions
    from zssr.progress import ProgressEvent, Stage
    from zssr.request import Request
    from zssr.video.upscale_video import upscale_video
    from zssr.video.video_request import VideoOptions
    from zssr.video.video_result import VideoResult

__version__ = "0.1.0"
__all__ = [
    "BurstOptions",
    "BurstResult",
    "Config",
    "ConfigError",
    "FilePage",
    "Forecast",
    "ImageError",
    "KernelError",
    "KernelEstimate",
    "Model",
    "Outcome",
    "ProgressEvent",
    "Request",
    "Result",
    "Stage",
    "Upscaler",
    "VideoOptions",
    "VideoResult",
    "ZssrError",
    "estimate_kernel",
    "upscale",
    "upscale_burst",
    "upscale_video",
]

_LAZY_IMPORTS = {
    "zssr.api": ("Upscaler", "upscale"),
    "zssr.batches": ("Outcome",),
    "zssr.blind": ("estimate_kernel",),
    "zssr.config": ("Config",),
    "zssr.errors": ("ConfigError", "ImageError", "KernelError", "ZssrError"),
    "zssr.estimation.blur_kernel": ("KernelEstimate",),
    "zssr.forecast": ("Forecast",),
    "zssr.io.frames": ("FilePage",),
    "zssr.model": ("Model", "Result"),
    "zssr.multiframe.burst": ("BurstResult", "upscale_burst"),
    "zssr.multiframe.burst_options": ("BurstOptions",),
    "zssr.progress": ("ProgressEvent", "Stage"),
    "zssr.request": ("Request",),
    "zssr.video.upscale_video": ("upscale_video",),
    "zssr.video.video_request": ("VideoOptions",),
    "zssr.video.video_result": ("VideoResult",),
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `python -m zssr --help` does not import torch."""
    for module, names in _LAZY_IMPORTS.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
