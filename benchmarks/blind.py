"""Unknown blur kernels: PSNR on Y with bicubic assumed, the kernel estimated, and the true kernel."""

import time
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
from zssr.api import Upscaler, estimate_kernel
from zssr.config import Config
from zssr.degradation import Degradation
from zssr.degradation.blur import validate_kernel
from zssr.degradation.resize import Floats
from zssr.estimation.blur_kernel import KernelEstimate
from zssr.estimation.parametric_kernels import Gaussian
from zssr.io.kernels import load_kernel
from zssr.request import KernelLike, Request

_NARROWEST, _WIDEST = 0.6, 2.2  # of random kernels at x2, in pixels of the large image


@dataclass(frozen=True)
class Case:
    """A small photo, what it was made from, and how; a kernel of None is bicubic."""

    name: str
    truth: Picture
    small: Picture
    kernel: Floats | None


def cases(data: Path, name: str, scale: int, seed: int | None) -> list[Case]:
    """Return the photos of the set `name`: of blind/`name` if that is there, otherwise reduced here.

    Reduced by bicubic, or, with a `seed`, by random anisotropic Gaussians.
    """
    blind = data / "blind" / name
    if blind.is_dir():
        truths = load_ground_truths(data / name.split("_")[0])
        return [_given(photo, truth, blind, scale) for photo, truth in truths]
    rng = None if seed is None else np.random.default_rng(seed)
    return [_made(photo, truth, scale, rng) for photo, truth in load_ground_truths(data / name)]


def _given(name: str, truth: Picture, folder: Path, scale: int) -> Case:
    small = np.asarray(Image.open(folder / f"{name}_lr.png").convert("RGB"))
    truth = truth[: scale * small.shape[0], : scale * small.shape[1]]
    return Case(name, truth, small, validate_kernel(load_kernel(folder / f"{name}_kernel.npy")))


def _made(name: str, truth: Picture, scale: int, rng: np.random.Generator | None) -> Case:
    truth, small = downsample(truth, scale)
    if rng is None:
        return Case(name, truth, small, None)
    along, across = rng.uniform(_NARROWEST, _WIDEST, 2) * scale / 2
    scales = (float(scale), float(scale))
    kernel = Gaussian(along, across, rng.uniform(0, np.pi)).to_kernel(scales)
    planes = torch.from_numpy(truth.astype(np.float64)).permute(2, 0, 1)[None]
    shrunk = Degradation(kernel, scales).downsample(planes, (small.shape[0], small.shape[1]))
    return Case(name, truth, to_picture(shrunk[0]), kernel)


def width_error(estimate: KernelEstimate, kernel: Floats | None) -> float:
    """Return the largest error in pixels of the square root of the kernel's covariance; NaN if one is bicubic."""
    if kernel is None or estimate.blur is None:
        return float("nan")
    y, x = (np.arange(n) - kernel.sum(1 - axis) @ np.arange(n) for axis, n in enumerate(kernel.shape))
    mixed = y @ kernel @ x
    truth = Gaussian.from_covariance(np.array([[kernel.sum(1) @ y**2, mixed], [mixed, kernel.sum(0) @ x**2]]))
    return float(np.abs(np.linalg.eigvalsh(truth.covariance_root - estimate.blur.covariance_root)).max())


def run(data: Path, sets: list[str], scales: list[int], seed: int | None, config: Config) -> None:
    """Print one table for each set and scale; with `config.num_epochs` 0 the prior alone is applied."""
    columns = ["picture", "bicubic", "bicubic assumed", "auto", "true kernel", "auto - assumed", "error px", "seconds"]
    for name in sets:
        for scale in scales:
            print(
                f"### {name} x{scale}\n\n| {' | '.join(columns)} | estimate |\n{'|---' * (len(columns) + 1)}|",
                flush=True,
            )
            rows = []
            for case in cases(data, name, scale, seed):
                row, estimate = _measured(case, scale, config)
                rows.append(row)
                print(f"| {case.name} | {_figures(row)} | {estimate} |", flush=True)
            means = [float(mean) for mean in np.nanmean(rows, axis=0)]
            print(f"| **mean** | {_figures(means)} | |")
            closed = (means[2] - means[1]) / (means[3] - means[1]) if means[3] > means[1] else float("nan")
            print(f"\nWorst against assuming bicubic: {min(r[4] for r in rows):+.2f} dB. ", end="")
            print("" if np.isnan(closed) else f"Closed of the gap: {100 * closed:.0f} %.", flush=True)


def _measured(case: Case, scale: int, config: Config) -> tuple[list[float], KernelEstimate]:
    def psnr(kernel: KernelLike) -> float:
        result = Upscaler(config).run(case.small, Request(scale, case.truth.shape[:2], kernel))
        return compute_psnr_and_ssim(result.image, case.truth, scale)[0]

    start = time.perf_counter()
    estimate = estimate_kernel(case.small, scale)
    seconds = time.perf_counter() - start
    bicubic = compute_psnr_and_ssim(resize_bicubic(case.small, case.truth.shape[:2], scale), case.truth, scale)[0]
    assumed = psnr("bicubic")
    auto = assumed if estimate.blur is None else psnr("auto")
    true = assumed if case.kernel is None else psnr(case.kernel)
    return [bicubic, assumed, auto, true, auto - assumed, width_error(estimate, case.kernel), seconds], estimate


def _figures(row: list[float]) -> str:
    *psnrs, gain, error, seconds = row
    shown = "" if np.isnan(error) else f"{error:.2f}"
    return " | ".join([*(f"{psnr:.2f}" for psnr in psnrs), f"{gain:+.2f}", shown, f"{seconds:.2f}"])
