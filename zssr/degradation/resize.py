"""Banded linear operators along one axis of an image, and MATLAB's anti-aliased bicubic `imresize` made of them.

Downsampling is a short sum of such operators, one for the rows times one for the columns. The matrix of an operator is
sparse and banded. It is stored as small dense blocks, so applying it takes a few matrix products.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zssr.geometry import Factors

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CUBIC_SUPPORT = 3
"""How far cubic interpolation reaches, in pixels."""

_BLOCK = 64  # output rows per dense block


class BandedResampler:
    """A linear map from `n_in` to `n_out` samples along one axis.

    Output i is the sum of the samples `indices[i]` times `weights[i]`, both (n_out, taps). Indices outside the image
    are mirrored at its border (symmetric, as in MATLAB), however far outside they lie.
    """

    def __init__(self, indices: Integers, weights: Floats, n_in: int) -> None:
        mirrored = np.mod(indices, 2 * n_in)
        mirrored = np.where(mirrored < n_in, mirrored, 2 * n_in - 1 - mirrored)
        self.n_in, self.n_out = n_in, len(indices)
        blocks = math.ceil(self.n_out / _BLOCK)
        first = np.array([mirrored[b * _BLOCK : (b + 1) * _BLOCK].min() for b in range(blocks)])
        last = np.array([mirrored[b * _BLOCK : (b + 1) * _BLOCK].max() for b in range(blocks)])
        window = int((last - first).max()) + 1
        first = np.minimum(first, n_in - window)
        row = np.arange(self.n_out)[:, None]
        dense = np.zeros((blocks, _BLOCK, window))
        np.add.at(dense, (row // _BLOCK, row % _BLOCK, mirrored - first[row // _BLOCK]), weights)
        self._first: list[int] = first.tolist()
        self._dense = torch.from_numpy(dense)  # (blocks, _BLOCK, window)
        self._converted: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def resample_rows(self, image: Tensor) -> Tensor:
        """Apply to the rows of `image`: (..., n_in, W) to (..., n_out, W)."""
        out = image.new_empty(*image.shape[:-2], len(self._first) * _BLOCK, image.shape[-1])
        for to, dense, start, stop in self._blocks(image):
            torch.matmul(dense, image[..., start:stop, :], out=out[..., to : to + _BLOCK, :])
        return out[..., : self.n_out, :]

    def resample_columns(self, image: Tensor) -> Tensor:
        """Apply to the columns of `image`: (..., H, n_in) to (..., H, n_out)."""
        out = image.new_empty(*image.shape[:-1], len(self._first) * _BLOCK)
        for to, dense, start, stop in self._blocks(image):
            out[..., to : to + _BLOCK] = image[..., start:stop] @ dense.mT
        return out[..., : self.n_out]

    def adjoint_rows(self, image: Tensor) -> Tensor:
        """Apply the transposed map to the rows of `image`: (..., n_out, W) to (..., n_in, W)."""
        out = image.new_zeros(*image.shape[:-2], self.n_in, image.shape[-1])
        for to, dense, start, stop in self._blocks(image):
            part = image[..., to : to + _BLOCK, :]
            out[..., start:stop, :] += dense[: part.shape[-2]].mT @ part
        return out

    def adjoint_columns(self, image: Tensor) -> Tensor:
        """Apply the transposed map to the columns of `image`: (..., H, n_out) to (..., H, n_in)."""
        out = image.new_zeros(*image.shape[:-1], self.n_in)
        for to, dense, start, stop in self._blocks(image):
            part = image[..., to : to + _BLOCK]
            out[..., start:stop] += part @ dense[: part.shape[-1]]
        return out

    def _blocks(self, image: Tensor) -> Iterator[tuple[int, Tensor, int, int]]:
        """Yield for each block its first output row, its dense matrix, and the range of input rows that it reads."""
        key = (image.dtype, image.device)
        if key not in self._converted:
            self._converted[key] = self._dense.to(image.dtype).to(image.device)
        window = self._dense.shape[-1]
        for block, start in enumerate(self._first):
            to = block * _BLOCK
            yield to, self._converted[key][block], start, start + window


def cubic(x: Floats, a: float = -0.5) -> Floats:
    """Evaluate Keys' cubic convolution kernel (Keys 1981, eq. 4); MATLAB's `imresize` has a = -0.5 (eq. 15)."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def sample_positions(n_out: int, scale: float, top_left: bool, offset: float) -> Floats:
    """Return where the samples of an axis lie in the large image, of which each has a block of `scale` pixels.

    They lie at the center of their blocks, or at the first pixel if `top_left`; `offset` is where the first block
    begins.
    """
    at = np.arange(n_out) * scale if top_left else (np.arange(n_out) + 0.5) * scale - 0.5
    return np.asarray(at + offset, np.float64)


@lru_cache(maxsize=64)
def cubic_operator(n_in: int, n_out: int, scale: float, top_left: bool = False, offset: float = 0.0) -> BandedResampler:
    """Make the cubic resampling of an axis by `scale`, anti-aliased where that is below 1.

    Output sample i lies at the input coordinate `(i + .5) / scale - .5 + offset` (pixels are cells whose outer borders
    coincide), or at `i / scale + offset` if `top_left` (the first samples coincide).
    """
    stretch = min(scale, 1.0)
    at = (np.arange(n_out) / scale if top_left else (np.arange(n_out) + 0.5) / scale - 0.5) + offset
    support = 2 / stretch
    taps = math.ceil(2 * support) + 1
    indices = np.floor(at - support).astype(np.int64)[:, None] + np.arange(1, taps + 1)
    weights = cubic(stretch * (at[:, None] - indices))
    return BandedResampler(indices, weights / weights.sum(1, keepdims=True), n_in)


def resize(
    image: Tensor,
    size: tuple[int, int],
    scale: Factors | None = None,
    *,
    top_left: bool = False,
    offset: Factors = (0.0, 0.0),
) -> Tensor:
    """Resize by cubic convolution, anti-aliased where it downsamples: MATLAB's `imresize(image, ..., "bicubic")`.

    Parameters
    ----------
    image
        Float tensor (..., H, W); any range.
    size
        Output size (H', W') in pixels.
    scale
        Factors (vertical, horizontal); by default `size` over the size of `image`. They are given beside the size
        because 9 pixels times 1/2 is neither 4 nor 5.
    top_left
        Let the first samples coincide, instead of the outer borders of the pixels.
    offset
        Where in `image` the output begins, in pixels (down, right); not 0 where both are regions of larger images.

    Returns
    -------
    Tensor
        (..., H', W') of the same dtype and device; values may leave the range of `image` by the overshoot of the cubic.
    """
    height, width = image.shape[-2:]
    vertical, horizontal = scale or (size[0] / height, size[1] / width)
    if (size[0], vertical, offset[0]) != (height, 1.0, 0.0):
        image = cubic_operator(height, size[0], vertical, top_left, offset[0]).resample_rows(image)
    if (size[1], horizontal, offset[1]) != (width, 1.0, 0.0):
        image = cubic_operator(width, size[1], horizontal, top_left, offset[1]).resample_columns(image)
    return image
