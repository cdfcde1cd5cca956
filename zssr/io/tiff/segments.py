"""The strips and tiles of a TIFF page: which rows they cover, read and decoded a few at a time."""

import math
import re
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import Image
from tifffile import TiffPage

from zssr.errors import ImageError
from zssr.io.headers import check_jpeg
from zssr.io.picture import Pixels
from zssr.io.tiff import ifd

_MOST_BYTES = 1 << 28  # in one strip or tile, when it must be decoded whole
_BOUNDED, _BEST_RATIO = (1, 5, 7, 8, 32773, 32946), 4096  # LZW, JPEG, deflate, PackBits: never below 1 byte in 4096
_LZW, _JPEG = 5, 7
_MOST_LZW_BYTES = 1 << 26  # below Pillow's limit of pixels


class SegmentReader:
    """The strips or tiles of a page, read by rows.

    Rows of uncompressed strips are read from the file as they are. Otherwise just the strips or tiles that cover the
    rows are decoded, and those of the last two rows of segments are kept, for bands whose margins overlap.

    Raises `ImageError` if strips or tiles are missing, lie outside of the file or are too large to be decoded.
    """

    def __init__(self, page: TiffPage, file: BinaryIO, name: str) -> None:
        self.page, self.file, self.name = page, file, name
        self.height, self.width, self.samples = page.imagelength, page.imagewidth, page.samplesperpixel
        self.separate = page.planarconfig == 2 and self.samples > 1
        self.planes = self.samples if self.separate else 1
        self.depth = 1 if self.separate else self.samples
        self.length = page.tilelength if page.is_tiled else page.rowsperstrip
        self.across = page.tilewidth if page.is_tiled else self.width
        if page.planarconfig not in (1, 2):
            raise self._damaged("its channels are neither together nor apart")
        if min(self.length, self.across) < 1 or (page.is_tiled and page.tiledepth != 1):
            raise self._damaged("its strips or tiles have no size")
        self.columns = math.ceil(self.width / self.across)
        self.lines = math.ceil(self.height / self.length)
        self.plain = page.compression == 1 and page.predictor == 1 and page.fillorder == 1 and not page.is_tiled
        self.plain &= isinstance(page.bitspersample, int) and page.bitspersample in (8, 16, 32, 64)
        self.row_bytes = math.ceil(self.width * self.depth * page.bitspersample / 8)
        self.kept: dict[int, Pixels | None] = {}
        self._check()

    def _damaged(self, why: str) -> ImageError:
        return ImageError(f"{self.name}: cannot be read; the file is damaged or incomplete ({why})")

    def _check(self) -> None:
        count = self.columns * self.lines * self.planes
        if len(self.page.dataoffsets) < count or len(self.page.databytecounts) < count:
            raise self._damaged(f"{count} strips or tiles are needed, {len(self.page.dataoffsets)} are there")
        offsets = np.asarray(self.page.dataoffsets[:count], np.float64)
        sizes = np.asarray(self.page.databytecounts[:count], np.float64)
        if self.plain:
            rows = np.full(self.lines, self.length)
            rows[-1] = self.height - self.length * (self.lines - 1)
            sizes = np.tile(rows * float(self.row_bytes), self.planes)
        if (offsets + sizes > self.file.seek(0, 2)).any() or min(offsets.min(), sizes.min()) < 0:
            raise self._damaged("its pixels end beyond the end of the file")
        decoded = self.length * self.across * self.depth * np.dtype(self.page.dtype).itemsize
        self.lzw = self.page.compression == _LZW
        if not self.plain and decoded > (_MOST_LZW_BYTES if self.lzw else _MOST_BYTES):
            raise ImageError(
                f"{self.name}: its strips or tiles of {decoded / 1e6:.0f} MB are too large to be decoded; "
                f"save it with ones below {_MOST_BYTES / 1e6:.0f} MB"
            )
        if not self.plain and sizes.max() > 4 * decoded + (1 << 20):
            raise self._damaged("a strip or tile is longer than its pixels")
        if count * decoded > max(_MOST_BYTES, _BEST_RATIO * self.file.seek(0, 2)):  # empty ones, or one many times
            raise self._damaged("too few bytes for its pixels")
        if self.page.compression in _BOUNDED and (sizes * _BEST_RATIO < decoded - (1 << 16))[sizes > 0].any():
            raise self._damaged("a strip or tile is too short for its pixels")
        if self.lzw:  # tifffile does the rest, once the bytes are plain
            self.fill_order, self.page.compression, self.page.fillorder = self.page.fillorder, 1, 1

    def rows(self, start: int, stop: int) -> Pixels:
        """Return the stored samples of the rows as (stop - start, W, S); raises `ImageError` if they are damaged."""
        out = np.full((stop - start, self.width, self.samples), self.page.nodata, self.page.dtype)
        first, last = start // self.length, math.ceil(stop / self.length)
        known, self.kept = self.kept, {}
        for line in range(first, last):
            top, bottom = max(start, line * self.length), min(stop, (line + 1) * self.length, self.height)
            inside = slice(top - line * self.length, bottom - line * self.length)
            for plane in range(self.planes):
                target = out[top - start : bottom - start, :, plane : plane + 1 if self.separate else None]
                if self.plain:
                    target[:] = self._plain_rows(plane * self.lines + line, inside)
                    continue
                for column in range(self.columns):
                    index = (plane * self.lines + line) * self.columns + column
                    segment = known.pop(index) if index in known else self._decoded(index)
                    if segment is not None:
                        left = column * self.across
                        part = segment[inside, : self.width - left]
                        target[:, left : left + self.across] = part
                    if line >= last - 2:
                        self.kept[index] = segment
        return out

    def _plain_rows(self, index: int, inside: slice) -> Pixels:
        self.file.seek(self.page.dataoffsets[index] + inside.start * self.row_bytes)
        rows = inside.stop - inside.start
        data = self.file.read(rows * self.row_bytes)
        if len(data) < rows * self.row_bytes:
            raise self._damaged("its pixels end early")
        dtype = np.dtype(self.page.dtype).newbyteorder(self.page.parent.byteorder)
        return np.frombuffer(data, dtype).reshape(rows, self.width, self.depth)

    def _decoded(self, index: int) -> Pixels | None:
        """Return a decoded segment (h, w, samples), as large as its part of the picture or larger; None if empty."""
        size = self.page.databytecounts[index]
        if size == 0:
            return None  # left out by the writer: no data
        self.file.seek(self.page.dataoffsets[index])
        data = self.file.read(size)
        others = {}
        if self.page.compression == _JPEG:
            others = {"jpegtables": self.page.jpegtables}
            self._check_jpeg(data, self.page.jpegtables)
        line, column = index // self.columns % self.lines, index % self.columns
        rows = min(self.length, self.height - line * self.length)
        if self.lzw:
            row_bytes = math.ceil(self.across * self.depth * self.page.bitspersample / 8)
            data = _lzw_decoded(data, self.length if self.page.is_tiled else rows, row_bytes, self.fill_order)
        segment, _, _ = self.page.decode(data, index, **others)
        across = min(self.across, self.width - column * self.across)
        if segment is not None and self.page.bitspersample == 1:
            segment = segment.astype(np.bool_)  # fax comes as numbers
        if segment is None or segment.dtype != self.page.dtype or segment.shape[0] != 1:
            raise self._damaged("a strip or tile has samples of another kind")
        if segment.shape[1] < rows or segment.shape[2] < across or segment.shape[3] != self.depth:
            raise self._damaged("a strip or tile is too small")
        return np.asarray(segment[0])

    def _check_jpeg(self, data: bytes, tables: bytes | None) -> None:
        """Raise `ImageError` if a JPEG decoder would allocate more than the segment's pixels, or take too long."""
        size = jpeg_size(data)
        if size is None or (tables and jpeg_size(tables)) or size[0] * size[1] > 2 * self.length * self.across + 4096:
            raise self._damaged("a strip or tile has another size than it says")
        check_jpeg(data)


def _lzw_decoded(data: bytes, rows: int, row_bytes: int, fill_order: int) -> bytes:
    """Return the decoded bytes by way of Pillow and libtiff: imagecodecs' LZW decoder crashes on damaged data."""
    form = ifd.TiffHeader("<", False)
    start = len(form.header) + form.offset.size
    file = BytesIO()
    file.write(form.header + form.offset.pack(0) + data)
    values = {256: row_bytes, 257: rows, 258: 8, 259: _LZW, 262: 1, 266: fill_order, 273: start, 277: 1, 278: rows}
    directory = {code: ifd.Tag(4, 1, (value,)) for code, value in (values | {279: len(data)}).items()}
    first = ifd.append_directory(file, form, directory)
    file.seek(len(form.header))
    file.write(form.offset.pack(first))
    with Image.open(file, formats=["TIFF"]) as picture:
        return picture.tobytes()


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return (H, W) of a JPEG's frame, found as decoders find it; None if it has none before its first scan."""
    stream = BytesIO(data)
    stream.seek(2)
    while match := re.compile(rb"\xff+([^\xff])", re.DOTALL).search(data, stream.tell()):
        marker = match[1][0]
        stream.seek(match.end())
        if marker in (0x00, 0x01, *range(0xD0, 0xD9)):
            continue
        length = int.from_bytes(stream.read(2))
        if marker in (0xD9, 0xDA):
            return None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            stream.read(1)
            return int.from_bytes(stream.read(2)), int.from_bytes(stream.read(2))
        stream.seek(max(length - 2, 0), 1)
    return None
