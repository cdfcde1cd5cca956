"""Pictures for the eye: whatever a file holds as 8-bit RGB, and as the JPEG files that a page shows."""

import io

import numpy as np
from PIL import Image

from zssr.io.picture import Picture, PixelFormat, Pixels

_CHECKER, _LIGHT, _DARK = 8, 255, 204  # pixels of a field, and the grays of those under transparent pixels
_QUALITY = {"quality": 95, "subsampling": 0}


def view_of(pixels: Pixels, layout: PixelFormat) -> Image.Image:
    """Return pixels (H, W, C) of a PNG, JPEG or WebP file as an image in 8 bits: RGB, or RGBA if they have opacity."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if layout.colors == "cmyk":
        return Image.fromarray(np.ascontiguousarray(pixels), "CMYK").convert("RGB")
    colors = pixels[..., :-1] if layout.alpha else pixels
    colors = np.repeat(colors, 3, axis=-1) if colors.shape[-1] == 1 else colors
    shown = np.concatenate([colors, pixels[..., -1:]], axis=-1) if layout.alpha else colors
    return Image.fromarray(np.ascontiguousarray(shown))


def whole_view(picture: Picture) -> Image.Image:
    """Return the view of all of a picture."""
    return view_of(picture.rows(0, picture.size[0]), picture.pixel_format)


def jpeg_of(view: Image.Image, profile: bytes | None = None) -> bytes:
    """Return a view as a JPEG file; what is transparent lies on a checkered ground."""
    if view.mode == "RGBA":
        rows, columns = np.indices((view.height, view.width)) // _CHECKER
        ground = Image.fromarray(np.where((rows + columns) % 2, _DARK, _LIGHT).astype(np.uint8)).convert("RGBA")
        view = Image.alpha_composite(ground, view).convert("RGB")
    file = io.BytesIO()
    view.save(file, "JPEG", icc_profile=profile, **_QUALITY)
    return file.getvalue()
