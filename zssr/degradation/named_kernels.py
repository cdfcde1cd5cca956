"""Kernels by name: resamplers, shapes with their sizes, and products of them."""

import re
from collections.abc import Callable

import numpy as np

from zssr.degradation.blur import validate_kernel
from zssr.degradation.kernel_shapes import centered_side, disc_kernel, line_kernel, sample_gaussians
from zssr.degradation.resamplers import RESAMPLERS, Resampler, sharpened_kernel
from zssr.degradation.resize import Floats
from zssr.errors import KernelError
from zssr.geometry import Factors

_LARGEST = 200.0  # pixels


def _gaussian_kernel(sigma: float, scale: Factors) -> Floats:
    support = max(2.0, 4 * sigma)
    sides = centered_side(support, scale[0]), centered_side(support, scale[1])
    return np.asarray(sample_gaussians(sigma**2 * np.eye(2)[None], sides)[0])


# how many numbers each has, how many of them are sizes, its function, and what is said about it
_SHAPES: dict[str, tuple[int, int, Callable[..., Floats], str]] = {
    "gaussian": (1, 1, _gaussian_kernel, "gaussian:SIGMA"),
    "disc": (1, 1, disc_kernel, "disc:RADIUS"),
    "line": (2, 1, line_kernel, "line:LENGTH,DEGREES"),
    "unsharp": (2, 2, sharpened_kernel, "unsharp:AMOUNT,RADIUS"),
}


NAMES = (*RESAMPLERS, *(form for *_, form in _SHAPES.values()))
"""What is said about them: resamplers, and shapes with their sizes."""

_CENTERED = tuple(name for name in RESAMPLERS if not name.startswith("nearest"))


def is_kernel_name(text: str) -> bool:
    """Tell whether a text is meant as the name of a kernel, not as a file's."""
    words = {part.partition(":")[0].strip() for part in re.split(r"[*+]", text)}
    return words <= {*RESAMPLERS, *_SHAPES}


def parse_kernel(text: str, scale: Factors) -> Floats | Resampler:
    """Return the kernel that `text` names, for `scale` (vertical, horizontal).

    That is a resampler ("lanczos"), the mean of some ("box+cubic"), a shape with its sizes in pixels of the large image
    ("disc:2.5", "gaussian:0.8", "line:6,30"), or a product of shapes, of which the last may be a resampler
    ("gaussian:0.5*box"). Raises `KernelError` for anything else.
    """
    *blurs, last = (part.strip() for part in text.split("*"))
    if any(_is_resampler(one) or one.startswith("unsharp") for one in blurs):
        raise KernelError(f'kernel: "{text}" has a resampler that is not the last; blurs come before it')
    if any("+" in one and not _is_resampler(one) for one in (*blurs, last)):
        raise KernelError(f'kernel: "{text}" is no mean of resamplers: these are {", ".join(_CENTERED)}')
    if not _is_resampler(last):
        return _convolve([_parse_shape(one, scale) for one in (*blurs, last)])
    if not blurs:
        return Resampler(last)
    if len(blurs) == 1 and blurs[0].startswith("gaussian"):
        return Resampler(last, _parse_numbers(blurs[0])[0])
    return _convolve([*(_parse_shape(one, scale) for one in blurs), Resampler(last).to_kernel(scale)])


def _is_resampler(text: str) -> bool:
    return text in RESAMPLERS or set(text.split("+")) <= set(_CENTERED)


def _parse_shape(text: str, scale: Factors) -> Floats:
    return _SHAPES[text.partition(":")[0]][2](*_parse_numbers(text), scale)


def _parse_numbers(text: str) -> list[float]:
    """Return the numbers behind a shape's name."""
    name, _, given = text.partition(":")
    count, sizes, _, form = _SHAPES[name]
    try:
        numbers = [float(number) for number in given.split(",")]
    except ValueError:
        numbers = []
    are_sizes = all(0 < number <= _LARGEST for number in numbers[:sizes])
    if len(numbers) != count or not are_sizes or not np.isfinite(numbers).all():
        raise KernelError(f'kernel: "{text}" is not {form}, with sizes from 0 to {_LARGEST:g}')
    return numbers


def _convolve(kernels: list[Floats]) -> Floats:
    from scipy.signal import convolve2d  # takes a while to import

    product, *others = kernels
    for kernel in others:
        product = convolve2d(product, kernel)
    return validate_kernel(product)
