"""The segments (strips or tiles) of a TIFF page: which rows they cover, read and decoded a few at a time."""

import math
from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from typing import BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import COMPRESSION, TiffPage

from zssr.errors import ImageError
from zssr.io.codestreams import jpeg2000_frame, lerc_size
from zssr.io.headers import check_jpeg, jpeg_size, webp_size
from zssr.io.jpegxl import jpegxl_size
from zssr.io.limits import SAFETY
from zssr.io.picture import Pixels
from zssr.io.tiff import ifd
from zssr.io.tiff.tags import Tag, TagType

_BOUNDED = (
    COMPRESSION.NONE,
    COMPRESSION.LZW,
    COMPRESSION.JPEG,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.PACKBITS,
    COMPRESSION.DEFLATE,
)
"""The compressions that never take less than 1 byte for `SAFETY.tiff_ratio`."""


class SegmentReader:
    """The segments of a page, read by rows.

    Rows of uncompressed strips are read from the file as they are. Otherwise just the segments that cover the rows are
    decoded, and those of the last two rows of segments are kept, for bands whose margins overlap.

    Raises `ImageError` if segments are missing, lie outside of the file or are too large to be decoded.
    """

    def __init__(self, page: TiffPage, file: BinaryIO, name: str) -> None:
        self.page, self.file, self.name = page, file, name
        self.height, self.width, self.samples = page.imagelength, page.imagewidth, page.samplesperpixel
        self.separate = page.planarconfig == 2 and self.samples > 1
        self.planes = self.samples if self.separate else 1
        self.depth = 1 if self.separate else self.samples
        self.segment_height = page.tilelength if page.is_tiled else page.rowsperstrip
        self.segment_width = page.tilewidth if page.is_tiled else self.width
        if page.planarconfig not in (1, 2):
            raise self._damaged("its channels are neither together nor apart")
        if min(self.segment_height, self.segment_width) < 1 or (page.is_tiled and page.tiledepth != 1):
            raise self._damaged("its strips or tiles have no size")
        self.grid = (math.ceil(self.height / self.segment_height), math.ceil(self.width / self.segment_width))
        self.plain = page.compression == 1 and page.predictor == 1 and page.fillorder == 1 and not page.is_tiled
        self.plain &= isinstance(page.bitspersample, int) and page.bitspersample in (8, 16, 32, 64)
        self.row_bytes = math.ceil(self.width * self.depth * page.bitspersample / 8)
        self.kept: dict[int, Pixels | None] = {}
        self._check_segments()
        self.lzw = page.compression == COMPRESSION.LZW
        if self.lzw:  # tifffile does the rest, once the bytes are plain
            self.fill_order, page.compression, page.fillorder = page.fillorder, 1, 1

    def _damaged(self, reason: str) -> ImageError:
        return ImageError(f"{self.name}: cannot be read; the file is damaged or incomplete ({reason})")

    def _check_segments(self) -> None:
        """Raise `ImageError` if segments are missing, lie outside of the file, or have lengths that make no sense."""
        page, count, file_bytes = self.page, math.prod(self.grid) * self.planes, self.file.seek(0, 2)
        if len(page.dataoffsets) < count or len(page.databytecounts) < count:
            raise self._damaged(f"{count} strips or tiles are needed, {len(page.dataoffsets)} are there")
        offsets, lengths = (np.asarray(of[:count], np.float64) for of in (page.dataoffsets, page.databytecounts))
        if self.plain:
            rows = np.full(self.grid[0], self.segment_height)
            rows[-1] = self.height - self.segment_height * (self.grid[0] - 1)
            lengths = np.tile(rows * float(self.row_bytes), self.planes)
        if (offsets + lengths > file_bytes).any() or min(offsets.min(), lengths.min()) < 0:
            raise self._damaged("its pixels end beyond the end of the file")
        decoded = self.segment_height * self.segment_width * self.depth * np.dtype(page.dtype).itemsize
        if not self.plain:
            self._check_decoded(lengths, decoded)
        if count * decoded > max(SAFETY.tiff_segment_bytes, SAFETY.tiff_ratio * file_bytes):  # empty, or one many times
            raise self._damaged("too few bytes for its pixels")
        if page.compression in _BOUNDED and (lengths * SAFETY.tiff_ratio < decoded - (1 << 16))[lengths > 0].any():
            raise self._damaged("a strip or tile is too short for its pixels")

    def _check_decoded(self, lengths: NDArray[np.float64], decoded: int) -> None:
        """Raise `ImageError` if segments that are decoded as a whole are too large, or longer than their pixels."""
        is_lzw = self.page.compression == COMPRESSION.LZW
        if decoded > (SAFETY.lzw_segment_bytes if is_lzw else SAFETY.tiff_segment_bytes):
            raise ImageError(
                f"{self.name}: its strips or tiles of {decoded / 1e6:.0f} MB are too large to be decoded; "
                f"save it with ones below {SAFETY.tiff_segment_bytes / 1e6:.0f} MB"
            )
        if lengths.max() > 4 * decoded + (1 << 20):
            raise self._damaged("a strip or tile is longer than its pixels")

    def rows(self, start: int, stop: int) -> Pixels:
        """Return the stored samples of the rows as (stop - start, W, S); raises `ImageError` if they are damaged."""
        out = np.full((stop - start, self.width, self.samples), self.page.nodata, self.page.dtype)
        first, last = start // self.segment_height, math.ceil(stop / self.segment_height)
        cached, self.kept = self.kept, {}
        for row in range(first, last):
            row_top = row * self.segment_height
            top, bottom = max(start, row_top), min(stop, row_top + self.segment_height, self.height)
            inside = slice(top - row_top, bottom - row_top)
            for plane in range(self.planes):
                target = out[top - start : bottom - start, :, plane : plane + 1 if self.separate else None]
                index = (plane * self.grid[0] + row) * self.grid[1]
                if self.plain:
                    target[:] = self._read_plain(index, inside)
                    continue
                for column in range(self.grid[1]):
                    segment = cached.pop(index) if index in cached else self._decode(index)
                    if segment is not None:
                        left = column * self.segment_width
                        target[:, left : left + self.segment_width] = segment[inside, : self.width - left]
                    if row >= last - 2:
                        self.kept[index] = segment
                    index += 1
        return out

    def _read_plain(self, index: int, inside: slice) -> Pixels:
        """Return rows of an uncompressed strip."""
        self.file.seek(self.page.dataoffsets[index] + inside.start * self.row_bytes)
        rows = inside.stop - inside.start
        data = self.file.read(rows * self.row_bytes)
        if len(data) < rows * self.row_bytes:
            raise self._damaged("its pixels end early")
        dtype = np.dtype(self.page.dtype).newbyteorder(self.page.parent.byteorder)
        return np.frombuffer(data, dtype).reshape(rows, self.width, self.depth)

    def _decode(self, index: int) -> Pixels | None:
        """Return a decoded segment (h, w, samples), as large as its part of the picture or larger; None if empty."""
        length = self.page.databytecounts[index]
        if length == 0:
            return None  # left out by the writer: no data
        self.file.seek(self.page.dataoffsets[index])
        data = self.file.read(length)
        row, column = index // self.grid[1] % self.grid[0], index % self.grid[1]
        height = min(self.segment_height, self.height - row * self.segment_height)
        width = min(self.segment_width, self.width - column * self.segment_width)
        segment = self._decode_bytes(data, index, height)
        if segment is None or segment.dtype != self.page.dtype or segment.shape[0] != 1:
            raise self._damaged("a strip or tile has samples of another kind")
        if segment.shape[1] < height or segment.shape[2] < width or segment.shape[3] != self.depth:
            raise self._damaged("a strip or tile is too small")
        return np.asarray(segment[0])

    def _decode_bytes(self, data: bytes, index: int, height: int) -> Pixels | None:
        """Return a segment (1, h, w, samples) as its codec decodes it; `height` is that of its part of the picture."""
        tables = {}
        if self.page.compression == COMPRESSION.JPEG:
            tables = {"jpegtables": self.page.jpegtables}
            check_jpeg(data)
        elif self.page.compression == COMPRESSION.LERC:
            data = self._unpack_lerc(data)
        self._check_size(data)
        if self.lzw:
            row_bytes = math.ceil(self.segment_width * self.depth * self.page.bitspersample / 8)
            data = decode_lzw(data, self.segment_height if self.page.is_tiled else height, row_bytes, self.fill_order)
        segment: Pixels | None = self.page.decode(data, index, **tables)[0]
        if segment is not None and self.page.bitspersample == 1:
            return segment.astype(np.bool_)  # fax comes as numbers
        return segment

    def _check_size(self, data: bytes) -> None:
        """Raise `ImageError` if a decoder of pictures would allocate more than the segment's pixels."""
        find_size = _FIND_SIZE.get(self.page.compression)
        if find_size is None:
            return
        size, most = find_size(data), 2 * self.segment_height * self.segment_width + 4096
        tables = self.page.jpegtables if self.page.compression == COMPRESSION.JPEG else None
        if size is None or (tables and jpeg_size(tables)) or size[0] * size[1] > most or min(size) < 1:
            raise self._damaged("a strip or tile has another size than it says")

    def _unpack_lerc(self, data: bytes) -> bytes:
        """Return LERC data without the compression that may be around it."""
        parameters = self.page.tags.valueof(50674, (0, 0))
        most = 2 * self.segment_height * self.segment_width * self.depth * np.dtype(self.page.dtype).itemsize + 4096
        decoders = {1: imagecodecs.zlib_decode, 2: imagecodecs.zstd_decode}
        decode = decoders.get(parameters[1]) if len(parameters) > 1 else None
        return bytes(decode(data, out=most)) if decode else data


def _jpeg2000_size(data: bytes) -> tuple[int, int] | None:
    frame = jpeg2000_frame(data)
    return frame and frame[:2]


_FIND_SIZE: dict[int, Callable[[bytes], tuple[int, int] | None]] = {
    COMPRESSION.JPEG: jpeg_size,
    COMPRESSION.WEBP: webp_size,
    COMPRESSION.JPEG2000: _jpeg2000_size,
    COMPRESSION.APERIO_JP2000_RGB: _jpeg2000_size,
    COMPRESSION.JPEGXL: jpegxl_size,
    COMPRESSION.JPEGXL_DNG: jpegxl_size,
    COMPRESSION.LERC: lerc_size,
}
"""How the size of a segment is found that is a picture in itself."""


class OldJpegReader:
    """A page in old-style JPEG, read by rows: libtiff decodes it whole, when rows are first asked for."""

    def __init__(self, page: TiffPage, file: BinaryIO, header: ifd.TiffHeader) -> None:
        self.height, self.width, self.file = page.imagelength, page.imagewidth, file
        self._page, self._header = page, header

    def rows(self, start: int, stop: int) -> Pixels:
        """Return the samples of the rows as (stop - start, W, S)."""
        return self._pixels[start:stop]

    @cached_property
    def _pixels(self) -> Pixels:
        self.file.seek(0)
        content = bytearray(self.file.read())
        if max(map(sum, zip(self._page.dataoffsets, self._page.databytecounts, strict=False))) > len(content):
            raise ValueError("its pixels end beyond the end of the file")
        self._header.offset.pack_into(
            content, len(self._header.signature), self._page.offset
        )  # the page becomes the first
        with Image.open(BytesIO(content), formats=["TIFF"]) as image:
            pixels = np.asarray(image)
        shape = (self.height, self.width, self._page.samplesperpixel)
        if pixels.size != math.prod(shape):
            raise ValueError("the pixels are not what the header says")
        return pixels.reshape(shape)


def decode_lzw(data: bytes, rows: int, row_bytes: int, fill_order: int) -> bytes:
    """Return decoded bytes by way of Pillow and libtiff: imagecodecs' LZW decoder crashes on damaged data."""
    header = ifd.TiffHeader("<")
    start = len(header.signature) + header.offset.size
    file = BytesIO()
    file.write(header.signature + header.offset.pack(0) + data)
    values = {256: row_bytes, 257: rows, 258: 8, 259: 5, 262: 1, 266: fill_order, 273: start, 277: 1, 278: rows}
    values |= {279: len(data)}  # a gray picture of one strip
    ifd.append_first_directory(file, header, {code: Tag(TagType.LONG, 1, (value,)) for code, value in values.items()})
    with Image.open(file, formats=["TIFF"]) as picture:
        return picture.tobytes()
