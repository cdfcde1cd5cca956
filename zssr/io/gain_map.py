"""HDR gain maps of JPEG files: Ultra HDR, ISO 21496-1 and Apple's. They are found, enlarged, and written again.

A gain map is a second picture in the file, which says how much brighter each place is on an HDR screen. An index (CIPA
DC-007, "multi-picture format") tells where it is, and for Ultra HDR the XMP does, too.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from zssr.io.headers import check_jpeg, jpeg_markers, jpeg_pictures
from zssr.io.orientation import apply_orientation
from zssr.io.xmp import drop_references

_APP0, _APP1, _APP2, _APP15, _SCAN, _END = 0xE0, 0xE1, 0xE2, 0xEF, 0xDA, 0xD9
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ISO = b"urn:iso:std:iso:ts:21496:-1\0"
_PROFILE = b"ICC_PROFILE\0"
_ULTRA_HDR, _APPLE = b"http://ns.adobe.com/hdr-gain-map/", b"http://ns.apple.com/HDRGainMap/"
_ISO_VERSION = bytes(4)  # of the reader that is needed, and of the writer
_INDEX_BYTES = 90  # of its segment
_PRIMARY = 0x030000  # a kind of picture in the index

Segment = tuple[int, bytes]
"""The marker of a segment of a JPEG file, and its content."""


@dataclass(frozen=True, eq=False)
class GainMap:
    """A gain map as the file has it: it lies as the photo does, which may be on its side.

    Attributes
    ----------
    pixels
        (h, w, 1) or (h, w, 3) of uint8, of any size.
    segments
        What says how bright its pixels mean: XMP, ISO 21496-1, and a color profile.
    """

    pixels: NDArray[np.uint8]
    segments: tuple[Segment, ...]

    @property
    def is_ultra_hdr(self) -> bool:
        """Whether the photo's XMP is to tell of it."""
        return any(_ULTRA_HDR in content for _, content in self.segments)

    def rescale(self, scale: tuple[float, float], orientation: int) -> "GainMap":
        """Return the upright gain map of a photo of this orientation that was scaled by `scale` (vertical, horizontal).

        It is smooth by its nature, and is interpolated.
        """
        upright = np.ascontiguousarray(apply_orientation(self.pixels, orientation))
        height, width = (max(1, round(n * factor)) for n, factor in zip(upright.shape[:2], scale, strict=True))
        large = np.asarray(_to_image(upright).resize((width, height), Image.Resampling.BICUBIC))
        return replace(self, pixels=large.reshape(height, width, -1))

    def encode(self, quality: int) -> bytes:
        """Return the gain map as a JPEG picture, with its segments."""
        file = io.BytesIO()
        _to_image(self.pixels).save(file, "JPEG", quality=quality, subsampling=0)
        return _insert_segments(file.getvalue(), self.segments)


def find_gain_map(content: bytes, most_pixels: int) -> GainMap | None:
    """Return the gain map of a JPEG file, if there is one.

    Raises `ValueError` for one of more than `most_pixels`, and whatever decoders do if it is damaged.
    """
    if not any(name in content for name in (_ULTRA_HDR, _ISO, _APPLE)):
        return None
    spans = jpeg_pictures(content)
    next(spans, None)  # the photo itself
    for start, stop in spans:
        picture = content[start:stop]
        segments = tuple(_read_segments(picture))
        if any(_tells_of_light(part) for _, part in segments):
            return GainMap(_decode(picture, most_pixels), segments)
    return None


def append_gain_map(photo: bytes, gain_map: GainMap, encoded: bytes) -> bytes:
    """Return a JPEG file of a photo and its encoded gain map, with an index of the two."""
    if any(content.startswith(_ISO) for _, content in gain_map.segments):
        photo = _insert_segments(photo, [(_APP2, _ISO + _ISO_VERSION)])
    size = len(photo) + _INDEX_BYTES
    offset = size - (_find_header_end(photo) + 8)  # counted from the byte order of the index
    pictures = struct.pack(">IIIHHIIIHH", _PRIMARY, size, 0, 0, 0, 0, len(encoded), offset, 0, 0)
    directory = struct.pack(">HHHI4sHHII", 3, 0xB000, 7, 4, b"0100", 0xB001, 4, 1, 2)
    directory += struct.pack(">HHIII", 0xB002, 7, len(pictures), 50, 0)
    index = b"MPF\0MM\0*" + struct.pack(">I", 8) + directory + pictures
    return _insert_segments(photo, [(_APP2, index)]) + encoded


def _read_segments(picture: bytes) -> Iterator[Segment]:
    """Yield the segments that belong to a gain map."""
    for marker, start, _ in jpeg_markers(picture):
        if marker in (_SCAN, _END):
            return
        content = picture[start + 2 : start + int.from_bytes(picture[start : start + 2])]
        if marker == _APP1 and content.startswith(_XMP):
            yield marker, _XMP + drop_references(content.removeprefix(_XMP), has_gain_map=True)[0]
        elif marker == _APP2 and content.startswith((_ISO, _PROFILE)):
            yield marker, content


def _tells_of_light(content: bytes) -> bool:
    """Return whether a segment says what the pixels of a gain map mean; Ultra HDR has to say how much is most."""
    return content.startswith(_ISO) or _APPLE in content or (_ULTRA_HDR in content and b"GainMapMax" in content)


def _decode(picture: bytes, most_pixels: int) -> NDArray[np.uint8]:
    check_jpeg(picture)
    image = JpegImageFile(io.BytesIO(picture))
    if image.mode not in ("L", "RGB") or image.width * image.height > most_pixels:
        raise ValueError("its size or colors make no sense")
    return np.asarray(image).reshape(image.height, image.width, -1)


def _to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _insert_segments(picture: bytes, segments: Sequence[Segment]) -> bytes:
    """Return a JPEG picture with segments after those at its start."""
    place = _find_header_end(picture)
    parts = [struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in segments]
    return b"".join([picture[:place], *parts, picture[place:]])


def _find_header_end(picture: bytes) -> int:
    """Return where the segments that say something about a JPEG picture end, and its tables begin."""
    return next(start - 2 for marker, start, _ in jpeg_markers(picture) if not _APP0 <= marker <= _APP15)
