"""The metadata of picture files: color profile, EXIF, XMP, resolution, texts and TIFF tags."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from zssr.errors import ConfigError
from zssr.io.exif import Exif
from zssr.io.gain_map import GainMap
from zssr.io.orientation import swaps_axes
from zssr.io.tiff.geotiff import rescale_tags
from zssr.io.tiff.tags import Directory
from zssr.io.xmp import drop_references, find_orientation, rescale_xmp

Keep = Literal["all", "colors", "nothing"]
"""What of a picture file's metadata is kept."""


@dataclass(frozen=True)
class Metadata:
    """What a picture file holds besides its pixels.

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
        Further TIFF tags by code, such as GeoTIFF's.
    colors
        PNG's chunks that say what its colors are, other than by a profile, as (name, content); those of other formats
        that say it by numbers (CICP, ITU-T H.273) are as in PNG.
    gain_map
        Of a JPEG file, which no other format has.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: dict[str, str] = field(default_factory=dict)
    tags: Directory = field(default_factory=dict)
    colors: tuple[tuple[bytes, bytes], ...] = ()
    gain_map: GainMap | None = None

    @property
    def orientation(self) -> int:
        """Return how the file's pixels lie, 1 (upright) to 8, by EXIF or else by XMP."""
        if self.exif and (by_exif := Exif(self.exif).orientation):
            return by_exif
        return find_orientation(self.xmp) if self.xmp else 1

    @property
    def cicp(self) -> tuple[int, int] | None:
        """The numbers of the colors' primaries and transfer (CICP, ITU-T H.273), if they are given."""
        chunk = dict(self.colors).get(b"cICP", b"")
        return (chunk[0], chunk[1]) if len(chunk) == 4 else None

    def with_cicp(self, primaries: int, transfer: int) -> "Metadata":
        """Return the metadata with these numbers of the colors, unless they are sRGB's or say nothing."""
        if (primaries in (1, 2) and transfer in (2, 13)) or max(primaries, transfer) > 255:
            return self
        return replace(self, colors=((b"cICP", bytes([primaries, transfer, 0, 1])),))

    def select(self, keep: Keep) -> "Metadata":
        """Return all, only what says how the colors are to look (the profile, and the like in PNG), or nothing."""
        if keep not in get_args(Keep):
            raise ConfigError(f"keep: {keep!r} is not one of {', '.join(get_args(Keep))}")
        colors = Metadata(icc=self.icc, colors=self.colors)
        return {"all": self, "colors": colors, "nothing": Metadata()}[keep]

    def rescale(self, scale: tuple[float, float], size: tuple[int, int]) -> "Metadata":
        """Return the metadata of the upright picture scaled by `scale` (vertical, horizontal) to `size` (H, W).

        The orientation is reset, a gain map is enlarged, pixel dimensions in EXIF and XMP become those of `size`, and
        the resolution grows with the scale, so that the picture keeps its size on paper and on the map.
        """
        return replace(
            self,
            exif=self.exif and Exif(self.exif).rescale(scale, size),
            xmp=self.xmp and rescale_xmp(self.xmp, scale, size),
            dpi=self.dpi and (self.dpi[0] * scale[1], self.dpi[1] * scale[0]),
            tags=rescale_tags(self.tags, scale),
            gain_map=self.gain_map and self.gain_map.rescale(scale, self.orientation),
        )

    def turned_upright(self, size: tuple[int, int]) -> "Metadata":
        """Return the metadata of pixels of `size` (H, W) that their decoder has turned upright."""
        try:
            return self if self.orientation == 1 else self.rescale((1.0, 1.0), size)
        except ValueError:  # damaged, which `sanitize` says
            return self

    def without_gain_map(self) -> "Metadata":
        """Return all but the gain map, and what XMP says of it."""
        return replace(self, gain_map=None, xmp=drop_references(self.xmp or b"")[0] or None) if self.gain_map else self


def sanitize(metadata: Metadata) -> tuple[Metadata, list[str]]:
    """Return a file's metadata without what is damaged, its resolution turned upright, and a sentence for each loss."""
    notes = []
    try:
        exif = Exif(metadata.exif) if metadata.exif else None
    except ValueError as error:
        exif = None
        notes.append(f"the EXIF data are damaged and left out ({error})")
    xmp, lost = drop_references(metadata.xmp or b"", metadata.gain_map is not None)
    notes += [lost] if lost else []
    metadata = replace(metadata, exif=metadata.exif if exif else None, xmp=xmp or None)
    dpi = metadata.dpi if _is_plausible(metadata.dpi) else exif.dpi if exif else None
    if dpi and swaps_axes(metadata.orientation):
        dpi = dpi[::-1]
    return replace(metadata, dpi=dpi if _is_plausible(dpi) else None), notes


def _is_plausible(dpi: tuple[float, float] | None) -> bool:
    return dpi is not None and all(math.isfinite(value) and 0 < value < 1e6 for value in dpi)
