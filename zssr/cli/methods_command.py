"""The command `python -m zssr methods`."""

import argparse
import textwrap
from collections.abc import Sequence

from zssr.cli.imports import importing_torch


def run_methods_command(arguments: Sequence[str]) -> str:
    """Parse, and return the list of all methods: a line for each, and its options."""
    argparse.ArgumentParser(prog="zssr methods", description="List the methods that --method takes.").parse_args(
        arguments
    )
    with importing_torch():
        from zssr.api import list_frame_methods, list_methods

    methods = [*list_methods().values(), *list_frame_methods().values()]
    width = max(len(method.name) for method in methods) + 2
    lines = []
    for method in methods:
        text = f"{method.summary}; {method.paper}"
        lines += textwrap.wrap(text, 100, initial_indent=method.name.ljust(width), subsequent_indent=" " * width)
        lines += [" " * width + f"{method.name}:{key}={value}" for key, value in method.describe_options().items()]
    return "\n".join(lines)
