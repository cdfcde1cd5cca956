"""zssr: enlarge one photo by a network that is trained on that photo alone."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zssr.api import Upscaler, upscale
    from zssr.config import Config
    from zssr.errors import ConfigError, ImageError, KernelError, ZssrError
    from zssr.estimation.blur_kernel import KernelEstimate, estimate_kernel
    from zssr.forecast import Forecast
    from zssr.model import Model, Result

__version__ = "0.1.0"
__all__ = [
    "Config",
    "ConfigError",
    "Forecast",
    "ImageError",
    "KernelError",
    "KernelEstimate",
    "Model",
    "Result",
    "Upscaler",
    "ZssrError",
    "estimate_kernel",
    "upscale",
]

_HOMES = {
    "zssr.api": ("Upscaler", "upscale"),
    "zssr.config": ("Config",),
    "zssr.errors": ("ConfigError", "ImageError", "KernelError", "ZssrError"),
    "zssr.estimation.blur_kernel": ("KernelEstimate", "estimate_kernel"),
    "zssr.forecast": ("Forecast",),
    "zssr.model": ("Model", "Result"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name on first use, so that `python -m zssr --help` need not wait for torch."""
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
