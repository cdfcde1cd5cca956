"""Estimate the whole degradation of a photo: noise, JPEG compression and blur."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from zssr.color import luma
from zssr.degradation import Degradation
from zssr.degradation.forward_model import Sampling
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import is_quantized
from zssr.degradation.resamplers import BICUBIC, Resampler
from zssr.degradation.resize import Floats
from zssr.estimation.blur_kernel import KernelEstimate, estimate_blur
from zssr.estimation.jpeg_quality import resolve_jpeg
from zssr.estimation.noise_level import resolve_noise
from zssr.estimation.parametric_kernels import Sharpening
from zssr.geometry import Factors


def estimate_degradation(
    image: Tensor,
    content: Tensor | None = None,
    *,
    scale: Factors,
    kernel: Floats | Resampler | Literal["auto"] | None = "auto",
    noise: float | Literal["auto"] = "auto",
    jpeg: int | Literal["auto", "off"] = "auto",
    file_jpeg: Jpeg | None = None,
    sampling: Sampling = "center",
    sharpening: Literal["auto", "keep"] = "auto",
) -> tuple[Degradation, KernelEstimate | None]:
    """Estimate from a photo what is not given of its degradation.

    Parameters
    ----------
    image
        The photo, or its center, (1, C, H, W) in [0, 1].
    content
        Where it is a photo, (H, W); None is everywhere. Nothing else is looked at.
    scale
        The factors (vertical, horizontal) that the kernel is for.
    kernel
        A known kernel (height, width) that sums to one, in pixels of the large image, or resampler; None is bicubic.
    noise, jpeg
        A known standard deviation, in 0 to 255; a known quality, or "off" to leave artifacts in.
    file_jpeg
        The compression that the photo's file states; it is used if `jpeg` is "auto", unless the pixels tell of a
        coarser one.
    sampling
        Where the photo's samples lie in the large image.
    sharpening
        "keep" takes a photo that was sharpened for one that bicubic made.

    Returns
    -------
    The degradation, and the estimate of its kernel if that was to be estimated.
    """
    estimate, everywhere = None, torch.ones(image.shape[-2:], dtype=torch.bool)
    compression = resolve_jpeg(jpeg, image, file_jpeg, content)
    if isinstance(kernel, str):
        estimate = estimate_photo_blur(image, scale, content, is_compressed=compression is not None)
        if sharpening == "keep" and isinstance(estimate.blur, Sharpening):
            reason = f"{estimate.reason}, which is kept"
            estimate = replace(estimate, kernel=BICUBIC.to_kernel(scale), blur=None, reason=reason)
        kernel = estimate.assumed
    whole = everywhere if content is None else content
    sigma, grain = resolve_noise(noise, image, whole, is_compressed=compression is not None)
    quantized = is_quantized(image, content)
    return Degradation(kernel, scale, sampling, sigma, quantized, compression, grain), estimate


def estimate_photo_blur(
    image: Tensor, scale: Factors, content: Tensor | None, *, is_compressed: bool
) -> KernelEstimate:
    """Estimate the kernel of a photo (1, C, H, W) in [0, 1] by its luma; see `estimate_blur`."""
    mask = None if content is None else content.numpy()
    return estimate_blur(luma(image[0]), scale, mask, is_compressed=is_compressed)
