"""HEIC, JPEG 2000 and JPEG XL files, which are made of boxes."""

import io
from typing import Any

import imagecodecs
import numpy as np

from zssr.errors import ImageError
from zssr.io.codestreams import JPEG2000_BOX, iterate_boxes, jpeg2000_frame, make_box
from zssr.io.deferred import DeferredPicture, check_decoded_size
from zssr.io.jpegxl import JPEGXL_BOX, read_jpegxl_header
from zssr.io.limits import SAFETY, Limits
from zssr.io.metadata import Metadata
from zssr.io.orientation import swaps_axes
from zssr.io.picture import Alpha, Picture, PixelFormat, Pixels
from zssr.io.pixel_conversion import hold_bits, narrow_bits, widen_bits

_XMP_ID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF_ID = b"JpgTiffExif->JP2"
_ANIMATION = "it is an animation, of which only the first frame is taken"


def open_heic(name: str, content: bytes, limits: Limits) -> Picture:
    """Open a HEIC file by pillow-heif, if that is installed; 10 and 12 bits fill 16."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError(f"{name}: is a HEIC picture, which pip install 'zssr[heic]' reads") from error
    file = pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=False)
    image = file[file.primary_index]
    size = (image.size[1], image.size[0])
    check_decoded_size(name, size, content, limits)
    info: dict[str, Any] = dict(image.info)
    bits = int(info["bit_depth"])
    exif = (info.get("exif") or b"").removeprefix(b"Exif\0\0") or None
    metadata = _reset(Metadata(info.get("icc_profile") or None, exif, info.get("xmp") or None), size)
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

    notes = ["it holds more pictures, of which only the main one is taken"] if len(file) > 1 else []
    if any("hdrgainmap" in kind for kind in info.get("aux") or ()):
        notes.append("its HDR gain map is left out; that of a JPEG would be kept")
    return DeferredPicture(name, size, pixel_format, metadata, decode, notes)


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


def open_jpegxl(name: str, content: bytes, limits: Limits) -> Picture:
    """Open a JPEG XL file; of its profile it is known only whether it is sRGB."""
    header = read_jpegxl_header(content)
    check_decoded_size(name, header.size, content, limits)
    if header.extra > 1 or (header.is_float and header.bits not in (16, 32)) or header.bits > 32:
        raise ImageError(f"{name}: has {header.extra} further channels, or {header.bits} bits; an opacity is supported")
    channels = (1 if header.is_gray else 3) + header.extra
    pixel_format = PixelFormat(
        colors="gray" if header.is_gray else "rgb",
        channels=channels,
        dtype=np.dtype(np.float32 if header.is_float else np.uint16 if header.bits > 8 else np.uint8),
        alpha="straight" if header.extra else None,
        bits=None if header.is_float or header.bits in (8, 16) else header.bits,
    )
    size = header.size[::-1] if swaps_axes(header.orientation) else header.size

    def decode() -> Pixels:
        index = 0 if header.is_animated else None
        pixels = imagecodecs.jpegxl_decode(content, index=index, numthreads=1)
        return widen_bits(pixels, size, pixel_format)

    notes = [_ANIMATION] if header.is_animated else []
    if not header.is_srgb:
        notes.append("its colors are not sRGB, and their profile cannot be read and is left out")
    metadata = _reset(_read_jxl_boxes(content), size)
    picture = DeferredPicture(name, size, pixel_format, metadata, decode, notes)
    picture.is_lossless = header.is_lossless
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


def encode_jpegxl(pixels: Pixels, metadata: Metadata, quality: int) -> bytes:
    """Return a JPEG XL file of 8 bits; the quality 100 is lossless, and 90 has the distance 1, as in libjxl."""
    plane = np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    distance = 0.0 if quality == 100 else 0.1 + (100 - quality) * 0.09
    encoded = bytes(
        imagecodecs.jpegxl_encode(plane, lossless=quality == 100, distance=distance, usecontainer=True, numthreads=1)
    )
    more = [make_box(b"Exif", bytes(4) + metadata.exif)] if metadata.exif else []
    more += [make_box(b"xml ", metadata.xmp)] if metadata.xmp else []
    return b"".join([encoded, *more])


def _reset(metadata: Metadata, size: tuple[int, int]) -> Metadata:
    """Return metadata of pixels that the decoder has turned upright: their orientation is reset."""
    try:
        return metadata if metadata.orientation == 1 else metadata.rescale((1.0, 1.0), size)
    except ValueError:  # damaged, which `sanitize` says
        return metadata


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


def _read_jxl_boxes(content: bytes) -> Metadata:
    """Return the EXIF and XMP of a JPEG XL file, which may be compressed (Brotli)."""
    exif = xmp = None
    for name, start, stop in iterate_boxes(content) if content.startswith(JPEGXL_BOX) else ():
        kind, data = name, content[start:stop]
        if name == b"brob":
            kind = data[:4]
            data = bytes(imagecodecs.brotli_decode(data[4:], out=SAFETY.png_text_bytes)) if kind in _KNOWN else b""
        if kind == b"Exif" and len(data) > 4:
            exif = data[4 + int.from_bytes(data[:4]) :] or None
        elif kind == b"xml ":
            xmp = data or None
    return Metadata(exif=exif, xmp=xmp)


_KNOWN = (b"Exif", b"xml ")
