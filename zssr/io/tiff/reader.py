"""Opening TIFF files: a page, upright, with its metadata."""

from dataclasses import replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tifffile import COMPRESSION, TiffFile, TiffPage

from zssr.errors import ImageError
from zssr.io.decoding import translate_errors
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.orientation import apply_orientation, swaps_axes
from zssr.io.picture import Picture, Pixels
from zssr.io.tiff import ifd
from zssr.io.tiff.geotiff import GEO_TAGS
from zssr.io.tiff.page_format import PageFormat, read_page_format
from zssr.io.tiff.pages import find_page, read_number
from zssr.io.tiff.segments import OldJpegReader, SegmentReader
from zssr.io.tiff.tags import Directory, TagCode, TagType
from zssr.io.xmp import drop_references

KEPT_TAGS = (*GEO_TAGS, TagCode.IPTC, TagCode.PHOTOSHOP, TagCode.GDAL_METADATA, TagCode.GDAL_NODATA)
EXIF_TAGS = (
    TagCode.DESCRIPTION,
    TagCode.MAKE,
    TagCode.MODEL,
    TagCode.SOFTWARE,
    TagCode.DATE,
    TagCode.ARTIST,
    TagCode.HOST_COMPUTER,
    TagCode.COPYRIGHT,
    TagCode.EXIF,
    TagCode.GPS,
)
"""The tags of a page's directory that belong to an EXIF block."""

_READ_TAGS = (
    TagCode.SUBFILE,
    TagCode.WIDTH,
    TagCode.HEIGHT,
    TagCode.ORIENTATION,
    TagCode.X_RESOLUTION,
    TagCode.Y_RESOLUTION,
    TagCode.RESOLUTION_UNIT,
    TagCode.XMP,
    TagCode.ICC,
    *KEPT_TAGS,
    *EXIF_TAGS,
)


def open_tiff(source: Path | bytes, name: str, limits: Limits, page: int = 0) -> Picture:
    """Open a page of a TIFF file (0 is the first), upright, read by rows from strips or tiles.

    Gray, RGB, CMYK and any number of bands, in integers of 1 to 16 and of 32 bits, or floats; bilevel becomes 0 and
    255, palettes, CIELAB and YCbCr RGB, other bits fill 8 or 16, and floats are of 32 bits. Only the header is read
    until `rows`. A picture that does not lie upright, or in an old-style JPEG, is held in memory whole.

    Raises `ImageError` for files that are damaged, larger than `limits`, or of another kind.
    """
    file = source.open("rb") if isinstance(source, Path) else BytesIO(source)
    try:
        with translate_errors(name):
            limits.check_bytes(name, file.seek(0, 2))
            return _open(file, name, limits, page)
    except BaseException:
        file.close()
        raise


class _TiffPicture(Picture):
    """A TIFF file's page. Its rows are those of the upright picture."""

    def __init__(
        self, name: str, segments: SegmentReader | OldJpegReader, page_format: PageFormat, orientation: int
    ) -> None:
        size = (segments.height, segments.width)
        super().__init__(name, size[::-1] if swaps_axes(orientation) else size, page_format.pixel_format)
        self.segments, self.page_format, self.orientation = segments, page_format, orientation

    def rows(self, start: int, stop: int) -> Pixels:
        """Return the rows from `start` to `stop`; see `Picture`."""
        with translate_errors(self.name):
            return self._stored(start, stop) if self.orientation == 1 else self._upright[start:stop].copy(order="C")

    def _stored(self, start: int, stop: int) -> Pixels:
        return self.page_format.convert(self.segments.rows(start, stop))

    @cached_property
    def _upright(self) -> Pixels:
        return apply_orientation(self._stored(0, self.segments.height), self.orientation)

    def close(self) -> None:
        """Close the file."""
        self.segments.file.close()


def _open(file: BinaryIO, name: str, limits: Limits, number: int) -> Picture:
    header = ifd.read_header(file)
    try:
        offset, notes = find_page(file, header, number)
    except IndexError as error:
        raise ImageError(f"{name}: {error}") from error
    directory = ifd.read_directory(file, header, offset, _READ_TAGS)
    size = read_number(directory, TagCode.HEIGHT), read_number(directory, TagCode.WIDTH)
    if min(size) < 1:
        raise ImageError(f"{name}: has no pixels, its size is {size[1]} x {size[0]}")
    limits.check_size(name, size)
    page = _read_page(file, name, offset)
    if (page.imagelength, page.imagewidth) != size:
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete (it has two sizes)")
    page_format = read_page_format(page, name)
    orientation = read_number(directory, TagCode.ORIENTATION)
    orientation = orientation if orientation in range(1, 9) else 1
    is_old = page.compression == COMPRESSION.OJPEG
    segments = OldJpegReader(page, file, header) if is_old else SegmentReader(page, file, name)
    picture = _TiffPicture(name, segments, page_format, orientation)
    picture.metadata = _read_metadata(directory, orientation)
    picture.nodata = _read_nodata(directory, page_format, page)
    xmp, lost = drop_references(picture.metadata.xmp or b"")
    picture.metadata = replace(picture.metadata, xmp=xmp or None)
    picture.notes = [*notes, *page_format.notes, *([lost] if lost else [])]
    if orientation != 1 and any(code in directory for code in GEO_TAGS):
        picture.notes.append("its place on the map is left out, as the picture does not lie upright in the file")
    return picture


def _read_page(file: BinaryIO, name: str, offset: int) -> TiffPage:
    """Return the page whose directory is at `offset`."""
    file.seek(0)  # tifffile's readers of special formats follow offsets that they do not check
    tiff = TiffFile(file, name=name, is_ndpi=False, is_lsm=False, is_scanimage=False, is_stk=False)
    if tiff.pages.first.offset == offset:
        return tiff.pages.first
    tiff.filehandle.seek(offset)
    return TiffPage(tiff, 1)


def _read_metadata(directory: Directory, orientation: int) -> Metadata:
    exif: Directory = {
        code: directory[code] for code in EXIF_TAGS if code in directory and directory[code].value is not None
    }
    generated = (b'{"shape"', b"ImageJ=", b"<?xml", b"<OME")  # descriptions of the array, which is another afterwards
    if (_read_bytes(directory, TagCode.DESCRIPTION) or b"").lstrip().startswith(generated):
        del exif[TagCode.DESCRIPTION]
    dpi = _read_dpi(directory)
    kept = {code: directory[code] for code in KEPT_TAGS if code in directory and directory[code].value is not None}
    return Metadata(
        icc=_read_bytes(directory, TagCode.ICC),
        exif=ifd.encode_block(exif) if exif else None,
        xmp=_read_bytes(directory, TagCode.XMP),
        dpi=dpi[::-1] if dpi and swaps_axes(orientation) else dpi,
        tags={code: tag for code, tag in kept.items() if orientation == 1 or code not in GEO_TAGS},
    )


def _read_nodata(directory: Directory, page_format: PageFormat, page: TiffPage) -> float | None:
    """Return the number that GDAL's tag says stands for no data, as pixels have it; None if there is none."""
    try:
        stored = float(
            (_read_bytes(directory, TagCode.GDAL_NODATA) or b"").rstrip(b"\0 ").decode("ascii").replace(",", ".")
        )
    except ValueError:
        return None
    if page_format.pixel_format.channels != page.samplesperpixel:
        return None  # a color of a palette, which others may have, too
    dtype = np.dtype(page.dtype)
    if dtype.kind == "f":
        return stored
    if not stored.is_integer() or not np.iinfo(dtype).min <= stored <= np.iinfo(dtype).max:
        return None  # no pixel has it
    return float(page_format.convert(np.full((1, 1, page.samplesperpixel), int(stored), dtype))[0, 0, 0])


def _read_bytes(directory: Directory, code: TagCode) -> bytes | None:
    value = directory[code].value if code in directory else None
    return value if isinstance(value, bytes) and value else None


def _read_dpi(directory: Directory) -> tuple[float, float] | None:
    """Return pixels per inch (horizontal, vertical); None if the unit is not said to be inches or centimeters."""
    unit = read_number(directory, TagCode.RESOLUTION_UNIT) if TagCode.RESOLUTION_UNIT in directory else 2
    x, y = (_read_ratio(directory, code) for code in (TagCode.X_RESOLUTION, TagCode.Y_RESOLUTION))
    per_inch = {2: 1.0, 3: 2.54}.get(unit)  # inches, and centimeters
    return (x * per_inch, y * per_inch) if per_inch and x and y else None


def _read_ratio(directory: Directory, code: TagCode) -> float:
    """Return a rational number, 0 if there is none."""
    tag = directory.get(code)
    if tag is None or tag.type != TagType.RATIONAL or not isinstance(tag.value, tuple) or 0 in tag.value[:2]:
        return 0.0
    return tag.value[0] / tag.value[1]
