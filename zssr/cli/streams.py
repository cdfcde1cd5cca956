"""stdout and stderr, which may be closed or full: what cannot be written is dropped, and the work goes on."""

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class DroppingFile(io.RawIOBase):
    """Writes to a file descriptor; once that fails, what is written is dropped, and `error` says why."""

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self._descriptor = descriptor

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, content: "ReadableBuffer") -> int:
        """Write, or drop, some of the bytes and return how many."""
        while self.error is None:
            try:
                return os.write(self._descriptor, content)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = error
        return memoryview(content).nbytes


@contextmanager
def dropping_streams() -> Iterator[None]:
    """Let stdout and stderr drop what cannot be written; streams that are closed lead to the null device."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _open_null(number))
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_wrap, before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def find_stream_error(stream: TextIO) -> str | None:
    """Return why something written to a stream was dropped, if it was."""
    stream.flush()
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.error.strerror if isinstance(raw, DroppingFile) and raw.error else None


def is_closed(stream: TextIO) -> bool:
    """Return whether a standard stream was closed when the program began."""
    return getattr(stream, "name", None) == os.devnull


def _open_null(number: int) -> TextIO:
    """Open the null device, as the descriptor `number` if that is free, so that no other file is written to as it."""
    null = open(os.devnull, "r" if number == 0 else "w", encoding="utf-8")  # noqa: PTH123, SIM115
    try:
        os.fstat(number)
    except OSError:
        os.dup2(null.fileno(), number)
    if null.fileno() == number:
        os.set_inheritable(number, True)
    return null


def _wrap(stream: TextIO) -> TextIO:
    """Return the stream as one that drops what cannot be written; streams without a file are left as they are."""
    try:
        stream.flush()
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return stream
    if is_closed(stream):
        return stream
    raw = io.BufferedWriter(DroppingFile(descriptor))
    lines = any(getattr(stream, name, True) for name in ("line_buffering", "write_through"))  # the latter: python -u
    # a name that the terminal cannot show stops nothing
    return io.TextIOWrapper(raw, stream.encoding, "backslashreplace", line_buffering=lines)
