"""What is to be done: inputs are found and paired with outputs, and what cannot be is found, before any work starts."""

import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zssr.errors import ConfigError
from zssr.io.formats import READABLE_SUFFIXES, WRITABLE_SUFFIXES, writable_suffix

Existing = Literal["keep", "skip", "replace"]


@dataclass(frozen=True)
class Task:
    """One picture to be done.

    Attributes
    ----------
    name
        What to call it: its path as given or found, or "stdin".
    source
        Its path; None is stdin.
    output
        The file to write; None if the bytes of the output are handed back instead.
    suffix
        The format of these bytes; None is that of the input.
    makes_folder
        Whether the output's folder may be made.
    fault
        One sentence on why it cannot be done, if that is known.
    skipped
        Whether there is nothing to do, since the output is there already.
    """

    name: str
    source: Path | None
    output: Path | None
    suffix: str | None = None
    makes_folder: bool = False
    fault: str | None = None
    skipped: bool = False

    @property
    def waits(self) -> bool:
        """Whether there is work to do."""
        return not self.skipped and self.fault is None


@dataclass(frozen=True)
class _Found:
    """An input: its name, its path (None is stdin), and where it lies below the folder it was found in, if any."""

    name: str
    source: Path | None
    below: Path | None = None
    fault: str | None = None


def plan(
    inputs: Sequence[str],
    output: str | None,
    mark: str,
    *,
    suffix: str | None = None,
    recursive: bool = False,
    existing: Existing = "keep",
    text: bool = False,
) -> list[Task]:
    """Find the pictures and say where each goes; nothing is read but folders, and nothing written.

    Parameters
    ----------
    inputs
        Files, folders, and "-" for stdin.
    output
        A file, a folder, or "-" for stdout; None is beside each input, and stdout for stdin.
    mark
        What the name of an output ends with, such as "x2".
    suffix
        The format of outputs that are not named; None is that of the input.
    recursive
        Whether folders in folders are looked into; the tree is kept in the output folder.
    existing
        What happens to outputs that are there already: they are kept, which is a fault of the task; the task is
        skipped; or they are replaced.
    text
        Whether an output that is not named is handed back, not written.

    Raises `ConfigError` where several inputs would be written to one file, or an input would be overwritten by the
    output of another.
    """
    if list(inputs).count("-") > 1:
        raise ConfigError("INPUT: - stands for stdin, which can be read only once")
    into = _Place.of(inputs, output)
    found = [each for given in inputs for each in _find(given, recursive)]
    if into.is_stream and len(found) > 1:
        raise ConfigError(f"--output: - is one stream, but there are {len(found)} inputs")
    if into.path and suffix and not into.is_folder:
        raise ConfigError(f"--format: {into.path} is named already, and its suffix is its format")
    pairs = [(each, into.task(each, mark, suffix, hands_back=text and output is None)) for each in found]
    made = {_resolved(task.output) for _, task in pairs if task.output}
    tasks = [
        task for each, task in pairs if each.below is None or each.source is None or _resolved(each.source) not in made
    ]  # what an earlier run has left in a folder is no input
    _check_clashes(tasks)
    return [_checked(task, existing) for task in tasks]


def scale_suffix(scale: tuple[float, float], size: tuple[int, int] | None) -> str:
    """Return x4, x2x3 (horizontal, vertical) or 1920x1080 for the name of the output."""
    if size:
        return f"{size[1]}x{size[0]}"
    vertical, horizontal = scale
    return f"x{horizontal:g}" if vertical == horizontal else f"x{horizontal:g}x{vertical:g}"


def kind_of(path: Path) -> Literal["file", "folder", "other"] | None:
    """Return what is at `path`; None for nothing, or for what cannot be a path."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"


def _find(given: str, recursive: bool) -> Iterator[_Found]:
    if given == "-":
        yield _Found("stdin", None)
        return
    path = Path(given)
    kind = kind_of(path) if given else None
    if kind == "folder":
        pictures = list(_pictures(path, recursive))
        hint = "" if recursive else "; -r looks into its folders, too"
        yield from pictures or [
            _Found(given, path, fault=f"{given}: holds no pictures ({' '.join(READABLE_SUFFIXES)}){hint}")
        ]
    elif kind == "file":
        yield _Found(given, path)
    else:
        yield _Found(given, path, fault=f"{given or '(no name)'}: {'is not a file' if kind else 'no such file'}")


def _pictures(root: Path, recursive: bool) -> Iterator[_Found]:
    """Yield the pictures in a folder by name, those of its folders last; hidden ones are left alone."""
    failures: list[OSError] = []
    for place, folders, names in os.walk(root, onerror=failures.append):
        folders[:] = sorted(folder for folder in folders if recursive and not folder.startswith("."))
        folder = Path(place)
        for name in sorted(names):
            path = folder / name
            if path.suffix.lower() in READABLE_SUFFIXES and not name.startswith(".") and kind_of(path) == "file":
                yield _Found(str(path), path, folder.relative_to(root))
    for failure in failures:
        name = str(failure.filename)
        yield _Found(name, Path(name), fault=f"{name}: the folder cannot be read ({failure.strerror})")


@dataclass(frozen=True)
class _Place:
    """Where outputs go: a file, a folder, or the bytes to stdout; no path and no stream is beside the inputs."""

    path: Path | None = None
    is_folder: bool = False
    is_stream: bool = False

    @classmethod
    def of(cls, inputs: Sequence[str], output: str | None) -> "_Place":
        if output is None or output == "-":
            return cls(is_stream=output == "-")
        path = Path(output)
        folders = any(given and kind_of(Path(given)) == "folder" for given in inputs if given != "-")
        is_new = output.endswith(("/", os.sep)) or (folders and path.suffix.lower() not in READABLE_SUFFIXES)
        is_folder = kind_of(path) == "folder" or (kind_of(path) is None and is_new)
        if not is_folder and (folders or len(inputs) > 1):
            there = "the inputs are in one" if folders else f"there are {len(inputs)} inputs"
            raise ConfigError(f"--output: {output} is not a folder, but {there}; a / at its end makes it one")
        return cls(path, is_folder)

    def task(self, found: _Found, mark: str, suffix: str | None, *, hands_back: bool) -> Task:
        path = found.source or Path("stdin")
        own = suffix or writable_suffix(path.suffix)
        if self.is_stream or hands_back or (found.source is None and self.path is None):
            return Task(found.name, found.source, None, suffix or (own if found.source else None), fault=found.fault)
        name = f"{path.stem}_{mark}{own if suffix or own != path.suffix.lower() else path.suffix}"
        if self.path is None:
            return Task(found.name, found.source, path.parent / name, fault=found.fault)
        if not self.is_folder:
            return Task(found.name, found.source, self.path, fault=found.fault)
        output = self.path / (found.below or Path()) / name
        return Task(found.name, found.source, output, makes_folder=True, fault=found.fault)


def _check_clashes(tasks: Sequence[Task]) -> None:
    sources = {_resolved(task.source): task for task in tasks if task.source}
    writers = defaultdict(list)
    for task in tasks:
        if task.output:
            writers[_resolved(task.output)].append(task)
    for output, those in writers.items():
        if len(those) > 1:
            names = ", ".join(task.name for task in those[:3])
            raise ConfigError(f"{those[0].output}: several inputs would be written to this one file ({names})")
        if sources.get(output, those[0]) is not those[0]:
            raise ConfigError(f"{those[0].output}: is an input and would be overwritten by another's output")


def _resolved(path: Path) -> str:
    try:
        return os.path.normcase(path.resolve())
    except (OSError, ValueError, RuntimeError):  # what is no path, or a ring of links
        return os.path.normcase(path)


def _checked(task: Task, existing: Existing) -> Task:
    """Return the task with what is known about its output."""
    path = task.output
    if task.fault or path is None:
        return task
    if path.suffix.lower() not in WRITABLE_SUFFIXES:
        known = ", ".join(WRITABLE_SUFFIXES)
        return replace(task, fault=f'{path}: the output format "{path.suffix}" is unknown; known are {known}')
    kind = kind_of(path)
    if kind == "file" and existing == "skip":
        return replace(task, skipped=True)
    if kind == "folder":
        return replace(task, fault=f"{path}: is a folder, not a file to write")
    if kind and existing != "replace":
        return replace(task, fault=f"{path}: exists already; --overwrite replaces it")
    return replace(task, fault=unwritable(path, task.makes_folder))


def unwritable(path: Path, makes_folder: bool = False) -> str | None:
    """Return why no file could be written to `path`, if so; nothing is written to find out."""
    folder = path.parent
    while makes_folder and kind_of(folder) is None and folder != folder.parent:
        folder = folder.parent
    if kind_of(folder) is None:
        return f"{path}: its folder does not exist"
    if kind_of(folder) != "folder":
        return f"{path}: {folder} is not a folder"
    if not os.access(folder, os.W_OK | os.X_OK) or (kind_of(path) and not os.access(path, os.W_OK)):
        return f"{path}: cannot be written (no permission)"
    return None
