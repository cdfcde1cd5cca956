"""Blur kernels: validate them, rescale them, and apply them by separable operators."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from zssr.degradation.kernel_shapes import stretch_of_scale
from zssr.degradation.resize import BandedResampler, Floats, cubic, resize, sample_positions
from zssr.errors import KernelError
from zssr.geometry import Factors


def validate_kernel(values: ArrayLike, name: str = "kernel") -> Floats:
    """Return `values` as a kernel (height, width) that sums to one.

    Raises `KernelError`, with `name` in its sentence, for anything that is no kernel.
    """
    try:
        kernel = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise KernelError(f"{name}: is not an array of numbers") from error
    if kernel.ndim != 2 or 0 in kernel.shape:
        raise KernelError(f"{name}: a kernel is a 2-D array, not one of shape {kernel.shape}")
    if not np.isfinite(kernel).all():
        raise KernelError(f"{name}: has values that are NaN or infinite")
    if not kernel.sum() > 1e-8 * np.abs(kernel).sum():
        raise KernelError(f"{name}: sums to {kernel.sum():.3g}, but a kernel sums to something positive")
    normalized: Floats = kernel / kernel.sum()
    if any(not -0.5 <= c <= n - 0.5 for c, n in zip(center_of_mass(normalized), kernel.shape, strict=True)):
        raise KernelError(f"{name}: its weights nearly cancel, so that its center of mass lies outside of it")
    return normalized


def center_of_mass(kernel: Floats) -> tuple[float, float]:
    """Return the kernel's centroid in array coordinates (row, column), to a thousandth of a pixel."""
    row = kernel.sum(1) @ np.arange(kernel.shape[0])
    column = kernel.sum(0) @ np.arange(kernel.shape[1])
    return round(float(row), 3), round(float(column), 3)


def max_sigma(kernel: Floats) -> float:
    """Return the standard deviation in pixels along the wider axis; 0 where negative weights outweigh the others."""
    y, x = (np.arange(length) - center for length, center in zip(kernel.shape, center_of_mass(kernel), strict=True))
    return math.sqrt(max(0.0, kernel.sum(1) @ y**2, kernel.sum(0) @ x**2))


def least_response(kernel: Floats, scale: Factors) -> float:
    """Return the least real part of a kernel's transfer function up to the small image's Nyquist frequency."""
    frequency = np.linspace(-1, 1, 41)
    waves = [
        np.exp(-1j * math.pi * frequency[:, None] / factor * (np.arange(length) - center))
        for factor, length, center in zip(scale, kernel.shape, center_of_mass(kernel), strict=True)
    ]
    responses = (waves[0] @ kernel @ waves[1].T).real
    return float(responses[np.hypot(frequency[:, None], frequency) <= 1].min())


def rescale_kernel(kernel: Floats, old_scale: Factors, scale: Factors) -> Floats:
    """Rescale a kernel of `old_scale` to `scale`, such that downsampling in steps equals downsampling at once.

    Downsampling by f with blur K, twice, is downsampling by f^2 with the blur K * (K dilated by f). So variances are
    proportional to s^2 - 1 for the scale s. For a smaller scale the kernel's coordinates are therefore stretched by
    sqrt((scale^2 - 1) / (old_scale^2 - 1)) on each axis; this is exact for Gaussians (cf. Bell-Kligler et al. 2019,
    sec. 3.3). For a larger one they are stretched by scale / old_scale: the photo's blur is the same, in finer pixels.
    """
    if scale == old_scale:
        return kernel
    return stretch_kernel(kernel, [stretch_of_scale(old, new) for old, new in zip(old_scale, scale, strict=True)])


def stretch_kernel(kernel: Floats, ratios: Sequence[float]) -> Floats:
    """Stretch a kernel by ratios (vertical, horizontal)."""
    margins = [math.ceil(2 / min(ratio, 1)) + 1 for ratio in ratios]
    padded = np.pad(kernel, [(margin, margin) for margin in margins])
    height, width = (math.ceil(n * ratio) for n, ratio in zip(padded.shape, ratios, strict=True))
    stretched = resize(torch.from_numpy(padded), (height, width), (ratios[0], ratios[1]))
    return validate_kernel(stretched.numpy())


@dataclass(frozen=True)
class Separable:
    """A linear map on images: the sum over r of `vertical[r]` on the rows times `horizontal[r]` on the columns."""

    vertical: tuple[BandedResampler, ...]
    horizontal: tuple[BandedResampler, ...]

    def __call__(self, image: Tensor) -> Tensor:
        """Take `image` (..., H, W) to (..., h, w)."""
        return _sum(
            v.resample_rows(h.resample_columns(image)) for v, h in zip(self.vertical, self.horizontal, strict=True)
        )

    def adjoint(self, image: Tensor) -> Tensor:
        """Take `image` (..., h, w) to (..., H, W) by the transposed map."""
        terms = zip(self.vertical, self.horizontal, strict=True)
        return _sum(v.adjoint_rows(h.adjoint_columns(image)) for v, h in terms)


def _sum(parts: Iterator[Tensor]) -> Tensor:
    total = next(parts)
    for part in parts:
        total += part
    return total


def decompose_blur(
    kernel: Floats,
    n_in: tuple[int, int],
    n_out: tuple[int, int],
    scale: Factors,
    *,
    top_left: bool,
    offset: Factors = (0.0, 0.0),
) -> Separable:
    """Decompose `kernel` by its singular values into operators that blur an image and sample it by 1 / `scale`.

    The kernel is correlated with the image, as by MATLAB's `imfilter`. Its center of mass lies on the sample: at the
    center of the `scale` x `scale` block of pixels, or at its first pixel if `top_left`. Where that is a fraction of a
    pixel away from the kernel's grid, the kernel is interpolated by cubics. `n_in` and `n_out` are sizes (H, W);
    `offset` is where in the input the output begins, in pixels (down, right).
    """
    left, strengths, right = np.linalg.svd(kernel)
    rank = int((strengths > 1e-5 * strengths[0]).sum())  # less is below a level of 16 bits
    row, column = center_of_mass(kernel)
    axes = zip(n_out, scale, offset, strict=True)
    rows, columns = (sample_positions(n, s, top_left, begin) for n, s, begin in axes)
    vertical = [_sample_profile(left[:, r] * strengths[r], row, n_in[0], rows) for r in range(rank)]
    horizontal = [_sample_profile(right[r], column, n_in[1], columns) for r in range(rank)]
    return Separable(tuple(vertical), tuple(horizontal))


def _sample_profile(profile: Floats, center: float, n_in: int, at: Floats) -> BandedResampler:
    """Sample `profile`, interpolated by cubics, around the position `at` of each output."""
    start = np.floor(np.round(at - center, 6)).astype(np.int64) - 1
    indices = start[:, None] + np.arange(len(profile) + 3)
    offset = np.round(indices - at[:, None] + center, 6)  # (n_out, taps), in the profile's coordinates
    return BandedResampler(indices, cubic(offset[:, :, None] - np.arange(len(profile))) @ profile, n_in)
