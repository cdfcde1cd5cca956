"""EXIF blocks, changed in place.

A maker note points to positions in the block, counted from its start: a block that is taken apart and encoded anew
breaks it. So values are overwritten where they stand, and every other byte keeps its position.
"""

import struct
from fractions import Fraction
from io import BytesIO

from zssr.io.orientation import swaps_axes
from zssr.io.tiff import ifd
from zssr.io.tiff.tags import TagCode, TagType

_X_RESOLUTIONS = (TagCode.X_RESOLUTION, TagCode.FOCAL_PLANE_X_RESOLUTION)  # of a print, and of the sensor
_Y_RESOLUTIONS = (TagCode.Y_RESOLUTION, TagCode.FOCAL_PLANE_Y_RESOLUTION)


class Exif:
    """The tags of an EXIF block (from its TIFF header on), for a few values to be read and overwritten.

    Raises `ValueError` if its directories are damaged.
    """

    def __init__(self, block: bytes) -> None:
        self._file = BytesIO(block)
        if block[:4] not in (b"II*\0", b"MM\0*"):
            raise ValueError("no TIFF header")
        self._header = ifd.read_header(self._file)
        try:
            self._entries = self._read_entries(ifd.read_offset(self._file, self._header))
            self._link = self._file.tell()  # to the directory of the thumbnail
            exif = self._number(TagCode.EXIF)
            if exif is not None:
                self._entries |= self._read_entries(exif)
        except ValueError as error:
            raise ValueError("its directories lead out of the block") from error

    @property
    def orientation(self) -> int | None:
        """Return how the pixels lie, 1 (upright) to 8; None if the block says nothing, and 1 if it makes no sense."""
        if TagCode.ORIENTATION not in self._entries:
            return None
        number = self._number(TagCode.ORIENTATION)
        return number if number in range(1, 9) else 1

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Return the pixels per inch (horizontal, vertical), in the block's own orientation."""
        across, down = self._ratio(TagCode.X_RESOLUTION), self._ratio(TagCode.Y_RESOLUTION)
        per_inch = 2.54 if self._number(TagCode.RESOLUTION_UNIT) == 3 else 1.0  # 3: per centimeter
        return None if across is None or down is None else (float(across) * per_inch, float(down) * per_inch)

    def rescale(self, scale: tuple[float, float], size: tuple[int, int]) -> bytes:
        """Return the block of the upright picture after it was scaled by `scale` (vertical, horizontal) to `size`.

        The orientation is reset, sizes become `size` (H, W), and resolutions grow. The thumbnail, which shows the
        picture as it was, is left out.
        """
        block = bytearray(self._file.getbuffer())
        for x_tag, y_tag in zip(_X_RESOLUTIONS, _Y_RESOLUTIONS, strict=True):
            across, down = self._ratio(x_tag), self._ratio(y_tag)
            if swaps_axes(self.orientation or 1):
                across, down = down, across
            self._write_ratio(block, x_tag, across, scale[1])
            self._write_ratio(block, y_tag, down, scale[0])
        for tag, number in (
            (TagCode.HEIGHT, size[0]),
            (TagCode.PIXEL_Y_DIMENSION, size[0]),
            (TagCode.WIDTH, size[1]),
            (TagCode.PIXEL_X_DIMENSION, size[1]),
            (TagCode.ORIENTATION, 1),
        ):
            self._write_number(block, tag, number)
        self._drop_thumbnail(block)
        return bytes(block)

    def _read_entries(self, start: int) -> dict[int, ifd.IfdEntry]:
        return {entry.code: entry for entry in ifd.read_entries(self._file, self._header, start)}

    def _value(self, entry: ifd.IfdEntry | None) -> int | None:
        """Return the value of an entry that is one whole number."""
        if entry is None or entry.count != 1 or entry.type not in (TagType.SHORT, TagType.LONG):
            return None
        value = ifd.read_value(self._file, self._header, entry)
        return int(value[0]) if value else None

    def _number(self, code: int) -> int | None:
        return self._value(self._entries.get(code))

    def _ratio_entry(self, code: int) -> ifd.IfdEntry | None:
        entry = self._entries.get(code)
        return entry if entry and entry.type == TagType.RATIONAL and entry.count == 1 else None

    def _ratio(self, code: int) -> Fraction | None:
        entry = self._ratio_entry(code)
        value = ifd.read_value(self._file, self._header, entry) if entry else None
        return Fraction(int(value[0]), int(value[1])) if value and all(value) else None

    def _write_ratio(self, block: bytearray, code: int, ratio: Fraction | None, scale: float) -> None:
        entry = self._ratio_entry(code)
        position = ifd.value_position(self._file, self._header, entry) if entry else None
        if position is None or ratio is None:
            return
        scaled = (ratio * Fraction(scale)).limit_denominator(10_000)
        if 0 < scaled.numerator < 2**32:
            struct.pack_into(f"{self._header.order}II", block, position, *scaled.as_integer_ratio())

    def _write_number(self, block: bytearray, code: int, value: int) -> None:
        """Overwrite the value of a tag; the orientation is a SHORT, sizes may outgrow one."""
        if entry := self._entries.get(code):
            kind, letter = (TagType.SHORT, "H") if code == TagCode.ORIENTATION else (TagType.LONG, "I")
            field = struct.pack(self._header.order + letter, value)
            self._header.entry.pack_into(block, entry.position, code, kind, 1, field)

    def _drop_thumbnail(self, block: bytearray) -> None:
        """Unlink the thumbnail's directory, and cut the thumbnail off if it is the last thing in the block."""
        self._file.seek(self._link)
        try:
            directory = ifd.read_offset(self._file, self._header)
            self._header.offset.pack_into(block, self._link, 0)
            thumbnail = self._read_entries(directory)
        except ValueError:
            return
        start, length = (
            self._value(thumbnail.get(code)) for code in (TagCode.THUMBNAIL_OFFSET, TagCode.THUMBNAIL_LENGTH)
        )
        last = max((entry.position + self._header.entry.size for entry in self._entries.values()), default=self._link)
        if start and length and start > last and start + length == len(block):
            del block[start:]
