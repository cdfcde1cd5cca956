"""TIFF files, from bilevel scans to many-band BigTIFF: read by rows and written tile by tile."""

from zssr.files.tiff_reading import open_tiff
from zssr.files.tiff_writing import write_tiff

__all__ = ["open_tiff", "write_tiff"]
