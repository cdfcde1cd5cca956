"""Blur an image and sample it anywhere: what a frame sees of a scene that has moved."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zssr.degradation.blur import Separable, decompose_blur
from zssr.degradation.resize import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_POLES = {2: 8**0.5 - 3, 3: 3**0.5 - 2}
"""Poles of the filters that make the coefficients of splines, by their degree (Unser 1999)."""

_TAPS = 8  # on each side, beyond which it is below a level of 16 bits


class LinearMap(Protocol):
    """A linear map on images, with its adjoint."""

    def __call__(self, image: Tensor) -> Tensor:
        """Take an image (N, C, H, W) to samples."""
        ...

    def adjoint(self, samples: Tensor) -> Tensor:
        """Take samples to an image (N, C, H, W) by the transposed map."""
        ...


@dataclass(frozen=True)
class ScatteredSampling:
    """Blurs images of `size` (H, W), and samples the spline through them at n positions.

    Attributes
    ----------
    blur
        The blur, and the filter that makes the spline's coefficients.
    weights
        Of the coefficients at each position: (n, H * W).
    """

    size: tuple[int, int]
    blur: Separable
    weights: "csr_array"

    @classmethod
    def make(cls, kernel: Floats, size: tuple[int, int], positions: Floats, degree: int = 3) -> "ScatteredSampling":
        """Make the map of a blur kernel and positions, rows and columns (2, n), in pixels.

        Images go on mirrored beyond their borders. Splines of degree 2 take 9 pixels for a position, and cubic ones 16.
        """
        from scipy.signal import convolve2d  # other commands do not wait for them
        from scipy.sparse import csr_array

        taps = _POLES[degree] ** np.abs(np.arange(-_TAPS, _TAPS + 1))
        prepared = convolve2d(kernel, np.outer(taps, taps))
        blur = decompose_blur(prepared / prepared.sum(), size, size, (1.0, 1.0), top_left=False)
        (rows, down), (columns, right) = (_find_taps(at, n, degree) for at, n in zip(positions, size, strict=True))
        indices = (rows[:, :, None] * np.int32(size[1]) + columns[:, None]).reshape(-1)
        values = (down[:, :, None] * right[:, None]).reshape(-1)
        count = positions.shape[1]
        each = (degree + 1) ** 2
        starts = np.arange(0, each * count + 1, each, dtype=np.int32)
        return cls(size, blur, csr_array((values, indices, starts), shape=(count, size[0] * size[1])))

    def __call__(self, image: Tensor) -> Tensor:
        """Take an image (N, C, H, W) to samples (N, C, n)."""
        coefficients = self.blur(image).flatten(0, 1).flatten(1)
        sampled = self.weights @ np.ascontiguousarray(coefficients.T.numpy())
        return torch.from_numpy(np.ascontiguousarray(sampled.T)).view(*image.shape[:2], -1)

    def adjoint(self, samples: Tensor) -> Tensor:
        """Take samples (N, C, n) to an image (N, C, H, W)."""
        spread = self.weights.T @ np.ascontiguousarray(samples.flatten(0, 1).T.numpy())
        return self.blur.adjoint(torch.from_numpy(np.ascontiguousarray(spread.T)).view(*samples.shape[:2], *self.size))

    def measure_density(self, samples: Tensor, sigma: float) -> Floats:
        """Return how many of the weighted samples (n,) there are per pixel (H, W), averaged over `sigma` pixels."""
        from scipy.ndimage import gaussian_filter

        return np.asarray(gaussian_filter((self.weights.T @ samples.numpy()).reshape(self.size), sigma))


@dataclass(frozen=True)
class Identity:
    """Takes images of `size` (H, W) to their pixels (N, C, H * W)."""

    size: tuple[int, int]

    def __call__(self, image: Tensor) -> Tensor:
        """Return the pixels."""
        return image.flatten(2)

    def adjoint(self, samples: Tensor) -> Tensor:
        """Return the image."""
        return samples.view(*samples.shape[:2], *self.size)


@dataclass(frozen=True)
class Stacked:
    """Several maps to samples, one after the other; they have `counts` of them."""

    maps: Sequence[LinearMap]
    counts: Sequence[int]

    def __call__(self, image: Tensor) -> Tensor:
        """Take an image (N, C, H, W) to the samples (N, C, n) of all maps."""
        return torch.cat([one(image) for one in self.maps], 2)

    def adjoint(self, samples: Tensor) -> Tensor:
        """Take the samples of all maps to an image (N, C, H, W)."""
        parts = torch.split(samples, list(self.counts), 2)
        return torch.stack([one.adjoint(part) for one, part in zip(self.maps, parts, strict=True)]).sum(0)


def _find_taps(at: Floats, n: int, degree: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the indices and weights (positions, degree + 1) of a B-spline on an axis of n pixels."""
    start = np.floor(at if degree == 3 else at + 0.5).astype(np.int32)
    t = (at - start).astype(np.float32)
    if degree == 2:
        weights = np.stack([(0.5 - t) ** 2 / 2, 0.75 - t**2, (0.5 + t) ** 2 / 2], 1)
    else:
        weights = np.stack([(1 - t) ** 3, (3 * t - 6) * t**2 + 4, ((-3 * t + 3) * t + 3) * t + 1, t**3], 1) / 6
    indices = np.mod(start[:, None] + np.arange(-1, degree, dtype=np.int32), np.int32(2 * n))
    return np.asarray(np.where(indices < n, indices, 2 * n - 1 - indices), np.int32), weights
