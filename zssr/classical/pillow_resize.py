"""Interpolation by Pillow, as the interpolation methods use it."""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zssr.degradation import Degradation
from zssr.geometry import Factors
from zssr.method import Interpolator, Method


def make_interpolation(name: str, resample: Image.Resampling, support: int, summary: str, paper: str) -> Method:
    """Make the method that is one of Pillow's interpolations and nothing else."""
    return Method(
        name=name,
        summary=summary,
        paper=paper,
        interpolate=pillow_interpolator(resample),
        support=support,
        reconstruct=keep_interpolated,
    )


def pillow_interpolator(resample: Image.Resampling) -> Interpolator:
    """Return a function that resizes images (..., H, W) like `Image.resize`, in fp32."""

    def interpolate(image: Tensor, size: tuple[int, int], scale: Factors, *, top_left: bool, offset: Factors) -> Tensor:
        shift = [0.5 - 0.5 / factor if top_left else 0.0 for factor in scale]
        top, left = offset[0] + shift[0], offset[1] + shift[1]
        bottom, right = top + size[0] / scale[0], left + size[1] / scale[1]
        planes = image.detach().cpu().float().reshape(-1, *image.shape[-2:]).numpy()
        height, width = planes.shape[1:]
        ends = ((-top, bottom - height), (-left, right - width))  # where a side has a fraction of a pixel
        pads = [[max(0, math.ceil(end - 1e-6)) for end in pair] for pair in ends]
        planes = np.pad(planes, [(0, 0), *pads], "edge")
        box = (left + pads[1][0], top + pads[0][0], right + pads[1][0], bottom + pads[0][0])
        resized = [np.asarray(Image.fromarray(plane).resize(size[::-1], resample, box)) for plane in planes]
        return torch.from_numpy(np.stack(resized)).reshape(*image.shape[:-2], *size).to(image)

    return interpolate


def keep_interpolated(large: Tensor, _small: Tensor, _degradation: Degradation, _offset: Factors) -> Tensor:
    """Return the interpolated image as it is."""
    return large
