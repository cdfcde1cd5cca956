"""Half-quadratic splitting with a denoiser (Venkatakrishnan et al. 2013; Zhang et al. 2017, who learn the denoiser)."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from zssr.classical.data_term import REACH, DataTerm
from zssr.degradation import Degradation
from zssr.geometry import Factors
from zssr.method import Method


def denoise(image: Tensor, sigma: float, denoiser: str) -> Tensor:
    """Remove noise of standard deviation `sigma`, in [0, 1], from an image (N, C, H, W) by scikit-image."""
    from skimage.restoration import denoise_nl_means, denoise_tv_chambolle  # an extra

    planes = image.flatten(0, 1).numpy()
    if denoiser == "tv":
        clean = [denoise_tv_chambolle(plane, weight=sigma) for plane in planes]  # type: ignore[no-untyped-call]
    else:
        clean = [
            denoise_nl_means(plane, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True)
            for plane in planes
        ]
    return torch.from_numpy(np.stack(clean).astype(np.float32)).view(image.shape)


def split_half_quadratic(
    large: Tensor, small: Tensor, degradation: Degradation, offset: Factors, *, denoiser: str, iterations: int
) -> Tensor:
    """Minimize the squared data error plus a prior that is known by its denoiser alone.

    Each iteration denoises the image, and then solves for the image that is near the clean one and gives the photo. The
    noise that is taken away falls, on a logarithmic scale, from `_FIRST` to the photo's own.
    """
    term = DataTerm.of_photo(small, (large.shape[-2], large.shape[-1]), degradation, offset)
    for sigma in np.geomspace(_FIRST, max(_LAST, term.noise), iterations):
        clean = denoise(large, float(sigma), denoiser)
        weight = float(_STRENGTH * (term.noise / sigma) ** 2)
        large = term.solve(partial(torch.mul, torch.tensor(weight)), weight * clean, clean, 30)
    return large


_FIRST, _LAST, _STRENGTH = 12 / 255, 1.5 / 255, 1.0

METHOD = Method(
    name="plug-and-play",
    summary="reconstruction: a denoiser and the photo's degradation in turn",
    paper="Venkatakrishnan et al. 2013, Zhang et al. 2017",
    reconstruct=split_half_quadratic,
    reach=lambda _: REACH,
    options={"denoiser": ("tv", "nlm"), "iterations": 8},
    requires=("skimage",),
)
