"""PBM, PGM and PPM files (Netpbm), binary and text: Pillow rounds colors of 16 bits to 8."""

import math
import re

import numpy as np

from zssr.errors import ImageError
from zssr.io.deferred import DeferredPicture
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.picture import Picture, PixelFormat, Pixels
from zssr.io.pixel_conversion import rescale_numbers

_COMMENT = re.compile(rb"#[^\r\n]*")
_SPACE = rb"(?:\s|#[^\r\n]*+[\r\n])++"
_HEADER_BYTES = 65536  # with its remarks


def open_pnm(name: str, content: bytes, limits: Limits) -> Picture:
    """Open a PBM, PGM or PPM file; numbers fill 8 or 16 bits."""
    kind = content[1] - ord("0")
    is_bitmap, is_text = kind in (1, 4), kind < 4
    numbers = _SPACE.join([rb"(\d{1,9})"] * (2 if is_bitmap else 3))
    header = re.match(rb"P\d" + _SPACE + numbers + rb"\s", content[:_HEADER_BYTES])
    if header is None:
        raise ValueError("there is no size in its header")
    width, height, *rest = map(int, header.groups())
    most = rest[0] if rest else 1
    if not (width and height and 0 < most < 65536):
        raise ValueError("its size or its largest number makes no sense")
    limits.check_size(name, (height, width))
    shape, data = (height, width, 3 if kind in (3, 6) else 1), memoryview(content)[header.end() :]
    pixel_format = PixelFormat(
        "rgb" if shape[2] == 3 else "gray", shape[2], np.dtype(np.uint16 if most > 255 else np.uint8), bilevel=is_bitmap
    )
    bits = most.bit_length() if most + 1 == 2 ** most.bit_length() else None
    if not is_bitmap and bits not in (8, 16, None):
        pixel_format = PixelFormat(pixel_format.colors, shape[2], pixel_format.dtype, bits=bits)
    _check_length(name, data, shape, kind, most)

    def decode() -> Pixels:
        read = _read_text if is_text else _read_bits if is_bitmap else _read_binary
        values = read(data, shape, most)
        full = np.iinfo(pixel_format.dtype).max
        pixels = rescale_numbers(values, most, full).astype(pixel_format.dtype)
        return full - pixels if is_bitmap else pixels  # 1 is black

    return DeferredPicture(name, (height, width), pixel_format, Metadata(), decode, [])


def _check_length(name: str, data: memoryview, shape: tuple[int, int, int], kind: int, most: int) -> None:
    """Raise `ImageError` if there are fewer bytes than the pixels have."""
    height, width, _ = shape
    needed = math.prod(shape) * (2 if most > 255 and kind > 4 else 1)
    if len(data) < (height * -(-width // 8) if kind == 4 else needed):
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete (too few bytes for its pixels)")


def _read_binary(data: memoryview, shape: tuple[int, int, int], most: int) -> Pixels:
    dtype = np.dtype(">u2" if most > 255 else np.uint8)
    return np.frombuffer(data, dtype, math.prod(shape)).reshape(shape)


def _read_bits(data: memoryview, shape: tuple[int, int, int], _: int) -> Pixels:
    height, width, _channels = shape
    rows = np.frombuffer(data, np.uint8, height * -(-width // 8)).reshape(height, -1)
    return np.unpackbits(rows, axis=1)[:, :width, None]


def _read_text(data: memoryview, shape: tuple[int, int, int], most: int) -> Pixels:
    text = _COMMENT.sub(b" ", bytes(data))
    if most == 1 and shape[2] == 1:
        digits = np.frombuffer(text, np.uint8)
        values = digits[(digits == ord("0")) | (digits == ord("1"))] - ord("0")
    else:
        if re.fullmatch(rb"[\d\s]*", text) is None:
            raise ValueError("there is something else than numbers")
        values = np.fromstring(text.decode("ascii"), np.int64, math.prod(shape), sep=" ")
    pixels: Pixels = values[: math.prod(shape)].reshape(shape)
    return pixels
