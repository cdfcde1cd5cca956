"""How large a picture file may be, checked from its header before anything is decoded."""

from dataclasses import dataclass

from zssr.errors import ImageError


@dataclass(frozen=True)
class Limits:
    """The largest pictures that are read and made.

    Attributes
    ----------
    max_MB
        Of a file, in millions of bytes.
    max_pixels
        Of a picture: its height times its width.
    """

    max_MB: float = 100.0  # noqa: N815
    max_pixels: float = 100e6

    def check_bytes(self, name: str, count: int) -> None:
        """Raise `ImageError` for a file of more than `max_MB`."""
        if count > self.max_MB * 1e6:
            raise ImageError(f"{name}: has {count / 1e6:.3g} MB, more than max_MB = {self.max_MB:g}")

    def check_size(self, name: str, size: tuple[int, int]) -> None:
        """Raise `ImageError` for a picture of `size` (H, W) that has more than `max_pixels`."""
        height, width = size
        if height * width > self.max_pixels:
            raise ImageError(f"{name}: has {width}x{height} pixels, more than max_pixels = {self.max_pixels:.0f}")


@dataclass(frozen=True)
class SafetyLimits:
    """The largest effort that a file may cause in decoders, whatever its size; sound files stay far below.

    Attributes
    ----------
    harmless_pixels
        Of a picture that may have any number of bytes.
    pixels_per_byte
        Of larger pictures: GIF and JPEG allow some less.
    deflate_ratio
        Bytes that one byte of a deflate stream can stand for.
    jpeg_markers
        Before the first scan (with the bytes that are skipped, as Pillow looks at each in Python), and after it.
    jpeg_pictures
        In a file, that are looked at.
    jpeg_scans
        10 are usual; each takes the decoder through all pixels, even if it is empty.
    jpegxl_frames
        Each is looked for by going through all before it.
    gif_blocks
        Pillow reads them in Python.
    bmp_run_bytes, dds_mask_pixels
        Of run-length encoding, and of uncompressed pixels, which Pillow decodes in Python.
    png_chunks, webp_chunks, png_text_bytes
        The latter of all texts and the profile, unpacked.
    tiff_tags, tiff_numbers, tiff_value_bytes
        Of a directory; in one value; in all values of a directory, which may overlap.
    tiff_page_tags
        Of all directories that are looked at for pictures: there may be any number.
    tiff_channels
        Of a page.
    tiff_segment_bytes, lzw_segment_bytes
        Of a decoded strip or tile; of one in LZW, which Pillow decodes and limits by its pixels.
    tiff_ratio
        Bytes that one byte of a strip or tile can stand for, in any compression but fax and Zstandard.
    """

    harmless_pixels: int = 16_000_000
    pixels_per_byte: int = 4096
    deflate_ratio: int = 1040
    jpeg_markers: int = 300_000
    jpeg_pictures: int = 8
    jpeg_scans: int = 64
    jpegxl_frames: int = 10_000
    gif_blocks: int = 1_000_000
    bmp_run_bytes: int = 20_000_000
    dds_mask_pixels: int = 1_000_000
    png_chunks: int = 200_000
    webp_chunks: int = 200_000
    png_text_bytes: int = 16_000_000
    tiff_tags: int = 4096
    tiff_numbers: int = 1 << 20
    tiff_value_bytes: int = 1 << 26
    tiff_page_tags: int = 1 << 18
    tiff_channels: int = 1024
    tiff_segment_bytes: int = 1 << 28
    lzw_segment_bytes: int = 1 << 26
    tiff_ratio: int = 4096


SAFETY = SafetyLimits()
