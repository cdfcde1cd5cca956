"""The private folder of the server: made, measured, cleaned, and removed."""

import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zssr.errors import ConfigError

_PREFIX = "zssr-page-"  # and the process's number: of the folder's name
_MAX_PATH = 75  # bytes of the temporary folder's path; the sockets in it have paths of at most 107


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a temporary folder that only this user can read, and remove it at the end.

    Folders that killed servers have left are removed first. Raises `ConfigError` if the temporary folder's path is too
    long.
    """
    parent = Path(tempfile.gettempdir())
    if len(os.fsencode(parent)) > _MAX_PATH:
        raise ConfigError(f"TMPDIR: {parent} has more than {_MAX_PATH} bytes; name a folder with a shorter path")
    for old in parent.glob(f"{_PREFIX}*"):
        process_id = old.name.removeprefix(_PREFIX).split("-")[0]
        if process_id.isdecimal() and not _is_running(int(process_id)):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def count_bytes(folder: Path) -> int:
    """Count the bytes of all files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # removed in the meantime
            total += 0 if path.is_dir() else path.lstat().st_size
    return total


def remove_old(folder: Path, seconds: float, in_use: set[Path]) -> None:
    """Remove all below a folder that was last changed more than `seconds` ago, except the folders `in_use`."""
    oldest = time.time() - seconds
    paths = [path for path in folder.rglob("*") if in_use.isdisjoint((path, *path.parents))]
    old = [path for path in paths if _modified(path) < oldest]  # all are looked at before a removal changes a folder
    for path in sorted(old, reverse=True):  # files before their folder
        with suppress(OSError):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _modified(path: Path) -> float:
    """Return the time of a path's last change; infinity if it has been removed in the meantime."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return math.inf


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except OSError as error:  # any but this one: it is another user's
        return not isinstance(error, ProcessLookupError)
    return True
