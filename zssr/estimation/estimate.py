"""Estimate the whole degradation of a photo: noise, JPEG compression and blur."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from zssr.color import luma
from zssr.degradation import Degradation
from zssr.degradation.forward_model import Sampling
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import Grain, is_quantized
from zssr.degradation.resamplers import BICUBIC, Resampler
from zssr.degradation.resize import Floats
from zssr.estimation.blur_kernel import KernelEstimate, estimate_blur
from zssr.estimation.jpeg_quality import resolve_jpeg
from zssr.estimation.noise_level import resolve_noise
from zssr.estimation.parametric_kernels import Sharpening
from zssr.geometry import Factors
from zssr.runtime import run_single_threaded


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
    compression = resolve_jpeg(jpeg, image, file_jpeg, content)
    is_compressed = compression is not None

    def estimate_noise() -> tuple[tuple[float, Grain], bool]:
        whole = torch.ones(image.shape[-2:], dtype=torch.bool) if content is None else content
        return resolve_noise(noise, image, whole, is_compressed=is_compressed), is_quantized(image, content)

    def estimate_kernel() -> KernelEstimate | None:
        if not isinstance(kernel, str):
            return None
        found = estimate_photo_blur(image, scale, content, is_compressed=is_compressed)
        if sharpening == "auto" or not isinstance(found.blur, Sharpening):
            return found
        reason = f"{found.reason}, which is kept"
        return replace(found, kernel=BICUBIC.to_kernel(scale), blur=None, reason=reason)

    calls: list[Callable[[], Any]] = [estimate_kernel, estimate_noise]
    estimate, ((sigma, grain), quantized) = run_single_threaded(calls, torch.device("cpu"))
    known = estimate.assumed if isinstance(kernel, str) else kernel
    return Degradation(known, scale, sampling, sigma, quantized, compression, grain), estimate


def estimate_photo_blur(
    image: Tensor, scale: Factors, content: Tensor | None, *, is_compressed: bool
) -> KernelEstimate:
    """Estimate the kernel of a photo (1, C, H, W) in [0, 1] by its luma; see `estimate_blur`."""
    mask = None if content is None else content.numpy()
    return estimate_blur(luma(image[0]), scale, mask, is_compressed=is_compressed)
