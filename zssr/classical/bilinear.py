"""Bilinear interpolation."""

from PIL import Image

from zssr.classical.pillow_resize import make_interpolation

METHOD = make_interpolation(
    "bilinear", Image.Resampling.BILINEAR, 1, "interpolation: linear between the nearest four pixels", "folklore"
)
