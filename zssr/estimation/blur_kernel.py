"""The blur kernel of a photo, chosen among candidates by the smallest expected loss."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zssr.degradation.resamplers import BICUBIC, Resampler
from zssr.degradation.resize import Floats
from zssr.estimation.candidates import Blur, make_candidates, measure_risks
from zssr.estimation.edges import edge_log_likelihoods
from zssr.estimation.noise_level import WEAKEST_NOISE, bound_noise, estimate_noise_level
from zssr.estimation.parametric_kernels import SCALE, Disc, Gaussian, LensBlur, Line, ParametricKernel, Sharpening
from zssr.estimation.periodogram import SMALLEST_SIDE, Mask, Spectrum, frequencies, measure_spectrum
from zssr.estimation.spectrum import spectrum_log_likelihoods
from zssr.geometry import Factors

# prior probabilities of all kernels of a shape, chosen by hand such that bicubic is hardly ever lost
_PRIOR: dict[type[ParametricKernel], float] = {
    Gaussian: 0.003,
    Disc: 0.0001,
    Line: 0.0004,
    Sharpening: 0.02,
    LensBlur: 0.005,
}
_SAME_LOSS = 0.05  # dB
_LEAST_GAIN = 0.1  # dB that another kernel than bicubic must be expected to gain, for each level of noise once more
_COMPASS_STEPS = (0.12, 0.12, 0.06, 0.03, 0.015)  # pixels, and radians; candidates are twice as far apart
_LEAST_CONFIDENCE = 0.05  # with less it is bicubic, unless much is to be gained:
_MUCH_GAIN = 0.4  # dB
_CLEAR = 0.25  # confidence from which the photo shows its resampler, or that it was sharpened if a cue disagrees
_SURE = 0.5  # confidence from which the content says enough
_CLOSE = 0.15  # dB that kernels lose, compared with the nearest candidate, that count as the right one


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
        The kernel as a Gaussian, a disc, a line, bicubic after a lens blur or with an unsharp mask, a resampler, or the
        mean of two where the photo does not show which of them it was; None is MATLAB's bicubic.
    confidence
        In [0, 1]: the probability that this kernel costs less than 0.15 dB against the true one, if all resamplers were
        as frequent, also after a lens blur, and other blurs as frequent as resamplers; halved if a cue disagrees. That
        of a mean is the probability that one of its resamplers does.
        `python -m benchmarks reliability` compares it with the share of estimates that are right.
    cues
        For each cue that was available ("spectrum", "edges"), whether it agrees.
    reason
        One line.
    likeliest
        The five likeliest resamplers with their probabilities, of which "gaussian", "disc", "line" and "lens blur"
        stand for all blurs of that shape, "sharpened bicubic" for all unsharp masks; empty if nothing could be
        estimated. Where blurs are wrong by little or much, the likeliest need not be assumed.
    """

    kernel: Floats
    scale: Factors
    blur: ParametricKernel | Resampler | None
    confidence: float
    cues: dict[str, bool]
    reason: str
    likeliest: tuple[tuple[str, float], ...] = ()

    @property
    def assumed(self) -> Floats | Resampler | None:
        """What a `Degradation` takes for it: the kernel or the resampler; None is bicubic."""
        return self.kernel if isinstance(self.blur, ParametricKernel) else self.blur

    @property
    def is_doubtful(self) -> bool:
        """Whether it is a resampler that is assumed for the little that may be lost, not by what the photo shows."""
        return isinstance(self.blur, Resampler) and self.confidence < _CLEAR

    def __str__(self) -> str:
        return f"{self.blur or BICUBIC} (confidence {self.confidence:.1f})"


def estimate_blur(
    luma: Floats, scale: Factors, content: Mask | None = None, *, is_compressed: bool = False
) -> KernelEstimate:
    """Estimate the kernel for `scale` (vertical, horizontal) from `luma` (H, W) in [0, 1], where it has `content`.

    Two cues give each candidate a likelihood: the power spectrum and the profiles of edges. The answer is not the
    most probable candidate but the kernel with the smallest expected loss: one that is too wide ruins a photo, one that
    is too narrow costs less. Where the cues say little, or little is to be gained, it is bicubic, or
    at large scales what does less harm.

    JPEG compression takes high frequencies away and adds others, so a photo that `is_compressed` does not show which
    resampler it was: that is taken to be bicubic, and only a wider Gaussian blur is looked for.

    Where the content is not sure, but all of the image, the borders of the content included, says by both cues and more
    surely that it is blurred, then the borders were blurred with it, and that is the answer, less sure by the share of
    content; unless both cues say of the content that it is not. What both cues deny is not assumed: that is bicubic.
    """
    estimate = _estimate_blur(luma, scale, content, is_compressed)
    is_sharp = _has_two_cues(estimate) and not _is_blurred(estimate)
    if content is None or estimate.confidence >= _SURE or is_sharp:
        return estimate
    whole = _estimate_blur(luma, scale, None, is_compressed)
    if _has_two_cues(whole) and _is_blurred(whole) and whole.confidence > estimate.confidence:
        return replace(whole, confidence=whole.confidence * float(content.mean()))
    return estimate


def _is_blurred(estimate: KernelEstimate) -> bool:
    """Tell whether an estimate is a blur, and not a resampler or an unsharp mask."""
    return isinstance(estimate.blur, Gaussian | Disc | Line | LensBlur)


def _has_two_cues(estimate: KernelEstimate) -> bool:
    """Tell whether both cues agree with an estimate."""
    return list(estimate.cues.values()) == [True, True]


def _estimate_blur(luma: Floats, scale: Factors, content: Mask | None, is_compressed: bool) -> KernelEstimate:
    spectrum = measure_spectrum(luma, content)
    rejection = rejection_reason(luma, spectrum, content)
    if rejection or spectrum is None:
        return _bicubic(scale, 0.0, {}, f"{rejection}: bicubic is assumed")
    pixels, factor = luma.size if content is None else int(content.sum()), max(SCALE, *scale)
    most_noise = math.inf if is_compressed else bound_noise(*_to_tensors(luma, content)) / 255
    cues = {
        "spectrum": spectrum_log_likelihoods(spectrum, pixels, factor, most_noise),
        "edges": edge_log_likelihoods(luma, factor, content, 0.0 if is_compressed else most_noise),
    }
    available = {name: log_likelihoods for name, log_likelihoods in cues.items() if log_likelihoods is not None}
    total = np.sum(list(available.values()), axis=0)
    if not np.isfinite(total).all():
        return _bicubic(scale, 0.0, {}, "the likelihoods are not finite: bicubic is assumed")
    candidates = make_candidates()
    # noise is more frequent than aliasing, which must be seen more clearly where there may be noise
    total -= np.where(candidates.is_aliased, min(2.0, 255 * most_noise / 2), 0.0)
    posterior = _softmax(total + candidates.log_prior(_PRIOR, is_compressed))
    noise = estimate_noise_level(*_to_tensors(luma, content))
    is_noisy = noise >= WEAKEST_NOISE and not is_compressed
    blur = minimize_expected_loss(posterior, factor, noise if is_noisy else 0.0)
    probabilities = _softmax(total + candidates.even_prior(is_compressed))
    confidence, agrees = _compare_cues(blur, available, probabilities, factor)
    is_unlikely = confidence < _LEAST_CONFIDENCE and _expect_gain(blur, posterior, factor) < _MUCH_GAIN
    as_bicubic = _compare_cues(None, available, probabilities, factor)
    is_denied = list(agrees.values()) == [False, False]  # it lies between cues that contradict each other
    if isinstance(blur, Sharpening) and not all(agrees.values()):  # the halos may be the scene's own
        is_denied = confidence < _CLEAR or sum(agrees.values()) <= sum(as_bicubic[1].values())
    if is_unlikely or is_denied:
        blur, (confidence, agrees) = None, as_bicubic
    likeliest = _rank(probabilities)
    reason = _explain(blur, agrees)
    if blur is None:
        return _bicubic(scale, confidence, agrees, reason, likeliest)
    scaled = blur if isinstance(blur, Resampler) else blur.at_scale(scale)
    return KernelEstimate(scaled.to_kernel(scale), scale, scaled, confidence, agrees, reason, likeliest)


def _expect_gain(blur: Blur | None, probabilities: Floats, scale: float) -> float:
    """Return the dB that `blur` is expected to gain over bicubic."""
    losses = [make_candidates().losses(one or BICUBIC, scale) for one in (None, blur)]
    return float((losses[0] - losses[1]) @ probabilities)


def _compare_cues(
    blur: Blur | None, cues: Mapping[str, Floats], probabilities: Floats, scale: float
) -> tuple[float, dict[str, bool]]:
    """Return the confidence in `blur`, and which cues agree.

    A cue disagrees if it finds a candidate likelier by a factor of exp(3), about 20, than all as good as `blur`.
    """
    parts = blur.parts if isinstance(blur, Resampler) else (blur or BICUBIC,)
    losses = [make_candidates().losses(part, scale) for part in parts]
    is_close = np.any([one < one.min() + _CLOSE for one in losses], axis=0)
    agrees = {name: bool(cue[is_close].max() > cue.max() - 3.0) for name, cue in cues.items()}
    return float(probabilities[is_close].sum()) * 0.5 ** list(agrees.values()).count(False), agrees


def _rank(probabilities: Floats) -> tuple[tuple[str, float], ...]:
    """Return the five likeliest resamplers, and all blurs of a shape as one of them, with their probabilities."""
    candidates, together = make_candidates(), Counter[str]()
    names = [one.name for one in candidates.resamplers] + [one.shape for one in candidates.blurs]
    for name, probability in zip(names, probabilities.tolist(), strict=True):
        together[name] += probability
    return tuple(together.most_common(5))


def rejection_reason(luma: Floats, spectrum: Spectrum | None, content: Mask | None = None) -> str:
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
    fine, coarse = spectrum.power[radius > 0.4].mean(), spectrum.power[radius < 0.12].mean()
    return "the image is mostly noise" if fine > 0.3 * coarse else ""  # up to .03 in photos without noise


def minimize_expected_loss(probabilities: Floats, scale: float = SCALE, noise: float = 0.0) -> Blur | None:
    """Return the blur with the smallest expected loss by the `probabilities` (candidates,); None is bicubic.

    The more `noise` there is, a standard deviation in 0 to 255, the more must be expected to be gained. What is worse
    than bicubic enlargement counts more (see `Candidates.risks`). Of those with nearly the same loss it is the
    likeliest. The best blur is refined by compass search (Kolda, Lewis and Torczon 2003, sec. 1).
    """
    candidates = make_candidates()
    expected = measure_risks(scale) @ probabilities
    if expected[0] < expected.min() + _LEAST_GAIN * (1 + noise):
        return None
    likely = np.r_[probabilities, np.zeros(len(candidates.means))]
    best = int(np.where(expected < expected.min() + _SAME_LOSS, likely, -1).argmax())
    blur = candidates.assumable[best]
    if isinstance(blur, Resampler):
        return blur if best else None
    for step in _COMPASS_STEPS:
        around = blur.neighbors(step)
        blur = around[int((candidates.blur_losses(around) @ probabilities).argmin())]
    return Gaussian.from_covariance(blur.covariance) if isinstance(blur, Gaussian) else blur


def _softmax(values: Floats) -> Floats:
    return np.asarray(torch.softmax(torch.from_numpy(values), 0))


def _to_tensors(luma: Floats, content: Mask | None) -> tuple[Tensor, Tensor | None]:
    """Return an image (1, 1, H, W), and where it has content."""
    image = torch.from_numpy(luma.astype(np.float32))[None, None]
    return image, None if content is None else torch.from_numpy(content)


def _explain(blur: Blur | None, agrees: dict[str, bool]) -> str:
    for_, against = ([name for name, agree in agrees.items() if agree is side] for side in (True, False))
    choice = blur.phrase if isinstance(blur, ParametricKernel) else f"{blur or BICUBIC} downsampling"
    return f"{' and '.join(for_) or 'no cue alone'} for {choice}" + "".join(f", {name} against" for name in against)


def _bicubic(
    scale: Factors,
    confidence: float,
    cues: dict[str, bool],
    reason: str,
    likeliest: tuple[tuple[str, float], ...] = (),
) -> KernelEstimate:
    return KernelEstimate(BICUBIC.to_kernel(scale), scale, None, confidence, cues, reason, likeliest)
