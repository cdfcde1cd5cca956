"""The resamplers of image software: which weights each gives to the pixels around a sample."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np

from zssr.degradation.kernel_shapes import centered_side, sample_gaussians, stretch_of_scale
from zssr.degradation.resize import BandedResampler, Floats, Integers, cubic, sample_positions
from zssr.geometry import Factors


@dataclass(frozen=True)
class _Form:
    """The weight over the distance from the sample and the scale, and how far it reaches, in pixels."""

    weigh: Callable[[Floats, float], Floats]
    reach: Callable[[float], float]


def _antialiased(function: Callable[[Floats], Floats], radius: float) -> _Form:
    """Stretch a function by the scale."""
    return _Form(lambda distance, scale: function(np.round(distance / scale, 9)), lambda scale: radius * scale)


def _interpolating(function: Callable[[Floats], Floats], radius: float) -> _Form:
    """Take a function at any scale as it is: what has higher frequencies than the small image is aliased."""
    return _Form(lambda distance, _: function(np.round(distance, 9)), lambda _: radius)


def _box(x: Floats) -> Floats:
    return np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)


def _first(x: Floats) -> Floats:
    return np.where((x > -1) & (x <= 0), 1.0, 0.0)


def _triangle(x: Floats) -> Floats:
    return np.asarray(np.maximum(1 - np.abs(x), 0))


def _hamming(x: Floats) -> Floats:
    return np.where(np.abs(x) < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x)), 0.0)


def _lanczos(x: Floats, radius: int) -> Floats:
    return np.where(np.abs(x) < radius, np.sinc(x) * np.sinc(x / radius), 0.0)


def _mitchell(x: Floats) -> Floats:
    """Evaluate the cubic with B = C = 1/3 (Mitchell and Netravali 1988)."""
    x = np.abs(x)
    near = (7 * x - 12) * x**2 + 16 / 3
    far = ((-7 / 3 * x + 12) * x - 20) * x + 32 / 3
    return np.where(x < 1, near, np.where(x < 2, far, 0.0)) / 6


def _cover(distance: Floats, scale: float) -> Floats:
    """Return how much of each pixel lies within a block of `scale` pixels around the sample."""
    return np.asarray(np.clip((scale + 1) / 2 - np.abs(distance), 0, 1))


_sharp_cubic = partial(cubic, a=-0.75)

_FORMS = {
    "bicubic": _antialiased(cubic, 2),
    "sharp-bicubic": _antialiased(_sharp_cubic, 2),
    "box": _antialiased(_box, 0.5),
    "area": _Form(_cover, lambda scale: (scale + 1) / 2),
    "bilinear": _antialiased(_triangle, 1),
    "hamming": _antialiased(_hamming, 1),
    "lanczos2": _antialiased(partial(_lanczos, radius=2), 2),
    "lanczos": _antialiased(partial(_lanczos, radius=3), 3),
    "mitchell": _antialiased(_mitchell, 2),
    "linear": _interpolating(_triangle, 1),
    "cubic": _interpolating(_sharp_cubic, 2),
    "lanczos4": _interpolating(partial(_lanczos, radius=4), 4),
    "nearest": _interpolating(_first, 1),
    "nearest-exact": _interpolating(_box, 0.5),
}

RESAMPLERS = tuple(_FORMS)
"""Names of all resamplers: first those with anti-aliasing, from "linear" on those without."""


@dataclass(frozen=True)
class Resampler:
    """A way of making images smaller that has a name.

    Attributes
    ----------
    name
        One of `RESAMPLERS`. With anti-aliasing: "bicubic" (Keys 1981 with a = -0.5, as in MATLAB and Pillow),
        "sharp-bicubic" (a = -0.75), "box", "bilinear", "hamming" and "lanczos" (of 3 lobes) as in Pillow; "lanczos2";
        "area" as in OpenCV, which is "box" at whole scales; "mitchell". Without: "linear", "cubic" (a = -0.75) and
        "nearest" (the block's first pixel) as in OpenCV and torch, "lanczos4" as in OpenCV; "nearest-exact" (the pixel
        in the block's middle, or right below it) as in Pillow and torch. The mean of two of them is "box+cubic": it is
        nearly as good for a photo that either made as the right one, where the wrong one ruins it.
    blur
        Standard deviation, in pixels of the large image, of a Gaussian blur before it: that of a lens.
    """

    name: str
    blur: float = 0.0

    def __str__(self) -> str:
        return f"{self.name} after a blur of {self.blur:.1f} px" if self.blur else self.name

    def at_scale(self, old_scale: Factors, scale: Factors) -> "Resampler":
        """Return the same resampler with its blur of `old_scale` stretched for another scale."""
        ratio = max(stretch_of_scale(old, new) for old, new in zip(old_scale, scale, strict=True))
        return replace(self, blur=self.blur * ratio)

    def reach(self, scale: float) -> float:
        """Return how far it reaches from a sample, in pixels of the large image."""
        return max(form.reach(scale) for form in self._forms) + math.ceil(4 * self.blur)

    def weigh(self, at: Floats, scale: float) -> tuple[Integers, Floats]:
        """Return indices and weights (samples, taps) of the pixels around positions `at` (samples,), for one axis."""
        forms = self._forms if scale > 1 else BICUBIC._forms
        radius = max(form.reach(scale) for form in forms)
        first = np.floor(np.round(at - radius, 9)).astype(np.int64)
        indices = first[:, None] + np.arange(math.ceil(2 * radius) + 2)
        each = [form.weigh(indices - at[:, None], scale) for form in forms]
        weights = np.mean([one / one.sum(1, keepdims=True) for one in each], axis=0)
        return self._blur(indices, weights) if self.blur else (indices, weights)

    @property
    def parts(self) -> "tuple[Resampler, ...]":
        """Return the resamplers that it is the mean of; itself if it is none."""
        return tuple(replace(self, name=name) for name in self.name.split("+"))

    @property
    def _forms(self) -> list[_Form]:
        return [_FORMS[part.name] for part in self.parts]

    def _blur(self, indices: Integers, weights: Floats) -> tuple[Integers, Floats]:
        margin = math.ceil(4 * self.blur)
        taps = sample_gaussians(np.diag([0.0, self.blur**2])[None], (1, 2 * margin + 1))[0, 0]
        blurred = np.stack([np.convolve(row, taps) for row in weights])
        return indices[:, :1] - margin + np.arange(blurred.shape[1]), blurred

    def profile(self, scale: float) -> Floats:
        """Return the weights (taps,) around a sample in the middle: the center of a block, or a pixel for "nearest"."""
        side = centered_side(self.reach(scale), 1 if self.name == "nearest" else scale)
        indices, weights = self.weigh(np.array([(side - 1) / 2]), scale)
        profile = np.zeros(side + 2)
        np.add.at(profile, np.clip(indices[0] + 1, 0, side + 1), weights[0])
        return profile[1:-1]

    def to_kernel(self, scale: Factors) -> Floats:
        """Return it as a kernel (height, width) for `scale` (vertical, horizontal); exact where that is whole."""
        return np.outer(*(self.profile(one) for one in scale))

    def mean_power(self, scale: float, frequency: Floats) -> Floats:
        """Return the share of the power that is left at frequencies (...,), in cycles per pixel of the large image.

        It is the mean over the samples, whose weights differ at fractional scales.
        """
        count = 1 if scale == round(scale) else 24
        at = sample_positions(count, scale, top_left=False, offset=0.0)
        indices, weights = self.weigh(at, scale)
        waves = np.exp(2j * np.pi * frequency[..., None, None] * (indices - at[:, None]))
        return np.asarray((np.abs((waves * weights).sum(-1)) ** 2).mean(-1))


BICUBIC = Resampler("bicubic")


@lru_cache(maxsize=64)
def make_resampling(
    resampler: Resampler, n_in: int, n_out: int, scale: float, top_left: bool, offset: float
) -> BandedResampler:
    """Make the downsampling of an axis by `1 / scale`; see `sample_positions`."""
    return BandedResampler(*resampler.weigh(sample_positions(n_out, scale, top_left, offset), scale), n_in)


def sharpened_kernel(amount: float, radius: float, scale: Factors) -> Floats:
    """Return the kernel (height, width) of bicubic downsampling by `scale`, followed by an unsharp mask.

    The mask adds `amount` times the difference from a Gaussian blur of `radius` pixels of the small image.
    """
    profiles, blurred = [], []
    for one in scale:
        margin = math.ceil(3 * radius * one)
        profile = np.pad(BICUBIC.profile(one), margin)
        taps = sample_gaussians(np.diag([0.0, (radius * one) ** 2])[None], (1, 2 * margin + 1))[0, 0]
        profiles.append(profile)
        blurred.append(np.convolve(profile, taps, "same"))
    return (1 + amount) * np.outer(*profiles) - amount * np.outer(*blurred)
