"""The degradation: how the photo was made small, and how to apply that at any scale."""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zssr.degradation.blur import Separable, center_of_mass, max_sigma, rescale_kernel, separable_blur
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.resize import Floats, cubic_operator, resize
from zssr.errors import KernelError
from zssr.geometry import SYMMETRIES, Symmetry

Sampling = Literal["center", "top_left"]
Factors = tuple[float, float]

_SAMPLE, _POWER_ITERATIONS = 32, 30  # to find the step of back-projection: side in pixels, and how often
_MOST_MAPS = 64  # that are kept ready
_MOVED = 0.02  # the share of a kernel's weight that may move under a symmetry that still counts as one


@dataclass(frozen=True, eq=False)
class Degradation:
    """Blur, sampling, noise, rounding and compression that made the photo out of a larger one.

    Attributes
    ----------
    kernel
        Blur kernel (height, width) that sums to one, in pixels of the large image; None is the anti-aliased bicubic of
        MATLAB's `imresize`.
    scale
        The factors (vertical, horizontal) that the kernel belongs to.
    origin
        Where the photo's samples lie in the large image, and with them the kernel's center of mass: at the center of
        each block of `scale` x `scale` pixels ("center") or at the block's first pixel ("corner").
    noise
        Standard deviation of the noise on the photo, in 0 to 255.
    quantized
        Whether the photo's values were rounded to 8 bits.
    jpeg
        How the photo was compressed; None if it was not.
    """

    kernel: Floats | None = None
    scale: Factors = (2.0, 2.0)
    sampling: Sampling = "center"
    noise: float = 0.0
    quantized: bool = False
    jpeg: Jpeg | None = None
    _maps: dict[tuple[Factors, ...], Separable] = field(default_factory=dict, init=False, repr=False)

    def at_scale(self, scale: Factors) -> "Degradation":
        """Return the same degradation for another scale (`rescale_kernel` tells how the kernel changes)."""
        if self.kernel is None or scale == self.scale:
            return replace(self, scale=scale)
        return replace(self, kernel=rescale_kernel(self.kernel, self.scale, scale), scale=scale)

    def downsample(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Blur `image` (N, C, H, W) and sample it by 1 / `scale` to (N, C, *size), without noise, rounding and JPEG.

        Raises `KernelError` if the kernel is larger than the image.
        """
        return self._map((image.shape[-2], image.shape[-1]), size)(image)

    def upsample(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Interpolate `image` (N, C, h, w) by `scale` to (N, C, *size), each sample where `shrink` took it from."""
        return resize(image, size, self.scale, top_left=self.sampling == "top_left")

    def back_project(self, large: Tensor, small: Tensor, iterations: int, offset: Factors = (0.0, 0.0)) -> Tensor:
        """Correct `large` (N, C, H, W) until it shrinks to `small` (N, C, h, w); linear, so values are not clipped.

        In each iteration the difference is put back by the transposed shrinking (Irani and Peleg 1991, with the
        back-projection kernel of Landweber 1951), which converges for any kernel, while putting it back by
        interpolation diverges where a kernel's spectrum is negative, as that of a motion blur is. Where `small` is not
        clean nothing is put back, as that would be noise and artifacts. `offset` is where in `large` the shrunk image
        begins, in pixels (down, right): not 0 where both are regions of larger images.
        """
        if not self.is_clean:
            return large
        shrink = self._map((large.shape[-2], large.shape[-1]), (small.shape[-2], small.shape[-1]), offset)
        for _ in range(iterations):
            large = shrink.adjoint(small - shrink(large)).mul_(self._step).add_(large)
        return large

    @property
    def is_clean(self) -> bool:
        """Tell whether the photo has neither noise nor JPEG artifacts."""
        return self.noise == 0 and self.jpeg is None

    def without_noise(self) -> "Degradation":
        """Return the same degradation without noise and JPEG."""
        return replace(self, noise=0.0, jpeg=None)

    @property
    def blur_sigma(self) -> float:
        """Return the kernel's standard deviation along the axis where it is widest; 0 for bicubic."""
        return 0.0 if self.kernel is None else max_sigma(self.kernel)

    @cached_property
    def _step(self) -> float:
        """One over the largest eigenvalue of shrinking after its transpose, found by power iteration."""
        side = _SAMPLE if self.kernel is None else max(_SAMPLE, *self.kernel.shape)
        shrink = self._map((math.ceil(side * self.scale[0]), math.ceil(side * self.scale[1])), (side, side))
        image = torch.rand(1, 1, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        for _ in range(_POWER_ITERATIONS):
            image = shrink(shrink.adjoint(image / image.norm()))
        return 1 / float(image.norm())

    def symmetries(self) -> tuple[Symmetry, ...]:
        """Return the rotations and flips that keep the kernel; the identity is always the first.

        With the origin "center" they commute with this degradation. With "corner" they do so up to a shift, because a
        flip puts the samples on another pixel of their blocks.
        """
        kernel = None if self.kernel is None else _centered(self.kernel)
        same = [s for s in SYMMETRIES if s.turns % 2 == 0 or self.scale[0] == self.scale[1]]
        return tuple(s for s in same if kernel is None or _is_invariant(kernel, s))

    @property
    def back_projection_radius(self) -> int:
        """How far one iteration of `back_project` carries a change, in pixels of the small image."""
        if self.kernel is None:
            return 5
        height, width = self.kernel.shape
        furthest: float = max((height + 4) / self.scale[0], (width + 4) / self.scale[1])
        return math.ceil(furthest) + 1

    def _map(self, n_in: tuple[int, int], n_out: tuple[int, int], offset: Factors = (0.0, 0.0)) -> Separable:
        key = (n_in, n_out, offset)
        if key not in self._maps:
            if len(self._maps) >= _MOST_MAPS:
                self._maps.pop(next(iter(self._maps)))
            self._maps[key] = self._new_map(n_in, n_out, offset)
        return self._maps[key]

    def _new_map(self, n_in: tuple[int, int], n_out: tuple[int, int], offset: Factors) -> Separable:
        top_left = self.sampling == "top_left"
        if self.kernel is None:
            axes = zip(n_in, n_out, self.scale, offset, strict=True)
            vertical, horizontal = (cubic_operator(a, b, 1 / s, top_left, o) for a, b, s, o in axes)
            return Separable((vertical,), (horizontal,))
        if self.kernel.shape[0] > n_in[0] or self.kernel.shape[1] > n_in[1]:
            shape = " x ".join(map(str, self.kernel.shape))
            raise KernelError(f"kernel: its {shape} pixels are more than the image's {n_in[0]} x {n_in[1]}")
        return separable_blur(self.kernel, n_in, n_out, self.scale, top_left=top_left, offset=offset)


def _centered(kernel: Floats) -> Floats:
    """Pad with zeros to a square whose middle is the center of mass, to half a pixel."""
    ends = [(round(2 * c), round(2 * (n - 1 - c))) for c, n in zip(center_of_mass(kernel), kernel.shape, strict=True)]
    widest = max(max(end) for end in ends)
    pads = [((widest - low) // 2, (widest - high) // 2) for low, high in ends]
    return np.pad(kernel, pads)


def _is_invariant(kernel: Floats, symmetry: Symmetry) -> bool:
    """Tell whether less than 2 % of the kernel's weight moves; the image's axes are the kernel's."""
    moved = symmetry(torch.from_numpy(kernel)).numpy()
    return moved.shape == kernel.shape and bool(np.abs(moved - kernel).sum() < _MOVED * np.abs(kernel).sum())
