"""PNG's chunks: the header and what stands around the pixels are read here, the pixels by libpng."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import imagecodecs
import numpy as np
from PIL import Image, PngImagePlugin

from zssr.errors import ImageError
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.picture import PixelFormat, Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # for the pixels
_COLORS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
_XMP = "XML:com.adobe.xmp"
_RAW_EXIF = ("Raw profile type exif", "Raw profile type APP1")  # as ImageMagick kept it before there was a chunk for it
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_DEPTHS = {_GRAY: (1, 2, 4, 8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8), _GRAY_ALPHA: (8, 16), _RGBA: (8, 16)}
_CHANNELS = {_GRAY: 1, _RGB: 3, _PALETTE: 3, _GRAY_ALPHA: 2, _RGBA: 4}
_MOST_CHUNKS = 200_000
_MOST_TEXT = 16_000_000  # bytes of all texts and the profile, unpacked
_DENSEST = 1040  # bytes that one byte of a deflate stream can stand for
_INCH = 0.0254  # meters


@dataclass
class Png:
    """A PNG file: the header, what stands around the pixels, and the chunks that hold them.

    Attributes
    ----------
    size
        (H, W) in pixels.
    layout
        Its channels once the palette is looked up; a transparent color becomes an opacity.
    metadata, notes
        As in a `Picture`.
    needed
        The chunks that a decoder needs, as they are in the file.
    """

    size: tuple[int, int]
    layout: PixelFormat
    metadata: Metadata
    notes: list[str]
    needed: list[memoryview]

    def decoded(self) -> Pixels:
        """Return the pixels (H, W, C); raises whatever the decoder does if they are damaged."""
        pixels = imagecodecs.png_decode(b"".join([SIGNATURE, *self.needed])).reshape(*self.size, -1)
        if pixels.shape[-1] != self.layout.channels or pixels.dtype != self.layout.dtype:
            raise ValueError("the pixels are not what the header says")
        return pixels


def open_png(name: str, content: bytes, limits: Limits) -> Png:
    """Read the header and what stands around the pixels; raises `ImageError` for what breaks the limits."""
    view = memoryview(content)
    chunks = _chunks(view)
    first, header, whole = next(chunks, (b"", view[:0], view[:0]))
    if first != b"IHDR" or len(header) != 13:
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete (no header)")
    width, height, depth, colors, *others = struct.unpack(">IIBBBBB", header)
    if not (width and height) or depth not in _DEPTHS.get(colors, ()) or others not in ([0, 0, 0], [0, 0, 1]):
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete (wrong header)")
    limits.check(name, (height, width))
    around, needed, seen, packed = ChunkReader(), [whole], {b"IHDR"}, 0
    for kind, data, whole in chunks:
        if kind == b"tRNS" and (kind in seen or b"IDAT" in seen or not _fits(data, colors, b"PLTE" in seen)):
            continue
        if kind in _NEEDED[1:]:
            needed.append(whole)
            packed += len(data) if kind == b"IDAT" else 0
        seen.add(kind)
        around.take(kind, data)
    bits = height * width * depth * (1 if colors == _PALETTE else _CHANNELS[colors])
    if bits // 8 > _DENSEST * (packed + 1):
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete (too few bytes for its pixels)")
    if b"acTL" in seen:
        around.notes["it is an animation, of which only the first frame is taken"] = None
    layout = _layout(depth, colors, b"tRNS" in seen)
    return Png((height, width), layout, around.metadata(), list(around.notes), needed)


def _chunks(content: memoryview) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Yield each chunk's name, its data, and all of it, up to the end or to where the file breaks off."""
    place = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if place + 12 > len(content):
            return
        length = int.from_bytes(content[place : place + 4], "big")
        stop = place + 12 + length
        kind = bytes(content[place + 4 : place + 8])
        if stop <= len(content):
            yield kind, content[place + 8 : stop - 4], content[place:stop]
        if kind == b"IEND":
            return
        place = stop


def _fits(transparency: memoryview, colors: int, has_palette: bool) -> bool:
    """Return whether a chunk says which color, or how much of which entry of the palette, is transparent."""
    if colors == _PALETTE:
        return has_palette and 0 < len(transparency) <= 256
    return len(transparency) == {_GRAY: 2, _RGB: 6}.get(colors)


def _layout(depth: int, colors: int, transparent: bool) -> PixelFormat:
    alpha = transparent or colors in (_GRAY_ALPHA, _RGBA)
    return PixelFormat(
        colors="gray" if colors in (_GRAY, _GRAY_ALPHA) else "rgb",
        channels=_CHANNELS[colors] + transparent,
        dtype=np.dtype(np.uint16 if depth == 16 else np.uint8),
        alpha="straight" if alpha else None,
        bilevel=colors == _GRAY and depth == 1 and not transparent,
    )


@dataclass
class ChunkReader:
    """Collects what stands around the pixels; what is damaged or too large leaves a note."""

    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    colors: dict[bytes, bytes] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)  # each once, in order
    room: int = _MOST_TEXT

    def take(self, kind: bytes, data: memoryview) -> None:
        """Take in one chunk."""
        try:
            if kind == b"iCCP":
                _, _, packed = bytes(data).partition(b"\0")
                self.icc = self._unpacked(packed[1:])
            elif kind == b"eXIf":
                self.exif = bytes(data).removeprefix(b"Exif\0\0")
            elif kind == b"pHYs":
                across, down, unit = struct.unpack(">IIB", data)
                self.dpi = (across * _INCH, down * _INCH) if unit == 1 else None
            elif kind in _COLORS:
                self.colors[kind] = bytes(data)
            elif kind in (b"tEXt", b"zTXt", b"iTXt"):
                self._take_text(kind, bytes(data))
        except (ValueError, struct.error, zlib.error) as error:
            what = "the color profile" if kind == b"iCCP" else "a text" if kind[1:] in (b"EXt", b"TXt") else "a remark"
            self.notes[f"{what} is damaged or too large and left out ({error})"] = None

    def _take_text(self, kind: bytes, data: bytes) -> None:
        key, _, rest = data.partition(b"\0")
        if kind == b"iTXt":
            is_packed, rest = rest[:1] == b"\1", rest[2:]
            _, _, rest = rest.partition(b"\0")  # language
            _, _, rest = rest.partition(b"\0")  # keyword in that language
            text = (self._unpacked(rest) if is_packed else self._counted(rest)).decode("utf-8", "replace")
        else:
            text = (self._unpacked(rest[1:]) if kind == b"zTXt" else self._counted(rest)).decode("latin-1")
        self.texts[key.decode("latin-1")] = text

    def _unpacked(self, packed: bytes) -> bytes:
        unpacker = zlib.decompressobj()
        try:
            data = self._counted(unpacker.decompress(packed, self.room + 1))
        except zlib.error:
            self.room = max(0, self.room - _DENSEST * len(packed))  # what it may have taken
            raise
        if not unpacker.eof:
            raise ValueError("breaks off")
        return data

    def _counted(self, data: bytes) -> bytes:
        self.room -= len(data)
        if self.room < 0:
            self.room = 0
            raise ValueError(f"more than {_MOST_TEXT / 1e6:g} MB in all")
        return data

    def metadata(self) -> Metadata:
        """Return what stands around the pixels."""
        texts = dict(self.texts)
        xmp = texts.pop(_XMP, "").encode()
        raw = [texts.pop(key) for key in _RAW_EXIF if key in texts]
        exif = self.exif or (_from_hexadecimal(raw[0]) if raw else None)
        return Metadata(self.icc, exif, xmp, self.dpi, texts, colors=tuple(self.colors.items()))


def _from_hexadecimal(text: str) -> bytes:
    """Return what ImageMagick wrote: a name, a length, and bytes in hexadecimal."""
    try:
        return bytes.fromhex("".join(text.split()[2:])).removeprefix(b"Exif\0\0")
    except ValueError:
        return b"?"  # damaged, as will be found


def encode_png(pixels: Pixels, layout: PixelFormat, metadata: Metadata) -> bytes:
    """Return a PNG file of the pixels (H, W, C) of uint8 or uint16, or a bilevel (H, W, 1), and its metadata."""
    if layout.bilevel:
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] >= 128).save(file, "PNG")
        encoded = file.getvalue()
    else:
        gray = pixels.shape[-1] == 1
        encoded = bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels[..., 0] if gray else pixels)))
    after_header = len(SIGNATURE) + 25
    return b"".join([encoded[:after_header], *_around_chunks(metadata), encoded[after_header:]])


def _around_chunks(metadata: Metadata) -> list[memoryview]:
    """Return the chunks of the metadata, out of a file of one pixel."""
    info = PngImagePlugin.PngInfo()
    for kind, data in metadata.colors:
        info.add(kind, data)
    for key, text in metadata.texts.items():
        info.add_text(key, text)
    if metadata.xmp:
        info.add_itxt(_XMP, metadata.xmp)
    options = {"icc_profile": metadata.icc, "exif": metadata.exif, "dpi": metadata.dpi}
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG", pnginfo=info, **{key: value for key, value in options.items() if value})
    return [whole for kind, _, whole in _chunks(memoryview(file.getvalue())) if kind not in _NEEDED]
