"""What callers give, checked and brought to one form, before any work is done."""

import os
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from zssr.degradation.blur import validate_kernel
from zssr.degradation.resize import Floats
from zssr.errors import ConfigError, ImageError, KernelError
from zssr.io.kernels import read_kernel

Scale = float | tuple[float, float]
KernelLike = str | os.PathLike[str] | ArrayLike | Tensor

LARGEST_SCALE = 100


@dataclass(frozen=True)
class Request:
    """What is to be done to a photo; the arguments are those of `upscale`."""

    scale: Scale = 2.0
    size: tuple[int, int] | None = None
    kernel: KernelLike | None = "auto"
    device: str | torch.device = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", as_seed(self.seed))

    def target(self, small: tuple[int, int]) -> tuple[tuple[float, float], tuple[int, int]]:
        """Return the factors (vertical, horizontal) and the output size for a photo of size `small` (H, W)."""
        return output_size(small, self.scale, self.size)

    @property
    def estimates(self) -> bool:
        """Tell whether the kernel is to be estimated."""
        return isinstance(self.kernel, str) and self.kernel == "auto"

    def kernel_for(self, small: tuple[int, int]) -> Floats | None:
        """Return the kernel that a photo of size `small` (H, W) was made with, as far as it is given; None is bicubic.

        Raises `KernelError`.
        """
        return None if self.estimates else as_kernel(self.kernel, small)


def output_size(
    small: tuple[int, int], scale: Scale, size: tuple[int, int] | None
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Return the factors (vertical, horizontal) and the output size (H, W) for an image of size `small`.

    Raises `ConfigError` for what is no scale or size, and `ImageError` for a size below the image's.
    """
    if size is not None:
        if not isinstance(size, (tuple, list)) or len(size) != 2 or not all(isinstance(n, Integral) for n in size):
            raise ConfigError(f"size: {size!r} is not a pair of whole numbers (height, width)")
        if size[0] < small[0] or size[1] < small[1]:
            raise ImageError(f"image: its {small[0]} x {small[1]} pixels are more than the size {size[0]} x {size[1]}")
        return (size[0] / small[0], size[1] / small[1]), (int(size[0]), int(size[1]))
    pair = scale if isinstance(scale, (tuple, list)) else (scale, scale)
    if len(pair) != 2 or not all(isinstance(factor, Real) and 1 <= factor <= LARGEST_SCALE for factor in pair):
        allowed = f"a number from 1 to {LARGEST_SCALE}, or two of them (vertical, horizontal)"
        raise ConfigError(f"scale: {scale!r} is not {allowed}")
    factors = (float(pair[0]), float(pair[1]))
    return factors, (round(small[0] * factors[0]), round(small[1] * factors[1]))


def as_seed(seed: int) -> int:
    """Return `seed` as an int; raises `ConfigError` if it is not a whole number of 64 bits."""
    if not isinstance(seed, Integral) or not -(2**63) <= seed < 2**63:
        raise ConfigError(f"seed: {seed!r} is not a whole number of 64 bits")
    return int(seed)


def as_kernel(kernel: KernelLike | None, small: tuple[int, int]) -> Floats | None:
    """Read or check a kernel that an image of size `small` (H, W) was made with; None for bicubic."""
    if kernel is None or (isinstance(kernel, str) and kernel == "bicubic"):
        return None
    if isinstance(kernel, (str, os.PathLike)):
        name, checked = str(kernel), validate_kernel(read_kernel(Path(kernel)), str(kernel))
    else:
        name, checked = "kernel", validate_kernel(kernel.detach().cpu() if isinstance(kernel, Tensor) else kernel)
    if checked.shape[0] > small[0] or checked.shape[1] > small[1]:
        sides = " x ".join(map(str, checked.shape))
        raise KernelError(f"{name}: the kernel ({sides} px) is larger than the image ({small[0]} x {small[1]} px)")
    return checked
