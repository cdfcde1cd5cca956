"""EXIF blocks, changed in place.

A maker's notes point to places in the block, counted from its start: a block that is taken apart and put together anew
breaks them. So values are overwritten where they stand, and every other byte keeps its place.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

ORIENTATION = 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
_HORIZONTAL, _VERTICAL = (X_RESOLUTION, 0xA20E), (Y_RESOLUTION, 0xA20F)  # on paper, and on the sensor
_EXIF_DIRECTORY = 0x8769
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_CENTIMETERS, _INCH = 3, 2.54
_LARGEST = 2**32 - 1


@dataclass(frozen=True)
class _Entry:
    """A tag of a directory: where its 12 bytes stand, and what they hold."""

    place: int
    tag: int
    type: int
    count: int


class Exif:
    """The directories of an EXIF block (from its TIFF header on), for a few values to be read and overwritten.

    Raises `ValueError` if they cannot be followed.
    """

    def __init__(self, block: bytes) -> None:
        self.block = bytearray(block)
        if block[:4] not in (b"II*\0", b"MM\0*"):
            raise ValueError("no TIFF header")
        self._order = "<" if block[:2] == b"II" else ">"
        try:
            self._first = self._unpacked("I", 4)
            self._entries = {entry.tag: entry for entry in self._directory(self._first)}
            inner = self._number(_EXIF_DIRECTORY)
            if inner is not None:
                self._entries |= {entry.tag: entry for entry in self._directory(inner)}
        except struct.error as error:
            raise ValueError("its directories lead out of the block") from error

    @property
    def orientation(self) -> int | None:
        """Return how the pixels lie, 1 (upright) to 8; None if the block says nothing, and 1 if it makes no sense."""
        if ORIENTATION not in self._entries:
            return None
        number = self._number(ORIENTATION)
        return number if number in range(1, 9) else 1

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Return the pixels per inch (horizontal, vertical), in the block's own orientation."""
        pair = self._ratio(X_RESOLUTION), self._ratio(Y_RESOLUTION)
        if pair[0] is None or pair[1] is None:
            return None
        per_inch = _INCH if self._number(RESOLUTION_UNIT) == _CENTIMETERS else 1.0
        return float(pair[0]) * per_inch, float(pair[1]) * per_inch

    def enlarged(self, scale: tuple[float, float], size: tuple[int, int]) -> bytes:
        """Return the block of the upright picture after it was enlarged by `scale` (vertical, horizontal) to `size`.

        The orientation is reset, sizes become `size` (H, W), resolutions grow, and the thumbnail, which shows the
        small picture, is let go of.
        """
        ratios = {tag: self._ratio(tag) for tag in (*_HORIZONTAL, *_VERTICAL)}
        for across, down in zip(_HORIZONTAL, _VERTICAL, strict=True):
            if (self.orientation or 1) > 4:  # lies on its side
                ratios[across], ratios[down] = ratios[down], ratios[across]
            self._write_ratio(across, ratios[across], scale[1])
            self._write_ratio(down, ratios[down], scale[0])
        for tags, length in ((_HEIGHTS, size[0]), (_WIDTHS, size[1])):
            for tag in tags:
                self._write_number(tag, _LONG, length)
        self._write_number(ORIENTATION, _SHORT, 1)
        self._drop_thumbnail()
        return bytes(self.block)

    def _unpacked(self, kind: str, place: int) -> int:
        return int(struct.unpack_from(self._order + kind, self.block, place)[0])

    def _directory(self, start: int) -> Iterator[_Entry]:
        for index in range(self._unpacked("H", start)):
            place = start + 2 + 12 * index
            tag, kind, count, _ = struct.unpack_from(self._order + "HHI4s", self.block, place)
            yield _Entry(place, tag, kind, count)

    def _value(self, entry: _Entry | None) -> int | None:
        """Return an entry's one whole number."""
        if entry is None or entry.count != 1 or entry.type not in (_SHORT, _LONG):
            return None
        return self._unpacked("H" if entry.type == _SHORT else "I", entry.place + 8)

    def _number(self, tag: int) -> int | None:
        return self._value(self._entries.get(tag))

    def _ratio_place(self, tag: int) -> int | None:
        entry = self._entries.get(tag)
        if entry is None or entry.type != _RATIONAL or entry.count != 1:
            return None
        place = self._unpacked("I", entry.place + 8)
        return place if place + 8 <= len(self.block) else None

    def _ratio(self, tag: int) -> Fraction | None:
        place = self._ratio_place(tag)
        if place is None:
            return None
        above, below = self._unpacked("I", place), self._unpacked("I", place + 4)
        return Fraction(above, below) if above and below else None

    def _write_ratio(self, tag: int, ratio: Fraction | None, scale: float) -> None:
        place = self._ratio_place(tag)
        if place is None or ratio is None:
            return
        larger = (ratio * Fraction(scale)).limit_denominator(10_000)
        if 0 < larger.numerator <= _LARGEST:
            struct.pack_into(self._order + "II", self.block, place, larger.numerator, larger.denominator)

    def _write_number(self, tag: int, kind: int, value: int) -> None:
        entry = self._entries.get(tag)
        if entry is not None:
            layout = "HHIH2x" if kind == _SHORT else "HHII"
            struct.pack_into(self._order + layout, self.block, entry.place, tag, kind, 1, value)

    def _drop_thumbnail(self) -> None:
        """Unlink the thumbnail's directory, and cut the thumbnail off if it is the last thing in the block."""
        link = self._first + 2 + 12 * self._unpacked("H", self._first)
        try:
            directory = self._unpacked("I", link)
            struct.pack_into(self._order + "I", self.block, link, 0)
            entries = {entry.tag: self._value(entry) for entry in self._directory(directory)}
        except struct.error:
            return
        start, length = entries.get(_THUMBNAIL_OFFSET), entries.get(_THUMBNAIL_LENGTH)
        last = max((entry.place + 12 for entry in self._entries.values()), default=link)
        if start and length and start > last and start + length == len(self.block):
            del self.block[start:]
