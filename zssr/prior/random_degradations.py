"""Random degradations to train a prior on: resamplers and Gaussian-like blurs, with noise and JPEG on request."""

import math
from dataclasses import dataclass, replace

import numpy as np

from zssr.degradation import Degradation
from zssr.degradation.jpeg import SUBSAMPLINGS, Jpeg
from zssr.degradation.resamplers import RESAMPLERS, Resampler
from zssr.degradation.resize import Floats


@dataclass(frozen=True)
class DegradationDistribution:
    """The distribution that priors are trained on; chosen by hand, not fitted.

    Attributes
    ----------
    bicubic
        Probability of no blur kernel.
    resampler, max_lens_blur
        Probability of another resampler than bicubic, each of them alike, where there is a kernel; largest standard
        deviation of the Gaussian blur before it, which half of them have, in pixels of the large image.
    top_left, centered_bicubic
        Probability of top-left sampling where there is no resampler; probability that a bicubic degradation is
        centered after all.
    sigmas
        Limits of a kernel's two standard deviations, in pixels of the large image.
    kernel_size
        Side of a kernel in pixels.
    isotropic, non_gaussian
        Probability of equal standard deviations; of another exponent than a Gaussian's.
    noise, jpeg, kernel_removed
        For noisy degradations, the probability of noise, of JPEG compression, and of losing the kernel. Half of those
        with JPEG lose their noise.
    max_noise
        Largest standard deviation of the noise, in 255ths.
    jpeg_quality
        Lowest, likeliest and highest quality.
    subsampling
        Probabilities of `SUBSAMPLINGS`.
    """

    bicubic: float = 0.25
    resampler: float = 1 / 3
    max_lens_blur: float = 0.6
    top_left: float = 0.4
    centered_bicubic: float = 0.7
    sigmas: tuple[float, float] = (0.35, 2.6)
    kernel_size: int = 25
    isotropic: float = 0.3
    non_gaussian: float = 0.4
    noise: float = 0.65
    jpeg: float = 0.5
    kernel_removed: float = 0.4
    max_noise: float = 50.0
    jpeg_quality: tuple[int, int, int] = (15, 80, 98)
    subsampling: tuple[float, ...] = (0.25, 0.15, 0.6)


_DISTRIBUTION = DegradationDistribution()


def draw_degradations(count: int, seed: int, scale: int, *, noisy: bool = False) -> list[Degradation]:
    """Draw `count` degradations to 8 bits.

    A quarter is bicubic, and a quarter by other resamplers; the others are Gaussian or nearly so, with both samplings.

    If `noisy`, more of them are bicubic, and most have noise, JPEG compression, or both.
    """
    rng = np.random.default_rng(seed)
    clean = [_draw_clean(rng, float(scale)) for _ in range(count)]
    return [_add_noise_and_jpeg(rng, degradation) for degradation in clean] if noisy else clean


def _draw_clean(rng: np.random.Generator, scale: float) -> Degradation:
    top_left, is_bicubic = rng.random() < _DISTRIBUTION.top_left, rng.random() < _DISTRIBUTION.bicubic
    if not is_bicubic and rng.random() < _DISTRIBUTION.resampler:
        return Degradation(_draw_resampler(rng), (scale, scale), quantized=True)
    kernel = None if is_bicubic else _draw_kernel(rng)
    if is_bicubic:
        top_left = rng.random() >= _DISTRIBUTION.centered_bicubic and top_left
    return Degradation(kernel, (scale, scale), "top_left" if top_left else "center", quantized=True)


def _draw_resampler(rng: np.random.Generator) -> Resampler:
    blur = _DISTRIBUTION.max_lens_blur * rng.random() if rng.random() < 0.5 else 0.0
    return Resampler(str(rng.choice([name for name in RESAMPLERS if name != "bicubic"])), blur)


def _draw_kernel(rng: np.random.Generator) -> Floats:
    """Draw a kernel exp(-(u^2 + v^2)^p / 2) of sum 1; u and v are in standard deviations along its two axes.

    With p = 1 it is a Gaussian.
    """
    low, high = _DISTRIBUTION.sigmas
    along, across = np.exp(rng.uniform(math.log(low), math.log(high), 2))
    if rng.random() < _DISTRIBUTION.isotropic:
        across = along
    angle = rng.uniform(0, math.pi)
    power = math.exp(rng.normal(0, 0.25)) if rng.random() < _DISTRIBUTION.non_gaussian else 1.0
    size = _DISTRIBUTION.kernel_size
    y, x = np.mgrid[:size, :size] - size // 2
    u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    kernel = np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2) ** power)
    return np.asarray(kernel / kernel.sum(), np.float64)


def _add_noise_and_jpeg(rng: np.random.Generator, degradation: Degradation) -> Degradation:
    mix = _DISTRIBUTION
    noise = mix.max_noise * rng.random() ** 2 if rng.random() < mix.noise else 0.0
    jpeg = None
    if rng.random() < mix.jpeg:
        quality = round(rng.triangular(*mix.jpeg_quality))
        jpeg = Jpeg.from_quality(quality, str(rng.choice(SUBSAMPLINGS, p=mix.subsampling)))
        noise *= rng.random() < 0.5
    kernel = None if rng.random() < mix.kernel_removed else degradation.kernel
    return replace(degradation, kernel=kernel, noise=noise, jpeg=jpeg)
