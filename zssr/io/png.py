"""PNG files: the header and the metadata are read here, the pixels by libpng."""

import io
import struct
from dataclasses import dataclass, replace
from enum import IntEnum

import imagecodecs
import numpy as np

from zssr.errors import ImageError
from zssr.io.limits import SAFETY, Limits
from zssr.io.metadata import Metadata
from zssr.io.palette import find_indices, make_indexed
from zssr.io.picture import FIRST_FRAME, PixelFormat, Pixels
from zssr.io.pillow import make_image
from zssr.io.png_chunks import PIXEL_CHUNKS, SIGNATURE, ChunkReader, encode_metadata, iterate_chunks


class PngColor(IntEnum):
    """A PNG file's kind of colors, its depths and channels."""

    GRAY = 0
    RGB = 2
    PALETTE = 3
    GRAY_ALPHA = 4
    RGBA = 6

    @property
    def depths(self) -> tuple[int, ...]:
        """The bits that a channel or index may have."""
        return {PngColor.GRAY: (1, 2, 4, 8, 16), PngColor.PALETTE: (1, 2, 4, 8)}.get(self, (8, 16))

    @property
    def channels(self) -> int:
        """The number of channels once the palette is looked up."""
        return {PngColor.GRAY: 1, PngColor.GRAY_ALPHA: 2, PngColor.RGBA: 4}.get(self, 3)


@dataclass
class Png:
    """A PNG file: the header, the metadata, and the chunks that hold the pixels.

    Attributes
    ----------
    size
        (H, W) in pixels.
    pixel_format
        Its channels once the palette is looked up; a transparent color becomes an opacity.
    metadata, notes
        As in a `Picture`.
    chunks
        The chunks that a decoder needs, as they are in the file.
    """

    size: tuple[int, int]
    pixel_format: PixelFormat
    metadata: Metadata
    notes: list[str]
    chunks: list[memoryview]

    def decode(self) -> Pixels:
        """Return the pixels (H, W, C); raises whatever the decoder does if they are damaged."""
        pixels = imagecodecs.png_decode(b"".join([SIGNATURE, *self.chunks])).reshape(*self.size, -1)
        if pixels.shape[-1] != self.pixel_format.channels or pixels.dtype != self.pixel_format.dtype:
            raise ValueError("the pixels are not what the header says")
        return pixels


def read_png(name: str, content: bytes, limits: Limits) -> Png:
    """Read the header and the metadata; raises `ImageError` for what breaks the limits."""
    chunks = iterate_chunks(memoryview(content))
    first, header, whole = next(chunks, (b"", memoryview(b""), memoryview(b"")))
    if first != b"IHDR" or len(header) != 13:
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete (no header)")
    size, depth, color = _read_header(name, header)
    limits.check_size(name, size)
    reader, kept, seen, packed = ChunkReader(), [whole], {b"IHDR"}, 0
    parts: dict[bytes, bytes] = {}
    for chunk, data, whole in chunks:
        if chunk == b"tRNS" and (seen & {b"tRNS", b"IDAT"} or not _is_transparency(data, color, b"PLTE" in seen)):
            continue
        if chunk in PIXEL_CHUNKS[1:]:
            kept.append(whole)
            if chunk in (b"PLTE", b"tRNS"):
                parts[chunk] = bytes(data)
            packed += len(data) if chunk == b"IDAT" else 0
        seen.add(chunk)
        reader.take(chunk, data)
    bits = size[0] * size[1] * depth * (1 if color == PngColor.PALETTE else color.channels)
    if bits // 8 > SAFETY.deflate_ratio * (packed + 1):
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete (too few bytes for its pixels)")
    if b"acTL" in seen:
        reader.notes[FIRST_FRAME] = None
    pixel_format = _find_pixel_format(depth, color, b"tRNS" in seen)
    if color == PngColor.PALETTE:
        pixel_format = replace(pixel_format, palette=_join_palette(parts))
    return Png(size, pixel_format, reader.metadata(), list(reader.notes), kept)


def _read_header(name: str, header: memoryview) -> tuple[tuple[int, int], int, PngColor]:
    """Return (H, W), the bits per channel or index, and the kind of colors."""
    width, height, depth, color, compression, filtering, interlacing = struct.unpack(">IIBBBBB", header)
    is_known = color in list(PngColor) and depth in PngColor(color).depths
    if not (width and height and is_known) or compression or filtering or interlacing > 1:
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete (wrong header)")
    return (height, width), depth, PngColor(color)


def _is_transparency(data: memoryview, color: PngColor, has_palette: bool) -> bool:
    """Return whether a chunk says which color, or how much of which entry of the palette, is transparent."""
    if color == PngColor.PALETTE:
        return has_palette and 0 < len(data) <= 256
    return len(data) == {PngColor.GRAY: 2, PngColor.RGB: 6}.get(color)


def _join_palette(parts: dict[bytes, bytes]) -> bytes:
    """Return the colors of a palette and their opacity, 4 bytes each."""
    colors = np.frombuffer(parts.get(b"PLTE", b"")[: 3 * 256], np.uint8)
    colors = colors[: len(colors) // 3 * 3].reshape(-1, 3)
    opacity = np.full((len(colors), 1), 255, np.uint8)
    given = np.frombuffer(parts.get(b"tRNS", b""), np.uint8)[: len(colors)]
    opacity[: len(given), 0] = given
    return np.concatenate([colors, opacity], 1).tobytes()


def _find_pixel_format(depth: int, color: PngColor, transparent: bool) -> PixelFormat:
    return PixelFormat(
        colors="gray" if color in (PngColor.GRAY, PngColor.GRAY_ALPHA) else "rgb",
        channels=color.channels + transparent,
        dtype=np.dtype(np.uint16 if depth == 16 else np.uint8),
        alpha="straight" if transparent or color in (PngColor.GRAY_ALPHA, PngColor.RGBA) else None,
        bilevel=color == PngColor.GRAY and depth == 1 and not transparent,
    )


def encode_png(pixels: Pixels, pixel_format: PixelFormat, metadata: Metadata) -> bytes:
    """Return a PNG file of the pixels (H, W, C) of uint8 or uint16, or a bilevel (H, W, 1), and its metadata.

    Pixels that have only the colors of the format's palette become indices of it.
    """
    palette = pixel_format.palette or b""
    indices = find_indices(pixels, palette)
    if pixel_format.bilevel or indices is not None:
        file = io.BytesIO()
        image = make_image(pixels, pixel_format) if indices is None else make_indexed(indices, palette)
        image.save(file, "PNG")
        encoded = file.getvalue()
    else:
        plane = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        encoded = bytes(imagecodecs.png_encode(np.ascontiguousarray(plane)))
    after_header = len(SIGNATURE) + 25
    return b"".join([encoded[:after_header], encode_metadata(metadata), encoded[after_header:]])
