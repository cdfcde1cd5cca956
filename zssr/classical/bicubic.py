"""Bicubic interpolation."""

from PIL import Image

from zssr.classical.pillow_resize import make_interpolation

METHOD = make_interpolation(
    "bicubic",
    Image.Resampling.BICUBIC,
    2,
    "interpolation: cubic convolution of the nearest sixteen pixels",
    "Keys 1981",
)
