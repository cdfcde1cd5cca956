"""Importing torch without waiting for the garbage collector."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing_torch() -> Iterator[None]:
    """Import in the block what brings torch, some two seconds, and save half a second.

    It makes a million objects that stay. The garbage collector would look at them again and again meanwhile, and once
    more when the process ends; so it is off for the block, and leaves these objects alone from then on.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
