"""The kernel that made a photo small, from the photo: cues, and a decision by expected loss."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from zssr.color import luma
from zssr.degradation.resize import Floats
from zssr.errors import ImageError
from zssr.estimation import edges, spectrum
from zssr.estimation.candidates import Gaussian, bicubic_kernel, candidates
from zssr.images import ImageLike, load
from zssr.io.limits import Limits
from zssr.request import Scale, output_size

Scales = tuple[float, float]

_BICUBIC_PRIOR = 0.99
_CLOSE = 1.0  # dB: what an answer may cost and still be called right
_CONTRADICTION = 3.0  # of the logarithm of a likelihood: 1 to 20
_FEWEST_LEVELS = 16
_WIDTHS = math.log(0.15), math.log(3.2)
_MOST_TRIALS = 120


@dataclass(frozen=True, eq=False)
class KernelEstimate:
    """How a photo seems to have been made small.

    Attributes
    ----------
    kernel
        (height, width), summing to one, in pixels of the large image; its middle is the center of a block of
        `scale` x `scale` pixels.
    scale
        The factors (vertical, horizontal) that the kernel belongs to.
    blur
        The kernel as a Gaussian; None is MATLAB's bicubic.
    confidence
        In [0, 1]: how probable it is, by the photo alone, that assuming this kernel costs less than 1 dB.
    cues
        For each witness that had something to say, whether it agrees.
    reason
        One line.
    """

    kernel: Floats
    scale: Scales
    blur: Gaussian | None
    confidence: float
    cues: dict[str, bool]
    reason: str

    def __str__(self) -> str:
        name = "bicubic"
        if self.blur is not None:
            angle = round(math.degrees(self.blur.angle)) % 180
            name = f"gaussian {self.blur.along:.1f}x{self.blur.across:.1f} px at {angle} deg"
        return f"{name} (confidence {self.confidence:.1f})"


def estimate_kernel(
    image: ImageLike,
    scale: Scale = 2,
    *,
    max_megabytes: float = 100.0,
) -> KernelEstimate:
    """Estimate from a photo the blur kernel by which it was made small.

    Two cues weigh bicubic and some 400 Gaussians against each other: the photo's power spectrum, and its steepest
    edges. The answer is what costs least in expectation, so where they have little to say it is bicubic.

    Parameters
    ----------
    image
        One image of any kind that `upscale` takes.
    scale
        A number of at least 1, or a pair (vertical, horizontal): what the kernel is for.
    max_megabytes
        Larger files are refused.

    Raises
    ------
    ZssrError
        One sentence about what is wrong: `ImageError` or `ConfigError`.
    """
    photos = load(image, Limits(max_megabytes)).photos
    if len(photos) != 1:
        raise ImageError(f"image: a batch of {len(photos)} has no one kernel; give its images one by one")
    factors, _ = output_size(photos[0].size, scale, None)
    return estimate_blur(luma(photos[0].middle()[0]), factors)


def estimate_blur(luma: Floats, scale: Scales) -> KernelEstimate:
    """Estimate the kernel for `scale` (vertical, horizontal) from `luma` (H, W) in [0, 1].

    Each witness weighs all hypotheses by what it sees. The answer is not the likeliest of them but the one with the
    smallest expected loss: a kernel assumed too wide ruins a photo, and one assumed too narrow costs less.
    """
    unfit = _unfit(luma)
    if unfit:
        return _bicubic(scale, 0.0, {}, f"{unfit}: bicubic is assumed")
    testimonies = {
        "spectrum": spectrum.spectrum_log_likelihoods(luma),
        "edges": edges.edge_log_likelihoods(luma, max(scale)),
    }
    heard = {name: said for name, said in testimonies.items() if said is not None}
    count = len(candidates().kernels)
    prior = np.log(np.r_[_BICUBIC_PRIOR, np.full(count - 1, (1 - _BICUBIC_PRIOR) / (count - 1))])
    alone = np.sum(list(heard.values()), axis=0)
    if not np.isfinite(alone).all():
        return _bicubic(scale, 0.0, {}, "what the cues say is not finite: bicubic is assumed")
    blur = _decided(softmax(alone + prior))
    costs = _costs(blur)
    confidence = float(softmax(alone)[costs < _CLOSE].sum())
    agree = {name: bool(said[costs < _CLOSE].max() > said.max() - _CONTRADICTION) for name, said in heard.items()}
    for_, against = ([name for name, agrees in agree.items() if agrees is side] for side in (True, False))
    said = "shrinking by bicubic" if blur is None else "a Gaussian blur"
    reason = f"{' and '.join(for_) or 'no witness alone'} for {said}" + "".join(f", {name} against" for name in against)
    if blur is None:
        return _bicubic(scale, confidence, agree, reason)
    larger = blur.at_scale(scale)
    return KernelEstimate(larger.kernel(scale), scale, larger, confidence, agree, reason)


def _bicubic(scale: Scales, confidence: float, agree: dict[str, bool], reason: str) -> KernelEstimate:
    return KernelEstimate(bicubic_kernel(scale), scale, None, confidence, agree, reason)


def _unfit(luma: Floats) -> str:
    """Say why nothing can be learned from an image; nothing if something can."""
    if min(luma.shape) < spectrum.SMALLEST:
        return f"the image is smaller than {spectrum.SMALLEST} pixels"
    levels = len(np.unique((255 * luma[:: max(1, luma.shape[0] // 512)]).round()))
    few = f"the image has only {levels} levels of brightness" if levels < _FEWEST_LEVELS else ""
    return few or spectrum.rejection_reason(luma)


def _costs(blur: Gaussian | None) -> Floats:
    """Return the loss in dB of assuming `blur` under each hypothesis."""
    known = candidates()
    costs: Floats = known.own_costs[:1] if blur is None else known.costs(blur.sampled(known.sides)[None])
    return np.asarray(costs[0])


def _decided(probabilities: Floats) -> Gaussian | None:
    """Return the blur with the smallest expected loss: the best of all hypotheses, and from there downhill."""
    best = int((candidates().own_costs @ probabilities).argmin())
    if best == 0:
        return None
    blur = candidates().blurs[best - 1]
    start = np.array([math.log(blur.along), math.log(blur.across), blur.angle])
    simplex = start + np.vstack([np.zeros(3), np.diag([0.1, 0.1, 0.2])])
    options: dict[str, Any] = {"initial_simplex": simplex, "maxfev": _MOST_TRIALS}

    def gaussian(at: Floats) -> Gaussian:
        along, across = np.exp(np.clip(at[:2], *_WIDTHS))
        return Gaussian(float(along), float(across), float(at[2]))

    def expected_loss(at: Floats) -> float:
        return float(_costs(gaussian(at)) @ probabilities)

    found: Floats = minimize(expected_loss, start, method="Nelder-Mead", options=options).x  # type: ignore[call-overload]
    return Gaussian.from_covariance(gaussian(found).covariance)
