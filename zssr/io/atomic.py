"""Atomic writes: a file is replaced as a whole, or not at all."""

import errno
import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from zssr.errors import ImageError

_COUNT = itertools.count()  # a file that was kept is not used again
_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)  # with any other error, fsync only is not supported


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file, to be written and read, that becomes the file at `path` if all goes well.

    At any moment the old file or the new one is there, never half of one. An existing file keeps its permissions, and a
    symbolic link its place. Where the file system cannot rename over a file, it is overwritten in place. Raises
    `ImageError` if it cannot be written; if all but that is done, the content is kept in a file that the error names.
    """
    target = path.resolve()
    partial = _partial_path(target)
    is_kept = False
    try:
        partial.unlink(missing_ok=True)  # of a process of the same number that was killed
        with partial.open("x+b") as file:
            yield file
            _flush_to_disk(file)
        if target.exists():
            with suppress(OSError):  # exFAT, SMB and the like have no permissions
                shutil.copymode(target, partial)
        try:
            partial.replace(target)
        except OSError:
            is_kept = partial.exists()  # until it is copied
            _overwrite(partial, target)
            is_kept = False
    except OSError as error:
        kept = f"; the result is kept in {partial}" if is_kept else ""
        raise ImageError(f"{path}: cannot be written ({error.strerror or error}){kept}") from error
    finally:
        if not is_kept:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise `ImageError` if `atomic_write` could not write to `path`; a file beside it is made and removed."""
    try:
        target = path.resolve()
        is_folder = target.is_dir()
        with suppress(FileNotFoundError):
            target.lstat()  # the name may be too long
        partial = _partial_path(target)
        try:
            partial.write_bytes(bytes(2**16))
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ImageError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from error
    if is_folder:
        raise ImageError(f"{path}: is a folder, not a file to write")


def remove_partial_files(path: Path, process_id: int) -> None:
    """Remove what a process that was killed left of a file that it was writing to `path`."""
    for partial in path.resolve().parent.glob(f"{_partial_prefix(process_id)}*.part"):
        with suppress(OSError):
            partial.unlink()


def _partial_path(target: Path) -> Path:
    return target.with_name(f"{_partial_prefix(os.getpid())}{threading.get_ident()}-{next(_COUNT)}.part")


def _partial_prefix(process_id: int) -> str:
    return f".zssr-{process_id}-"


def _flush_to_disk(file: BinaryIO) -> None:
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno in _LOST:
            raise


def _overwrite(partial: Path, target: Path) -> None:
    """Copy a whole file to its place, where the file system refuses to rename it."""
    with partial.open("rb") as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
        _flush_to_disk(file)
