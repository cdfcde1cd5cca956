"""AVIF files: Pillow reads what is around the pixels, and those of 8 bits; libavif does the rest, by imagecodecs."""

import io
import struct
from dataclasses import replace

import imagecodecs
from PIL.AvifImagePlugin import AvifImageFile

from zssr.io import pillow
from zssr.io.codestreams import has_tone_map, iterate_boxes, make_box
from zssr.io.deferred import DeferredPicture, check_decoded_size
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.picture import FIRST_FRAME, GAIN_MAP, Picture, PixelFormat, Pixels
from zssr.io.pixel_conversion import hold_bits, narrow_bits, widen_bits

_SRGB, _UNSPECIFIED = (1, 13), (2, 2)  # primaries and transfer (ITU-T H.273)
_RGB, _BT601, _BT2020 = 0, 6, 9  # matrices


def open_avif(name: str, content: bytes, limits: Limits) -> Picture:
    """Open an AVIF file; 10 and 12 bits fill 16, but those of animations become 8."""
    image = AvifImageFile(io.BytesIO(content))
    size = (image.height, image.width)
    check_decoded_size(name, size, content, limits)
    bits, is_gray = _read_coding(content)
    notes = [FIRST_FRAME] if image.is_animated else []
    if has_tone_map(content):
        notes.append(GAIN_MAP)
    if image.is_animated:  # imagecodecs breaks its memory by some of them
        notes, bits = notes + note_depth(content), 8
    found = pillow.find_pixel_format(image)
    if is_gray and found.alpha:  # for Pillow it has colors
        found = replace(found, colors="gray", channels=2)
    pixel_format = hold_bits(found, bits)

    def decode() -> Pixels:
        if bits == 8:
            return pillow.read_pixels(image, pixel_format)
        return widen_bits(imagecodecs.avif_decode(content, numthreads=1), size, pixel_format)

    primaries, transfer, matrix = _read_numbers(content)
    metadata = pillow.read_metadata(image).with_cicp(primaries, transfer)
    picture = DeferredPicture(name, size, pixel_format, metadata, decode, notes)
    picture.is_lossless = matrix == _RGB and not is_gray
    return picture


def note_depth(content: bytes) -> list[str]:
    """Return a sentence on the bits of an animation, if there are more than 8."""
    bits, _ = _read_coding(content)
    return [f"its {bits} bits are read as 8, as those of all animations in AVIF are"] if bits > 8 else []


def _read_coding(content: bytes) -> tuple[int, bool]:
    """Return the bits of the first picture, and whether it is gray."""
    place = content.find(b"av1C") + 6
    flags = content[place] if 6 <= place < len(content) else 0
    return 8 + 2 * (flags >> 6 & 1) + 2 * (flags >> 5 & 1), bool(flags >> 4 & 1)


def encode_avif(pixels: Pixels, pixel_format: PixelFormat, metadata: Metadata, quality: int) -> bytes:
    """Return an AVIF file of 8, 10 or 12 bits; the quality 100 is lossless."""
    bits = pixel_format.bits or 8
    samples = narrow_bits(pixels, bits)
    primaries, transfer = metadata.cicp or (_UNSPECIFIED if metadata.icc else _SRGB)
    is_rgb = pixel_format.colors == "rgb" and quality == 100
    encoded = imagecodecs.avif_encode(
        samples,
        level=quality,
        speed=6,
        bitspersample=bits,
        primaries=primaries,
        transfer=transfer,
        matrix=_RGB if is_rgb else _BT2020 if primaries == 9 else _BT601,
        numthreads=1,
    )
    return _insert_metadata(bytes(encoded), metadata)


def _read_numbers(content: bytes) -> tuple[int, int, int]:
    """Return primaries, transfer and matrix of the colors, as the first item says."""
    start, stop, skipped = 0, len(content), 0
    for name in (b"meta", b"iprp", b"ipco"):
        inner = iterate_boxes(content, start + skipped, stop)
        start, stop = next(((begin, end) for found, begin, end in inner if found == name), (stop, stop))
        skipped = 4 if name == b"meta" else 0
    for name, begin, _ in iterate_boxes(content, start, stop):
        if name == b"colr" and content[begin : begin + 4] == b"nclx":
            primaries, transfer, matrix = struct.unpack(">HHH", content[begin + 4 : begin + 10].ljust(6, b"\0"))
            return primaries, transfer, matrix
    return (*_UNSPECIFIED, _BT601)


def _insert_metadata(avif: bytes, metadata: Metadata) -> bytes:
    """Return a file that libavif wrote (HEIF, ISO/IEC 23008-12) with EXIF, XMP and a profile in it."""
    boxes = {name: avif[start:stop] for name, start, stop in iterate_boxes(avif)}
    meta = {name: boxes[b"meta"][start:stop] for name, start, stop in iterate_boxes(boxes[b"meta"], 4)}
    if metadata.icc:
        meta[b"iprp"] = _insert_profile(meta[b"iprp"], metadata.icc)
    items = [(b"Exif", b"Exif\0", bytes(4) + metadata.exif)] if metadata.exif else []
    items += [(b"mime", b"XMP\0application/rdf+xml\0", metadata.xmp)] if metadata.xmp else []
    (count,) = struct.unpack_from(">H", meta[b"iinf"], 4)
    locations = [struct.unpack_from(">HHHII", meta[b"iloc"], 8 + 14 * k) for k in range(count)]
    position = len(avif)
    for number, (kind, name, content) in enumerate(items, count + 1):
        meta[b"iinf"] += make_box(b"infe", struct.pack(">IHH", 2 << 24, number, 0) + kind + name)
        meta[b"iref"] = meta.get(b"iref", bytes(4)) + make_box(b"cdsc", struct.pack(">HHH", number, 1, 1))
        locations.append((number, 0, 1, position, len(content)))
        position += len(content)
    meta[b"iinf"] = meta[b"iinf"][:4] + struct.pack(">H", len(locations)) + meta[b"iinf"][6:]
    moved = 4 + 14 * len(items) - len(boxes[b"meta"]) + sum(8 + len(content) for content in meta.values())
    places = [struct.pack(">HHHII", *rest, offset + moved, length) for *rest, offset, length in locations]
    meta[b"iloc"] = meta[b"iloc"][:6] + struct.pack(">H", len(places)) + b"".join(places)
    boxes[b"meta"] = bytes(4) + b"".join(make_box(name, content) for name, content in meta.items())
    boxes[b"mdat"] += b"".join(content for _, _, content in items)
    return b"".join(make_box(name, content) for name, content in boxes.items())


def _insert_profile(properties: bytes, icc: bytes) -> bytes:
    """Return the properties of items with a profile, which becomes one of the first item's."""
    boxes = {name: properties[start:stop] for name, start, stop in iterate_boxes(properties)}
    number = 1 + len(list(iterate_boxes(boxes[b"ipco"])))
    boxes[b"ipco"] += make_box(b"colr", b"prof" + icc)
    head, count, rest = boxes[b"ipma"][:10], boxes[b"ipma"][10], boxes[b"ipma"][11:]
    boxes[b"ipma"] = head + bytes([count + 1]) + rest[:count] + bytes([number]) + rest[count:]
    return b"".join(make_box(name, content) for name, content in boxes.items())
