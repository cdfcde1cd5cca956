"""The second cue for a blur: how brightness climbs across straight edges, from pixel to pixel, and overshoots."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from zssr.degradation.kernel_shapes import disc_kernel, line_kernel
from zssr.degradation.resize import Floats
from zssr.estimation.candidates import RADII, SIGMAS, make_candidates
from zssr.estimation.parametric_kernels import SCALE, Disc, Gaussian, Line, ParametricKernel
from zssr.estimation.periodogram import Mask

PIXELS = 8
"""Length of an edge's profile."""

SCENE_SOFTNESS = np.array([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0, 2.6])
"""Standard deviations, in pixels of the large image, that the scene's own edges may have."""

_RADII = RADII[::2]
_LENGTHS = (0.5, 1.5, 3.0, 4.5, 6.0, 7.5, 9.0)  # of lines along an axis
_SIZES: dict[type[ParametricKernel], list[tuple[float, ...]]] = {
    Gaussian: [(sigma, sigma) for sigma in SIGMAS],
    Disc: [(radius,) for radius in _RADII],
    Line: [(length,) for length in _LENGTHS],
}
_MOST = 400  # profiles of an axis that are looked at
_FEWEST = 40  # of both axes


@dataclass(frozen=True)
class EdgeModel:
    """How the profiles of edges vary; `python -m benchmarks constants --what edges` compares numbers.

    Attributes
    ----------
    error
        Standard deviation of a pixel from an ideal edge, relative to the edge's height.
    outlier
        Likelihood of a profile that no ideal edge explains; that of an ideal edge is 1.
    evenness
        How many profiles the even distribution of the scene's softness counts as.
    weight
        Of a profile in the log-likelihood, over the squared scale: profiles are not independent, and at large scales
        other edges are as near as a kernel's width.
    saturation
        So many profiles have half the weight, and all others together no more: more do not make the model truer.
    """

    error: float = 0.06
    outlier: float = 0.0005
    evenness: float = 50.0
    weight: float = 0.85
    saturation: float = 320.0


def edge_log_likelihoods(
    luma: Floats, scale: float, content: Mask | None = None, most_noise: float = 0.0, model: EdgeModel | None = None
) -> Floats | None:
    """Return the log-likelihood of each candidate, (candidates,), given the edges of `luma` (H, W) in [0, 1].

    A step in the scene, softened by an unknown width, at an unknown place between the pixels, leaves a profile that
    shows the kernel across it: bicubic overshoots, a triangle does not, and what is not anti-aliased climbs within one
    pixel. How soft a scene's edges are is fitted for each candidate, by expectation maximization (Dempster et al.
    1977). Upright and level edges are looked at apart. None if there are too few in the `content` (H, W) that stand
    out of noise with a standard deviation of `most_noise`.
    """
    model = model or EdgeModel()
    profiles = [find_profiles(*pair, most_noise) for pair in _both_axes(luma, content)]
    means = partial(_candidate_log_likelihoods, scale=scale, model=model)
    return _add_axes(profiles, means, scale, model)


def round_blur_log_likelihoods(
    luma: Floats, kernels: Sequence[Floats], content: Mask | None = None, most_noise: float = 0.0
) -> Floats | None:
    """Return the log-likelihood of each of round `kernels`, (kernels,), by which `luma` (H, W) in [0, 1] was blurred.

    It was not sampled after that. Otherwise it is as in `edge_log_likelihoods`.
    """
    ideal, model = np.stack([draw_profiles(kernel.sum(0), 0.0, 1.0) for kernel in kernels]), EdgeModel()
    profiles = [find_profiles(*pair, most_noise) for pair in _both_axes(luma, content)]
    return _add_axes(profiles, lambda found, _: mixture_log_likelihoods(_thin(found), ideal, model), SCALE, model)


def _add_axes(
    profiles: Sequence[Floats], measure_means: Callable[[Floats, int], Floats], scale: float, model: EdgeModel
) -> Floats | None:
    """Add up the mean log-likelihoods that profiles along both axes have, by their numbers; None for few profiles."""
    count = sum(map(len, profiles))
    if count < _FEWEST:
        return None
    weight = model.weight / scale**2 / (1 + count / model.saturation)
    axes = [(axis, found) for axis, found in zip((1, 0), profiles, strict=True) if len(found)]
    return np.asarray(np.sum([weight * len(found) * measure_means(found, axis) for axis, found in axes], axis=0))


def _thin(profiles: Floats) -> Floats:
    """Return at most `_MOST` of profiles (n, PIXELS)."""
    return profiles[:: math.ceil(len(profiles) / _MOST)]


def find_profiles(luma: Floats, content: Mask | None = None, most_noise: float = 0.0) -> Floats:
    """Return the profiles (n, PIXELS) of upright edges of `luma` (H, W), 0 before the edges and 1 behind them.

    Profiles are steepest in the middle, flat at their ends, and stand out of noise.
    """
    if luma.shape[0] < 3 or luma.shape[1] < PIXELS:
        return np.zeros((0, PIXELS))
    rows, middle, count = luma[1:-1], PIXELS // 2 - 1, luma.shape[1] - PIXELS + 1
    first, second, *_, last_but_one, last = (rows[:, k : k + count] for k in range(PIXELS))
    heights = np.abs((last_but_one + last) - (first + second)) / 2
    down, right = np.nonzero(heights > max(30 / 255, 25 * most_noise))  # few: the rest is done for these alone
    windows, heights = sliding_window_view(rows, PIXELS, 1)[down, right], heights[down, right]
    steps = np.abs(np.diff(windows, axis=-1))
    along = np.abs(luma[2:] - luma[:-2])[down[:, None], right[:, None] + (middle, middle + 1)].max(-1) / 2
    is_edge = steps.argmax(-1) == middle
    is_edge &= (np.maximum(steps[:, 0], steps[:, -1]) < 0.12 * heights) & (along < 0.35 * steps[:, middle])
    if content is not None:
        is_edge &= sliding_window_view(content[1:-1], PIXELS, 1)[down, right].all(-1)
    return normalize_profiles(windows[is_edge])


def normalize_profiles(profiles: Floats) -> Floats:
    """Map the mean of the first two of the pixels (..., PIXELS) to 0, and that of the last two to 1."""
    start, end = profiles[..., :2].mean(-1, keepdims=True), profiles[..., -2:].mean(-1, keepdims=True)
    return np.asarray((profiles - start) / (end - start))


def mixture_log_likelihoods(profiles: Floats, ideal: Floats, model: EdgeModel) -> Floats:
    """Return the mean log-likelihoods (kernels,) of profiles (n, PIXELS).

    The `ideal` ones (kernels, softness, places, PIXELS) are as likely at all places; the shares of softness are fitted.
    """
    observed, flat = torch.from_numpy(profiles).float(), torch.from_numpy(ideal).float().flatten(0, 2)
    precision = 1 / (2 * model.error**2)
    distances = torch.addmm(observed.square().sum(1)[:, None], observed, flat.mT, alpha=-2).add_(flat.square().sum(1))
    fits = distances.mul_(-precision).exp_().reshape(-1, *ideal.shape[:3]).mean(-1)
    fits = fits.transpose(0, 1).double().contiguous()  # (kernels, n, softness)
    even = fits.new_full((len(fits), fits.shape[2], 1), 1 / fits.shape[2])
    shares = even
    for _ in range(25):
        likelihoods = fits @ shares + model.outlier
        shares = shares * (fits.mT @ likelihoods.reciprocal()) + model.evenness * even
        shares = shares / shares.sum(1, keepdim=True)
    return np.asarray((fits @ shares + model.outlier).log().mean((1, 2)).numpy())


def _candidate_log_likelihoods(profiles: Floats, axis: int, scale: float, model: EdgeModel) -> Floats:
    """Return the mean log-likelihood of each candidate (candidates,) by profiles along an axis.

    That of a blur is interpolated between those of its shape with other widths along the axis.
    """
    candidates = make_candidates()
    means = mixture_log_likelihoods(_thin(profiles), _ideal_profiles(scale), model)
    count = len(candidates.resamplers)
    parts, start = [means[:count]], count
    for shape, sizes in _SIZES.items():
        is_such = [isinstance(blur, shape) for blur in candidates.blurs]
        drawn = [shape(*size).covariance[1, 1] ** 0.5 for size in sizes]
        widths = np.sqrt(candidates.variances[is_such, axis].clip(0))
        parts.append(np.interp(widths, drawn, means[start : start + len(sizes)]))
        start += len(sizes)
    return np.concatenate([*parts, means[start:]])


def _both_axes(luma: Floats, content: Mask | None) -> list[tuple[Floats, Mask | None]]:
    """Return the middle rows of an image, and of its content, as they are and transposed."""
    rows = max(2**20 // luma.shape[1], 2 * PIXELS)  # of large photos
    top = max(0, luma.shape[0] - rows) // 2
    luma, content = luma[top : top + rows], None if content is None else content[top : top + rows]
    return [(luma, content), (luma.T, None if content is None else content.T)]


@lru_cache(maxsize=8)
def _ideal_profiles(scale: float) -> Floats:
    """Return profiles of edges behind each resampler, and behind blurs of all shapes and sizes; see `draw_profiles`."""
    named = [draw_profiles(one.profile(scale), 0.0, scale) for one in make_candidates().resamplers]
    gaussians = [draw_profiles(np.ones(1), sigma * scale / SCALE, scale) for sigma in SIGMAS]
    discs = [disc_kernel(radius * scale / SCALE, (scale, scale)) for radius in _RADII]
    lines = [line_kernel(length * scale / SCALE, 0.0, (scale, scale)) for length in _LENGTHS]
    others = [blur.at_scale((scale, scale)) for blur in make_candidates().blurs if type(blur) not in _SIZES]
    kernels = discs + lines + [blur.to_kernel((scale, scale)) for blur in others]
    return np.stack(named + gaussians + [draw_profiles(one.sum(0), 0.0, scale) for one in kernels])


def draw_profiles(taps: Floats, sigma: float, scale: float) -> Floats:
    """Return the profiles (softness, places, PIXELS) of edges behind a kernel (taps,) and a Gaussian of width `sigma`.

    Places are a quarter of a pixel of the large image apart.
    """
    at = (np.arange(PIXELS) - (PIXELS - 1) / 2)[:, None] * scale + np.arange(len(taps)) - (len(taps) - 1) / 2
    at = at - np.arange(-scale / 2, scale / 2, 0.25)[:, None, None]
    widths = np.hypot(SCENE_SOFTNESS, sigma)[:, None, None, None]
    steps = torch.erf(torch.from_numpy(at / (math.sqrt(2) * widths))).numpy()
    return normalize_profiles(0.5 * (1 + steps) @ taps)
