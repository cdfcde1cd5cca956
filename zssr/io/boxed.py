"""HEIC and JPEG 2000 files, which are made of boxes."""

import io
from typing import Any

import imagecodecs
import numpy as np

from zssr.errors import ImageError
from zssr.io.codestreams import JPEG2000_BOX, has_tone_map, iterate_boxes, jpeg2000_frame, make_box
from zssr.io.deferred import DeferredPicture, check_decoded_size
from zssr.io.headers import FILM_START
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.picture import FILM, GAIN_MAP, MAIN_PICTURE, Alpha, Picture, PixelFormat, Pixels
from zssr.io.pixel_conversion import hold_bits, narrow_bits, widen_bits

_XMP_ID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF_ID = b"JpgTiffExif->JP2"


def open_heic(name: str, content: bytes, limits: Limits, page: int = 0) -> Picture:
    """Open a HEIC file by pillow-heif, if that is installed; 10 and 12 bits fill 16, and the page 0 is the main one."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError(f"{name}: is a HEIC picture, which pip install 'zssr[heic]' reads") from error
    file = pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=False)
    if page >= len(file):
        raise ImageError(f"{name}: has no page {page + 1}")
    image = sorted(file, key=lambda each: not each.info["primary"])[page]
    size = (image.size[1], image.size[0])
    check_decoded_size(name, size, content, limits)
    info: dict[str, Any] = dict(image.info)
    bits = int(info["bit_depth"])
    exif = (info.get("exif") or b"").removeprefix(b"Exif\0\0") or None
    metadata = Metadata(info.get("icc_profile") or None, exif, info.get("xmp") or None).turned_upright(size)
    nclx = info.get("nclx_profile") or {"color_primaries": 2, "transfer_characteristics": 2}
    metadata = metadata.with_cicp(nclx["color_primaries"], nclx["transfer_characteristics"])
    has_alpha, is_gray = "A" in image.mode.upper(), image.mode.startswith("L")
    channels = (1 if is_gray else 3) + has_alpha
    alpha: Alpha = "premultiplied" if "a" in image.mode else "straight"
    uint8 = PixelFormat("gray" if is_gray else "rgb", channels, np.dtype(np.uint8), alpha if has_alpha else None)
    pixel_format = hold_bits(uint8, bits)

    def decode() -> Pixels:
        pixels = np.asarray(image).reshape(*size, -1)
        return widen_bits(pixels >> 16 - bits if bits > 8 else pixels, size, pixel_format)

    notes = [MAIN_PICTURE] if len(file) > 1 and not page else []
    if has_tone_map(content) or any("hdrgainmap" in kind for kind in info.get("aux") or ()):
        notes.append(GAIN_MAP)
    if FILM_START.search(content, 8):
        notes.append(FILM)
    return DeferredPicture(name, size, pixel_format, metadata, decode, notes)


def count_heic_pictures(content: bytes) -> int:
    """Return the number of pictures in a HEIC file; 1 if nothing is there to read it."""
    try:
        import pillow_heif
    except ImportError:
        return 1
    return len(pillow_heif.open_heif(io.BytesIO(content)))


def open_jpeg2000(name: str, content: bytes, limits: Limits) -> Picture:
    """Open a JPEG 2000 file or codestream; 2 to 7 bits fill 8, and 9 to 15 bits 16."""
    frame = jpeg2000_frame(content)
    if frame is None:
        raise ValueError("there is no picture in it")
    height, width, depths = frame
    check_decoded_size(name, (height, width), content, limits)
    metadata, space = _read_jp2_boxes(content)
    if space not in (None, 16, 17) or len(set(depths)) > 1 or not 1 <= depths[0] <= 16 or len(depths) > 4:
        raise ImageError(f"{name}: its colors are not supported; gray and RGB of 1 to 16 bits are")
    bits, channels = depths[0], len(depths)
    pixel_format = PixelFormat(
        colors="gray" if channels < 3 else "rgb",
        channels=channels,
        dtype=np.dtype(np.uint16 if bits > 8 else np.uint8),
        alpha="straight" if channels in (2, 4) else None,
        bits=None if bits in (8, 16) else bits,
    )

    def decode() -> Pixels:
        return widen_bits(imagecodecs.jpeg2k_decode(content, numthreads=1), (height, width), pixel_format)

    picture = DeferredPicture(name, (height, width), pixel_format, metadata, decode, [])
    picture.is_lossless = b"\xff\x52" in content and content[content.index(b"\xff\x52") + 13] == 1  # its wavelet
    return picture


def encode_jpeg2000(pixels: Pixels, pixel_format: PixelFormat, metadata: Metadata, quality: int) -> bytes:
    """Return a JPEG 2000 file; the quality 100 is lossless, and others are 25 to 55 dB."""
    bits = pixel_format.bits or 8 * pixel_format.dtype.itemsize
    level = 0 if quality == 100 else round(25 + 0.3 * quality)
    samples = narrow_bits(pixels, bits)
    encoded = bytes(
        imagecodecs.jpeg2k_encode(samples, level=level, reversible=quality == 100, bitspersample=bits, numthreads=1)
    )
    parts = []
    for box, start, stop in iterate_boxes(encoded):
        inner = encoded[start:stop]
        if box == b"jp2h" and metadata.icc:
            kept = [make_box(name, inner[a:b]) for name, a, b in iterate_boxes(inner) if name != b"colr"]
            inner = b"".join([*kept, make_box(b"colr", b"\2\0\0" + metadata.icc)])
        if box == b"jp2c":
            parts += [make_box(b"uuid", _XMP_ID + metadata.xmp)] if metadata.xmp else []
            parts += [make_box(b"uuid", _EXIF_ID + metadata.exif)] if metadata.exif else []
        parts.append(make_box(box, inner))
    return b"".join(parts)


def _read_jp2_boxes(content: bytes) -> tuple[Metadata, int | None]:
    """Return a JPEG 2000 file's metadata and the number of its color space (-1: a palette), None if it is not said."""
    icc = exif = xmp = space = None
    if not content.startswith(JPEG2000_BOX):
        return Metadata(), None
    for name, start, stop in iterate_boxes(content):
        if name == b"uuid" and content[start : start + 16] == _XMP_ID:
            xmp = content[start + 16 : stop]
        elif name == b"uuid" and content[start : start + 16] == _EXIF_ID:
            exif = content[start + 16 : stop]
        for inner, begin, end in iterate_boxes(content, start, stop) if name == b"jp2h" else ():
            if inner == b"colr" and content[begin : begin + 1] == b"\2":
                icc = content[begin + 3 : end]
            elif inner == b"colr" and content[begin : begin + 1] == b"\1":
                space = int.from_bytes(content[begin + 3 : begin + 7])
            elif inner == b"pclr":
                return Metadata(), -1
    return Metadata(icc or None, exif or None, xmp or None), space
