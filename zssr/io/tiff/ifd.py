"""Image file directories: the lists of tags that TIFF files and EXIF blocks are made of (TIFF 6.0, section 2).

Libraries that read EXIF interpret its values and drop what they do not know; here all values go through as they are.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

Directory = dict[int, "Tag"]
"""A directory's entries by their codes."""

EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
SUBDIRECTORIES = (EXIF, GPS, INTEROPERABILITY)

_FORMATS = {1: "s", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "s", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d"}
_FORMATS |= {13: "I", 16: "Q", 17: "q", 18: "Q"}
_MOST_ENTRIES = 4096
_MOST_NUMBERS = 1 << 20  # in one value
_PRIVATE, _DESCRIPTION = 32768, 270  # where private tags begin; what some software writes twice
_MOST_BYTES = 1 << 26  # in all values of a directory: they may overlap in a hostile file


@dataclass(frozen=True)
class Tag:
    """A tag without its code: the type and count, and bytes (types 1, 2, 7), numbers, or a directory of its own.

    A rational is two numbers. What was not asked for, or lies outside of the file, has the value None.
    """

    type: int
    count: int
    value: Any


@dataclass(frozen=True)
class TiffHeader:
    """How numbers are written in a file: byte order "<" or ">", and whether it is a BigTIFF."""

    order: str
    big: bool

    @property
    def header(self) -> bytes:
        """The file's first bytes, up to the offset of the first directory."""
        mark = b"II" if self.order == "<" else b"MM"
        return mark + struct.pack(self.order + ("HHH" if self.big else "H"), *((43, 8, 0) if self.big else (42,)))

    @property
    def offset(self) -> struct.Struct:
        """An offset."""
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    @property
    def number(self) -> struct.Struct:
        """The number of entries of a directory."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        """An entry: code, type, count, and its value or the value's offset."""
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))


def form_of(file: BinaryIO) -> TiffHeader:
    """Return the form of a TIFF file or EXIF block, and leave the file at the offset of its first directory.

    Raises `ValueError` if it is neither.
    """
    file.seek(0)
    start = file.read(4)
    for form in (TiffHeader("<", False), TiffHeader(">", False), TiffHeader("<", True), TiffHeader(">", True)):
        if form.header[:4] == start:
            file.seek(len(form.header))
            return form
    raise ValueError("is not a TIFF file")


def read_offset(file: BinaryIO, form: TiffHeader) -> int:
    """Return the offset that stands at the file's position; raises `ValueError` at its end."""
    try:
        return int(form.offset.unpack(file.read(form.offset.size))[0])
    except struct.error as error:
        raise ValueError("ends in its header") from error


def read_directory(
    file: BinaryIO, form: TiffHeader, start: int, wanted: Collection[int] | None = None, depth: int = 2
) -> Directory:
    """Return the directory at the offset `start`, with the values of the `wanted` tags (None for all).

    Directories within are followed down to `depth`; the file is left at the offset of the next directory. Raises
    `ValueError` if the directory itself is damaged, while values that are get None.
    """
    end = file.seek(0, 2)
    file.seek(start)
    try:
        (number,) = form.number.unpack(file.read(form.number.size))
        if number > _MOST_ENTRIES:
            raise ValueError(f"has a directory of {number} tags")
        entries = [form.entry.unpack(file.read(form.entry.size)) for _ in range(number)]
    except struct.error as error:
        raise ValueError("has a directory that ends early") from error
    after = file.tell()
    left = _MOST_BYTES
    directory: Directory = {}
    for code, kind, count, inline in entries:
        size = count * struct.calcsize("<" + _FORMATS.get(kind, ""))
        value = None
        if code < _PRIVATE and code != _DESCRIPTION and (code in directory or (count > _MOST_NUMBERS and size > count)):
            raise ValueError(f"has a senseless tag {code}")
        if kind in _FORMATS and size <= left and (wanted is None or code in wanted):
            value = _read_value(file, form, (code, kind, count), inline, end, depth)
            left -= size
        directory.setdefault(code, Tag(kind, count, value))
    file.seek(after)
    return directory


def _read_value(
    file: BinaryIO, form: TiffHeader, tag: tuple[int, int, int], inline: bytes, end: int, depth: int
) -> Any:  # noqa: ANN401
    code, kind, count = tag
    letters = _FORMATS[kind]
    size = count * struct.calcsize("<" + letters)
    if letters != "s" and count > _MOST_NUMBERS:
        return None
    if size > len(inline):
        (start,) = form.offset.unpack(inline)
        if start + size > end:
            return None
        file.seek(start)
        inline = file.read(size)
    if letters == "s":
        return inline[:size]
    numbers = struct.unpack(f"{form.order}{count * len(letters)}{letters[0]}", inline[:size])
    if code not in SUBDIRECTORIES:
        return numbers
    try:
        return read_directory(file, form, numbers[0], None, depth - 1) if depth and numbers else None
    except ValueError:
        return None


def append_directory(file: BinaryIO, form: TiffHeader, directory: Directory) -> int:
    """Write a directory at the end of the file, after its values, and return its offset. Values of None are left out.

    Raises `struct.error` if the file is too long for the form's offsets.
    """
    packed = []
    for code, entry in sorted(directory.items()):
        if entry.value is not None:
            packed.append(form.entry.pack(code, *_written(file, form, entry)))
    start = _at_end(file)
    file.write(form.number.pack(len(packed)) + b"".join(packed) + form.offset.pack(0))
    return start


def _written(file: BinaryIO, form: TiffHeader, entry: Tag) -> tuple[int, int, bytes]:
    if isinstance(entry.value, dict):
        return (18 if form.big else 4), 1, form.offset.pack(append_directory(file, form, entry.value))
    if isinstance(entry.value, bytes):
        data = entry.value
    else:
        data = struct.pack(f"{form.order}{len(entry.value)}{_FORMATS[entry.type][0]}", *entry.value)
    if len(data) <= form.offset.size:
        return entry.type, entry.count, data  # padded by the pack of the entry
    start = _at_end(file)
    file.write(data)
    return entry.type, entry.count, form.offset.pack(start)


def _at_end(file: BinaryIO) -> int:
    position = file.seek(0, 2)
    if position % 2:  # directories and values begin at even offsets
        position += file.write(b"\0")
    return position


def to_block(directory: Directory) -> bytes:
    """Return an EXIF block (a small TIFF file without a picture) with this directory."""
    form = TiffHeader("<", False)
    file = BytesIO(form.header + form.offset.pack(0))
    start = append_directory(file, form, directory)
    file.seek(len(form.header))
    file.write(form.offset.pack(start))
    return file.getvalue()


def from_block(block: bytes) -> Directory:
    """Return the directory of an EXIF block, an empty one if it is damaged."""
    file = BytesIO(block)
    try:
        form = form_of(file)
        return read_directory(file, form, read_offset(file, form))
    except ValueError:
        return {}
