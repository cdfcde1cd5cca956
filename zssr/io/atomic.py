"""Atomic writes: a file is replaced as a whole, or not at all."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from zssr.errors import ImageError


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file, to be written and read, that becomes the file at `path` if all goes well.

    At any moment the old file or the new one is there, never half of one. An existing file keeps its permissions, and a
    symbolic link its place. Raises `ImageError` if it cannot be written.
    """
    target = path.resolve()
    partial = target.with_name(f"{_partial_prefix(os.getpid())}{threading.get_ident()}.part")
    try:
        partial.unlink(missing_ok=True)  # of a process of the same number that was killed
        with partial.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, partial)
        partial.replace(target)
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def remove_partial_files(path: Path, process_id: int) -> None:
    """Remove what a process that was killed left of a file that it was writing to `path`."""
    for partial in path.resolve().parent.glob(f"{_partial_prefix(process_id)}*.part"):
        with suppress(OSError):
            partial.unlink()


def _partial_prefix(process_id: int) -> str:
    return f".zssr-{process_id}-"
