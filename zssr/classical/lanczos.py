"""Lanczos interpolation."""

from PIL import Image

from zssr.classical.pillow_resize import make_interpolation

METHOD = make_interpolation(
    "lanczos",
    Image.Resampling.LANCZOS,
    3,
    "interpolation: windowed sinc of the nearest thirty-six pixels",
    "Duchon 1979",
)
