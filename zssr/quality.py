"""How close a picture file is to another, and the part of one where most is to be seen."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from zssr.color import LUMA
from zssr.degradation.resize import Floats
from zssr.io.limits import Limits
from zssr.io.reading import open_picture, to_source

View = NDArray[np.uint8]


class Quality(NamedTuple):
    """PSNR in dB and SSIM, on luma, without a border."""

    psnr: float
    ssim: float


def measure_quality(result: View, truth: View, border: int) -> Quality:
    """Compare pictures (H, W, 3) of one size on luma, without a border of so many pixels.

    SSIM is that of Wang et al. 2004: Gaussian windows with a standard deviation of 1.5 pixels.
    """
    inner = (slice(border, -border or None),) * 2
    ours, theirs = (np.asarray(picture[inner] @ np.array(LUMA), np.float64) for picture in (result, truth))
    error = float(np.square(ours - theirs).mean())
    psnr = 10 * np.log10(255**2 / max(error, 1e-2))  # equal pictures are not infinitely good
    return Quality(float(psnr), measure_ssim(ours, theirs))


def measure_ssim(one: Floats, other: Floats) -> float:
    """Return the mean structural similarity of planes (H, W) in 0 to 255, where windows lie in them."""
    from scipy.ndimage import gaussian_filter  # other commands do not wait for it

    def blur(plane: Floats) -> Floats:
        return np.asarray(gaussian_filter(plane, 1.5, truncate=3.5), np.float64)

    mean, other_mean = blur(one), blur(other)
    variance, other_variance = blur(one * one) - mean**2, blur(other * other) - other_mean**2
    covariance = blur(one * other) - mean * other_mean
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean * other_mean + c1) * (2 * covariance + c2)
    similarity = above / ((mean**2 + other_mean**2 + c1) * (variance + other_variance + c2))
    margin = 5
    return float(similarity[margin:-margin, margin:-margin].mean())


def find_detail(picture: View, side: int) -> tuple[int, int, int, int]:
    """Return the box (left, top, right, bottom), at most `side` pixels a side, in which luma varies most."""
    plane = torch.from_numpy(picture @ np.array(LUMA))[None, None]
    height, width = (min(side, length) for length in plane.shape[-2:])
    pool = torch.nn.functional.avg_pool2d
    mean = pool(plane, (height, width), 8)
    variance = pool(plane**2, (height, width), 8) - mean**2
    row, column = divmod(int(variance.flatten().argmax()), variance.shape[-1])
    return 8 * column, 8 * row, 8 * column + width, 8 * row + height


def read_view(path: Path, limits: Limits) -> View:
    """Read a picture file as RGB in 8 bits (H, W, 3): its first three bands, or its first. Raises `ImageError`."""
    with open_picture(to_source(path, str(path), limits), limits, str(path)) as picture:
        values, layout = picture.rows(0, picture.size[0]), picture.pixel_format
    colors = values[..., : min(layout.color_channels, 3)]
    colors = colors if colors.shape[-1] == 3 else colors[..., :1].repeat(3, -1)
    if colors.dtype != np.uint8:
        top = np.iinfo(colors.dtype).max if np.issubdtype(colors.dtype, np.integer) else max(1.0, float(colors.max()))
        colors = (colors / top * 255).round().clip(0, 255)
    return np.ascontiguousarray(colors, np.uint8)
