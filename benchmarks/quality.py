"""PSNR and SSIM on Y against ground truth, per picture and on the mean, with steps and seconds, beside bicubic."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.protocol import (
    Picture,
    add_gaussian_noise,
    compress_jpeg,
    compute_psnr_and_ssim,
    downsample,
    load_ground_truths,
    resize_bicubic,
)
from zssr.api import Upscaler
from zssr.config import Config
from zssr.degradation.blur import validate_kernel
from zssr.io.kernels import load_kernel
from zssr.model import Result
from zssr.request import Request

BASELINES: dict[str, Callable[[Config], Config]] = {
    "unadapted": lambda config: config.replace(num_epochs=0),
    "random": lambda config: config.replace(init="random", lr=None, num_epochs=None),
}
"""What results may be compared with, as settings for the same photo: the start weights alone, and random start weights
trained by the slope rule."""


@dataclass(frozen=True)
class Protocol:
    """What to measure, and how the inputs are made.

    Attributes
    ----------
    sets, scales
        Names of folders of ground truths, and the scales to downsample them by.
    kernel
        A file with the blur kernel of the downsampling, which zssr is given; None is bicubic.
    noise, jpeg
        Standard deviation (0 to 255) of the noise added to the inputs, and the quality of the JPEG that they become
        after that; 0 and None are neither. zssr is given neither, but it reads the JPEG's header.
    compare
        Names of the `BASELINES` that are measured beside the result.
    """

    sets: list[str]
    scales: list[float]
    kernel: Path | None = None
    noise: float = 0.0
    jpeg: int | None = None
    compare: Sequence[str] = ()
    device: str = "auto"
    seed: int = 0


def run(data: Path, protocol: Protocol, config: Config) -> None:
    """Print one table for each set and scale."""
    compared = [f"{name} PSNR" for name in protocol.compare]
    columns = ["picture", "bicubic PSNR", "SSIM", "zssr PSNR", "SSIM", "gain dB", *compared, "steps", "seconds"]
    for name in protocol.sets:
        for scale in protocol.scales:
            print(f"### {name} x{scale:g}\n\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
            rows = []
            for picture, truth in load_ground_truths(data / name):
                rows.append(_measure(truth, scale, protocol, config))
                _print(picture, rows[-1])
            _print("**mean**", [float(column) for column in np.mean(rows, axis=0)])
            print(flush=True)


def _measure(truth: Picture, scale: float, protocol: Protocol, config: Config) -> list[float]:
    blur = None if protocol.kernel is None else validate_kernel(load_kernel(protocol.kernel), str(protocol.kernel))
    truth, small = downsample(truth, scale, blur, config.sampling)
    shave = round(scale)
    if protocol.noise:
        small = add_gaussian_noise(small, protocol.noise, protocol.seed)
    photo = small if protocol.jpeg is None else compress_jpeg(small, protocol.jpeg)
    small = np.asarray(photo)

    def result(config: Config) -> Result[object]:
        kernel, device, seed = protocol.kernel or "bicubic", protocol.device, protocol.seed
        request = Request(scale, truth.shape[:2], kernel, device, seed)
        return Upscaler(config).run(photo, request)

    bicubic = compute_psnr_and_ssim(resize_bicubic(small, truth.shape[:2], scale), truth, shave)
    start = time.perf_counter()
    ours = result(config)
    seconds = time.perf_counter() - start
    figures = compute_psnr_and_ssim(np.asarray(ours.image), truth, shave)
    baselines = [result(BASELINES[name](config)) for name in protocol.compare]
    compared = [compute_psnr_and_ssim(np.asarray(baseline.image), truth, shave)[0] for baseline in baselines]
    return [*bicubic, *figures, figures[0] - bicubic[0], *compared, ours.steps, seconds]


def _print(name: str, row: list[float]) -> None:
    b_psnr, b_ssim, psnr, ssim, gain, *compared, steps, seconds = row
    others = "".join(f" | {other:.2f}" for other in compared)
    figures = (
        f"{b_psnr:.2f} | {b_ssim:.4f} | {psnr:.2f} | {ssim:.4f} | {gain:+.2f}{others} | {steps:.0f} | {seconds:.1f}"
    )
    print(f"| {name} | {figures} |", flush=True)
