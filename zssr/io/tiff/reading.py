"""TIFF files are opened: the first page, upright, with what stands around its pixels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tifffile import TiffFile

from zssr.errors import ImageError
from zssr.io.decoding import silence
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.picture import Picture, Pixels
from zssr.io.tiff import ifd
from zssr.io.tiff.geotiff import GEO_TAGS
from zssr.io.tiff.layout import PageFormat, meaning_of
from zssr.io.tiff.segments import SegmentReader

SUBFILE, WIDTH, LENGTH, ORIENTATION, XRES, YRES, UNIT, XMP, ICC = 254, 256, 257, 274, 282, 283, 296, 700, 34675
KEPT_TAGS = (*GEO_TAGS, 33723, 34377, 42112, 42113)
"""GeoTIFF's, IPTC, Photoshop's, and GDAL's metadata and "no data"."""
EXIF_TAGS = (270, 271, 272, 305, 306, 315, 316, 33432, ifd.EXIF, ifd.GPS)
"""What of a page's directory belongs to an EXIF block: description, camera, software, date, artist, rights."""

_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda rows: rows[:, ::-1],
    3: lambda rows: rows[::-1, ::-1],
    4: lambda rows: rows[::-1],
    5: lambda rows: rows.swapaxes(0, 1),
    6: lambda rows: rows.swapaxes(0, 1)[:, ::-1],
    7: lambda rows: rows[::-1, ::-1].swapaxes(0, 1),
    8: lambda rows: rows.swapaxes(0, 1)[::-1],
}
_GENERATED = (b'{"shape"', b"ImageJ=", b"<?xml", b"<OME")  # descriptions of the array, which is another afterwards
_MOST_PAGES = 16  # looked at for further pictures; a hostile file may have any number, or a loop
_REDUCED, _MASK = 1, 4
_CENTIMETERS_PER_INCH = 2.54


def open_tiff(source: Path | bytes, name: str, limits: Limits) -> Picture:
    """Open a TIFF file: its first page, upright, read by rows from strips or tiles.

    Gray, RGB, CMYK and any number of bands, in 8 or 16 bits or 32-bit floats; bilevel becomes 0 and 255, palettes and
    YCbCr RGB, 2 and 4 bits 8, and floats of 16 and 64 bits those of 32. Only the header is read until `rows`. A picture
    that does not lie upright is held in memory whole.

    Raises `ImageError` for files that are damaged, larger than `limits`, or of another kind.
    """
    file = source.open("rb") if isinstance(source, Path) else BytesIO(source)
    try:
        with _errors_of(name):
            limits.check_bytes(name, file.seek(0, 2))
            return _open(file, name, limits)
    except BaseException:
        file.close()
        raise


def _open(file: BinaryIO, name: str, limits: Limits) -> Picture:
    form = ifd.form_of(file)
    first = ifd.read_offset(file, form)
    directory = ifd.read_directory(
        file, form, first, {WIDTH, LENGTH, SUBFILE, ORIENTATION, XRES, YRES, UNIT, XMP, ICC, *KEPT_TAGS, *EXIF_TAGS}
    )
    notes = _notes(file, form, directory)
    size = _number(directory, LENGTH), _number(directory, WIDTH)
    if min(size) < 1:
        raise ImageError(f"{name}: has no pixels, its size is {size[1]} x {size[0]}")
    limits.check(name, size)
    file.seek(0)  # tifffile's readers of special formats follow offsets that they do not check
    page = TiffFile(file, name=name, is_ndpi=False, is_lsm=False, is_scanimage=False, is_stk=False).pages.first
    if (page.imagelength, page.imagewidth) != size:
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete (it has two sizes)")
    meaning = meaning_of(page, name)
    orientation = _number(directory, ORIENTATION)
    picture = _Tiff(name, SegmentReader(page, file, name), meaning, orientation if orientation in _UPRIGHT else 1)
    picture.metadata = _metadata(directory, picture.orientation)
    picture.notes = [*notes, *meaning.notes]
    if picture.orientation != 1 and any(code in directory for code in GEO_TAGS):
        picture.notes.append("its place on the map is left out, as the picture does not lie upright in the file")
    return picture


class _Tiff(Picture):
    """A TIFF file's first page. Its rows are those of the upright picture."""

    def __init__(self, name: str, segments: SegmentReader, meaning: PageFormat, orientation: int) -> None:
        size = (segments.height, segments.width)
        super().__init__(name, size[::-1] if orientation >= 5 else size, meaning.layout)
        self.segments, self.meaning, self.orientation = segments, meaning, orientation

    def rows(self, start: int, stop: int) -> Pixels:
        """Return the rows from `start` to `stop`; see `Picture`."""
        with _errors_of(self.name):
            if self.orientation == 1:
                return self._stored(start, stop)
            return np.ascontiguousarray(self._upright[start:stop]).copy()

    def _stored(self, start: int, stop: int) -> Pixels:
        return self.meaning.convert(self.segments.rows(start, stop))

    @cached_property
    def _upright(self) -> Pixels:
        return _UPRIGHT[self.orientation](self._stored(0, self.segments.height))

    def close(self) -> None:
        """Close the file."""
        self.segments.file.close()


def _number(directory: ifd.Directory, code: int) -> int:
    entry = directory.get(code)
    value = entry.value if entry is not None and entry.type in (3, 4, 16) else None
    return value[0] if value else 0


def _notes(file: BinaryIO, form: ifd.TiffHeader, directory: ifd.Directory) -> list[str]:
    notes = ["its first picture is a preview, and only that is taken"] if _number(directory, SUBFILE) & _REDUCED else []
    for _ in range(_MOST_PAGES):
        try:
            offset = ifd.read_offset(file, form)
            if offset == 0:
                break
            further = ifd.read_directory(file, form, offset, {SUBFILE})
        except ValueError:  # what comes after the first picture does not matter
            break
        if not _number(further, SUBFILE) & (_REDUCED | _MASK):
            return [*notes, "only the first of its pictures is taken"]
    return notes


def _metadata(directory: ifd.Directory, orientation: int) -> Metadata:
    exif = {code: directory[code] for code in EXIF_TAGS if code in directory and directory[code].value is not None}
    if 270 in exif and bytes(exif[270].value).lstrip().startswith(_GENERATED):
        del exif[270]
    dpi = _dpi(directory)
    kept = [(code, directory[code]) for code in KEPT_TAGS if code in directory]
    return Metadata(
        icc=_bytes(directory, ICC),
        exif=ifd.to_block(exif) if exif else None,
        xmp=_bytes(directory, XMP),
        dpi=dpi[::-1] if dpi and orientation >= 5 else dpi,
        tags=tuple(
            (code, entry.type, entry.count, entry.value)
            for code, entry in kept
            if entry.value is not None and (orientation == 1 or code not in GEO_TAGS)
        ),
    )


def _bytes(directory: ifd.Directory, code: int) -> bytes | None:
    value = directory[code].value if code in directory else None
    return value if isinstance(value, bytes) and value else None


def _dpi(directory: ifd.Directory) -> tuple[float, float] | None:
    """Return pixels per inch (horizontal, vertical); None if the unit is not said to be inches or centimeters."""
    unit = _number(directory, UNIT) if UNIT in directory else 2
    both = [directory[code].value for code in (XRES, YRES) if code in directory and directory[code].type == 5]
    if unit not in (2, 3) or len(both) < 2 or any(not value or 0 in value[:2] for value in both):
        return None
    factor = _CENTIMETERS_PER_INCH if unit == 3 else 1.0
    (across, of_across, *_), (down, of_down, *_) = both
    return across / of_across * factor, down / of_down * factor


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Turn what a damaged file makes the decoders raise into one `ImageError`, and keep their log to ourselves."""
    try:
        with silence(name):
            yield
    except ImageError:
        raise
    except PermissionError as error:
        raise ImageError(f"{name}: cannot be read (no permission)") from error
    except MemoryError as error:
        raise ImageError(f"{name}: is too large for the memory there is") from error
    except Exception as error:  # tifffile and its codecs raise whatever a damaged file leads them to
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete ({why})") from error
