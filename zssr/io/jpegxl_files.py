"""JPEG XL files: imagecodecs decodes them, and OpenImageIO, if it is installed, knows their profiles."""

import tempfile
from bisect import bisect_left
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np

from zssr.errors import ImageError
from zssr.io.codestreams import iterate_boxes, make_box
from zssr.io.deferred import DeferredPicture, check_decoded_size
from zssr.io.formats import HAS_OPENIMAGEIO
from zssr.io.jpegxl import JPEGXL_BOX, read_jpegxl_header
from zssr.io.limits import SAFETY, Limits
from zssr.io.metadata import Metadata
from zssr.io.orientation import swaps_axes
from zssr.io.picture import FIRST_FRAME, GAIN_MAP, Picture, PixelFormat, Pixels
from zssr.io.pixel_conversion import widen_bits

_KNOWN = (b"Exif", b"xml ")


def open_jpegxl(name: str, content: bytes, limits: Limits, page: int = 0) -> Picture:
    """Open a frame of a JPEG XL file; the page 1 is the second."""
    header = read_jpegxl_header(content)
    check_decoded_size(name, header.size, content, limits)
    if header.extra > 1 or (header.is_float and header.bits not in (16, 32)) or header.bits > 32:
        raise ImageError(f"{name}: has {header.extra} further channels, or {header.bits} bits; an opacity is supported")
    pixel_format = PixelFormat(
        colors="gray" if header.is_gray else "rgb",
        channels=(1 if header.is_gray else 3) + header.extra,
        dtype=np.dtype(np.float32 if header.is_float else np.uint16 if header.bits > 8 else np.uint8),
        alpha="straight" if header.extra else None,
        bits=None if header.is_float or header.bits in (8, 16) else header.bits,
    )
    size = header.size[::-1] if swaps_axes(header.orientation) else header.size

    def decode() -> Pixels:
        index = page if header.is_animated else None
        return widen_bits(imagecodecs.jpegxl_decode(content, index=index, numthreads=1), size, pixel_format)

    if page and not (header.is_animated and _has_frame(content, page, _decode_first(content))):
        raise ImageError(f"{name}: has no page {page + 1}")
    notes = [FIRST_FRAME] if header.is_animated and not page else []
    if any(name == b"jhgm" for name, _, _ in iterate_boxes(content)):
        notes.append(GAIN_MAP)
    metadata = _read_boxes(content).turned_upright(size)
    if header.cicp:
        metadata = metadata.with_cicp(*header.cicp)
    elif HAS_OPENIMAGEIO:
        metadata = replace(metadata, icc=_read_profile(content))
    else:
        notes.append("its color profile is left out, which pip install 'zssr[jxl]' would read")
    picture = DeferredPicture(name, size, pixel_format, metadata, decode, notes)
    picture.is_lossless = header.is_lossless
    return picture


def count_jpegxl_frames(content: bytes) -> int:
    """Return the number of frames. Raises `ValueError` if there are too many."""
    if not read_jpegxl_header(content).is_animated:
        return 1
    most, room = SAFETY.jpegxl_frames, _decode_first(content)
    if _has_frame(content, most, room):
        raise ValueError(f"it has more than {most} frames")
    return bisect_left(range(most), True, lo=1, key=lambda index: not _has_frame(content, index, room))


def _decode_first(content: bytes) -> Pixels:
    return np.array(imagecodecs.jpegxl_decode(content, index=0, numthreads=1))


def _has_frame(content: bytes, index: int, room: Pixels) -> bool:
    """Return whether there is a frame: the decoder leaves `room` as it was for one that is not there."""
    for level in (0, 1):
        room[...] = level
        imagecodecs.jpegxl_decode(content, index=index, numthreads=1, out=room)
        if (room != level).any():
            return True
    return False


def encode_jpegxl(pixels: Pixels, metadata: Metadata, quality: int) -> bytes:
    """Return a JPEG XL file; the quality 100 is lossless, and 90 has the distance 1, as in libjxl.

    OpenImageIO writes more than 8 bits and colors other than sRGB, but no gray ones with an opacity: they become RGB.
    """
    colors = metadata.select("colors") if takes_colors(metadata, pixels.shape[-1], quality) else Metadata()
    if pixels.dtype == np.uint8 and not (colors.icc or colors.cicp):
        encoded = _encode_by_imagecodecs(pixels, quality)
    else:
        is_gray_with_alpha = pixels.shape[-1] == 2
        encoded = _encode_by_openimageio(pixels[..., [0, 0, 0, 1]] if is_gray_with_alpha else pixels, colors, quality)
    more = [make_box(b"Exif", bytes(4) + metadata.exif)] if metadata.exif else []
    more += [make_box(b"xml ", metadata.xmp)] if metadata.xmp else []
    return b"".join([encoded, *more])


def takes_colors(metadata: Metadata, channels: int, quality: int) -> bool:
    """Return whether a picture can be written with the profile, or else the numbers, of its colors: by trying it."""
    if metadata.icc is None and metadata.cicp is None:
        return True
    space = b"GRAY" if channels == 1 else b"RGB "
    if channels == 2 or (metadata.icc and metadata.icc[16:20] != space):
        return False
    try:
        _encode_by_openimageio(np.zeros((8, 8, channels), np.uint8), metadata, quality)
    except (ImageError, ImportError):
        return False
    return True


def _encode_by_imagecodecs(pixels: Pixels, quality: int) -> bytes:
    plane = np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    lossless, distance = quality == 100, 0.0 if quality == 100 else 0.1 + (100 - quality) * 0.09
    return bytes(
        imagecodecs.jpegxl_encode(plane, lossless=lossless, distance=distance, usecontainer=True, numthreads=1)
    )


def _encode_by_openimageio(pixels: Pixels, metadata: Metadata, quality: int) -> bytes:
    import OpenImageIO

    pixels = np.ascontiguousarray(pixels)
    height, width, channels = pixels.shape
    spec = OpenImageIO.ImageSpec(width, height, channels, str(pixels.dtype).removesuffix("32"))
    spec.attribute("compression", f"jpegxl:{quality}")
    spec.attribute("oiio:UnassociatedAlpha", 1)
    if metadata.icc:
        kind = OpenImageIO.TypeDesc(f"uint8[{len(metadata.icc)}]")
        spec.attribute("ICCProfile", kind, np.frombuffer(metadata.icc, np.uint8))
    elif metadata.cicp:
        spec.attribute("CICP", OpenImageIO.TypeDesc("int[4]"), (*metadata.cicp, 0, 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jxl"
        file = OpenImageIO.ImageOutput.create(str(path))
        if file is None or not (file.open(str(path), spec) and file.write_image(pixels) and file.close()):
            raise ImageError(f"JPEG XL: cannot be encoded ({file.geterror() if file else OpenImageIO.geterror()})")
        encoded = path.read_bytes()
    if encoded.startswith(JPEGXL_BOX):
        return encoded
    return JPEGXL_BOX + make_box(b"ftyp", b"jxl \0\0\0\0jxl ") + make_box(b"jxlc", encoded)


def _read_profile(content: bytes) -> bytes | None:
    """Return the profile of what decoders make of a JPEG XL file. Raises `ValueError` if it cannot be read."""
    import OpenImageIO

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jxl"
        path.write_bytes(content)
        file = OpenImageIO.ImageInput.open(str(path))
        if file is None:
            raise ValueError(OpenImageIO.geterror())
        profile = file.spec().getattribute("ICCProfile")
        file.close()
    return None if profile is None else bytes(profile)


def _read_boxes(content: bytes) -> Metadata:
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
