"""Headers of JPEG 2000 and LERC pictures, read before a decoder sees them, and the boxes that files are made of."""

import re
import struct
from collections.abc import Iterator

JPEG2000_BOX = b"\0\0\0\x0cjP  \r\n\x87\n"
_BOXES = 10_000  # of one file, or one box


def iterate_boxes(content: bytes, start: int = 0, stop: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of a file (ISO/IEC 14496-12), or of one of its boxes: name, start and stop of the content."""
    stop = len(content) if stop is None else stop
    for _ in range(_BOXES):
        if start + 8 > stop:
            return
        length, inner = int.from_bytes(content[start : start + 4]), start + 8
        if length == 1:
            length, inner = int.from_bytes(content[inner : inner + 8]), inner + 8
        end = stop if length == 0 else start + length
        if end < inner or end > stop:
            return
        yield content[start + 4 : start + 8], inner, end
        start = end


def has_tone_map(content: bytes) -> bool:
    """Return whether a HEIF or AVIF file has an item that a gain map belongs to (ISO 21496-1)."""
    metas = (content[start:stop] for name, start, stop in iterate_boxes(content) if name == b"meta")
    return any(re.search(rb"infe[\0-\xff]{8,10}tmap", meta) for meta in metas)


def make_box(name: bytes, content: bytes) -> bytes:
    """Return a box of a name of four letters."""
    return (len(content) + 8).to_bytes(4) + name + content


def jpeg2000_frame(content: bytes) -> tuple[int, int, list[int]] | None:
    """Return height, width and the bits of each component of a JPEG 2000 file or codestream; None if it is none.

    Bits are negative for signed components. Raises `ValueError` for sizes that make no sense, and for too many tiles.
    """
    start = 0
    if content.startswith(JPEG2000_BOX):
        start = next((begin for name, begin, _ in iterate_boxes(content) if name == b"jp2c"), -1)
    if start < 0 or content[start : start + 4] != b"\xff\x4f\xff\x51" or len(content) < start + 42:
        return None
    right, bottom, left, top, tile_width, tile_height, _, _, count = struct.unpack_from(">8IH", content, start + 8)
    parts = content[start + 42 : start + 42 + 3 * count]
    if not (left < right and top < bottom and tile_width and tile_height and count and len(parts) == 3 * count):
        raise ValueError("its size makes no sense")
    if -(-right // tile_width) * -(-bottom // tile_height) > 65535 or parts[1::3] + parts[2::3] != b"\1" * 2 * count:
        raise ValueError("it has too many tiles, or channels of several sizes")
    bits = [(depth & 127) + 1 for depth in parts[::3]]
    return bottom - top, right - left, [-n if depth & 128 else n for n, depth in zip(bits, parts[::3], strict=True)]


def lerc_size(content: bytes) -> tuple[int, int] | None:
    """Return (H, W) of a LERC picture, version 2; None if it is none."""
    if content[:6] != b"Lerc2 " or len(content) < 22:
        return None
    (version,) = struct.unpack_from("<i", content, 6)
    return struct.unpack_from("<ii", content, 14 if version >= 3 else 10)
