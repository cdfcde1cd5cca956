"""The blur kernel of a photo, chosen among candidates by the smallest expected loss."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from zssr.degradation.resize import Floats
from zssr.estimation.candidates import make_candidates
from zssr.estimation.edges import edge_log_likelihoods
from zssr.estimation.parametric_kernels import Gaussian, bicubic_kernel
from zssr.estimation.periodogram import SMALLEST_SIDE, Mask, frequencies, measure_spectrum
from zssr.estimation.spectrum import spectrum_log_likelihoods
from zssr.geometry import Factors


@dataclass(frozen=True, eq=False)
class KernelEstimate:
    """The blur kernel that a photo seems to have been made with.

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
        In [0, 1]: the probability, by the photo alone, that this kernel costs less than 1 dB against the true one.
    cues
        For each cue that was available ("spectrum", "edges"), whether it agrees.
    reason
        One line.
    """

    kernel: Floats
    scale: Factors
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


def estimate_blur(luma: Floats, scale: Factors, content: Mask | None = None) -> KernelEstimate:
    """Estimate the kernel for `scale` (vertical, horizontal) from `luma` (H, W) in [0, 1], where it has `content`.

    Two cues give each candidate a likelihood: the power spectrum and the sharpness of edges. The answer is not the
    most probable candidate but the kernel with the smallest expected loss: one that is too wide ruins a photo, one that
    is too narrow costs less. Where the cues say little it is bicubic.

    Where the content says little, but all of the image, the borders of the content included, says by both cues that it
    is blurred, then the borders were blurred with it, and that is the answer; it is less sure by the share of content.
    """
    estimate = _estimate_blur(luma, scale, content)
    if content is None or estimate.confidence >= 0.5:
        return estimate
    whole = _estimate_blur(luma, scale, None)
    if whole.blur is None or list(whole.cues.values()) != [True, True]:
        return estimate
    return replace(whole, confidence=whole.confidence * float(content.mean()))


def _estimate_blur(luma: Floats, scale: Factors, content: Mask | None) -> KernelEstimate:
    spectrum = measure_spectrum(luma, content)
    rejection = rejection_reason(luma, spectrum, content)
    if rejection or spectrum is None:
        return _bicubic(scale, 0.0, {}, f"{rejection}: bicubic is assumed")
    cues = {
        "spectrum": spectrum_log_likelihoods(spectrum, luma.size if content is None else int(content.sum())),
        "edges": edge_log_likelihoods(luma, max(scale), content),
    }
    available = {name: log_likelihoods for name, log_likelihoods in cues.items() if log_likelihoods is not None}
    total = np.sum(list(available.values()), axis=0)
    if not np.isfinite(total).all():
        return _bicubic(scale, 0.0, {}, "the likelihoods are not finite: bicubic is assumed")
    blur = minimize_expected_loss(_softmax(total + _log_prior()))
    is_close = make_candidates().losses(blur) < 1.0  # dB
    confidence = float(_softmax(total)[is_close].sum())
    # a cue disagrees if some other candidate is likelier by a factor of exp(3), about 20
    agrees = {name: bool(cue[is_close].max() > cue.max() - 3.0) for name, cue in available.items()}
    reason = _explain(blur, agrees)
    if blur is None:
        return _bicubic(scale, confidence, agrees, reason)
    scaled = blur.at_scale(scale)
    return KernelEstimate(scaled.to_kernel(scale), scale, scaled, confidence, agrees, reason)


def rejection_reason(luma: Floats, spectrum: Floats | None, content: Mask | None = None) -> str:
    """Say why no blur can be estimated from `luma` (H, W) in [0, 1] and its spectrum; empty if one can."""
    if min(luma.shape) < SMALLEST_SIDE:
        return f"the image is smaller than {SMALLEST_SIDE} pixels"
    rows = slice(None, None, max(1, luma.shape[0] // 512))
    seen = luma[rows] if content is None else luma[rows][content[rows]]
    levels = len(np.unique((255 * seen).round()))
    if levels < 16:
        return f"the image has only {levels} levels of brightness"
    if spectrum is None:
        return "the image is flat" if content is None else "the image has too little content"
    radius = frequencies()[0]
    fine, coarse = spectrum[radius > 0.4].mean(), spectrum[radius < 0.12].mean()
    return "the image is mostly noise" if fine > 0.3 * coarse else ""  # up to .03 in photos without noise


def minimize_expected_loss(probabilities: Floats) -> Gaussian | None:
    """Return the blur with the smallest expected loss by the `probabilities` (candidates,); None is bicubic.

    The best candidate is refined by the Nelder-Mead method.
    """
    candidates = make_candidates()
    best = int((candidates.mutual_losses @ probabilities).argmin())
    if best == 0:
        return None
    from scipy.optimize import minimize  # takes a quarter of a second

    blur = candidates.blurs[best - 1]
    start = np.array([math.log(blur.along), math.log(blur.across), blur.angle])
    simplex = start + np.vstack([np.zeros(3), np.diag([0.1, 0.1, 0.2])])
    options: dict[str, object] = {"initial_simplex": simplex, "maxfev": 120}

    def gaussian(at: Floats) -> Gaussian:
        along, across = np.exp(np.clip(at[:2], math.log(0.15), math.log(3.2)))
        return Gaussian(float(along), float(across), float(at[2]))

    def expected_loss(at: Floats) -> float:
        return float(candidates.losses(gaussian(at)) @ probabilities)

    found: Floats = minimize(expected_loss, start, method="Nelder-Mead", options=options).x  # type: ignore[call-overload]
    return Gaussian.from_covariance(gaussian(found).covariance)


def _softmax(values: Floats) -> Floats:
    return np.asarray(torch.softmax(torch.from_numpy(values), 0))


def _log_prior() -> Floats:
    """Return the logarithms of the prior probabilities (candidates,): .99 is that of bicubic."""
    gaussians = len(make_candidates().blurs)
    return np.asarray(np.log(np.r_[0.99, np.full(gaussians, (1 - 0.99) / gaussians)]))


def _explain(blur: Gaussian | None, agrees: dict[str, bool]) -> str:
    for_, against = ([name for name, agree in agrees.items() if agree is side] for side in (True, False))
    choice = "bicubic downsampling" if blur is None else "a Gaussian blur"
    return f"{' and '.join(for_) or 'no cue alone'} for {choice}" + "".join(f", {name} against" for name in against)


def _bicubic(scale: Factors, confidence: float, cues: dict[str, bool], reason: str) -> KernelEstimate:
    return KernelEstimate(bicubic_kernel(scale), scale, None, confidence, cues, reason)
