"""Photos made small by resamplers of known name: PSNR with bicubic assumed, with the estimate, and with the truth."""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.blind import Case, measure_psnr
from benchmarks.protocol import (
    Picture,
    compute_psnr_and_ssim,
    crop_middle,
    load_ground_truths,
    resize_bicubic,
    to_picture,
)
from zssr import KernelEstimate, estimate_kernel
from zssr.config import Config
from zssr.degradation import Degradation
from zssr.degradation.named_kernels import parse_kernel
from zssr.degradation.resamplers import BICUBIC, RESAMPLERS, Resampler
from zssr.estimation.resampler_facts import MEANS, MEASURED_SCALES, PROBABILITIES

NAMES = tuple(name for name in RESAMPLERS if name not in ("area", "nearest-exact"))
"""All that differ at whole scales, by what they take or by what may be known of it."""


@dataclass(frozen=True)
class Row:
    """PSNR in dB of one photo: bicubic enlargement, bicubic assumed, the estimate, the truth; and the estimate."""

    psnrs: tuple[float, float, float, float]
    estimate: KernelEstimate


def run(data: Path, sets: list[str], scales: list[int], names: list[str], config: Config, limit: int | None) -> None:
    """Print one table for each set and scale, with gains over bicubic enlargement; a `limit` takes fewer photos."""
    columns = ["made small by", "bicubic assumed", "auto", "true", "closed", "worst photo", "called"]
    for name in sets:
        for scale in scales:
            print(f"### {name} x{scale}\n\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
            for kernel in names:
                rows = [_measure(case, scale, config) for case in make_cases(data / name, scale, kernel)[:limit]]
                print(f"| {kernel} | {_format(rows)} |", flush=True)
            print(flush=True)


def measure_losses(data: Path, config: Config, limit: int | None) -> None:
    """Print what it costs in dB to assume each resampler, or a mean of two (rows), for each (columns).

    Before that, what the true one gains over bicubic enlargement. All on crops of Set14, at x2 and at x4.
    """
    names, assumed, config = tuple(PROBABILITIES), (*PROBABILITIES, *MEANS), config.replace(noise=0, jpeg="off")
    for scale in MEASURED_SCALES:
        gains, losses = [], []
        for _, truth in load_ground_truths(data / "Set14")[:limit]:
            cases = [_make_case("", crop_middle(truth, 80 * scale), scale, name) for name in names]
            psnrs = np.array([[measure_psnr(case, scale, config, name) for case in cases] for name in assumed])
            gains.append(np.diag(psnrs) - [_measure_enlarged(case, scale) for case in cases])
            losses.append(np.diag(psnrs) - psnrs)
            print(".", end="", file=sys.stderr, flush=True)
        print(f"{assumed} at x{scale}: mean of {len(losses)} crops, losses at least 0\n")
        for table in (np.mean(gains, 0), np.maximum(np.mean(losses, 0), 0)):
            print(np.array2string(table, separator=", ", precision=2, floatmode="fixed"), flush=True)


def _measure_enlarged(case: Case, scale: int) -> float:
    """Return the PSNR in dB of bicubic enlargement."""
    enlarged = resize_bicubic(case.small, case.truth.shape[:2], scale)
    return compute_psnr_and_ssim(enlarged, case.truth, scale)[0]


def make_cases(folder: Path, scale: int, name: str) -> list[Case]:
    """Return the photos of a folder, made small by the kernel with this name, in 8 bits."""
    return [_make_case(photo, truth, scale, name) for photo, truth in load_ground_truths(folder)]


def _make_case(photo: str, truth: Picture, scale: int, name: str) -> Case:
    scales = (float(scale), float(scale))
    kernel = None if name == "bicubic" else parse_kernel(name, scales)
    size = truth.shape[0] // scale, truth.shape[1] // scale
    truth = truth[: scale * size[0], : scale * size[1]]
    planes = torch.from_numpy(truth.astype(np.float64)).permute(2, 0, 1)[None]
    return Case(photo, truth, to_picture(Degradation(kernel, scales).downsample(planes, size)[0]), kernel)


def _measure(case: Case, scale: int, config: Config) -> Row:
    """Measure one photo; what is assumed twice is upscaled once."""
    estimate = estimate_kernel(case.small, scale)
    assumed = measure_psnr(case, scale, config, None)
    true = assumed if case.kernel is None else measure_psnr(case, scale, config, case.kernel)
    known = {BICUBIC: assumed} | ({case.kernel: true} if isinstance(case.kernel, Resampler) else {})
    named = estimate.blur or BICUBIC
    auto = known.get(named) if isinstance(named, Resampler) else None
    auto = measure_psnr(case, scale, config, "auto") if auto is None else auto
    return Row((_measure_enlarged(case, scale), assumed, auto, true), estimate)


def _format(rows: list[Row]) -> str:
    psnrs = np.array([row.psnrs for row in rows])
    enlarged, assumed, auto, true = psnrs.mean(0)
    gains = " | ".join(f"{psnr - enlarged:+.2f}" for psnr in (assumed, auto, true))
    closed = f"{100 * (auto - assumed) / (true - assumed):.0f} %" if true - assumed > 0.005 else ""
    called = Counter(str(row.estimate).partition(" ")[0] for row in rows).most_common()
    return f"{gains} | {closed} | {(psnrs[:, 2] - psnrs[:, 0]).min():+.2f} | {', '.join(f'{k} {n}' for k, n in called)}"
