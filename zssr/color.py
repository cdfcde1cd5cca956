"""Luma of color images (ITU-R BT.601)."""

import numpy as np
from torch import Tensor

from zssr.degradation.resize import Floats

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma."""


def luma(pixels: Tensor) -> Floats:
    """Return the luma (H, W) of an image (C, H, W): that of ITU-R BT.601 for RGB, otherwise the channels' mean."""
    planes = pixels.detach().cpu().double().numpy()
    return np.asarray(np.tensordot(LUMA, planes, 1) if len(planes) == len(LUMA) else planes.mean(0))
