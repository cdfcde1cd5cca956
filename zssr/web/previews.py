"""Images to look at: the pixels of any picture as 8-bit RGB, as JPEG files, and the crop with the most contrast."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from zssr.io.formats import JPEG
from zssr.io.picture import Picture, PixelFormat, Pixels
from zssr.io.pixel_conversion import convert_pixels

CROP_SIZE = 96
"""Side of a crop in pixels."""

CROP_GRID = 16
"""Crops begin at multiples of this, as the blocks of JPEG files do, whose phase is estimated."""


def to_view(pixels: Pixels, layout: PixelFormat) -> Image.Image:
    """Convert pixels (H, W, C) of any file but TIFF to an 8-bit image: RGB, or RGBA if they have alpha."""
    if pixels.dtype == np.float32:
        pixels = convert_pixels(pixels, layout, replace(layout, dtype=np.dtype(np.uint8)))
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if layout.colors == "cmyk":
        return Image.fromarray(np.ascontiguousarray(pixels), "CMYK").convert("RGB")
    colors = pixels[..., :-1] if layout.alpha else pixels
    colors = np.repeat(colors, 3, axis=-1) if colors.shape[-1] == 1 else colors
    channels = np.concatenate([colors, pixels[..., -1:]], axis=-1) if layout.alpha else colors
    return Image.fromarray(np.ascontiguousarray(channels))


def view_picture(picture: Picture) -> Image.Image:
    """Convert all of a picture to an 8-bit image, as `to_view` does."""
    return to_view(picture.rows(0, picture.size[0]), picture.pixel_format)


def to_jpeg(view: Image.Image, profile: bytes | None = None) -> bytes:
    """Encode a view as a JPEG file with a color profile; a checkerboard shows through transparent pixels."""
    if view.mode == "RGBA":
        rows, columns = np.indices((view.height, view.width)) // 8
        board = Image.fromarray(np.where((rows + columns) % 2, 204, 255).astype(np.uint8)).convert("RGBA")
        view = Image.alpha_composite(board, view).convert("RGB")
    file = io.BytesIO()
    view.save(file, "JPEG", icc_profile=profile, **JPEG.encoder)
    return file.getvalue()


def crop_highest_contrast(view: Image.Image, candidates: int = 8) -> Image.Image:
    """Return the crop with the largest standard deviation of gray, of several at random places."""
    rng = np.random.default_rng()
    crops = []
    for _ in range(candidates):
        left, top = (
            int(rng.integers(0, max(0, side - CROP_SIZE) // CROP_GRID + 1)) * CROP_GRID
            for side in (view.width, view.height)
        )
        crops.append(view.crop((left, top, min(left + CROP_SIZE, view.width), min(top + CROP_SIZE, view.height))))
    return max(crops, key=lambda crop: float(np.asarray(crop.convert("L")).std()))
