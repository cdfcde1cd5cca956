"""PIL images as pictures, and the way back."""

from dataclasses import replace

import numpy as np
from PIL import Image

from zssr.degradation.jpeg import Jpeg
from zssr.errors import ImageError
from zssr.io.decoding import translate_errors
from zssr.io.metadata import Metadata, sanitize
from zssr.io.orientation import apply_orientation
from zssr.io.palette import find_indices, make_indexed, read_palette
from zssr.io.picture import InMemoryPicture, Picture, PixelFormat, Pixels
from zssr.io.pixel_conversion import convert_pixels
from zssr.io.tiff.tags import TagCode

_MODES = {("gray", 1): "L", ("gray", 2): "LA", ("rgb", 3): "RGB", ("rgb", 4): "RGBA", ("cmyk", 4): "CMYK"}
_MODES_OF_16_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_CONVERTED_MODES = ("1", "P", "PA", "La", "RGBa", "RGBX", "YCbCr", "LAB", "HSV")
_RESTORED_MODES = {"RGBX": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB", "RGBa": "RGBA", "La": "LA"}
_EXIF_PREFIX = b"Exif\0\0"  # in JPEG files, and in Pillow's info


def from_pillow(image: Image.Image) -> Picture:
    """Return a PIL image as a picture, upright as its orientation says, like a file of it.

    Its palette is looked up, and a JPEG file's compression is known. Raises `ImageError` for modes of other numbers
    than 8 and 16 bits, and for an image that cannot be decoded.
    """
    with translate_errors("image"):
        if image.mode not in (*_MODES.values(), *_MODES_OF_16_BITS, *_CONVERTED_MODES) or 0 in image.size:
            has = "no pixels" if 0 in image.size else f'mode "{image.mode}", which is not supported'
            raise ImageError(f"image: has {has}; convert it to L, LA, RGB, RGBA, CMYK or I;16")
        if image.mode in _MODES_OF_16_BITS:
            pixels = np.asarray(image).astype(np.uint16)[..., None]
            pixel_format = PixelFormat("gray", 1, pixels.dtype)
        else:
            pixel_format = find_pixel_format(image)
            pixels = read_pixels(image, pixel_format)
            if image.mode == "P":
                pixel_format = replace(pixel_format, palette=read_palette(image))
        metadata, damage = sanitize(read_metadata(image))
        pixels = apply_orientation(pixels, _read_orientation(image))
        mode = "1" if pixel_format.bilevel else _MODES[pixel_format.colors, pixel_format.channels]
        is_changed = image.mode not in _MODES_OF_16_BITS and mode != _RESTORED_MODES.get(image.mode, image.mode)
        unless = ", unless it has no other colors" if image.mode == "P" else ""
        notes = (
            [*damage, f'the image of mode "{image.mode}" comes back in mode "{mode}"{unless}'] if is_changed else damage
        )
        return InMemoryPicture("image", pixels, pixel_format, metadata, Jpeg.from_pillow(image), notes)


def _read_orientation(image: Image.Image) -> int:
    """Return how a loaded image is to be turned: Pillow says so of EXIF, of XMP, and of tags that were set by hand."""
    try:
        orientation = image.getexif().get(TagCode.ORIENTATION, 1)
    except Exception:  # whatever Pillow raises for a damaged block, which `sanitize` leaves out
        return 1
    return int(orientation) if orientation in range(1, 9) else 1


def to_pillow(picture: Picture, pixels: Pixels) -> Image.Image | Pixels:
    """Return pixels (H, W, C) in the format of `picture` as a PIL image, or as they are if Pillow has no mode for them.

    Pillow has none for 16-bit colors, floats of several channels and other numbers of bands. The picture's metadata
    are in the image's `info`, adjusted to its new size.
    """
    pixel_format = picture.pixel_format
    if pixel_format.alpha == "premultiplied" and pixel_format.dtype == np.uint8:
        pixel_format = replace(pixel_format, alpha="straight")
        pixels = convert_pixels(pixels, picture.pixel_format, pixel_format)
    mode = _MODES.get((pixel_format.colors, pixel_format.channels))
    is_known = mode is not None if pixel_format.dtype == np.uint8 else mode == "L" and pixel_format.dtype == np.uint16
    if not is_known:
        return pixels
    palette = pixel_format.palette or b""
    indices = find_indices(pixels, palette)
    image = make_image(pixels, pixel_format) if indices is None else make_indexed(indices, palette)
    scale = (image.height / picture.size[0], image.width / picture.size[1])
    for key, value in make_info(
        picture.metadata.without_gain_map().rescale(scale, (image.height, image.width))
    ).items():
        image.info[key] = value
    return image


def restore_mode(image: Image.Image | Pixels, mode: str) -> Image.Image | Pixels:
    """Return an image that `to_pillow` made in the `mode` that it came in, if that is one which holds its pixels."""
    if not isinstance(image, Image.Image) or image.mode == mode:
        return image
    if mode in _MODES_OF_16_BITS:
        order = ">" if mode == "I;16B" else "=" if mode == "I;16N" else "<"
        restored = Image.frombytes(mode, image.size, np.asarray(image).astype(f"{order}u2").tobytes())
    elif image.mode == _RESTORED_MODES.get(mode):
        restored = image.convert(mode)
    else:
        return image
    restored.info = image.info
    return restored


def find_pixel_format(image: Image.Image) -> PixelFormat:
    """Return the format of the pixels that `read_pixels` returns for an image of 8 bits."""
    uint8 = np.dtype(np.uint8)
    gray = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        return PixelFormat("gray" if gray else "rgb", 2 if gray else 4, uint8, alpha="straight")
    if gray:
        return PixelFormat("gray", 1, uint8, bilevel=image.mode == "1")
    return PixelFormat("cmyk", 4, uint8) if image.mode == "CMYK" else PixelFormat("rgb", 3, uint8)


def read_pixels(image: Image.Image, pixel_format: PixelFormat) -> Pixels:
    """Return the pixels (H, W, C) of an image in the format that `find_pixel_format` gave."""
    image.load()
    mode = _MODES[pixel_format.colors, pixel_format.channels]
    return np.asarray(image if image.mode == mode else image.convert(mode)).reshape(image.height, image.width, -1)


def read_metadata(image: Image.Image) -> Metadata:
    """Return the metadata that Pillow found."""
    info = image.info
    exif = (info.get("exif") or b"").removeprefix(_EXIF_PREFIX)
    return Metadata(info.get("icc_profile") or None, exif or None, info.get("xmp") or None, info.get("dpi"))


def make_info(metadata: Metadata) -> dict[str, bytes | tuple[float, float]]:
    """Return metadata as Pillow has them in an image's `info`, and takes them as options of `save`."""
    exif = _EXIF_PREFIX + metadata.exif if metadata.exif else None
    info = {"icc_profile": metadata.icc, "exif": exif, "xmp": metadata.xmp, "dpi": metadata.dpi}
    return {key: value for key, value in info.items() if value}


def make_image(pixels: Pixels, pixel_format: PixelFormat) -> Image.Image:
    """Return a PIL image of pixels (H, W, C) in a format that Pillow has a mode for; bilevel ones are split at 128."""
    plane = np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if pixel_format.bilevel:
        return Image.fromarray(plane >= 128)
    return Image.fromarray(plane, "CMYK" if pixel_format.colors == "cmyk" else None)
