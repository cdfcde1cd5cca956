"""The command `python -m zssr serve`."""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import fields

from zssr.web.messages import ServerLimits

_HELP = {
    "max_MB": "largest file that is taken, in millions of bytes",
    "max_pixels": "most pixels of a photo",
    "max_output_pixels": "most pixels of what is made of it",
    "seconds": "that a photo may take",
    "waiting": "photos that may wait while one is worked on",
    "kept": "seconds after which files are removed",
    "kept_MB": "millions of bytes of files that are kept, at which no more are taken",
}


def run(arguments: Sequence[str], announce: Callable[[str], None]) -> None:
    """Parse, and serve the page until a signal comes. Raises `ConfigError`."""
    from zssr.web import server

    options = vars(_parser().parse_args(arguments))
    host, port = options.pop("host"), options.pop("port")
    server.run(host, port, ServerLimits(**options), announce)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zssr serve",
        description="Serve a web page on which photos are enlarged. Whoever can open it can use it: there is no login.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to serve at; 0.0.0.0 is for everybody on the net")
    add("--port", type=_port, default=7860, help="port to serve at; 0 takes any that is free")
    for rule in fields(ServerLimits):
        if rule.name in _HELP:
            kind = type(rule.default)
            option = "--" + rule.name.lower().replace("_", "-")
            add(option, dest=rule.name, type=_positive(kind), default=rule.default, help=_HELP[rule.name])
    add("--threads", type=_positive(int), help="threads per photo; default: as many as there are cores")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="what computes")
    return parser


def _port(text: str) -> int:
    if not 0 <= int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 65535")
    return int(text)


def _positive(kind: type) -> Callable[[str], float]:
    def parse(text: str) -> float:
        number: float = kind(text)
        if not 0 < number < math.inf:
            raise ValueError
        return number

    parse.__name__ = "number over 0"
    return parse
