"""The registry of methods."""

import difflib
from importlib.util import find_spec
from types import ModuleType

from zssr.classical import (
    bicubic,
    bilinear,
    example,
    ibp,
    lanczos,
    map,
    nearest,
    neighbor_embedding,
    plug_and_play,
    pocs,
    sparse,
    svr,
)
from zssr.errors import ConfigError
from zssr.method import Method
from zssr.networks import (
    drcn,
    drrn,
    edsr,
    espcn,
    fsrcnn,
    lapsrn,
    mdsr,
    red,
    sr,
    srcnn,
    srdensenet,
    srgan,
    srresnet,
    vdsr,
    vespcn,
)

MODULES: tuple[ModuleType, ...] = (
    sr,
    nearest,
    bilinear,
    bicubic,
    lanczos,
    ibp,
    pocs,
    map,
    plug_and_play,
    example,
    neighbor_embedding,
    svr,
    sparse,
    srcnn,
    fsrcnn,
    espcn,
    vdsr,
    drcn,
    red,
    drrn,
    lapsrn,
    srdensenet,
    srresnet,
    srgan,
    edsr,
    mdsr,
)
FRAME_MODULES: tuple[ModuleType, ...] = (vespcn,)
"""The files of the methods, and of those that take several frames of a video; each has its `METHOD`."""


def list_methods() -> dict[str, Method]:
    """Return all methods for photos by name."""
    return {module.METHOD.name: module.METHOD for module in MODULES}


def list_frame_methods() -> dict[str, Method]:
    """Return the methods that take several frames of a video, by name."""
    return {module.METHOD.name: module.METHOD for module in FRAME_MODULES}


def find_method(text: str) -> Method:
    """Return the method of a name, with options after a colon, such as `edsr:width=256,blocks=32`.

    Raises `ConfigError` with the nearest name for an unknown one, and for options that the method does not take.
    """
    name, _, options = text.partition(":")
    known = list_methods() | list_frame_methods()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
        hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
        raise ConfigError(f'method: "{name}" is not a method; {hint}')
    missing = [module for module in known[name].requires if find_spec(module) is None]
    if missing:
        raise ConfigError(f"method: {name} needs {', '.join(missing)}: pip install 'zssr[methods]'")
    return known[name].choose(options.split(",") if options else [])
