"""Unknown blur kernels: PSNR on Y with bicubic assumed, the kernel estimated, and the true kernel."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.protocol import (
    Picture,
    compute_psnr_and_ssim,
    downsample,
    load_ground_truths,
    resize_bicubic,
    to_picture,
)
from zssr import KernelEstimate, estimate_kernel, upscale
from zssr.config import Config
from zssr.degradation import Degradation
from zssr.degradation.blur import validate_kernel
from zssr.degradation.kernel_shapes import centered_side
from zssr.degradation.resamplers import Resampler
from zssr.degradation.resize import Floats
from zssr.estimation.parametric_kernels import Gaussian, ParametricKernel
from zssr.io.kernels import load_kernel
from zssr.request import KernelLike

Draw = Callable[[np.random.Generator, int], Floats]
"""Draws a kernel (height, width) for a scale."""


@dataclass(frozen=True)
class Case:
    """A small photo, what it was made from, and its kernel or resampler; None is bicubic."""

    name: str
    truth: Picture
    small: Picture
    kernel: Floats | Resampler | None


def draw_gaussian(rng: np.random.Generator, scale: int) -> Floats:
    """Draw a Gaussian of 0.6 to 2.2 pixels along its axes at x2."""
    along, across = rng.uniform(0.6, 2.2, 2) * scale / 2  # pixels of the large image
    return Gaussian(along, across, rng.uniform(0, np.pi)).to_kernel((scale, scale))


def draw_noisy_gaussian(rng: np.random.Generator, scale: int) -> Floats:
    """Draw a kernel of 12x12 pixels at x2, like those of KernelGAN's benchmark (Bell-Kligler et al. 2019).

    It is a Gaussian with a variance of 0.35 to 10 square pixels along its axes, whose weights are off by up to 25 %.
    """
    along, across = np.sqrt(rng.uniform(0.35, 10, 2)) * scale / 2
    side = centered_side(2.75 * scale, scale)
    kernel = Gaussian(along, across, rng.uniform(0, np.pi)).sample((side, side))
    noisy = kernel * rng.uniform(0.75, 1.25, kernel.shape)
    return np.asarray(noisy / noisy.sum())


def load_cases(data: Path, name: str, scale: int, seed: int | None, draw: Draw = draw_gaussian) -> list[Case]:
    """Return the photos of the set `name`: of blind/`name` if that is there, otherwise downsampled here.

    Downsampled by bicubic, or, with a `seed`, by random kernels that `draw` makes.
    """
    blind = data / "blind" / name
    if blind.is_dir():
        truths = load_ground_truths(data / name.split("_")[0])
        return [_load_case(photo, truth, blind, scale) for photo, truth in truths]
    truths = load_ground_truths(data / name)
    if seed is None:
        return [_make_case(photo, truth, scale, None) for photo, truth in truths]
    rng = np.random.default_rng(seed)
    return [_make_case(photo, truth, scale, draw(rng, scale)) for photo, truth in truths]


def _load_case(name: str, truth: Picture, folder: Path, scale: int) -> Case:
    small = np.array(Image.open(folder / f"{name}_lr.png").convert("RGB"))
    truth = truth[: scale * small.shape[0], : scale * small.shape[1]]
    return Case(name, truth, small, validate_kernel(load_kernel(folder / f"{name}_kernel.npy")))


def _make_case(name: str, truth: Picture, scale: int, kernel: Floats | None) -> Case:
    truth, small = downsample(truth, scale)
    return Case(name, truth, small if kernel is None else downsample_by_kernel(truth, scale, kernel), kernel)


def downsample_by_kernel(truth: Picture, scale: int, kernel: Floats | None) -> Picture:
    """Downsample a picture by a kernel (None is bicubic), in 8 bits; its sides are multiples of `scale`."""
    planes = torch.from_numpy(truth.astype(np.float64)).permute(2, 0, 1)[None]
    size = truth.shape[0] // scale, truth.shape[1] // scale
    return to_picture(Degradation(kernel, (float(scale), float(scale))).downsample(planes, size)[0])


def measure_width_error(blur: ParametricKernel | Resampler | None, kernel: Floats | Resampler | None) -> float:
    """Return the largest error in pixels of the square root of a blur's covariance; NaN if one is a resampler."""
    if not isinstance(kernel, np.ndarray) or not isinstance(blur, ParametricKernel):
        return float("nan")
    truth = Gaussian.from_covariance(measure_covariance(kernel))
    return float(np.abs(np.linalg.eigvalsh(truth.covariance_root - blur.covariance_root)).max())


def measure_covariance(kernel: Floats) -> Floats:
    """Return the covariance (2, 2) of a kernel in (row, column), in square pixels."""
    y, x = (np.arange(n) - kernel.sum(1 - axis) @ np.arange(n) for axis, n in enumerate(kernel.shape))
    mixed = y @ kernel @ x
    return np.array([[kernel.sum(1) @ y**2, mixed], [mixed, kernel.sum(0) @ x**2]])


def run(
    data: Path, sets: list[str], scales: list[int], seed: int | None, config: Config, draw: Draw = draw_gaussian
) -> None:
    """Print one table for each set and scale; with `config.num_epochs` 0 the prior alone is applied."""
    columns = ["picture", "bicubic", "bicubic assumed", "auto", "true kernel", "auto - assumed", "error px", "seconds"]
    for name in sets:
        for scale in scales:
            print(
                f"### {name} x{scale}\n\n| {' | '.join(columns)} | estimate |\n{'|---' * (len(columns) + 1)}|",
                flush=True,
            )
            rows = []
            for case in load_cases(data, name, scale, seed, draw):
                row, estimate = _measure_case(case, scale, config)
                rows.append(row)
                print(f"| {case.name} | {_format_row(row)} | {estimate} |", flush=True)
            means = [float(mean) for mean in np.nanmean(rows, axis=0)]
            print(f"| **mean** | {_format_row(means)} | |")
            closed = (means[2] - means[1]) / (means[3] - means[1]) if means[3] > means[1] else float("nan")
            print(f"\nWorst against assuming bicubic: {min(r[4] for r in rows):+.2f} dB. ", end="")
            print("" if np.isnan(closed) else f"Closed of the gap: {100 * closed:.0f} %.", flush=True)


def measure_psnr(case: Case, scale: int, config: Config, kernel: KernelLike) -> float:
    """Return PSNR on Y in dB of the photo upscaled with `kernel`; None is bicubic."""
    result = upscale(case.small, scale, size=case.truth.shape[:2], kernel=kernel, config=config)
    return compute_psnr_and_ssim(result, case.truth, scale)[0]


def _measure_case(case: Case, scale: int, config: Config) -> tuple[list[float], KernelEstimate]:
    start = time.perf_counter()
    estimate = estimate_kernel(case.small, scale)
    seconds = time.perf_counter() - start
    bicubic = compute_psnr_and_ssim(resize_bicubic(case.small, case.truth.shape[:2], scale), case.truth, scale)[0]
    assumed = measure_psnr(case, scale, config, None)
    auto = assumed if estimate.blur is None else measure_psnr(case, scale, config, "auto")
    true = assumed if case.kernel is None else measure_psnr(case, scale, config, case.kernel)
    width_error = measure_width_error(estimate.blur, case.kernel)
    return [bicubic, assumed, auto, true, auto - assumed, width_error, seconds], estimate


def _format_row(row: list[float]) -> str:
    *psnrs, gain, error, seconds = row
    shown = "" if np.isnan(error) else f"{error:.2f}"
    return " | ".join([*(f"{psnr:.2f}" for psnr in psnrs), f"{gain:+.2f}", shown, f"{seconds:.2f}"])
