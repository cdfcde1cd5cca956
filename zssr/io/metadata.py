"""What stands around the pixels: profile, EXIF, XMP, resolution, texts and tags."""

import math
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

from zssr.io.exif import Exif
from zssr.io.tiff import geotiff

_SIZES = {b"exif:PixelYDimension": 0, b"tiff:ImageLength": 0, b"exif:PixelXDimension": 1, b"tiff:ImageWidth": 1}
_RESOLUTIONS = (b"tiff:YResolution", b"tiff:XResolution")  # vertical, horizontal, like the scale
_ORIENTATIONS = tuple(b"%d" % number for number in range(1, 9))
_MOST_DPI = 1e6

Keep = Literal["all", "colors", "nothing"]
"""What of a picture file's metadata is kept."""


@dataclass(frozen=True)
class Metadata:
    """What stands around the pixels of a picture file.

    Attributes
    ----------
    icc
        The color profile, as it is in the file.
    exif
        The EXIF block from its TIFF header on (without the six bytes "Exif", 0, 0 before it).
    xmp
        The XMP packet.
    dpi
        Pixels per inch (horizontal, vertical) of the upright picture.
    texts
        PNG's texts by keyword.
    tags
        Further TIFF tags as (code, type, count, value), such as GeoTIFF's.
    colors
        PNG's chunks that say what its colors are, other than by a profile, as (name, content).
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: dict[str, str] = field(default_factory=dict)
    tags: tuple[tuple[int, int, int, Any], ...] = ()
    colors: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def orientation(self) -> int:
        """Return how the file's pixels lie, 1 (upright) to 8, by EXIF or else by XMP."""
        said = Exif(self.exif).orientation if self.exif else None
        if said is None and self.xmp:
            found = _property(b"tiff:Orientation").search(self.xmp)
            said = int(found["value"]) if found and found["value"] in _ORIENTATIONS else None
        return said or 1

    def only(self, keep: Keep) -> "Metadata":
        """Return all, what says how the colors are to look (the profile, and the like in PNG), or nothing."""
        if keep == "all":
            return self
        return Metadata(icc=self.icc, colors=self.colors) if keep == "colors" else Metadata()

    def enlarged(self, scale: tuple[float, float], size: tuple[int, int]) -> "Metadata":
        """Return what fits the upright picture once enlarged by `scale` (vertical, horizontal) to `size` (H, W).

        The orientation is reset, pixel dimensions in EXIF and XMP become those of `size`, and the resolution grows with
        the scale, so that the picture keeps its size on paper and on the map.
        """
        return replace(
            self,
            exif=self.exif and Exif(self.exif).enlarged(scale, size),
            xmp=self.xmp and _enlarged_xmp(self.xmp, scale, size),
            dpi=self.dpi and (self.dpi[0] * scale[1], self.dpi[1] * scale[0]),
            tags=geotiff.enlarged_tags(self.tags, scale),
        )


def checked(metadata: Metadata) -> tuple[Metadata, list[str]]:
    """Return what is sound of a file's metadata, its resolution turned upright, and one sentence for each loss."""
    notes = []
    try:
        exif = Exif(metadata.exif) if metadata.exif else None
    except ValueError as error:
        exif = None
        notes.append(f"the EXIF data are damaged and left out ({error})")
    metadata = replace(metadata, exif=metadata.exif if exif else None, xmp=metadata.xmp or None)
    dpi = metadata.dpi if _is_sound(metadata.dpi) else exif.dpi if exif else None
    if dpi and metadata.orientation > 4:  # lies on its side
        dpi = dpi[::-1]
    return replace(metadata, dpi=dpi if _is_sound(dpi) else None), notes


def _is_sound(dpi: tuple[float, float] | None) -> bool:
    return dpi is not None and all(math.isfinite(value) and 0 < value < _MOST_DPI for value in dpi)


def _property(name: bytes) -> re.Pattern[bytes]:
    """Return what finds a number in an XMP packet, be it an attribute or an element."""
    return re.compile(
        rb"(?P<before>\b" + name + rb"(?:\s*=\s*[\"']|>\s*))(?P<value>[0-9][0-9./]{0,40})(?P<after>\s*[\"'<])"
    )


def _ratio(xmp: bytes, name: bytes) -> Fraction | None:
    found = _property(name).search(xmp)
    try:
        return Fraction(found["value"].decode()) if found else None
    except (ValueError, ZeroDivisionError):
        return None


def _enlarged_xmp(xmp: bytes, scale: tuple[float, float], size: tuple[int, int]) -> bytes:
    values = {name: b"%d" % size[axis] for name, axis in _SIZES.items()} | {b"tiff:Orientation": b"1"}
    ratios = [_ratio(xmp, name) for name in _RESOLUTIONS]
    if Metadata(xmp=xmp).orientation > 4:  # lies on its side
        ratios.reverse()
    for name, ratio, factor in zip(_RESOLUTIONS, ratios, scale, strict=True):
        if ratio:
            larger = (ratio * Fraction(factor)).limit_denominator(10_000)
            values[name] = b"%d/%d" % larger.as_integer_ratio()
    for name, value in values.items():
        xmp = _property(name).sub(rb"\g<before>" + value + rb"\g<after>", xmp)
    return xmp
