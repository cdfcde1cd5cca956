"""The command `python -m zssr serve`."""

import argparse
import math
from collections.abc import Callable, Sequence

from zssr.web.messages import ServerLimits


def run_serve_command(arguments: Sequence[str], announce: Callable[[str], None]) -> None:
    """Parse, and serve the page until a signal comes; `announce` gets its address. Raises `ConfigError`."""
    from zssr.web.server import run_server

    options = vars(_build_parser().parse_args(arguments))
    run_server(options.pop("host"), options.pop("port"), ServerLimits(**options), announce)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zssr serve",
        description="Serve a web page on which photos are upscaled. Whoever can open it can use it: there is no login.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to serve at; 0.0.0.0 is for everybody on the net")
    add("--port", type=_port, default=7860, help="port to serve at; 0 takes any that is free")
    limits = {
        "max_MB": "largest file that is taken, in millions of bytes",
        "max_pixels": "most pixels of a photo",
        "max_output_pixels": "most pixels of the upscaled photo",
        "max_frames": "most frames of a clip",
        "seconds": "that a photo may take",
        "waiting": "photos that may wait while one is worked on",
        "kept": "seconds after which files are removed",
        "kept_MB": "millions of bytes of files that are kept, at which no more are taken",
    }
    for name, text in limits.items():
        default = getattr(ServerLimits, name)
        option = "--" + name.lower().replace("_", "-")
        add(option, dest=name, type=_positive(type(default)), default=default, help=text)
    add("--threads", type=_positive(int), help="threads per photo; default: as many as there are cores")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="what computes")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**16:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number from 0 to 65535')
    return int(text)


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if not 0 < number < math.inf:
            raise argparse.ArgumentTypeError(f'"{text}" is not a {"whole " if kind is int else ""}number over 0')
        return number

    return parse
