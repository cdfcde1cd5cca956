"""TIFF tags: their codes, types and values (TIFF 6.0, EXIF 2.32, GeoTIFF)."""

from dataclasses import dataclass
from enum import IntEnum


class TagCode(IntEnum):
    """The tags that are looked at."""

    SUBFILE = 254
    OLD_SUBFILE = 255
    WIDTH = 256
    HEIGHT = 257
    PHOTOMETRIC = 262
    DESCRIPTION = 270
    MAKE = 271
    MODEL = 272
    ORIENTATION = 274
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    RESOLUTION_UNIT = 296
    SOFTWARE = 305
    DATE = 306
    ARTIST = 315
    HOST_COMPUTER = 316
    SUB_DIRECTORIES = 330
    THUMBNAIL_OFFSET = 513
    THUMBNAIL_LENGTH = 514
    XMP = 700
    COPYRIGHT = 33432
    PIXEL_SCALE = 33550
    IPTC = 33723
    TIE_POINTS = 33922
    TRANSFORMATION = 34264
    PHOTOSHOP = 34377
    EXIF = 34665
    ICC = 34675
    GEO_KEYS = 34735
    GEO_DOUBLES = 34736
    GEO_TEXTS = 34737
    GPS = 34853
    PIXEL_X_DIMENSION = 40962
    PIXEL_Y_DIMENSION = 40963
    INTEROPERABILITY = 40965
    FOCAL_PLANE_X_RESOLUTION = 41486
    FOCAL_PLANE_Y_RESOLUTION = 41487
    GDAL_METADATA = 42112
    GDAL_NODATA = 42113


class TagType(IntEnum):
    """The types of values that are made or asked for."""

    BYTE = 1
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    UNDEFINED = 7
    LONG8 = 16
    IFD8 = 18


TagValue = bytes | tuple[float, ...] | dict[int, "Tag"] | None
"""Bytes for the types 1, 2 and 7, numbers for the others (two for each rational), or the tags of a directory within."""


@dataclass(frozen=True)
class Tag:
    """A tag without its code. What was not asked for, or lies outside of the file, has the value None."""

    type: int
    count: int
    value: TagValue


Directory = dict[int, Tag]
"""The tags of a directory by their codes."""
