"""Plan a batch: find the inputs, pair them with outputs, and find what cannot be done, before any work starts."""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zssr.cli.frames_of_files import is_moving, list_writable_suffixes
from zssr.cli.sources import Pages, Source, classify_path, find_sources, normalize_path
from zssr.cli.stores import is_finished, is_store, name_store
from zssr.errors import ConfigError
from zssr.io.formats import READABLE_SUFFIXES, writable_suffix

Existing = Literal["keep", "skip", "replace"]


@dataclass(frozen=True)
class Task:
    """One picture to be upscaled.

    Attributes
    ----------
    name
        What to call it: its path as given or found, or "stdin".
    source
        Its path; None is stdin.
    page
        Which of the file's pages it is; None is the first, with a note if there are more.
    output
        The file to write; None if the bytes of the output are returned instead.
    suffix
        The format of these bytes; None is that of the input.
    makes_folder
        Whether the output's folder may be made.
    error
        One sentence on why it cannot be done, if that is known.
    is_skipped
        Whether there is nothing to do, since the output exists.
    method
        By which method, if that differs from one task to the next.
    moves
        Whether it is a video or an animation, of which all frames are upscaled.
    """

    name: str
    source: Path | None
    output: Path | None
    suffix: str | None = None
    makes_folder: bool = False
    error: str | None = None
    is_skipped: bool = False
    page: int | None = None
    method: str | None = None
    moves: bool = False

    @property
    def is_slide(self) -> bool:
        """Whether it is upscaled block by block: a Zarr store, or a file into one."""
        return is_store(self.source) or is_store(self.output)

    @property
    def is_pending(self) -> bool:
        """Whether there is work to do."""
        return not self.is_skipped and self.error is None


def plan_tasks(
    inputs: Sequence[str],
    output: str | None,
    scale_suffix: str,
    *,
    suffix: str | None = None,
    recursive: bool = False,
    existing: Existing = "keep",
    return_content: bool = False,
    pages: Pages = "first",
    animate: bool = False,
) -> list[Task]:
    """Find the pictures and choose an output for each. Only folders are read (and files, for `pages`), none is written.

    Parameters
    ----------
    inputs
        Files, folders, and "-" for stdin.
    output
        A file, a folder, or "-" for stdout; None is beside each input, and stdout for stdin.
    scale_suffix
        What the name of an output ends with, such as "x2".
    suffix
        The format of outputs that are not named, such as ".png"; None is that of the input.
    recursive
        Whether folders in folders are looked into; the output folder gets the same tree.
    existing
        Whether outputs that exist are kept, and the task fails; the task is skipped; or they are replaced.
    return_content, pages, animate
        Whether an output that is not named is returned, not written; which pages of a file are upscaled; and whether
        animations are upscaled as such, which those are whose output is a GIF.

    Outputs of an earlier run in a folder are no inputs. Raises `ConfigError` if several inputs would be written
    to one file, or an input would be overwritten by the output of another.
    """
    found = find_sources(inputs, recursive)
    destination = _Destination.resolve(inputs, output)
    sources = [page for source in found for page in source.split(pages)]
    destination.check(sources, suffix)
    returns = return_content and output is None
    pairs = [(source, destination.make_task(source, scale_suffix, suffix, returns, animate)) for source in sources]
    outputs = {normalize_path(task.output) for _, task in pairs if task.output}
    tasks = [task for source, task in pairs if not source.is_output(outputs)]
    _check_clashes(tasks)
    return [_check_output(task, existing) for task in tasks]


def find_write_error(path: Path, makes_folder: bool = False) -> str | None:
    """Return one sentence on why no file could be written to `path`, or None; nothing is written to find out."""
    folder = path.parent
    while makes_folder and classify_path(folder) is None and folder != folder.parent:
        folder = folder.parent
    if classify_path(folder) is None:
        return f"{path}: its folder does not exist"
    if classify_path(folder) != "folder":
        return f"{path}: {folder} is not a folder"
    if not os.access(folder, os.W_OK | os.X_OK) or (classify_path(path) and not os.access(path, os.W_OK)):
        return f"{path}: cannot be written (no permission)"
    return None


@dataclass(frozen=True)
class _Destination:
    """Where outputs go: a file, a folder, or stdout; without a path and a stream, beside the inputs."""

    path: Path | None = None
    is_folder: bool = False
    is_stream: bool = False

    @classmethod
    def resolve(cls, inputs: Sequence[str], output: str | None) -> "_Destination":
        if output is None or output == "-":
            return cls(is_stream=output == "-")
        path = Path(output)
        folders = any(given and classify_path(Path(given)) == "folder" for given in inputs if given != "-")
        is_new = output.endswith(("/", os.sep)) or (folders and path.suffix.lower() not in READABLE_SUFFIXES)
        is_folder = classify_path(path) == "folder" or (classify_path(path) is None and is_new)
        if not is_folder and (folders or len(inputs) > 1):
            there = "the inputs are in one" if folders else f"there are {len(inputs)} inputs"
            raise ConfigError(f"--output: {output} is not a folder, but {there}; a / at its end makes it one")
        return cls(path, is_folder)

    def check(self, sources: Sequence[Source], suffix: str | None) -> None:
        if self.is_stream and len(sources) > 1:
            raise ConfigError(f"--output: - is one stream, but there are {len(sources)} inputs")
        if self.path and suffix and not self.is_folder:
            raise ConfigError(f"--format: {self.path} is named already, and its suffix is its format")

    def make_task(
        self, source: Source, scale_suffix: str, suffix: str | None, returns_content: bool, animate: bool
    ) -> Task:
        path = source.path or Path("stdin")
        animate = animate or (self.path is not None and self.path.suffix.lower() == ".gif")
        moves = bool(source.path and not source.page and not source.error) and is_moving(path, animate)
        own = path.suffix.lower() if moves and animate else suffix or writable_suffix(path.suffix)
        task = Task(source.name, source.path, None, error=source.error, page=source.page, moves=moves)
        if moves and (self.is_stream or returns_content):
            return replace(task, error=f"{source.name}: a video is written to a file, not to stdout; -o FILE takes it")
        if self.is_stream or returns_content or (source.path is None and self.path is None):
            return replace(task, suffix=suffix or (own if source.path else None))
        name = f"{path.stem}{source.label}_{scale_suffix}{own if suffix or own != path.suffix.lower() else path.suffix}"
        name = name_store(path, scale_suffix) if is_store(path) else name
        if self.path is None:
            return replace(task, output=path.parent / name)
        if not self.is_folder:
            return replace(task, output=self.path)
        return replace(task, output=self.path / (source.folder or Path()) / name, makes_folder=True)


def _check_clashes(tasks: Sequence[Task]) -> None:
    sources = {normalize_path(task.source): task for task in tasks if task.source}
    writers = defaultdict(list)
    for task in tasks:
        if task.output:
            writers[normalize_path(task.output)].append(task)
    for output, (first, *others) in writers.items():
        if others:
            names = ", ".join(task.name for task in (first, *others)[:3])
            raise ConfigError(f"{first.output}: several inputs would be written to this one file ({names})")
        if sources.get(output, first) is not first:
            raise ConfigError(f"{first.output}: is an input and would be overwritten by another's output")


def _check_output(task: Task, existing: Existing) -> Task:
    """Return the task with what is known about its output."""
    path = task.output
    if task.error or path is None:
        return task
    if not is_store(path) and path.suffix.lower() not in (suffixes := list_writable_suffixes(task.source, task.moves)):
        known = ", ".join(suffixes)
        return replace(task, error=f'{path}: the output format "{path.suffix}" is unknown; known are {known}')
    kind = classify_path(path)
    if kind == "file" and existing == "skip":
        return replace(task, is_skipped=is_finished(path))
    if kind == "folder":
        return replace(task, error=f"{path}: is a folder, not a file to write")
    if kind and existing != "replace":
        return replace(task, error=f"{path}: exists already; --overwrite replaces it")
    return replace(task, error=find_write_error(path, task.makes_folder))
