"""What a caller asks for: scale or size, kernel, device and seed."""

import os
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from zssr.errors import ConfigError, ImageError, KernelError

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from zssr.degradation.resize import Floats

Scale = float | tuple[float, float]
KernelLike: TypeAlias = "str | os.PathLike[str] | ArrayLike | torch.Tensor | None"

LARGEST_SCALE = 100


@dataclass(frozen=True)
class Request:
    """What is asked for of one image, checked when it is made.

    Attributes
    ----------
    scale
        A number from 1 to 100, or a pair (vertical, horizontal); fractions are allowed. The output has
        `round(scale * H)` x `round(scale * W)` pixels.
    size
        The output size (H, W) instead of `scale`.
    kernel
        The blur kernel: "auto" estimates it from the image; None or "bicubic" is MATLAB's anti-aliased bicubic;
        otherwise a 2-D array or a path to `.npy`, `.mat` (variable `Kernel`) or `.png`, in pixels of the output.
    device
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    seed
        Source of all randomness, a whole number of 64 bits.

    Raises
    ------
    ConfigError
        If the scale, size or seed is none.
    """

    scale: Scale = 2.0
    size: tuple[int, int] | None = None
    kernel: KernelLike = "auto"
    device: "str | torch.device" = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.seed, Integral) or not -(2**63) <= self.seed < 2**63:
            raise ConfigError(f"seed: {self.seed!r} is not a whole number of 64 bits")
        object.__setattr__(self, "seed", int(self.seed))
        object.__setattr__(self, "scale", _to_pair(self.scale))
        object.__setattr__(self, "size", None if self.size is None else _to_size(self.size))

    @property
    def suffix(self) -> str:
        """What the name of an output ends with: x4, x2x3 (horizontal, vertical) or 1920x1080."""
        if self.size:
            return f"{self.size[1]}x{self.size[0]}"
        vertical, horizontal = _to_pair(self.scale)
        return f"x{horizontal:g}" if vertical == horizontal else f"x{horizontal:g}x{vertical:g}"

    def output_size(self, size: tuple[int, int]) -> tuple[tuple[float, float], tuple[int, int]]:
        """Return the scale (vertical, horizontal) and the output size (H, W) for an image of `size` (H, W).

        Raises `ImageError` if the size asked for is below the image's.
        """
        height, width = size
        if self.size is None:
            vertical, horizontal = _to_pair(self.scale)
            return (vertical, horizontal), (round(height * vertical), round(width * horizontal))
        if self.size[0] < height or self.size[1] < width:
            asked = f"{self.size[0]} x {self.size[1]}"
            raise ImageError(f"image: its {height} x {width} pixels are more than the size {asked}")
        return (self.size[0] / height, self.size[1] / width), self.size

    def check_output_size(self, size: tuple[int, int], max_pixels: float) -> None:
        """Raise `ImageError` if an image of `size` (H, W) would have more pixels than allowed."""
        _, (height, width) = self.output_size(size)
        if height * width > max_pixels:
            allowed = f"max_output_pixels = {max_pixels:.0f} allows"
            raise ImageError(f"image: would have {width}x{height} pixels, more than {allowed}")

    def load_kernel(self, size: tuple[int, int]) -> "Floats | Literal['auto'] | None":
        """Read and check the kernel given for an image of `size` (H, W); None for bicubic, "auto" to be estimated.

        Raises `KernelError` if it cannot be read, is no kernel, or is larger than the image.
        """
        from torch import Tensor

        from zssr.degradation.blur import validate_kernel
        from zssr.io.kernels import load_kernel

        if self.kernel is None or (isinstance(self.kernel, str) and self.kernel == "bicubic"):
            return None
        if isinstance(self.kernel, str) and self.kernel == "auto":
            return "auto"
        name, values = "kernel", self.kernel
        if isinstance(values, (str, os.PathLike)):
            name, values = str(values), load_kernel(Path(values))
        elif isinstance(values, Tensor):
            values = values.detach().cpu()
        kernel = validate_kernel(values, name)
        if kernel.shape[0] > size[0] or kernel.shape[1] > size[1]:
            sides = " x ".join(map(str, kernel.shape))
            raise KernelError(f"{name}: the kernel ({sides} px) is larger than the image ({size[0]} x {size[1]} px)")
        return kernel


def _to_pair(scale: Scale) -> tuple[float, float]:
    pair = scale if isinstance(scale, (tuple, list)) else (scale, scale)
    if len(pair) != 2 or not all(isinstance(factor, Real) and 1 <= factor <= LARGEST_SCALE for factor in pair):
        allowed = f"a number from 1 to {LARGEST_SCALE}, or two of them (vertical, horizontal)"
        given = pair[0] if len(pair) == 2 and pair[0] is pair[1] else scale
        raise ConfigError(f"scale: {given!r} is not {allowed}")
    return float(pair[0]), float(pair[1])


def _to_size(size: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(size, (tuple, list)) or len(size) != 2 or not all(isinstance(n, Integral) for n in size):
        raise ConfigError(f"size: {size!r} is not a pair of whole numbers (height, width)")
    return int(size[0]), int(size[1])
