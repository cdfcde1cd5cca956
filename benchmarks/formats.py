"""The table of docs/formats.md: what each format is read and written with, by round trips that are done for it."""

import io
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from zssr.errors import ImageError
from zssr.io.codestreams import make_box
from zssr.io.formats import FORMATS, FileFormat
from zssr.io.frames import FilePage
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.output_format import OutputFormat
from zssr.io.picture import Picture, PixelFormat, Pixels
from zssr.io.reading import open_picture
from zssr.io.writing import write_picture

COLUMNS = (
    *("1 bit", "8 bits", "10, 12 bits", "16 bits", "floats", "gray", "RGB", "CMYK", "bands", "alpha"),
    *("profile", "CICP", "EXIF", "XMP", "pages", "lossless"),
)
SIZE = (24, 32)
_ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
_CICP = (9, 16)  # BT.2020 and PQ
_UINT8, _UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)
_PIXEL_FORMATS = {
    "1 bit": PixelFormat("gray", 1, _UINT8, bilevel=True),
    "10, 12 bits": PixelFormat("gray", 1, _UINT16, bits=12),
    "16 bits": PixelFormat("gray", 1, _UINT16),
    "floats": PixelFormat("gray", 1, np.dtype(np.float32)),
    "gray": PixelFormat("gray", 1, _UINT8),
    "CMYK": PixelFormat("cmyk", 4, _UINT8),
    "bands": PixelFormat("bands", 5, _UINT8),
    "alpha": PixelFormat("rgb", 4, _UINT8, "straight"),
}
_RGB = PixelFormat("rgb", 3, _UINT8)


def run() -> None:
    """Print the table."""
    print(to_table())


def to_table() -> str:
    """Return the table: for each format and property whether it is read ("r") and written ("w")."""
    rows = [f"| format | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for file_format in FORMATS:
        cells = [
            "r" * is_read(file_format, column) + "w" * is_written(file_format, column) or "-" for column in COLUMNS
        ]
        rows.append(f"| {file_format.name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def is_written(file_format: FileFormat, column: str) -> bool:
    """Write a picture that needs what `column` says, without any loss allowed, read it again, and compare."""
    pixel_format = _PIXEL_FORMATS.get(column, _RGB)
    pixels = _draw(pixel_format)
    exif = _exif().tobytes().removeprefix(b"Exif\0\0")
    metadata = {"profile": Metadata(icc=_ICC), "EXIF": Metadata(exif=exif), "XMP": Metadata(xmp=_XMP)}
    metadata["CICP"] = Metadata().with_cicp(*_CICP)
    stream = io.BytesIO()
    try:
        quality = 100 if column == "lossless" else None
        target = OutputFormat.choose(file_format.suffixes[0], pixel_format, SIZE, quality=quality)
        write_picture(stream, target, [pixels], SIZE, metadata.get(column, Metadata()))
    except ImageError:
        return False
    return column != "pages" and _holds(stream.getvalue(), column, pixels)


def is_read(file_format: FileFormat, column: str) -> bool:
    """Read a file that another library wrote with what `column` says, and compare."""
    pixels = _draw(_PIXEL_FORMATS.get(column, _RGB))
    encode = _ENCODERS.get(file_format.name, _encode_by_pillow)
    try:
        content = encode(file_format.name, column, pixels)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SystemError, struct.error):
        return False  # there are no such files, or nobody here who writes them
    return content is not None and _holds(content, column, pixels)


def _holds(content: bytes, column: str, pixels: Pixels) -> bool:
    """Return whether a file has what `column` says, and these pixels."""
    try:
        if column == "pages":
            with open_picture(FilePage(content, 2), Limits()) as picture:
                return bool(np.abs(picture.rows(0, SIZE[0])[..., :3].astype(int) - pixels[::-1]).mean() < 8)
        with open_picture(content, Limits()) as picture:
            return _checks(column)(picture, picture.rows(0, SIZE[0]), pixels)
    except ImageError:
        return False


def _checks(column: str) -> Callable[[Picture, Pixels, Pixels], bool]:
    """Return what is to hold of a picture, the pixels that were read, and those that were meant."""
    checks: dict[str, Callable[[Picture, Pixels, Pixels], bool]] = {
        "1 bit": lambda picture, *both: picture.pixel_format.bilevel and np.array_equal(*both),
        "8 bits": lambda picture, *both: picture.pixel_format.dtype == np.uint8 and _is_near(*both),
        "10, 12 bits": lambda picture, *both: picture.pixel_format.bits in (10, 12) and _is_gray_near(*both),
        "16 bits": lambda picture, *both: picture.pixel_format == _PIXEL_FORMATS["16 bits"] and _is_near(*both),
        "floats": lambda picture, *both: picture.pixel_format.dtype == np.float32 and _is_near(*both),
        "gray": lambda picture, *both: picture.pixel_format == _PIXEL_FORMATS["gray"] and _is_near(*both),
        "RGB": lambda picture, *both: picture.pixel_format == _RGB and _is_near(*both),
        "CMYK": lambda picture, *both: picture.pixel_format.colors == "cmyk" and _is_near(*both),
        "bands": lambda picture, *both: picture.pixel_format.colors == "bands" and _is_near(*both),
        "alpha": lambda picture, *both: picture.pixel_format.alpha is not None and _is_near(*both),
        "profile": lambda picture, *_: picture.metadata.icc == _ICC,
        "CICP": lambda picture, *_: picture.metadata.cicp == _CICP,
        "EXIF": lambda picture, *_: b"A maker" in (picture.metadata.exif or b""),
        "XMP": lambda picture, *_: picture.metadata.xmp == _XMP,
        "lossless": lambda _, *both: np.array_equal(*both),
    }
    return checks[column]


def _is_near(read: Pixels, meant: Pixels) -> bool:
    """Return whether pixels differ by what lossy compression may do, but not by their scale."""
    if read.shape != meant.shape or read.dtype != meant.dtype:
        return False
    white = 1.0 if read.dtype == np.float32 else float(np.iinfo(read.dtype).max)
    return bool(np.abs(read / white - meant / white).mean() < 0.03)


def _is_gray_near(read: Pixels, meant: Pixels) -> bool:
    """Return whether gray pixels are near, that may be stored as colors."""
    return _is_near(read[..., :1], meant) and bool((read == read[..., :1]).mean() > 0.5)


def _draw(pixel_format: PixelFormat) -> Pixels:
    """Draw steps of few levels, so that a palette holds them; an opacity is nowhere none."""
    down, across = np.mgrid[: SIZE[0], : SIZE[1]]
    steps = np.stack([across // 8, down // 6, (across // 8 + down // 6) // 2, 3 - across // 8, 3 - down // 6], -1) / 3
    values: NDArray[Any] = steps[..., : pixel_format.channels].clip(0, 1)
    if pixel_format.alpha:
        values[..., -1] = 0.5 + values[..., -1] / 2
    if pixel_format.bilevel:
        values = (values > 0.5) * 1.0
    top = 1 if pixel_format.dtype == np.float32 else np.iinfo(pixel_format.dtype).max
    return (values * top).round().astype(pixel_format.dtype) if top > 1 else values.astype(np.float32)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    return exif


def _to_image(column: str, pixels: Pixels) -> Image.Image:
    plane = np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if column == "1 bit":
        return Image.fromarray(plane > 127)
    if column in ("10, 12 bits", "bands", "floats"):
        raise ValueError("Pillow has no such files")
    return Image.fromarray(plane, "CMYK" if column == "CMYK" else None)


def _encode_by_pillow(name: str, column: str, pixels: Pixels) -> bytes | None:
    kind = {"JPEG 2000": "JPEG2000", "PNM": "PPM", "HEIC": "HEIF"}.get(name, name.upper())
    image = _to_image(column, pixels)
    options: dict[str, Any] = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF", "HEIF") else {}
    if column == "profile":
        options["icc_profile"] = _ICC
    elif column == "CICP":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add(b"cICP", bytes([*_CICP, 0, 1]))
    elif column == "EXIF":
        options["exif"] = _exif()
    elif column == "XMP":
        options["xmp"] = _XMP
        if kind == "PNG":
            texts = PngImagePlugin.PngInfo()
            texts.add_itxt("XML:com.adobe.xmp", _XMP.decode())
            options = {"pnginfo": texts}
    elif column == "pages":
        options |= {"save_all": True, "append_images": [Image.fromarray(pixels[::-1])]}
    elif column == "lossless" and kind in ("WEBP", "AVIF"):
        options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": "4:4:4"}
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _encode_avif(name: str, column: str, pixels: Pixels) -> bytes | None:
    if column == "10, 12 bits":
        return bytes(imagecodecs.avif_encode(np.repeat(pixels >> 6, 3, -1), level=100, bitspersample=10))
    if column == "lossless":
        return bytes(imagecodecs.avif_encode(pixels, level=100))
    if column == "CICP":
        return bytes(imagecodecs.avif_encode(pixels, level=90, primaries=_CICP[0], transfer=_CICP[1], matrix=9))
    return _encode_by_pillow(name, column, pixels)


def _encode_heic(name: str, column: str, pixels: Pixels) -> bytes | None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    if column in ("10, 12 bits", "lossless"):
        deep = np.ascontiguousarray(np.repeat(pixels, 3, -1)) if column != "lossless" else pixels
        stream = io.BytesIO()
        mode = "RGB" if column == "lossless" else "RGB;16"
        file = pillow_heif.from_bytes(mode, SIZE[::-1], deep.tobytes())
        file.save(stream, quality=-1, chroma=444, matrix_coefficients=0)
        return stream.getvalue()
    if column == "CICP":
        stream = io.BytesIO()
        options = {"color_primaries": _CICP[0], "transfer_characteristics": _CICP[1]}
        pillow_heif.from_pillow(Image.fromarray(pixels)).save(stream, quality=90, **options)
        return stream.getvalue()
    return _encode_by_pillow(name, column, pixels)


def _encode_jpeg2000(name: str, column: str, pixels: Pixels) -> bytes | None:
    if column == "10, 12 bits":
        return bytes(imagecodecs.jpeg2k_encode(pixels[..., 0] >> 4, level=0, reversible=True, bitspersample=12))
    boxes = {"XMP": bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + _XMP}
    boxes["EXIF"] = b"JpgTiffExif->JP2" + _exif().tobytes().removeprefix(b"Exif\0\0")
    content = _encode_by_pillow(name, column, pixels)
    if content is None or column != "profile":
        return content and content + (make_box(b"uuid", boxes[column]) if column in boxes else b"")
    header, colors = content.index(b"jp2h") - 4, content.index(b"colr") - 4
    profile = make_box(b"colr", b"\2\0\0" + _ICC)  # in place of a box of 15 bytes
    length = struct.unpack_from(">I", content, header)[0] + len(profile) - 15
    before = content[:header] + struct.pack(">I", length) + content[header + 4 : colors]
    return before + profile + content[colors + 15 :]


def _encode_jpegxl(_: str, column: str, pixels: Pixels) -> bytes | None:
    if column in ("1 bit", "CMYK", "bands"):
        return None
    if column in ("profile", "CICP"):
        return _encode_by_openimageio(column, pixels)
    if column == "pages":
        return bytes(imagecodecs.jpegxl_encode(np.stack([pixels, pixels[::-1]]), lossless=True))
    plane = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    options: dict[str, Any] = {"lossless": True, "usecontainer": True}
    if column == "10, 12 bits":
        plane, options["bitspersample"] = plane >> 4, 12
    boxes = {"XMP": make_box(b"xml ", _XMP)}
    boxes["EXIF"] = make_box(b"Exif", bytes(4) + _exif().tobytes().removeprefix(b"Exif\0\0"))
    return bytes(imagecodecs.jpegxl_encode(np.ascontiguousarray(plane), **options)) + boxes.get(column, b"")


def _encode_by_openimageio(column: str, pixels: Pixels) -> bytes:
    import OpenImageIO

    spec = OpenImageIO.ImageSpec(SIZE[1], SIZE[0], 3, "uint8")
    if column == "profile":
        spec.attribute("ICCProfile", OpenImageIO.TypeDesc(f"uint8[{len(_ICC)}]"), np.frombuffer(_ICC, np.uint8))
    else:
        spec.attribute("CICP", OpenImageIO.TypeDesc("int[4]"), (*_CICP, 0, 1))
    spec.attribute("compression", "jpegxl:100")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jxl"
        file = OpenImageIO.ImageOutput.create(str(path))
        if file is None or not (file.open(str(path), spec) and file.write_image(pixels) and file.close()):
            raise OSError(OpenImageIO.geterror())
        return path.read_bytes()


def _encode_pnm(name: str, column: str, pixels: Pixels) -> bytes | None:
    if column == "10, 12 bits":
        return b"P5 %d %d 4095\n" % SIZE[::-1] + (pixels >> 4).astype(">u2").tobytes()
    return None if column in ("profile", "CICP", "EXIF", "XMP", "pages") else _encode_by_pillow(name, column, pixels)


def _encode_tiff(_: str, column: str, pixels: Pixels) -> bytes | None:
    stream = io.BytesIO()
    photometric = {3: "rgb", 4: "separated" if column == "CMYK" else "rgb"}.get(pixels.shape[-1], "minisblack")
    options: dict[str, Any] = {"photometric": photometric, "planarconfig": "contig", "metadata": None}
    plane = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    if column == "1 bit":
        plane = plane > 127
    elif column == "10, 12 bits":
        plane, options["bitspersample"] = plane >> 4, 12
    elif column == "alpha":
        options["extrasamples"] = [2]
    elif column == "pages":
        options["photometric"], plane = "rgb", np.stack([pixels, pixels[::-1]])
    tags = {"profile": (34675, 7, len(_ICC), _ICC, True), "EXIF": (271, 2, 8, "A maker", True)}
    tags["XMP"] = (700, 1, len(_XMP), _XMP, True)
    if plane.ndim == 2:
        del options["planarconfig"]
    tifffile.imwrite(stream, plane, extratags=[tags[column]] if column in tags else [], **options)
    return stream.getvalue()


_ENCODERS: dict[str, Callable[[str, str, Pixels], bytes | None]] = {
    "AVIF": _encode_avif,
    "HEIC": _encode_heic,
    "JPEG 2000": _encode_jpeg2000,
    "JPEG XL": _encode_jpegxl,
    "PNM": _encode_pnm,
    "TIFF": _encode_tiff,
}
