"""The picture formats: how files are recognized, what each format can hold, and how it is written.

This is the only table of formats. It imports neither PyTorch nor Pillow, so that `--help` stays quick.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


def _read_version(package: str) -> tuple[int, int]:
    """Return the first two numbers of an installed package's version, zeros if it says none."""
    try:
        first, second, *_ = version(package).split(".")
        return int(first), int(second)
    except (PackageNotFoundError, ValueError):
        return 0, 0


class Feature(StrEnum):
    """What pixels may need of a format, in the words of error messages."""

    ALPHA = "transparency"
    UINT12 = "9 to 12 bits"
    UINT16 = "16 bits"
    FLOAT32 = "32-bit floats"
    INTEGERS = "signed or 32-bit integers"
    CMYK = "CMYK colors"
    BANDS = "bands"


@dataclass(frozen=True, eq=False)
class FileFormat:
    """A picture format.

    Attributes
    ----------
    name
        As people write it; Pillow knows it in capital letters.
    suffixes
        Of its files, in lower case; the first is that of files without a name.
    signature
        A regular expression that the first `START_BYTES` bytes of its files match.
    features
        What it can hold besides gray and RGB of 8 bits.
    longest_side
        The largest height and width that its encoder takes, in pixels.
    is_written
        Whether it is written, too.
    encoder
        Keywords for Pillow's encoder.
    quality
        Of what is written, from 1 to 100, unless another is asked for; None if the format is always lossless.
    becomes_lossless
        Whether the quality 100 is without any loss.
    has_bits
        Whether its files say of how many bits their samples are, from 1 to 16.
    has_profile
        Whether a color profile is written.
    has_cicp
        Whether the numbers are written that say what the colors are (CICP).
    hint
        What would make it hold more, after a sentence that something is left out.
    """

    name: str
    suffixes: tuple[str, ...]
    signature: bytes
    features: frozenset[Feature] = frozenset()
    longest_side: int | None = None
    is_written: bool = True
    encoder: Mapping[str, int | str] = field(default_factory=dict)
    quality: int | None = None
    becomes_lossless: bool = False
    has_bits: bool = False
    has_profile: bool = True
    has_cicp: bool = False
    hint: str = ""


HAS_OPENIMAGEIO = find_spec("OpenImageIO") is not None and _read_version("openimageio") >= (3, 2)
"""Whether more than 8 bits and profiles of JPEG XL files are written, and the latter read: older ones know no such."""

PNG = FileFormat(
    name="PNG",
    suffixes=(".png",),
    signature=rb"\x89PNG\r\n\x1a\n",
    features=frozenset({Feature.ALPHA, Feature.UINT12, Feature.UINT16}),
    longest_side=1_000_000,  # as libpng has it
    has_cicp=True,
)
JPEG = FileFormat(
    name="JPEG",
    suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
    signature=rb"\xff\xd8\xff",
    features=frozenset({Feature.CMYK}),
    longest_side=65500,  # as libjpeg has it
    encoder={"subsampling": 0},
    quality=95,
)
WEBP = FileFormat(
    name="WebP",
    suffixes=(".webp",),
    signature=rb"RIFF[\0-\xff]{4}WEBP",
    features=frozenset({Feature.ALPHA}),
    longest_side=16383,  # as libwebp has it
    quality=95,
    becomes_lossless=True,
)
BMP = FileFormat(name="BMP", suffixes=(".bmp",), signature=b"BM", has_profile=False)
JPEG2000 = FileFormat(
    name="JPEG 2000",
    suffixes=(".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
    signature=rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    features=frozenset({Feature.ALPHA, Feature.UINT12, Feature.UINT16}),
    longest_side=1_000_000,
    quality=100,
    becomes_lossless=True,
    has_bits=True,
)
JPEGXL = FileFormat(
    name="JPEG XL",
    suffixes=(".jxl",),
    signature=rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
    features=frozenset(
        {Feature.ALPHA, Feature.UINT12, Feature.UINT16, Feature.FLOAT32} if HAS_OPENIMAGEIO else {Feature.ALPHA}
    ),
    longest_side=1_000_000,
    quality=100,
    becomes_lossless=True,
    has_profile=HAS_OPENIMAGEIO,
    has_cicp=HAS_OPENIMAGEIO,
    hint="" if HAS_OPENIMAGEIO else " (pip install 'zssr[jxl]' changes that)",
)
AVIF = FileFormat(
    name="AVIF",
    suffixes=(".avif",),
    signature=rb"[\0-\xff]{4}ftyp(?:avif|avis|(?:mif1|msf1|miaf)[\0-\xff]{4}(?:[a-zA-Z0-9 ]{4})*?avi[fs])",
    features=frozenset({Feature.ALPHA, Feature.UINT12}),
    longest_side=32768,  # as libavif has it
    quality=95,
    becomes_lossless=True,
    has_bits=True,
    has_cicp=True,
)
HEIC = FileFormat(
    name="HEIC",
    suffixes=(".heic", ".heif", ".hif"),
    signature=rb"[\0-\xff]{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)",
    is_written=False,
)
PNM = FileFormat(name="PNM", suffixes=(".ppm", ".pgm", ".pbm", ".pnm"), signature=rb"P[1-6][\s#]", is_written=False)
DDS = FileFormat(name="DDS", suffixes=(".dds",), signature=b"DDS ", is_written=False)
TGA = FileFormat(
    name="TGA",
    suffixes=(".tga",),
    signature=rb"[\0-\xff](?:\0[\x02\x03\n\v]\0{4}[\0-\x20]|\x01[\x01\t][\0-\xff]{4}[\x0f\x10\x18\x20])"
    rb"[\0-\xff]{8}[\x08\x0f\x10\x18\x20]",  # it has no mark of its own, so all of its header is looked at
    is_written=False,
)
GIF = FileFormat(name="GIF", suffixes=(".gif",), signature=b"GIF8[79]a", is_written=False)
TIFF = FileFormat(
    name="TIFF",
    suffixes=(".tif", ".tiff"),
    signature=rb"II[*+]\0|MM\0[*+]",  # + is BigTIFF
    features=frozenset(Feature),
    has_bits=True,
)

FORMATS = (PNG, JPEG, WEBP, BMP, GIF, JPEG2000, JPEGXL, AVIF, HEIC, PNM, DDS, TGA, TIFF)
START_BYTES = 64
READABLE_SUFFIXES = tuple(suffix for one in FORMATS for suffix in one.suffixes)
WRITABLE_SUFFIXES = tuple(suffix for one in FORMATS if one.is_written for suffix in one.suffixes)

WRITABLE_VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
VIDEO_SUFFIXES = (
    *WRITABLE_VIDEO_SUFFIXES,
    *(".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".wmv", ".flv", ".ogv", ".3gp", ".mxf"),
)
ANIMATION_SUFFIXES = (".gif", ".png", ".apng", ".webp")
"""Files that are written as videos, and opened as such; pictures that may hold an animation."""


def find_format(suffix: str) -> FileFormat | None:
    """Return the format of files with this suffix in any case, such as ".jpg"; None if it is unknown."""
    return next((one for one in FORMATS if suffix.lower() in one.suffixes), None)


def detect_format(start: bytes) -> FileFormat | None:
    """Return the format of a file from its first `START_BYTES` bytes or more; None if it is unknown."""
    return next((one for one in FORMATS if re.match(one.signature, start)), None)


def writable_suffix(suffix: str) -> str:
    """Return the suffix, in lower case, for the output of an input: ".png", or ".mkv", if its own is not written."""
    if suffix.lower() in WRITABLE_SUFFIXES + WRITABLE_VIDEO_SUFFIXES:
        return suffix.lower()
    return ".mkv" if suffix.lower() in VIDEO_SUFFIXES else PNG.suffixes[0]


def output_suffix(content: bytes) -> str:
    """Return the suffix for the output of an input without a name, from its content."""
    found = detect_format(content)
    return found.suffixes[0] if found and found.is_written else PNG.suffixes[0]
