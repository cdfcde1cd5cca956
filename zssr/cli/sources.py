"""The pictures of a run: files, folders, pages, stdin."""

import logging
import os
import stat
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zssr.cli.frames_of_files import count_frames_of
from zssr.cli.stores import is_store
from zssr.errors import ConfigError
from zssr.io.formats import READABLE_SUFFIXES

logger = logging.getLogger(__name__)

Pages = Literal["first", "all"] | int


@dataclass(frozen=True)
class Source:
    """An input: its name, its path (None is stdin), and its folder relative to the folder given, if one was."""

    name: str
    path: Path | None
    folder: Path | None = None
    error: str | None = None
    page: int | None = None
    label: str = ""

    def split(self, pages: Pages) -> "Iterator[Source]":
        """Yield the pages that are wanted, each an input of its own; `label` tells them apart in names of outputs."""
        if pages == "first" or self.error or is_store(self.path):
            yield self
        elif isinstance(pages, int):
            yield replace(self, page=pages)
        elif self.path is None:
            raise ConfigError("--pages: all needs files, and stdin is none")
        else:
            count = count_frames_of(self.path)
            for page in range(1, count + 1) if count > 1 else ():
                label = f"_p{page:0{len(str(count))}}"
                yield replace(self, name=f"{self.name} (page {page})", page=page, label=label)
            if count == 1:
                yield self

    def is_output(self, outputs: Set[str]) -> bool:
        """Return whether it was found in a folder, as the output of an earlier run; `outputs` are normalized."""
        return self.folder is not None and self.path is not None and normalize_path(self.path) in outputs


def find_sources(inputs: Sequence[str], recursive: bool) -> list[Source]:
    """Return the pictures of all inputs. Raises `ConfigError` if stdin is given twice."""
    if list(inputs).count("-") > 1:
        raise ConfigError("INPUT: - stands for stdin, which can be read only once")
    return [source for given in inputs for source in _find_in(given, recursive)]


def _find_in(given: str, recursive: bool) -> Iterator[Source]:
    if given == "-":
        yield Source("stdin", None)
        return
    path = Path(given)
    kind = classify_path(path) if given else None
    if kind == "folder":
        hint = "" if recursive else "; -r looks into its folders, too"
        error = f"{given}: holds no pictures ({' '.join(READABLE_SUFFIXES)}){hint}"
        yield from list(_list_pictures(path, recursive)) or [Source(given, path, error=error)]
    elif kind == "file":
        yield Source(given, path)
    else:
        yield Source(given, path, error=f"{given or '(no name)'}: {'is not a file' if kind else 'no such file'}")


def _list_pictures(root: Path, recursive: bool) -> Iterator[Source]:
    """Yield the pictures in a folder by name, those of its folders last, without hidden ones; warn of what is left."""
    failures: list[OSError] = []
    left: list[str] = []
    for place, folders, names in os.walk(root, onerror=failures.append):
        visible = sorted(folder for folder in folders if not folder.startswith("."))
        stores = [folder for folder in visible if is_store(Path(folder))]
        folders[:] = [folder for folder in visible if folder not in stores] if recursive else []
        left += [] if recursive else [f"{folder}/" for folder in visible if folder not in stores]
        for path in (Path(place) / name for name in sorted([*names, *stores]) if not name.startswith(".")):
            if (path.suffix.lower() in READABLE_SUFFIXES or is_store(path)) and classify_path(path) == "file":
                yield Source(str(path), path, path.parent.relative_to(root))
            else:
                left.append(str(path.relative_to(root)))
    if left:
        some = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        logger.warning("%s: left out are %s", root, some)
    for failure in failures:
        name = str(failure.filename)
        yield Source(name, Path(name), error=f"{name}: the folder cannot be read ({failure.strerror})")


def classify_path(path: Path) -> Literal["file", "folder", "other"] | None:
    """Return what is at `path`; None for nothing, or if it cannot be a path."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    return "file" if stat.S_ISREG(mode) or is_store(path) else "folder" if stat.S_ISDIR(mode) else "other"


def normalize_path(path: Path) -> str:
    """Return what is the same for all paths to one file."""
    try:
        return os.path.normcase(path.resolve())
    except (OSError, ValueError, RuntimeError):  # no path, or a ring of links
        return os.path.normcase(path)
