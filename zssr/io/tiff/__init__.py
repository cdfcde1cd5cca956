"""TIFF files, from bilevel scans to many-band BigTIFF: read by rows and written tile by tile."""
