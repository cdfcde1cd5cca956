"""CIELAB as TIFF files store it, and sRGB (CIE 15; TIFF 6.0, section 23; IEC 61966-2-1)."""

import numpy as np
from numpy.typing import NDArray

from zssr.io.picture import Pixels

_WHITE = np.array([0.9642, 1.0, 0.8249])  # D50, as in color profiles
_XYZ_OF_RGB = np.array(  # of sRGB, adapted to D50 (Bradford)
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
_RGB_OF_XYZ = np.linalg.inv(_XYZ_OF_RGB)
_CUT = 6 / 29


def lab_to_rgb(samples: Pixels, photometric: str) -> Pixels:
    """Return stored CIELAB (H, W, 3 or 4), "cielab" or "icclab", of uint8 or uint16 as sRGB; a 4th channel stays."""
    lab = _decode(samples[..., :3], photometric)
    f = lab[..., :1] * [1, 1, 1] / 116 + 16 / 116 + lab[..., 1:2] * [1 / 500, 0, 0] - lab[..., 2:] * [0, 0, 1 / 200]
    xyz = np.where(f > _CUT, f**3, 3 * _CUT**2 * (f - 4 / 29)) * _WHITE
    light = (xyz @ _RGB_OF_XYZ.T).clip(0, 1)
    values = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return _join(values * np.iinfo(samples.dtype).max, samples)


def rgb_to_lab(pixels: Pixels, photometric: str) -> Pixels:
    """Return sRGB (H, W, 3 or 4) of uint8 or uint16 as CIELAB, as it is stored; the inverse of `lab_to_rgb`."""
    values = pixels[..., :3] / np.iinfo(pixels.dtype).max
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = light @ _XYZ_OF_RGB.T / _WHITE
    x, y, z = np.moveaxis(np.where(xyz > _CUT**3, np.cbrt(xyz), xyz / (3 * _CUT**2) + 4 / 29), -1, 0)
    return _join(_encode(np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1), pixels.dtype, photometric), pixels)


def _decode(samples: Pixels, photometric: str) -> NDArray[np.float64]:
    """Return L* in [0, 100], a* and b*."""
    unit, white = _units(samples.dtype, photometric)
    chroma = samples[..., 1:]
    chroma = chroma.view(f"i{samples.dtype.itemsize}") if photometric == "cielab" else chroma - 128.0 * unit
    return np.concatenate([samples[..., :1] * 100.0 / white, chroma / unit], -1)


def _encode(lab: NDArray[np.float64], dtype: "np.dtype[np.generic]", photometric: str) -> NDArray[np.float64]:
    unit, white = _units(dtype, photometric)
    lightness, chroma = lab[..., :1] * white / 100, (lab[..., 1:] * unit).round()
    chroma = chroma.clip(-128 * unit, 128 * unit - 1)
    chroma = chroma % (256 * unit) if photometric == "cielab" else chroma + 128 * unit  # two's complement, or not
    return np.concatenate([lightness, chroma], -1)


def _units(dtype: "np.dtype[np.generic]", photometric: str) -> tuple[int, int]:
    """Return what stands for 1 of a* and b*, and for white."""
    if dtype == np.uint8:
        return 1, 255
    return 256, 65280 if photometric == "icclab" else 65535


def _join(values: NDArray[np.float64], like: Pixels) -> Pixels:
    """Return three channels in the type of the pixels `like`, with their further ones."""
    levels = values.round().clip(0, np.iinfo(like.dtype).max).astype(like.dtype)
    return np.concatenate([levels, like[..., 3:]], -1)
