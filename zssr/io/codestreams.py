"""Sizes of JPEG 2000, JPEG XL and LERC pictures, read from their headers before a decoder sees them."""

import struct
from collections.abc import Iterator

JPEG2000_BOX = b"\0\0\0\x0cjP  \r\n\x87\n"
JPEGXL_BOX = b"\0\0\0\x0cJXL \r\n\x87\n"
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


def jpegxl_codestream(content: bytes) -> bytes:
    """Return the codestream of a JPEG XL file, which may lie in boxes; empty if there is none."""
    if not content.startswith(JPEGXL_BOX):
        return content
    parts = []
    for name, start, stop in iterate_boxes(content):
        if name in (b"jxlc", b"jxlp"):
            parts.append(content[start + (4 if name == b"jxlp" else 0) : stop])
    return b"".join(parts)


class BitReader:
    """Reads a JPEG XL header bit by bit, the lowest first (ISO/IEC 18181-1)."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the number in the next bits; raises `ValueError` at the end."""
        self._left -= count
        if self._left < 0:
            raise ValueError("its header ends early")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        return value

    def take_variable(self, *choices: tuple[int, int]) -> int:
        """Return a number of one of four lengths: each of `choices` is (bits, what is added)."""
        bits, offset = choices[self.take(2)]
        return self.take(bits) + offset


def jpegxl_size(content: bytes) -> tuple[int, int] | None:
    """Return (H, W) of a JPEG XL file or codestream, before its orientation; None if it is none."""
    stream = jpegxl_codestream(content)[:64]
    if stream[:2] != b"\xff\x0a":
        return None
    reader = BitReader(stream[2:])
    is_small = reader.take(1)

    def take_length() -> int:
        if is_small:
            return 8 * (reader.take(5) + 1)
        return reader.take_variable((9, 1), (13, 1), (18, 1), (30, 1))

    height = take_length()
    ratio = reader.take(3)
    across, down = ((0, 0), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio]
    return height, height * across // down if ratio else take_length()


def lerc_size(content: bytes) -> tuple[int, int] | None:
    """Return (H, W) of a LERC picture, version 2; None if it is none."""
    if content[:6] != b"Lerc2 " or len(content) < 22:
        return None
    (version,) = struct.unpack_from("<i", content, 6)
    height, width = struct.unpack_from("<ii", content, 14 if version >= 3 else 10)
    return height, width
