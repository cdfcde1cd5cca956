"""What a caller asks for: scale or size, kernel, device and seed."""

import os
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from zssr.errors import ConfigError, ImageError, KernelError

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from zssr.degradation.resamplers import Resampler
    from zssr.degradation.resize import Floats

Scale = float | tuple[float, float]
Size = tuple[int | None, int | None]
Fit = Literal["stretch", "exact", "contain"]
KernelLike: TypeAlias = "str | os.PathLike[str] | Resampler | ArrayLike | torch.Tensor | None"

LARGEST_SCALE = 100


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked for of one image, checked when it is made.

    Attributes
    ----------
    scale
        A number from 1 to 100, or a pair (vertical, horizontal); fractions are allowed. The output has
        `round(scale * H)` x `round(scale * W)` pixels.
    size
        The output size (H, W) instead of `scale`. Where one of them is None, it follows from the image's shape.
    fit
        What is done if `size` has another shape than the image: "stretch" it, refuse it ("exact"; the rounding of sides
        to whole pixels is no other shape), or take the largest size within it that has the image's shape ("contain").
    kernel
        What the image was made small by: "auto" estimates it; None or "bicubic" is MATLAB's anti-aliased bicubic;
        another resampler or a shape by its name, such as "lanczos", "disc:2" or "gaussian:0.5*box" (see
        `zssr.degradation.named_kernels`); otherwise a blur kernel, a 2-D array or a path to `.npy`, `.mat` (variable
        `Kernel`) or `.png`, in pixels of the output.
    device
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    seed
        Source of all randomness, a whole number of 64 bits.
    nodata
        The number that stands for no data, beside NaN, which always does; None is what a TIFF file says.

    Raises
    ------
    ConfigError
        If the scale, size, fit, seed or nodata is none.
    """

    scale: Scale = 2.0
    size: Size | None = None
    kernel: KernelLike = "auto"
    device: "str | torch.device" = "auto"
    seed: int = 0
    fit: Fit = "stretch"
    nodata: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.seed, Integral) or not -(2**63) <= self.seed < 2**63:
            raise ConfigError(f"seed: {self.seed!r} is not a whole number of 64 bits")
        object.__setattr__(self, "seed", int(self.seed))
        if self.nodata is not None:
            if not isinstance(self.nodata, Real) or isinstance(self.nodata, bool):
                raise ConfigError(f"nodata: {self.nodata!r} is not a number")
            object.__setattr__(self, "nodata", float(self.nodata))
        object.__setattr__(self, "scale", _to_pair(self.scale))
        object.__setattr__(self, "size", None if self.size is None else _to_size(self.size))
        if self.fit not in get_args(Fit):
            raise ConfigError(f"fit: {self.fit!r} is not one of {', '.join(get_args(Fit))}")

    @classmethod
    def of(cls, asked: "Request | Scale") -> "Request":
        """Return what is asked for as a request; a plain scale is one with it."""
        return asked if isinstance(asked, Request) else cls(asked)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def suffix(self) -> str:
        """What the name of an output ends with: x4, x2x3 (horizontal, vertical), 1920x1080, 1920x or x1080."""
        if self.size:
            return f"{self.size[1] or ''}x{self.size[0] or ''}"
        vertical, horizontal = _to_pair(self.scale)
        return f"x{horizontal:g}" if vertical == horizontal else f"x{horizontal:g}x{vertical:g}"

    def output_size(self, size: tuple[int, int]) -> tuple[tuple[float, float], tuple[int, int]]:
        """Return the scale (vertical, horizontal) and the output size (H, W) for an image of `size` (H, W).

        Raises `ImageError` if the size asked for is below the image's, or would stretch it and is not to.
        """
        height, width = size
        if self.size is None:
            vertical, horizontal = _to_pair(self.scale)
            return (vertical, horizontal), (round(height * vertical), round(width * horizontal))
        factors = [new / old for new, old in zip(self.size, size, strict=True) if new is not None]
        if min(factors) < 1:
            raise ImageError(f"image: its {width}x{height} pixels are more than the size {self.suffix}")
        if self.fit == "contain" or len(factors) == 1:
            factor = min(factors)
            return (factor, factor), (round(factor * height), round(factor * width))
        asked = (self.size[0] or 0, self.size[1] or 0)
        if self.fit == "exact" and not _has_shape(asked, size):
            same = " or ".join(f"{round(factor * width)}x{round(factor * height)}" for factor in sorted(factors))
            would = f"the size {self.suffix} would stretch its {width}x{height} pixels"
            raise ImageError(f"image: {would}; {same} would not, and --stretch allows it")
        return (factors[0], factors[1]), asked

    def check_output_size(
        self, size: tuple[int, int], max_pixels: float
    ) -> tuple[tuple[float, float], tuple[int, int]]:
        """Return what `output_size` does; raises `ImageError` if these are more pixels than allowed."""
        scale, (height, width) = self.output_size(size)
        if height * width > max_pixels:
            allowed = f"max_output_pixels = {max_pixels:.0f} allows"
            raise ImageError(f"image: would have {width}x{height} pixels, more than {allowed}")
        return scale, (height, width)

    def load_kernel(self, size: tuple[int, int]) -> "Floats | Resampler | Literal['auto'] | None":
        """Read and check the kernel given for an image of `size` (H, W); None for bicubic, "auto" to be estimated.

        Raises `KernelError` if it cannot be read, is no kernel, or is larger than the image.
        """
        from torch import Tensor

        from zssr.degradation.blur import validate_kernel
        from zssr.degradation.named_kernels import is_kernel_name, parse_kernel
        from zssr.degradation.resamplers import BICUBIC, Resampler
        from zssr.io.kernels import load_kernel

        if self.kernel is None:
            return None
        if isinstance(self.kernel, str) and self.kernel == "auto":
            return "auto"
        name, values = "kernel", self.kernel
        if isinstance(values, str) and is_kernel_name(values):
            values = parse_kernel(values, self.output_size(size)[0])
        if isinstance(values, Resampler):
            return None if values == BICUBIC else values
        if isinstance(values, (str, os.PathLike)):
            name, values = str(values), load_kernel(Path(values))
        elif isinstance(values, Tensor):
            values = values.detach().cpu()
        kernel = validate_kernel(values, name)
        if kernel.shape[0] > size[0] or kernel.shape[1] > size[1]:
            sides = " x ".join(map(str, kernel.shape))
            raise KernelError(f"{name}: the kernel ({sides} px) is larger than the image ({size[0]} x {size[1]} px)")
        return kernel

    @property
    def _key(self) -> tuple[object, ...]:
        """What is compared: an array as its numbers."""
        kernel: object = self.kernel
        if not isinstance(kernel, (str, os.PathLike, type(None))):
            import numpy as np

            values = kernel if hasattr(kernel, "tolist") else np.array(kernel, dtype=object)
            kernel = repr(values.tolist())
        return self.scale, self.size, kernel, self.device, self.seed, self.fit, repr(self.nodata)


def _has_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two sizes may have one shape, of which they are rounded to whole pixels."""
    low = max((a - 0.5) / (b + 0.5) for a, b in zip(size, other, strict=True))
    high = min((a + 0.5) / (b - 0.5) for a, b in zip(size, other, strict=True))
    return low <= high


def _to_pair(scale: Scale) -> tuple[float, float]:
    pair = scale if isinstance(scale, (tuple, list)) else (scale, scale)
    if len(pair) != 2 or not all(isinstance(factor, Real) and 1 <= factor <= LARGEST_SCALE for factor in pair):
        allowed = f"a number from 1 to {LARGEST_SCALE}, or two of them (vertical, horizontal)"
        given = pair[0] if len(pair) == 2 and pair[0] is pair[1] else scale
        raise ConfigError(f"scale: {given!r} is not {allowed}")
    return float(pair[0]), float(pair[1])


def _to_size(size: Size) -> Size:
    is_pair = isinstance(size, (tuple, list)) and len(size) == 2
    if not is_pair or not all(isinstance(n, (Integral, type(None))) for n in size) or tuple(size) == (None, None):
        raise ConfigError(f"size: {size!r} is not a pair of whole numbers (height, width), of which one may be None")
    height, width = (None if n is None else int(n) for n in size)
    return height, width
