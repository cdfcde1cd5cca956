"""Image file directories: the lists of tags that TIFF files and EXIF blocks are made of (TIFF 6.0, section 2).

Libraries that read EXIF interpret its values and drop what they do not know; here all values go through as they are.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from zssr.io.limits import SAFETY
from zssr.io.tiff.tags import Directory, Tag, TagCode, TagType, TagValue

_LETTERS = {1: "s", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "s", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d"} | {
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}  # how `struct` reads one value of each type


@dataclass(frozen=True)
class TiffHeader:
    """How numbers are written in a file: byte order "<" or ">", and whether it is a BigTIFF."""

    order: str
    big: bool = False

    @property
    def signature(self) -> bytes:
        """The file's first bytes, up to the offset of the first directory."""
        mark = b"II" if self.order == "<" else b"MM"
        return mark + struct.pack(self.order + ("HHH" if self.big else "H"), *((43, 8, 0) if self.big else (42,)))

    @property
    def offset(self) -> struct.Struct:
        """An offset."""
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    @property
    def count(self) -> struct.Struct:
        """The number of entries of a directory."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        """An entry: code, type, count, and its value or the value's offset."""
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))


@dataclass(frozen=True)
class IfdEntry:
    """An entry as it stands at `position` in a file; `field` holds its value or the value's offset."""

    position: int
    code: int
    type: int
    count: int
    field: bytes

    @property
    def value_bytes(self) -> int:
        """The length of its value, 0 for an unknown type."""
        return self.count * struct.calcsize("<" + _LETTERS.get(self.type, ""))


def read_header(file: BinaryIO) -> TiffHeader:
    """Read the header of a TIFF file or EXIF block, up to the offset of its first directory.

    Raises `ValueError` if it is neither.
    """
    file.seek(0)
    start = file.read(4)
    for header in (TiffHeader("<"), TiffHeader(">"), TiffHeader("<", big=True), TiffHeader(">", big=True)):
        if header.signature[:4] == start:
            file.seek(len(header.signature))
            return header
    raise ValueError("is not a TIFF file")


def read_offset(file: BinaryIO, header: TiffHeader) -> int:
    """Read the offset at the file's position; raises `ValueError` at the file's end."""
    try:
        return int(header.offset.unpack(file.read(header.offset.size))[0])
    except struct.error as error:
        raise ValueError("ends in its header") from error


def read_entries(file: BinaryIO, header: TiffHeader, start: int) -> list[IfdEntry]:
    """Read the entries of the directory at the offset `start`, without values that stand elsewhere.

    The file is left at the offset of the next directory. Raises `ValueError` if there are too many, or they end early.
    """
    file.seek(start)
    entries = []
    try:
        (count,) = header.count.unpack(file.read(header.count.size))
        if count > SAFETY.tiff_tags:
            raise ValueError(f"has a directory of {count} tags")
        for _ in range(count):
            position = file.tell()
            entries.append(IfdEntry(position, *header.entry.unpack(file.read(header.entry.size))))
    except struct.error as error:
        raise ValueError("has a directory that ends early") from error
    return entries


def value_position(file: BinaryIO, header: TiffHeader, entry: IfdEntry) -> int | None:
    """Return where the value of an entry stands that is too long for the entry; None if outside of the file."""
    (start,) = header.offset.unpack(entry.field)
    return int(start) if start + entry.value_bytes <= file.seek(0, 2) else None


def read_value(file: BinaryIO, header: TiffHeader, entry: IfdEntry) -> bytes | tuple[float, ...] | None:
    """Read the value of an entry; None if its type is unknown, it lies outside of the file or has too many numbers."""
    letters = _LETTERS.get(entry.type)
    if letters is None or (letters != "s" and entry.count > SAFETY.tiff_numbers):
        return None
    data = entry.field[: entry.value_bytes]
    if entry.value_bytes > len(entry.field):
        position = value_position(file, header, entry)
        if position is None:
            return None
        file.seek(position)
        data = file.read(entry.value_bytes)
    return data if letters == "s" else struct.unpack(f"{header.order}{entry.count * len(letters)}{letters[0]}", data)


def read_first_directory(file: BinaryIO, wanted: Collection[int] | None = None) -> tuple[TiffHeader, Directory]:
    """Read the header and the first directory, with the values of the `wanted` tags (None for all)."""
    header = read_header(file)
    return header, read_directory(file, header, read_offset(file, header), wanted)


def read_directory(
    file: BinaryIO, header: TiffHeader, start: int, wanted: Collection[int] | None = None, depth: int = 2
) -> Directory:
    """Read the directory at the offset `start`, with the values of the `wanted` tags (None for all).

    Directories within are followed down to `depth`; the file is left at the offset of the next directory. Raises
    `ValueError` if the directory itself is damaged, while values that are get None.
    """
    entries = read_entries(file, header, start)
    after, left = file.tell(), SAFETY.tiff_value_bytes
    directory: Directory = {}
    for entry in entries:
        _check(entry, directory)
        value: TagValue = None
        if entry.type in _LETTERS and entry.value_bytes <= left and (wanted is None or entry.code in wanted):
            value = _read_within(file, header, entry, depth)
            left -= entry.value_bytes
        directory.setdefault(entry.code, Tag(entry.type, entry.count, value))
    file.seek(after)
    return directory


def _check(entry: IfdEntry, directory: Directory) -> None:
    """Raise `ValueError` for a public tag that is there twice (some software does so with descriptions) or too long."""
    if entry.code >= 32768 or entry.code == TagCode.DESCRIPTION:
        return
    if entry.code in directory or (entry.count > SAFETY.tiff_numbers and entry.value_bytes > entry.count):
        raise ValueError(f"has a senseless tag {entry.code}")


def _read_within(file: BinaryIO, header: TiffHeader, entry: IfdEntry, depth: int) -> TagValue:
    """Read a value, or the directory that it points to."""
    value = read_value(file, header, entry)
    if entry.code not in (TagCode.EXIF, TagCode.GPS, TagCode.INTEROPERABILITY) or not isinstance(value, tuple):
        return value
    try:
        return read_directory(file, header, int(value[0]), None, depth - 1) if depth and value else None
    except ValueError:
        return None


def append_directory(file: BinaryIO, header: TiffHeader, directory: Directory) -> int:
    """Write a directory at the end of the file, after its values, and return its offset. Values of None are left out.

    Raises `struct.error` if the file is too long for the header's offsets.
    """
    packed = [
        header.entry.pack(code, *_append_value(file, header, tag))
        for code, tag in sorted(directory.items())
        if tag.value is not None
    ]
    start = _seek_end(file)
    file.write(header.count.pack(len(packed)) + b"".join(packed) + header.offset.pack(0))
    return start


def append_first_directory(file: BinaryIO, header: TiffHeader, directory: Directory) -> None:
    """Write a directory at the end of the file, as `append_directory`, and make it the file's first."""
    start = append_directory(file, header, directory)
    file.seek(len(header.signature))
    file.write(header.offset.pack(start))


def _append_value(file: BinaryIO, header: TiffHeader, tag: Tag) -> tuple[int, int, bytes]:
    """Return the type, count and field of a tag's entry; a value that does not fit there is appended."""
    if isinstance(tag.value, dict):
        type_ = TagType.IFD8 if header.big else TagType.LONG
        return type_, 1, header.offset.pack(append_directory(file, header, tag.value))
    data = tag.value or b""
    if isinstance(data, tuple):
        data = struct.pack(f"{header.order}{len(data)}{_LETTERS[tag.type][0]}", *data)
    if len(data) <= header.offset.size:
        return tag.type, tag.count, data  # padded by the pack of the entry
    start = _seek_end(file)
    file.write(data)
    return tag.type, tag.count, header.offset.pack(start)


def _seek_end(file: BinaryIO) -> int:
    """Go to the end of the file, or one byte further, as directories and values begin at even offsets."""
    position = file.seek(0, 2)
    return position + file.write(b"\0") if position % 2 else position


def encode_block(directory: Directory) -> bytes:
    """Return an EXIF block (a small TIFF file without a picture) with this directory."""
    header = TiffHeader("<")
    file = BytesIO(header.signature + header.offset.pack(0))
    append_first_directory(file, header, directory)
    return file.getvalue()


def decode_block(block: bytes) -> Directory:
    """Return the directory of an EXIF block, an empty one if it is damaged."""
    try:
        return read_first_directory(BytesIO(block))[1]
    except ValueError:
        return {}
