"""The format of an output file: what it cannot hold is found before any work."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from zssr.errors import ConfigError, ImageError
from zssr.io.formats import BMP, FORMATS, JPEG, JPEGXL, TIFF, WRITABLE_SUFFIXES, Feature, FileFormat, find_format
from zssr.io.jpegxl_files import takes_colors
from zssr.io.metadata import Metadata
from zssr.io.picture import PixelFormat


@dataclass(frozen=True)
class OutputFormat:
    """How pixels are written.

    Attributes
    ----------
    file_format
        The format of the file.
    source
        The format of the pixels that come.
    stored
        The format of the pixels in the file.
    quality
        From 1 to 100, for lossy formats; 100 is lossless where the format can be.
    """

    file_format: FileFormat
    source: PixelFormat
    stored: PixelFormat
    quality: int | None = None

    @property
    def is_lossless(self) -> bool:
        """Whether the file has the pixels that come to it."""
        return self.quality is None or (self.quality == 100 and self.file_format.becomes_lossless)

    def note_losses(self, metadata: Metadata) -> list[str]:
        """Return a sentence for each thing that is left out and without which the picture may look otherwise."""
        may = self.file_format is not JPEGXL or takes_colors(metadata, self.stored.channels, self.quality or 100)
        has_icc = may and self.file_format.has_profile
        has_cicp = (may and self.file_format.has_cicp) or (metadata.icc and has_icc)
        is_lost = {
            "color profile": metadata.icc and not has_icc,
            f"color space (CICP {metadata.cicp})": metadata.cicp and not has_cicp,
            "HDR gain map": metadata.gain_map and self.file_format is not JPEG,
        }
        ending = f"is left out, as {self.file_format.name} files are written without one{self.file_format.hint}"
        return [f"its {what} {ending}" for what, lost in is_lost.items() if lost]

    @classmethod
    def choose(
        cls,
        output: Path | str,
        pixel_format: PixelFormat,
        size: tuple[int, int],
        allow_loss: bool = False,
        quality: int | None = None,
        stays_lossless: bool = False,
    ) -> Self:
        """Choose how pixels of `size` (H, W) go to a path, or to a stream by a suffix such as ".png".

        Raises `ImageError` if the format cannot hold them; with `allow_loss` only if they are too many. What does not
        fit is then reduced: opacity onto white, floats and 16 bits to what the format has, CMYK to RGB, bands to the
        first three. `quality` is that of lossy formats (None for the usual one), and `stays_lossless` that of a
        picture from a lossless file of such a format. Raises `ConfigError` for a quality that is none.
        """
        if quality is not None and (isinstance(quality, bool) or quality not in range(1, 101)):
            raise ConfigError(f"quality: {quality!r} is not a whole number from 1 to 100")
        name, suffix = (str(output), output.suffix) if isinstance(output, Path) else ("output", output)
        file_format = find_format(suffix)
        if file_format is None or not file_format.is_written:
            raise ImageError(f"{name}: {_explain_unwritable(suffix)}; known are {', '.join(WRITABLE_SUFFIXES)}")
        needed = _find_needed(pixel_format)
        lost = [feature for feature in needed if feature not in file_format.features]
        if lost and not allow_loss:
            able = [one for one in FORMATS if one.is_written and one.features.issuperset(needed)]
            suffixes = ", ".join(suffix for one in able for suffix in one.suffixes)
            what = f"{file_format.name} cannot hold the photo's {' and '.join(lost)}{file_format.hint}"
            raise ImageError(f"{name}: {what}; {suffixes} can, or --allow-loss goes on without")
        _check_size(name, file_format, size)
        if file_format.quality is None:
            quality = None
        elif quality is None:
            quality = 100 if stays_lossless and file_format.becomes_lossless else file_format.quality
        return cls(file_format, pixel_format, _reduce(pixel_format, set(lost), file_format), quality)


def _explain_unwritable(suffix: str) -> str:
    known = find_format(suffix)
    if known:
        return f"{known.name} is read, but not written"
    return f'the output format "{suffix}" is unknown' if suffix else "has no suffix that tells the format"


def _find_needed(pixel_format: PixelFormat) -> list[Feature]:
    """Return what a format must be able to hold."""
    needed = {
        Feature.ALPHA: pixel_format.alpha is not None,
        Feature.UINT12: pixel_format.dtype == np.uint16 and _has_few_bits(pixel_format),
        Feature.UINT16: pixel_format.dtype == np.uint16 and not _has_few_bits(pixel_format),
        Feature.FLOAT32: pixel_format.dtype == np.float32,
        Feature.INTEGERS: pixel_format.has_own_range,
        Feature.CMYK: pixel_format.colors == "cmyk",
        Feature.BANDS: pixel_format.colors == "bands",
    }
    return [feature for feature, is_needed in needed.items() if is_needed]


def _has_few_bits(pixel_format: PixelFormat) -> bool:
    return pixel_format.bits is not None and pixel_format.bits <= 12


def _check_size(name: str, file_format: FileFormat, size: tuple[int, int]) -> None:
    longest = file_format.longest_side
    if longest and max(size) > longest:
        raise ImageError(f"{name}: {file_format.name} ends at {longest} pixels a side, but {max(size)} are asked for")
    if file_format is BMP and 3 * size[0] * size[1] > 2**32 - 2**12:  # its sizes have 32 bits
        raise ImageError(f"{name}: BMP ends at 4 GB, but more are asked for; .png and .tif can hold them")


def _reduce(pixel_format: PixelFormat, lost: set[Feature], file_format: FileFormat) -> PixelFormat:
    """Return the format of the pixels once they do without what is lost."""
    colors, dtype, alpha = pixel_format.colors, pixel_format.dtype, pixel_format.alpha
    if Feature.ALPHA in lost:
        alpha = None
    elif alpha and file_format is not TIFF:
        alpha = "straight"
    if {Feature.CMYK, Feature.BANDS} & lost:
        colors = "rgb" if pixel_format.color_channels >= 3 else "gray"
    if {Feature.FLOAT32, Feature.UINT12, Feature.UINT16, Feature.INTEGERS} & lost:
        dtype = np.dtype(np.uint16 if Feature.UINT12 in file_format.features else np.uint8)
    count = {"gray": 1, "rgb": 3, "cmyk": 4}.get(colors, pixel_format.color_channels)
    reduced = replace(pixel_format, colors=colors, channels=count + (alpha is not None), dtype=dtype, alpha=alpha)
    bits = pixel_format.bits if file_format.has_bits and dtype == pixel_format.dtype else None
    if dtype == np.uint16 and Feature.UINT16 not in file_format.features:
        bits = 10 if bits and bits <= 10 else 12
    return reduced if file_format is TIFF else replace(reduced, bits=bits, photometric=None, extra_samples=())
