"""PSNR and SSIM on Y against ground truth, per picture and on the mean, with steps and seconds; bicubic beside it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.protocol import Picture, compressed, ground_truths, noisy, psnr_and_ssim, reduced, resized
from zssr.api import Upscaler
from zssr.config import Config
from zssr.model import Result

RIVALS: dict[str, Callable[[Config, int], Config]] = {
    "unadapted": lambda config, _: config.replace(num_epochs=0),
    "random": lambda config, steps: config.replace(init="random", lr=None, lr_schedule="cosine", num_epochs=steps),
}
"""What results may be compared with, as settings for the same photo after as many steps: the start weights alone, and
what random ones learn."""


@dataclass(frozen=True)
class Protocol:
    """What is measured and how.

    Attributes
    ----------
    sets, scales
        Names of folders of ground truths, and the scales to reduce them by.
    kernel
        A file with the blur kernel that all pictures are made small by, which zssr is told; None is bicubic.
    noise, jpeg
        Standard deviation (0 to 255) of the noise that is put on the reduced pictures, and the quality of the JPEG that
        they become after that; 0 and None are neither. zssr is told nothing but what the JPEG's header says.
    compare
        Names of the `RIVALS` that are measured beside the result.
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
            for picture, truth in ground_truths(data / name):
                rows.append(_measured(truth, scale, protocol, config))
                _print(picture, rows[-1])
            _print("**mean**", [float(column) for column in np.mean(rows, axis=0)])
            print(flush=True)


def _measured(truth: Picture, scale: float, protocol: Protocol, config: Config) -> list[float]:
    truth, small = reduced(truth, scale, protocol.kernel, config.sampling)
    shave = round(scale)
    if protocol.noise:
        small = noisy(small, protocol.noise, protocol.seed)
    photo = small if protocol.jpeg is None else compressed(small, protocol.jpeg)
    small = np.asarray(photo)

    def result(config: Config) -> Result:
        kernel, device, seed = protocol.kernel or "bicubic", protocol.device, protocol.seed
        return Upscaler(config).run(photo, scale, size=truth.shape[:2], kernel=kernel, device=device, seed=seed)

    bicubic = psnr_and_ssim(resized(small, truth.shape[:2], scale), truth, shave)
    start = time.perf_counter()
    ours = result(config)
    seconds = time.perf_counter() - start
    figures = psnr_and_ssim(np.asarray(ours.image), truth, shave)
    steps = round(ours.steps / networks(ours))
    rivals = [result(RIVALS[name](config, steps)) for name in protocol.compare]
    compared = [psnr_and_ssim(np.asarray(rival.image), truth, shave)[0] for rival in rivals]
    return [*bicubic, *figures, figures[0] - bicubic[0], *compared, ours.steps, seconds]


def networks(result: Result) -> int:
    """Return how many networks learnt, one in each gradual step; at least 1."""
    return max(1, len(result.model.networks)) if result.model else 1


def _print(name: str, row: list[float]) -> None:
    b_psnr, b_ssim, psnr, ssim, gain, *compared, steps, seconds = row
    others = "".join(f" | {other:.2f}" for other in compared)
    figures = (
        f"{b_psnr:.2f} | {b_ssim:.4f} | {psnr:.2f} | {ssim:.4f} | {gain:+.2f}{others} | {steps:.0f} | {seconds:.1f}"
    )
    print(f"| {name} | {figures} |", flush=True)
