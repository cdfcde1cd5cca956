"""The forward model: how a photo was made from a larger image, at any scale."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zssr.degradation.blur import (
    Separable,
    center_of_mass,
    decompose_blur,
    least_response,
    max_sigma,
    rescale_kernel,
    stretch_kernel,
)
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import WHITE, Grain
from zssr.degradation.resamplers import BICUBIC, Resampler, make_resampling
from zssr.degradation.resize import Floats, resize
from zssr.degradation.scattered import ScatteredSampling
from zssr.errors import KernelError
from zssr.geometry import SYMMETRIES, Factors, Symmetry

Sampling = Literal["center", "top_left"]

_CACHED_OPERATORS = 64

# relative to the largest, of what back-projection is to bring back as far; 0.3 gives 0.02 dB less with a known blur
# (`python -m benchmarks quality --kernel FILE`)
_LEAST_EIGENVALUE = 0.1
_LONGEST_CYCLE = 4  # of its steps: in longer ones rounding errors grow

# of a transfer function, below which a reconstruction is better than a network; chosen by `python -m benchmarks blind
# --resamplers disc:2.5,disc:3,line:4,30,line:6,110`, with this value and with one that nothing is below
_ZERO = -0.05


@dataclass(frozen=True, eq=False)
class Degradation:
    """Blur, sampling, noise, rounding and compression that made the photo from a larger image.

    Attributes
    ----------
    kernel
        Blur kernel (height, width) that sums to one, in pixels of the large image, or a `Resampler`; None is the
        anti-aliased bicubic of MATLAB's `imresize`.
    scale
        The factors (vertical, horizontal) that the kernel belongs to.
    sampling
        Where the photo's samples lie in the large image, and with them the kernel's center of mass: at the center of
        each block of `scale` x `scale` pixels ("center") or at the block's first pixel ("top_left"). The resampler
        "nearest" takes that pixel, whatever is given.
    noise
        Standard deviation of the noise on the photo, in 0 to 255, at middle gray.
    quantized
        Whether the photo's values were rounded to 8 bits.
    jpeg
        How the photo was compressed; None if it was not.
    grain
        The kind of noise, by default white.
    """

    kernel: Floats | Resampler | None = None
    scale: Factors = (2.0, 2.0)
    sampling: Sampling = "center"
    noise: float = 0.0
    quantized: bool = False
    jpeg: Jpeg | None = None
    grain: Grain = WHITE
    _operators: dict[tuple[Factors, ...], Separable] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.kernel, Resampler) and self.kernel.name == "nearest":
            object.__setattr__(self, "sampling", "top_left")

    @property
    def resampler(self) -> Resampler | None:
        """Return what it downsamples by if that has a name, bicubic included; None is a kernel."""
        if self.kernel is None:
            return BICUBIC
        return self.kernel if isinstance(self.kernel, Resampler) else None

    @property
    def kernel_array(self) -> Floats | None:
        """Return the kernel (height, width), sampled if it is a resampler's; None is bicubic."""
        return self.kernel.to_kernel(self.scale) if isinstance(self.kernel, Resampler) else self.kernel

    @property
    def kernel_size(self) -> int:
        """Return the longer side of the kernel that images must be as large as; 0 for a resampler."""
        return 0 if self.kernel is None or isinstance(self.kernel, Resampler) else max(self.kernel.shape)

    def at_scale(self, scale: Factors) -> "Degradation":
        """Return the same degradation for another scale (vertical, horizontal); see `rescale_kernel`."""
        if self.kernel is None or scale == self.scale:
            return replace(self, scale=scale)
        if isinstance(self.kernel, Resampler):
            return replace(self, kernel=self.kernel.at_scale(self.scale, scale), scale=scale)
        return replace(self, kernel=rescale_kernel(self.kernel, self.scale, scale), scale=scale)

    def in_pixels_of(self, scale: Factors) -> "Degradation":
        """Return the degradation from a sharp image of another scale: the same blur, in that image's pixels."""
        kernel = self.kernel_array
        if kernel is None or scale == self.scale:
            return replace(self, scale=scale)
        ratios = [new / old for new, old in zip(scale, self.scale, strict=True)]
        return replace(self, kernel=stretch_kernel(kernel, ratios), scale=scale)

    def without_noise(self) -> "Degradation":
        """Return the same degradation without noise and JPEG."""
        return replace(self, noise=0.0, jpeg=None, grain=WHITE)

    def downsample(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Blur `image` (N, C, H, W) and sample it by 1 / `scale` to (N, C, *size), without noise, rounding and JPEG.

        Values of any range; linear. Raises `KernelError` if the kernel is larger than the image.
        """
        return self.operator((image.shape[-2], image.shape[-1]), size)(image)

    def upsample(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Interpolate `image` (N, C, h, w) by `scale` to (N, C, *size), with the samples where `downsample` puts them.

        The interpolation is cubic, whatever the kernel.
        """
        return resize(image, size, self.scale, top_left=self.sampling == "top_left")

    def back_project(
        self, large: Tensor, small: Tensor, iterations: int, offset: Factors = (0.0, 0.0), *, clip: bool = False
    ) -> Tensor:
        """Correct `large` (N, C, H, W) until its downsampling equals `small` (N, C, h, w) (Irani and Peleg 1991).

        Each iteration adds the transposed downsampling of the error. This converges for any kernel. Adding the
        interpolated error instead diverges where a kernel's spectrum is negative, such as that of a motion blur. The
        steps are those of Chebyshev's polynomials for the eigenvalues from a tenth of the largest one up (Richardson
        1911; Young 1954): 4 of them do what 16 equal ones do (Landweber 1951). The largest step comes first.

        The map is linear, unless values are clipped to [0, 1] after each iteration. If the photo is not clean, `large`
        is returned unchanged: its noise and artifacts would be projected back. `offset` is where in `large` the
        downsampled image begins, in pixels (down, right); it is not 0 where both are regions of larger images.
        """
        if not self.is_clean:
            return large
        downsample = self.operator((large.shape[-2], large.shape[-1]), (small.shape[-2], small.shape[-1]), offset)
        for step in chebyshev_steps(iterations):
            large = downsample.adjoint(small - downsample(large)).mul_(step * self.step_size).add_(large)
            large = large.clamp_(0, 1) if clip else large
        return large

    @property
    def back_projection_radius(self) -> int:
        """Return how far one iteration of `back_project` carries a change, in pixels of the small image."""
        if self.kernel is None or isinstance(self.kernel, Resampler):
            support = max(2 * (self.kernel or BICUBIC).reach(scale) / scale for scale in self.scale)
        else:
            support = max((side + 4) / scale for side, scale in zip(self.kernel.shape, self.scale, strict=True))
        return math.ceil(support) + 1

    @property
    def is_clean(self) -> bool:
        """Tell whether the photo has neither noise nor JPEG artifacts."""
        return self.noise == 0 and self.jpeg is None

    @property
    def blur_sigma(self) -> float:
        """Return the kernel's standard deviation, in its pixels, along the axis where it is larger; 0 for bicubic."""
        kernel = self.kernel_array
        return 0.0 if kernel is None else max_sigma(kernel)

    @cached_property
    def has_zeros(self) -> bool:
        """Whether the blur takes frequencies away that the photo could have: its transfer function becomes negative.

        At x2, discs of 2.7 pixels and motions of 4.5 do that. No Gaussian does, and no resampler.
        """
        return isinstance(self.kernel, np.ndarray) and least_response(self.kernel, self.scale) < _ZERO

    def symmetries(self) -> tuple[Symmetry, ...]:
        """Return the rotations and flips that keep the kernel; the identity is the first.

        With the sampling "center" they commute with `downsample`. With "top_left" they do so up to a shift, because a
        flip moves the samples to another pixel of their blocks.
        """
        if isinstance(self.kernel, Resampler) and self.kernel.name == "nearest-exact":
            return SYMMETRIES[:1]  # its pixel is not in the middle of a block of even sides
        kernel = None if self.kernel_array is None else _pad_to_center(self.kernel_array)
        same = [s for s in SYMMETRIES if s.turns % 2 == 0 or self.scale[0] == self.scale[1]]
        return tuple(s for s in same if kernel is None or _is_invariant(kernel, s))

    @cached_property
    def step_size(self) -> float:
        """One over the largest eigenvalue of downsampling after its transpose, by power iteration."""
        side = max(32, self.kernel_size)
        downsample = self.operator((math.ceil(side * self.scale[0]), math.ceil(side * self.scale[1])), (side, side))
        image = torch.rand(1, 1, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        for _ in range(30):
            image = downsample(downsample.adjoint(image / image.norm()))
        return 1 / float(image.norm())

    def operator(self, n_in: tuple[int, int], n_out: tuple[int, int], offset: Factors = (0.0, 0.0)) -> Separable:
        """Return `downsample` as an operator with an adjoint, from images of size `n_in` (H, W) to `n_out`.

        `offset` is where in the input the output begins, in pixels (down, right).
        """
        key = (n_in, n_out, offset)
        if key not in self._operators:
            if len(self._operators) >= _CACHED_OPERATORS:
                self._operators.pop(next(iter(self._operators)))
            self._operators[key] = self._make_operator(n_in, n_out, offset)
        return self._operators[key]

    def operator_at(self, n_in: tuple[int, int], positions: Floats, degree: int = 3) -> ScatteredSampling:
        """Return the operator that blurs an image of size `n_in` (H, W) and samples its spline at `positions`.

        They are rows and columns (2, n) in pixels of the image: those of a frame's pixels, wherever motion took them.
        """
        resampler = self.resampler
        kernel = self.kernel if resampler is None else resampler.to_kernel(self.scale)
        return ScatteredSampling.make(np.asarray(kernel), n_in, positions, degree)

    def _make_operator(self, n_in: tuple[int, int], n_out: tuple[int, int], offset: Factors) -> Separable:
        top_left = self.sampling == "top_left"
        if self.kernel is None or isinstance(self.kernel, Resampler):
            axes = zip(n_in, n_out, self.scale, offset, strict=True)
            resampler = self.kernel or BICUBIC
            vertical, horizontal = (make_resampling(resampler, a, b, s, top_left, o) for a, b, s, o in axes)
            return Separable((vertical,), (horizontal,))
        if self.kernel.shape[0] > n_in[0] or self.kernel.shape[1] > n_in[1]:
            shape = " x ".join(map(str, self.kernel.shape))
            raise KernelError(f"kernel: its {shape} pixels are more than the image's {n_in[0]} x {n_in[1]}")
        return decompose_blur(self.kernel, n_in, n_out, self.scale, top_left=top_left, offset=offset)


def chebyshev_steps(count: int) -> Iterator[float]:
    """Yield `count` steps relative to one over the largest eigenvalue, in cycles in which they fall."""
    cycles = math.ceil(count / _LONGEST_CYCLE)
    for cycle in range(cycles):
        length = (cycle + 1) * count // cycles - cycle * count // cycles
        for k in range(length):
            root = -math.cos(math.pi * (2 * k + 1) / (2 * length))
            yield 2 / (1 + _LEAST_EIGENVALUE + (1 - _LEAST_EIGENVALUE) * root)


def _pad_to_center(kernel: Floats) -> Floats:
    """Pad with zeros to a square whose middle is the center of mass, to half a pixel."""
    ends = [(round(2 * c), round(2 * (n - 1 - c))) for c, n in zip(center_of_mass(kernel), kernel.shape, strict=True)]
    widest = max(max(end) for end in ends)
    return np.pad(kernel, [((widest - low) // 2, (widest - high) // 2) for low, high in ends])


def _is_invariant(kernel: Floats, symmetry: Symmetry) -> bool:
    """Tell whether a symmetry moves less than 2 % of the kernel's weight."""
    moved = symmetry(torch.from_numpy(kernel)).numpy()
    return moved.shape == kernel.shape and bool(np.abs(moved - kernel).sum() < 0.02 * np.abs(kernel).sum())
