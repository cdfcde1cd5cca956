"""The chunks of PNG files, and the metadata in them."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from PIL import Image, PngImagePlugin

from zssr.io.limits import SAFETY
from zssr.io.metadata import Metadata
from zssr.io.pillow import make_info

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""The chunks that a decoder needs for the pixels."""

_LIGHT_CHUNKS = (b"mDCV", b"cLLI")  # how bright HDR pictures are, which Pillow does not write
_COLOR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", *_LIGHT_CHUNKS)
_XMP = "XML:com.adobe.xmp"
_INCH = 0.0254  # meters


def iterate_chunks(content: memoryview) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Yield each chunk's name, its data, and all of it, up to the end or to where the file breaks off."""
    position = len(SIGNATURE)
    for _ in range(SAFETY.png_chunks):
        if position + 12 > len(content):
            return
        length = int.from_bytes(content[position : position + 4], "big")
        stop = position + 12 + length
        name = bytes(content[position + 4 : position + 8])
        if stop <= len(content):
            yield name, content[position + 8 : stop - 4], content[position:stop]
        if name == b"IEND":
            return
        position = stop


@dataclass
class ChunkReader:
    """Collects the metadata; what is damaged or too large leaves a note."""

    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    colors: dict[bytes, bytes] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)  # each once, in order
    room: int = SAFETY.png_text_bytes

    def take(self, name: bytes, data: memoryview) -> None:
        """Take in one chunk."""
        try:
            if name == b"iCCP":
                _, _, packed = bytes(data).partition(b"\0")
                self.icc = self._unpack(packed[1:])
            elif name == b"eXIf":
                self.exif = bytes(data).removeprefix(b"Exif\0\0")
            elif name == b"pHYs":
                across, down, unit = struct.unpack(">IIB", data)
                self.dpi = (across * _INCH, down * _INCH) if unit == 1 else None
            elif name in _COLOR_CHUNKS:
                self.colors[name] = bytes(data)
            elif name in (b"tEXt", b"zTXt", b"iTXt"):
                self._take_text(name, bytes(data))
        except (ValueError, struct.error, zlib.error) as error:
            what = "the color profile" if name == b"iCCP" else "a text" if name[1:] in (b"EXt", b"TXt") else "a remark"
            self.notes[f"{what} is damaged or too large and left out ({error})"] = None

    def metadata(self) -> Metadata:
        """Return the metadata collected."""
        texts = dict(self.texts)
        xmp = texts.pop(_XMP, "").encode()
        keys = ("Raw profile type exif", "Raw profile type APP1")  # where ImageMagick kept it before there was a chunk
        raw = [texts.pop(key) for key in keys if key in texts]
        exif = self.exif or (_decode_hexadecimal(raw[0]) if raw else None)
        return Metadata(self.icc, exif, xmp, self.dpi, texts, colors=tuple(self.colors.items()))

    def _take_text(self, name: bytes, data: bytes) -> None:
        key, _, rest = data.partition(b"\0")
        if name == b"iTXt":
            is_packed, rest = rest[:1] == b"\1", rest[2:]
            _, _, rest = rest.partition(b"\0")  # language
            _, _, rest = rest.partition(b"\0")  # keyword in that language
            text = (self._unpack(rest) if is_packed else self._count(rest)).decode("utf-8", "replace")
        else:
            text = (self._unpack(rest[1:]) if name == b"zTXt" else self._count(rest)).decode("latin-1")
        self.texts[key.decode("latin-1")] = text

    def _unpack(self, packed: bytes) -> bytes:
        unpacker = zlib.decompressobj()
        try:
            data = self._count(unpacker.decompress(packed, self.room + 1))
        except zlib.error:
            self.room = max(0, self.room - SAFETY.deflate_ratio * len(packed))  # what it may have taken
            raise
        if not unpacker.eof:
            raise ValueError("breaks off")
        return data

    def _count(self, data: bytes) -> bytes:
        self.room -= len(data)
        if self.room < 0:
            self.room = 0
            raise ValueError(f"more than {SAFETY.png_text_bytes / 1e6:g} MB in all")
        return data


def _decode_hexadecimal(text: str) -> bytes:
    """Return the EXIF block that ImageMagick wrote as a name, a length, and bytes in hexadecimal."""
    try:
        return bytes.fromhex("".join(text.split()[2:])).removeprefix(b"Exif\0\0")
    except ValueError:
        return b"?"  # which `sanitize` will find damaged


def encode_metadata(metadata: Metadata) -> bytes:
    """Return the chunks of the metadata, out of a file of one pixel that Pillow writes."""
    info = PngImagePlugin.PngInfo()
    light = b"".join(_make_chunk(name, data) for name, data in metadata.colors if name in _LIGHT_CHUNKS)
    for name, data in metadata.colors:
        info.add(name, data)
    for key, text in metadata.texts.items():
        info.add_text(key, text)
    if metadata.xmp:
        info.add_itxt(_XMP, metadata.xmp)
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG", pnginfo=info, **make_info(replace(metadata, xmp=None)))
    chunks = iterate_chunks(memoryview(file.getvalue()))
    return light + b"".join(whole for name, _, whole in chunks if name not in PIXEL_CHUNKS)


def _make_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
