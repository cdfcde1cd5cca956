"""Pixels converted from one format to another that holds less."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zssr.io.picture import PixelFormat, Pixels


def convert_pixels(pixels: Pixels, source: PixelFormat, target: PixelFormat) -> Pixels:
    """Return pixels (H, W, C) of the format `source` in the format `target`.

    Opacity goes onto white, premultiplied colors are divided by it, floats and integers of a range of their own become
    the integers of the target, CMYK becomes RGB, and bands the first three of them, or the first.
    """
    if source == target:
        return pixels
    if source.dtype not in (np.uint8, np.uint16) and target.dtype != source.dtype:
        pixels = _quantize(_stretch(pixels.astype(np.float32), source), target.dtype)
    elif source.dtype == np.uint16 and target.dtype == np.uint8:
        pixels = _quantize(pixels / np.float32(65535), target.dtype)
    colors, opacity = (pixels[..., :-1], pixels[..., -1:]) if source.alpha else (pixels, None)
    if source.colors == "bands" and target.colors != "bands":
        colors = colors[..., : target.color_channels]
    if opacity is not None and target.alpha is None:
        colors = _composite_on_white(colors, opacity, source)
    elif opacity is not None and target.alpha != source.alpha:
        colors = _unpremultiply(colors, opacity)
    if source.colors == "cmyk" and target.colors == "rgb":
        colors = _cmyk_to_rgb(colors)
    return colors if target.alpha is None or opacity is None else np.concatenate([colors, opacity], axis=-1)


def _stretch(pixels: Pixels, source: PixelFormat) -> Pixels:
    """Return floats in [0, 1]: as they are if they lie there, or else their range (but not the opacity's) made so."""
    colors, opacity = np.split(pixels, [source.color_channels], axis=-1)
    low, high = float(colors.min()), float(colors.max())
    is_within = low >= 0 and high <= 1
    return pixels if is_within else np.concatenate([(colors - low) / ((high - low) or 1.0), opacity], axis=-1)


def _quantize(pixels: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Return floats in [0, 1] as the whole numbers of `dtype`."""
    return (pixels.clip(0, 1) * np.iinfo(dtype).max + 0.5).astype(dtype)


def _composite_on_white(colors: Pixels, opacity: Pixels, source: PixelFormat) -> Pixels:
    top = np.iinfo(colors.dtype).max
    share = opacity.astype(np.float32) / top
    light: Pixels = colors * share if source.alpha == "straight" else colors.astype(np.float32)
    light += (0 if source.colors == "cmyk" else top) * (1 - share)
    return (light.clip(0, top) + 0.5).astype(colors.dtype)


def _unpremultiply(colors: Pixels, opacity: Pixels) -> Pixels:
    top = np.iinfo(colors.dtype).max
    light, share = colors.astype(np.float32), opacity.astype(np.float32) / top
    straight = np.divide(light, share, out=np.zeros_like(light), where=share > 0)
    return (straight.clip(0, top) + 0.5).astype(colors.dtype)


def _cmyk_to_rgb(colors: Pixels) -> Pixels:
    """Return RGB as a device without a profile would show it."""
    light: Pixels = 1 - colors.astype(np.float32) / np.iinfo(colors.dtype).max
    return _quantize(light[..., :3] * light[..., 3:], colors.dtype)


def rescale_levels(pixels: Pixels, bits: int, new_bits: int) -> Pixels:
    """Return unsigned integers of `bits` as the nearest ones of `new_bits`, in the same type."""
    return rescale_numbers(pixels, 2**bits - 1, 2**new_bits - 1).astype(pixels.dtype)


def rescale_numbers(pixels: Pixels, most: int, new_most: int) -> NDArray[np.uint32]:
    """Return whole numbers from 0 to `most` as the nearest ones from 0 to `new_most`, below 65536 both."""
    levels = np.minimum(pixels, most).astype(np.uint32)
    return (levels * np.uint32(new_most) + np.uint32(most // 2)) // np.uint32(most)


def hold_bits(uint8: PixelFormat, bits: int) -> PixelFormat:
    """Return the format that holds samples of `bits`: that of 8 bits, or of 16 for more."""
    return replace(uint8, dtype=np.dtype(np.uint16), bits=bits) if bits > 8 else uint8


def widen_bits(pixels: Pixels, size: tuple[int, int], pixel_format: PixelFormat) -> Pixels:
    """Return decoded pixels as (H, W, C) that fill the range of their type; raises `ValueError` for other ones."""
    shape = (*size, pixel_format.channels)
    if pixels.ndim == 2 and pixel_format.color_channels == 3:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    if pixels.size != np.prod(shape) or pixels.shape[:2] != size or pixels.dtype.kind != pixel_format.dtype.kind:
        raise ValueError("the pixels are not what the header says")
    pixels = pixels.reshape(shape).astype(pixel_format.dtype, copy=False)
    if pixel_format.bits is None:
        return pixels
    return rescale_levels(pixels, pixel_format.bits, 8 * pixel_format.dtype.itemsize)


def narrow_bits(pixels: Pixels, bits: int) -> Pixels:
    """Return pixels (H, W, C) as numbers of fewer bits, as encoders take them: (H, W) for one channel."""
    plane = np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    most = 8 * pixels.itemsize
    return plane if bits == most else rescale_levels(plane, most, bits)
