"""The picture formats: how files are recognized, what each format can hold, and how it is written.

This is the only table of formats. It imports neither PyTorch nor Pillow, so that `--help` stays quick.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Feature(StrEnum):
    """What pixels may need of a format, in the words of error messages."""

    ALPHA = "transparency"
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
        A regular expression that the first 16 bytes of its files match.
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
    """

    name: str
    suffixes: tuple[str, ...]
    signature: bytes
    features: frozenset[Feature] = frozenset()
    longest_side: int | None = None
    is_written: bool = True
    encoder: Mapping[str, int] = field(default_factory=dict)
    quality: int | None = None
    becomes_lossless: bool = False


PNG = FileFormat(
    name="PNG",
    suffixes=(".png",),
    signature=rb"\x89PNG\r\n\x1a\n",
    features=frozenset({Feature.ALPHA, Feature.UINT16}),
    longest_side=1_000_000,  # as libpng has it
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
BMP = FileFormat(name="BMP", suffixes=(".bmp",), signature=b"BM")
GIF = FileFormat(name="GIF", suffixes=(".gif",), signature=b"GIF8[79]a", is_written=False)
TIFF = FileFormat(
    name="TIFF",
    suffixes=(".tif", ".tiff"),
    signature=rb"II[*+]\0|MM\0[*+]",  # + is BigTIFF
    features=frozenset(Feature),
)

FORMATS = (PNG, JPEG, WEBP, BMP, GIF, TIFF)
READABLE_SUFFIXES = tuple(suffix for one in FORMATS for suffix in one.suffixes)
WRITABLE_SUFFIXES = tuple(suffix for one in FORMATS if one.is_written for suffix in one.suffixes)


def find_format(suffix: str) -> FileFormat | None:
    """Return the format of files with this suffix in any case, such as ".jpg"; None if it is unknown."""
    return next((one for one in FORMATS if suffix.lower() in one.suffixes), None)


def detect_format(start: bytes) -> FileFormat | None:
    """Return the format of a file from its first 16 bytes or more; None if it is unknown."""
    return next((one for one in FORMATS if re.match(one.signature, start)), None)


def writable_suffix(suffix: str) -> str:
    """Return the suffix, in lower case, for the output of an input with this suffix: ".png" if it is not written."""
    return suffix.lower() if suffix.lower() in WRITABLE_SUFFIXES else PNG.suffixes[0]


def output_suffix(content: bytes) -> str:
    """Return the suffix for the output of an input without a name, from its content."""
    found = detect_format(content)
    return found.suffixes[0] if found and found.is_written else PNG.suffixes[0]
