"""What is encoded so far, in files beside the output: a run that was killed goes on where it was."""

import json
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

from zssr.errors import ImageError
from zssr.io.atomic import atomic_write, remove_partial_files

_SUFFIX = ".segment"
_KEY, _PROCESS = "key.json", "process"
_HEAD = struct.Struct("<q?q")  # timestamp, whether it is a key frame, bytes


class CodedFrame(NamedTuple):
    """A frame as it is encoded: its timestamp, whether it is a key frame, and its bytes."""

    pts: int
    is_key: bool
    content: bytes


@dataclass(frozen=True)
class SegmentStore:
    """A folder of segments: coded frames that begin with a key frame and refer to no others.

    Attributes
    ----------
    folder
        Beside the output.
    key
        All that the segments depend on; those of another key are removed.
    """

    folder: Path
    key: str

    @classmethod
    def open(cls, output: Path, key: dict[str, object]) -> "SegmentStore":
        """Open that of an output, with what an earlier run of the same key left in it."""
        store = cls(output.with_name(f".{output.name}.segments"), json.dumps(key, sort_keys=True))
        try:
            if store._read(_KEY) != store.key:
                store.remove()
                store.folder.mkdir()
                (store.folder / _KEY).write_text(store.key)
            if earlier := store._read(_PROCESS):
                remove_partial_files(output, int(earlier))  # of a run that was killed
            (store.folder / _PROCESS).write_text(str(os.getpid()))
        except OSError as error:
            raise ImageError(f"{store.folder}: cannot be written ({error.strerror or error})") from error
        return store

    def has(self, start: int) -> bool:
        """Tell whether the segment is there that begins with the frame `start`."""
        return self._path(start).exists()

    def write(self, start: int, frames: list[CodedFrame]) -> None:
        """Write a segment, whole or not at all."""
        with atomic_write(self._path(start)) as file:
            for frame in frames:
                file.write(_HEAD.pack(frame.pts, frame.is_key, len(frame.content)))
                file.write(frame.content)

    def read(self) -> Iterator[CodedFrame]:
        """Yield all coded frames, in the order in which they are decoded, one after the other from the files."""
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            with path.open("rb") as file:
                while head := file.read(_HEAD.size):
                    pts, is_key, count = _HEAD.unpack(head)
                    yield CodedFrame(pts, is_key, file.read(count))

    def remove(self) -> None:
        """Remove the folder."""
        rmtree(self.folder, ignore_errors=True)

    def _read(self, name: str) -> str | None:
        with suppress(OSError, UnicodeDecodeError):
            return (self.folder / name).read_text()
        return None

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:09}{_SUFFIX}"


def decoding_times(times: list[int], first_duration: int) -> list[int]:
    """Return when each coded frame, in their order, is decoded: as late as possible, and none before the one before it.

    `times` are their timestamps in the same order. Frames are decoded in the order of the sorted timestamps, as many
    frames ahead as a frame at most comes later in that order than it is shown.
    """
    ordered = sorted(times)
    rank = {time: k for k, time in enumerate(ordered)}
    ahead = max((k - rank[time] for k, time in enumerate(times)), default=0)
    return [
        ordered[k - ahead] if k >= ahead else ordered[0] - (ahead - k) * first_duration for k in range(len(ordered))
    ]
