"""What is looked up in a file before a decoder gets to see it."""

import re

_SCAN, _END = b"\xda", b"\xd9"  # the markers of a JPEG file after which pixels come, and no more come
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")  # amid pixels
_MOST_STEPS = 300_000
_MOST_BLOCKS = 1_000_000  # of a GIF file
_MOST_SCANS = 64  # of a progressive picture; usual are 10, and each takes the decoder through all pixels, even if empty


def check_jpeg(content: bytes) -> None:
    """Raise `ValueError` for a JPEG file that takes decoders too long: with too many segments in its header, or scans.

    Pillow reads the segments in Python.
    """
    place, steps = 2, 0
    while steps < _MOST_STEPS:
        mark = content.find(b"\xff", place)
        if mark < 0:
            break
        steps += 1 + mark - place
        kind = content[mark + 1 : mark + 2]
        if kind == _SCAN:
            return _check_scans(content, mark)
        alone = kind <= b"\1" or b"\xd0" <= kind <= b"\xd8"
        length = int.from_bytes(content[mark + 2 : mark + 4], "big")
        place = mark + (1 if kind == b"\xff" else 2 if alone else 2 + length)
    raise ValueError("there is no picture after its header")


def _check_scans(content: bytes, first: int) -> None:
    place, scans, steps = first, 0, 0
    while (found := _MARKER.search(content, place)) and found[1] != _END:
        scans, steps = scans + (found[1] == _SCAN), steps + 1
        if scans > _MOST_SCANS or steps > _MOST_STEPS:
            raise ValueError(f"it has more than {_MOST_SCANS} scans")
        place = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")


def first_frame(content: bytes) -> tuple[bytes, bool]:
    """Return a GIF file of the first picture alone, and whether there are more.

    Pillow reads all that stands before and after it in Python, and keeps it. Raises `ValueError` for too many blocks.
    """
    place = start = 13 + _table_bytes(content[10:11])
    control = picture = b""
    left = _MOST_BLOCKS
    while (kind := content[place : place + 1]) not in (b"", b";") and not (kind == b"," and picture):
        begin, left = place, left - 1
        if kind in (b"!", b","):
            place += 2 if kind == b"!" else 11 + _table_bytes(content[place + 9 : place + 10])
            while left > 0 and place < len(content) and content[place]:
                place, left = place + 1 + content[place], left - 1
        if left <= 0:
            raise ValueError(f"it has more than {_MOST_BLOCKS} blocks")
        place += 1
        if kind == b",":
            picture = content[begin:place]
        elif not picture and content[begin : begin + 2] == b"!\xf9":
            control = content[begin:place]
    return content[:start] + control + picture + b";", kind == b","


def _table_bytes(flags: bytes) -> int:
    """Return how long the table of colors is that the flags of a GIF file or of one of its pictures tell of."""
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
