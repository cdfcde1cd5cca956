"""The formats that Pillow opens and that are decoded as a whole: PNG, JPEG, WebP, GIF, BMP, TGA and DDS."""

import io
import struct
from dataclasses import replace
from functools import partial

import imagecodecs
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.DdsImagePlugin import DdsImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TgaImagePlugin import TgaImageFile
from PIL.WebPImagePlugin import WebPImageFile

from zssr.degradation.jpeg import Jpeg
from zssr.errors import ImageError
from zssr.io import pillow
from zssr.io.deferred import DeferredPicture, check_decoded_size
from zssr.io.gain_map import GainMap, find_gain_map
from zssr.io.headers import (
    FILM_START,
    check_jpeg,
    first_frame,
    is_animated_webp,
    is_lossless_webp,
    jpeg_pictures,
    webp_size,
)
from zssr.io.limits import SAFETY, Limits
from zssr.io.picture import FILM, FIRST_FRAME, MAIN_PICTURE, Picture, Pixels
from zssr.io.png import read_png


def open_png(name: str, content: bytes, limits: Limits) -> Picture:
    """Open a PNG file, of 16 bits, too."""
    png = read_png(name, content, limits)
    return DeferredPicture(name, png.size, png.pixel_format, png.metadata, png.decode, png.notes)


class _Jpeg(JpegImageFile):
    """A JPEG file whose EXIF data Pillow does not look into, where it would warn of damage."""

    def _read_dpi_from_exif(self) -> None:
        """Leave it to `Metadata`."""


def open_jpeg(name: str, content: bytes, limits: Limits) -> Picture:
    """Open a JPEG file, with its quantization tables and its gain map."""
    check_jpeg(content)
    image = _Jpeg(io.BytesIO(content))
    check_decoded_size(name, (image.height, image.width), content, limits)
    film = FILM_START.search(content)
    pictures = content[: film.start()] if film else content
    gain_map, notes = _find_gain_map(pictures, image.width * image.height)
    if gain_map is None and "mp" in image.info:
        notes.append(MAIN_PICTURE)
    elif gain_map and len(list(jpeg_pictures(pictures))) > 2:
        notes.append("it holds more pictures, of which only the main one and its gain map are taken")
    if film:
        notes.append(FILM)
    return open_image(name, image, content, limits, notes, gain_map)


def _find_gain_map(content: bytes, most_pixels: int) -> tuple[GainMap | None, list[str]]:
    try:
        return find_gain_map(content, most_pixels), []
    except Exception:  # whatever decoders raise
        return None, ["its HDR gain map is damaged and left out"]


def open_webp(name: str, content: bytes, limits: Limits) -> Picture:
    """Open a WebP file; Pillow reads the metadata, and libwebp decodes in a quarter of the memory that Pillow takes."""
    size = webp_size(content)
    limits.check_size(name, size)
    try:
        image = WebPImageFile(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: has {size[1]}x{size[0]} pixels, more than Pillow reads of a WebP file") from error
    if is_animated_webp(content):  # frames may be small, but three canvases are allocated
        check_decoded_size(name, size, content, limits)
    pixel_format = pillow.find_pixel_format(image)

    def decode() -> Pixels:
        pixels = imagecodecs.webp_decode(content, hasalpha=pixel_format.alpha is not None)
        if pixels.shape != (*size, pixel_format.channels):
            raise ValueError("the pixels are not what the header says")
        return pixels

    notes = _note_animation(image.is_animated)
    picture = DeferredPicture(name, size, pixel_format, pillow.read_metadata(image), decode, notes)
    picture.is_lossless = is_lossless_webp(content)
    return picture


def open_gif(name: str, content: bytes, limits: Limits) -> Picture:
    """Open the first frame of a GIF file, which may be larger than the screen."""
    width, height = struct.unpack("<HH", content[6:10])
    check_decoded_size(name, (height, width), content, limits)
    still, more = first_frame(content)
    return open_image(name, GifImageFile(io.BytesIO(still)), still, limits, _note_animation(more))


def open_bmp(name: str, content: bytes, limits: Limits) -> Picture:
    """Open a BMP file."""
    image = BmpImageFile(io.BytesIO(content))
    picture = open_image(name, image, content, limits, [])
    if image.tile[0].codec_name == "bmp_rle" and len(content) > SAFETY.bmp_run_bytes:
        raise ImageError(f"{name}: has too many run-length encoded pixels; save it as PNG")
    return picture


def open_tga(name: str, content: bytes, limits: Limits) -> Picture:
    """Open a TGA file."""
    return open_image(name, TgaImageFile(io.BytesIO(content)), content, limits, [])


def open_dds(name: str, content: bytes, limits: Limits) -> Picture:
    """Open the largest picture of a DDS file."""
    image = DdsImageFile(io.BytesIO(content))
    if image.tile[0].codec_name == "dds_rgb" and image.width * image.height > SAFETY.dds_mask_pixels:
        raise ImageError(f"{name}: has too many uncompressed pixels for DDS; save it as PNG")
    return open_image(name, image, content, limits, [])


def open_image(
    name: str,
    image: ImageFile,
    content: bytes,
    limits: Limits,
    notes: list[str],
    gain_map: GainMap | None = None,
) -> Picture:
    """Return what Pillow has opened as a picture."""
    size = (image.height, image.width)
    check_decoded_size(name, size, content, limits)
    pixel_format = pillow.find_pixel_format(image)
    decode, metadata = partial(pillow.read_pixels, image, pixel_format), pillow.read_metadata(image)
    metadata = replace(metadata, gain_map=gain_map)
    return DeferredPicture(name, size, pixel_format, metadata, decode, notes, Jpeg.from_pillow(image))


def _note_animation(is_animated: bool) -> list[str]:
    return [FIRST_FRAME] if is_animated else []
