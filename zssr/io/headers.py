"""Headers of JPEG, GIF and WebP files, read before a decoder sees the file."""

import re
from collections.abc import Iterator

from zssr.io.limits import SAFETY

_SCAN, _END = 0xDA, 0xD9  # the JPEG markers after which pixels come, and no more come
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # those that say the size

FILM_START = re.compile(rb"\0\0\0[\x08-\xff]ftyp")
"""The start of an MPEG-4 film, as motion photos have it after the picture."""


def jpeg_markers(content: bytes, begin: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield the markers of a JPEG picture up to its end, as decoders find them, those of headers, scans and the end.

    Each comes with the offset of its segment (which starts with its length), and with the number of bytes that were
    skipped to find it.
    """
    pattern = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")  # others have no segment, or are a part of the pixels
    position = begin + 2
    while found := pattern.search(content, position):
        marker, start = found[1][0], found.end()
        yield marker, start, start - 1 - position
        if marker == _END:
            return
        has_segment = marker != 0xD8
        position = start + (max(2, int.from_bytes(content[start : start + 2])) if has_segment else 0)


def jpeg_pictures(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the JPEG pictures of a file start and stop: they may follow each other."""
    start = 0
    for _ in range(SAFETY.jpeg_pictures):
        stop = next((at for marker, at, _ in jpeg_markers(content, start) if marker == _END), len(content))
        yield start, stop
        start = content.find(b"\xff\xd8\xff", stop)
        if start < 0:
            return


def check_jpeg(content: bytes) -> None:
    """Raise `ValueError` for a JPEG file that takes decoders too long: with too many segments in its header, or scans.

    Pillow reads the header in Python.
    """
    markers = jpeg_markers(content)
    marker, effort = None, 0
    while marker != _SCAN:
        marker, _, skipped = next(markers, (None, 0, 0))
        effort += skipped
        if marker is None or effort > SAFETY.jpeg_markers:
            raise ValueError("there is no picture after its header")
    scans = 1
    for count, (marker, _, _) in enumerate(markers, 1):
        scans += marker == _SCAN
        if scans > SAFETY.jpeg_scans or count > SAFETY.jpeg_markers:
            raise ValueError(f"it has more than {SAFETY.jpeg_scans} scans")


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Return (H, W) of a JPEG's frame, found as decoders find it; None if it has none before its first scan."""
    for marker, start, _ in jpeg_markers(content):
        if marker in _FRAMES:
            return int.from_bytes(content[start + 3 : start + 5]), int.from_bytes(content[start + 5 : start + 7])
        if marker == _SCAN:
            break
    return None


def first_frame(content: bytes) -> tuple[bytes, bool]:
    """Return a GIF file of the first frame alone, and whether there are more.

    Pillow reads all that stands before and after it in Python, and keeps it. Raises `ValueError` for too many blocks.
    """
    position = start = 13 + _table_bytes(content[10:11])
    control = frame = b""
    left = SAFETY.gif_blocks
    while (kind := content[position : position + 1]) not in (b"", b";") and not (kind == b"," and frame):
        begin, left = position, left - 1
        if kind in (b"!", b","):
            position += 2 if kind == b"!" else 11 + _table_bytes(content[position + 9 : position + 10])
            while left > 0 and position < len(content) and content[position]:
                position, left = position + 1 + content[position], left - 1
        if left <= 0:
            raise ValueError(f"it has more than {SAFETY.gif_blocks} blocks")
        position += 1
        if kind == b",":
            frame = content[begin:position]
        elif not frame and content[begin : begin + 2] == b"!\xf9":
            control = content[begin:position]
    return content[:start] + control + frame + b";", kind == b","


def _table_bytes(flags: bytes) -> int:
    """Return the length of the color table that the flags of a GIF file or of one of its frames announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def webp_size(content: bytes) -> tuple[int, int]:
    """Return (H, W) of a WebP file's canvas from the header of its first chunk (RFC 9649)."""
    kind, header = content[12:16], content[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(header[7:10], "little") + 1, int.from_bytes(header[4:7], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(header[1:5], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    width, height = (int.from_bytes(header[k : k + 2], "little") & 0x3FFF for k in (6, 8))
    return height, width


def is_animated_webp(content: bytes) -> bool:
    """Return whether the header of a WebP file announces an animation."""
    return content[12:16] == b"VP8X" and content[20] & 2 != 0


def is_lossless_webp(content: bytes) -> bool:
    """Return whether the first picture in a WebP file is compressed without loss."""
    position, stop = 12, len(content)
    for _ in range(SAFETY.webp_chunks):
        name, length = content[position : position + 4], int.from_bytes(content[position + 4 : position + 8], "little")
        if name in (b"VP8L", b"VP8 ") or position >= stop:
            return name == b"VP8L"
        position += 8 + (16 if name == b"ANMF" else length + length % 2)  # a frame has chunks within
    return False
