"""The fitted constants of zssr/estimation: fit them again, and print them beside those in the code."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks import resamplers, scenes
from benchmarks.blind import Case, downsample_by_kernel, measure_psnr
from benchmarks.protocol import (
    Picture,
    add_gaussian_noise,
    compress_jpeg,
    crop_middle,
    load_ground_truths,
)
from zssr.color import luma
from zssr.config import Config
from zssr.degradation.resamplers import BICUBIC
from zssr.degradation.resize import Floats
from zssr.estimation.candidates import make_candidates
from zssr.estimation.edges import EdgeModel, edge_log_likelihoods
from zssr.estimation.kernel_loss import KernelLoss
from zssr.estimation.noise_level import bound_noise
from zssr.estimation.parametric_kernels import SCALE, Gaussian
from zssr.estimation.periodogram import measure_spectrum
from zssr.estimation.resampler_facts import PROBABILITIES
from zssr.estimation.spectrum import spectrum_log_likelihoods

Blur = Gaussian | None  # None is bicubic


def run(data: Path, what: str, config: Config, limit: int | None) -> None:
    """Fit one group of constants, with the prior alone; a `limit` takes fewer samples or photos."""
    WHAT[what](data, config.replace(num_epochs=0, self_ensemble=1), limit)


def fit_costs(data: Path, config: Config, limit: int | None) -> None:
    """Fit `KernelLoss` to the loss in dB of crops of Set14 that are upscaled with wrong kernels."""
    rng = np.random.default_rng(0)
    crops = [crop_middle(truth, 192) for _, truth in load_ground_truths(data / "Set14")]
    assumed, true, losses = [], [], []
    for k in range(limit or 126):
        truth, blur = crops[k % len(crops)], _draw_blur(rng, bicubic=0.25)
        kernel = _to_kernel(blur, SCALE)
        case = Case("", truth, downsample_by_kernel(truth, SCALE, kernel), kernel)
        best = measure_psnr(case, SCALE, config, kernel)
        for wrong in [_perturb(blur, rng) for _ in range(7)]:
            assumed.append(_sample(wrong))
            true.append(_sample(blur))
            losses.append(best - measure_psnr(case, SCALE, config, _to_kernel(wrong, SCALE)))
    print(f"{len(losses)} crops upscaled with wrong kernels lose {np.mean(losses):.2f} dB on the mean.\n")
    kernels, measured = (np.stack(assumed), np.stack(true)), np.array(losses)
    fits = [fit_kernel_loss(cutoff, *kernels, measured) for cutoff in (0.16, 0.18, 0.2, 0.22, 0.24, 0.26)]

    def predict(model: KernelLoss) -> Floats:
        return _predict(model, *(model.responses(one) for one in kernels))

    fitted = min(fits, key=lambda model: float(np.square(predict(model) - measured).mean()))
    for name, model in (("fitted", fitted), ("in the code", KernelLoss())):
        error = float(np.sqrt(np.square(predict(model) - measured).mean()))
        correlation = np.corrcoef(predict(model), measured)[0, 1]
        print(f"{name}: {model}: correlation {correlation:.2f}, error {error:.2f} dB")


def compare_edge_models(data: Path, _: Config, limit: int | None) -> None:
    """Print how probable the right resampler is on Set5 and Set14, all being as frequent, for several edge models."""
    code = EdgeModel()
    numbers = [
        ("error", 0.04),
        ("error", 0.09),
        ("weight", 0.0),
        ("weight", code.weight / 2),
        ("weight", 2 * code.weight),
    ]
    models = {"in the code": code} | {f"{name} {value:g}": replace(code, **{name: value}) for name, value in numbers}
    print(f"| scale | {' | '.join(models)} |\n{'|---' * (len(models) + 1)}|")
    for scale in (2, 3, 4):
        cases = [
            (case, k)
            for k, name in enumerate(PROBABILITIES)
            for folder in ("Set5", "Set14")
            for case in resamplers.make_cases(data / folder, scale, name)[:limit]
        ]
        rows = [_score_edge_models(_luma(case.small), float(scale), k, list(models.values())) for case, k in cases]
        print(f"| {scale} | {' | '.join(f'{mean:.3f}' for mean in np.mean(rows, axis=0))} |", flush=True)


def _score_edge_models(shades: Floats, scale: float, right: int, models: Sequence[EdgeModel]) -> list[float]:
    """Return the logarithm of the probability of the right resampler by each of the models."""
    noise = bound_noise(torch.from_numpy(shades).float()[None, None]) / 255
    spectrum = measure_spectrum(shades)
    if spectrum is None:
        return [math.nan] * len(models)
    even = spectrum_log_likelihoods(spectrum, shades.size, scale, noise) + make_candidates().even_prior()
    cues = [edge_log_likelihoods(shades, scale, None, noise, model) for model in models]
    totals = [torch.from_numpy(even if cue is None else even + cue) for cue in cues]
    return [float(torch.log_softmax(total, 0)[right]) for total in totals]


def compare_thresholds(data: Path, config: Config, limit: int | None) -> None:
    """Print what it gains to remove little noise, and artifacts of high JPEG qualities, on crops of Set14."""
    truths = [crop_middle(truth, 256) for _, truth in load_ground_truths(data / "Set14")][:limit]
    clean = [downsample_by_kernel(truth, 2, None) for truth in truths]

    def gain(inputs: Sequence[Picture], noise: float, jpeg: int | str) -> float:
        removed, left = config.replace(noise=noise, jpeg=jpeg), config.replace(noise=0, jpeg="off")
        cases = [Case("", truth, small, None) for truth, small in zip(truths, inputs, strict=True)]
        return float(np.mean([measure_psnr(c, 2, removed, None) - measure_psnr(c, 2, left, None) for c in cases]))

    print("| noise | gain of removal dB |\n|---|---|")
    for sigma in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0):
        noisy = [add_gaussian_noise(small, sigma, seed) for seed, small in enumerate(clean)]
        print(f"| {sigma:g} | {gain(noisy, sigma, 'off'):+.2f} |", flush=True)
    print("\n| JPEG quality | gain of removal dB |\n|---|---|")
    for quality in (85, 90, 93, 95, 97, 99):
        compressed = [np.asarray(compress_jpeg(small, quality)) for small in clean]
        print(f"| {quality} | {gain(compressed, 0, quality):+.2f} |", flush=True)


WHAT = {
    "costs": fit_costs,
    "edges": compare_edge_models,
    "resamplers": resamplers.measure_losses,
    "scenes": lambda data, _config, _limit: scenes.run(data),
    "thresholds": compare_thresholds,
}


def fit_kernel_loss(cutoff: float, assumed: Floats, true: Floats, losses: Floats) -> KernelLoss:
    """Fit the other constants to the losses (n,) of pairs of kernels (n, side, side) by least squares."""
    responses = [KernelLoss(cutoff).responses(kernels) for kernels in (assumed, true)]

    def model(at: Floats) -> KernelLoss:
        return KernelLoss(cutoff, round(float(at[0]), 2), round(math.exp(at[1]), 4), round(math.exp(at[2]), 1))

    def error(at: Floats) -> float:
        loss = KernelLoss(cutoff, float(at[0]), math.exp(at[1]), math.exp(at[2]))
        return float(np.square(_predict(loss, *responses) - losses).mean())

    start = np.array([-2.0, math.log(0.01), math.log(15)])
    return model(minimize(error, start, method="Nelder-Mead", options={"maxfev": 150}).x)


def _predict(model: KernelLoss, assumed: Floats, true: Floats) -> Floats:
    """Return the loss in dB of pairs of `responses` (n, frequencies): (n,)."""
    return np.array([model.decibels(*pair)[0, 0] for pair in zip(assumed[:, None], true[:, None], strict=True)])


def _draw_blur(rng: np.random.Generator, bicubic: float) -> Blur:
    """Draw bicubic with this probability, otherwise a Gaussian of any width and direction."""
    if rng.random() < bicubic:
        return None
    across, along = np.sort(np.exp(rng.uniform(math.log(0.35), math.log(2.6), 2)))
    return Gaussian(float(along), float(across), rng.uniform(0, math.pi))


def _perturb(blur: Blur, rng: np.random.Generator) -> Blur:
    """Draw a wrong blur, near the true one three times in four."""
    if rng.random() < 0.25:
        return _draw_blur(rng, bicubic=0.25)
    near = blur or Gaussian(0.45, 0.45)
    along, across = np.exp(rng.normal(0, 0.35, 2))
    return Gaussian(near.along * along, near.across * across, near.angle + rng.normal(0, 0.4))


def _to_kernel(blur: Blur, scale: int) -> Floats | None:
    """Return the kernel of a photo that has `blur` at x2; None is bicubic."""
    scales = (float(scale), float(scale))
    return None if blur is None else blur.at_scale(scales).to_kernel(scales)


def _sample(blur: Blur) -> Floats:
    return np.pad(BICUBIC.to_kernel((SCALE, SCALE)), 8) if blur is None else blur.sample((24, 24))


def _luma(picture: NDArray[np.uint8]) -> Floats:
    return luma(torch.from_numpy(picture.copy()).permute(2, 0, 1) / 255)
