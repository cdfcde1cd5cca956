"""The power spectrum of a photo: averaged, windowed periodograms of its blocks (Welch 1967)."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from zssr.degradation.resize import Floats

BLOCK = 32
"""Side in pixels of the blocks."""

SMALLEST_SIDE = 48
"""Shortest side in pixels of a photo that can be judged."""

_LEAST_VARIANCE = 1e-5

Mask = NDArray[np.bool_]


class Spectrum(NamedTuple):
    """The mean power (frequencies,) of blocks, at the `frequencies`, and what white noise of variance 1 adds to it."""

    power: Floats
    white: float


def measure_spectrum(luma: Floats, content: Mask | None = None) -> Spectrum | None:
    """Measure the spectrum of the blocks of `luma` (H, W) in [0, 1] that have the most contrast.

    It is a trimmed mean of powers relative to the blocks' variances. Blocks that are not wholly in the `content`
    (H, W) are left out. None for an image without contrast or smaller than a block.
    """
    if min(luma.shape) < BLOCK:
        return None
    size = luma.size if content is None else np.count_nonzero(content)
    step = max(6, int((size / 2500) ** 0.5))  # some 2500 blocks of large photos
    windows = sliding_window_view(luma.astype(np.float32), (BLOCK, BLOCK))[::step, ::step]
    if content is not None:
        windows = windows[sliding_window_view(content, (BLOCK, BLOCK))[::step, ::step].all((2, 3))]
    blocks = _detrend(windows.reshape(-1, BLOCK, BLOCK))
    variances = blocks.var((1, 2))
    chosen = np.argsort(variances)[int((1 - 0.9) * len(blocks)) :]
    chosen = chosen[variances[chosen] > _LEAST_VARIANCE]
    if len(chosen) == 0:
        return None
    window = np.outer(*(np.hanning(BLOCK + 2)[1:-1],) * 2).astype(np.float32)
    blocks, variances = blocks[chosen], variances[chosen]
    blocks = (blocks - (blocks * window).sum((1, 2), keepdims=True) / window.sum()) * window
    power = np.abs(np.fft.rfft2(blocks))[:, is_used()] ** 2 / (variances[:, None] + _LEAST_VARIANCE)
    cut = int(0.2 * len(power))  # of outliers at each frequency, on each side
    inner = slice(cut, len(power) - cut)
    white = float((window**2).sum() * (1 / (np.sort(variances)[inner] + _LEAST_VARIANCE)).mean())
    return Spectrum(np.sort(power, axis=0)[inner].mean(0, dtype=np.float64) + 1e-12, white)


@cache
def frequencies() -> tuple[Floats, Floats]:
    """Return radius, in cycles per pixel, and angle of the frequencies of a spectrum: (frequencies,) each."""
    y, x = _grid()
    used = is_used()
    return np.hypot(y, x)[used], np.arctan2(y, x)[used]


@cache
def is_used() -> NDArray[np.bool_]:
    """Return which frequencies of a block's transform, (BLOCK, BLOCK / 2 + 1), are used: each once, not the lowest."""
    y, x = _grid()
    return np.asarray((np.hypot(y, x) > 1.5 / BLOCK) & ~((x == 0) & (y < 0)))


def _grid() -> tuple[Floats, Floats]:
    y, x = np.broadcast_arrays(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK))
    return y, x


def _detrend(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract a plane from each block (n, BLOCK, BLOCK): smooth slopes say nothing about sharpness."""
    at = np.arange(BLOCK, dtype=np.float32) - (BLOCK - 1) / 2
    slopes = [blocks.mean(axis) @ at / (at @ at) for axis in (2, 1)]
    planes = slopes[0][:, None, None] * at[:, None] + slopes[1][:, None, None] * at
    return np.asarray(blocks - blocks.mean((1, 2), keepdims=True) - planes)
