"""PSNR and SSIM on Y against ground truth, per picture and on the mean, with steps and seconds; bicubic beside it."""

import time
from pathlib import Path

import numpy as np

from benchmarks.protocol import ground_truths, psnr_and_ssim, reduced, resized
from zssr.api import Upscaler
from zssr.config import Config

_HEAD = """| picture | bicubic PSNR | SSIM | zssr PSNR | SSIM | gain dB | steps | seconds |
|---|---|---|---|---|---|---|---|"""


def run(data: Path, sets: list[str], scales: list[float], config: Config, device: str, seed: int) -> None:
    """Print one table for each set and scale."""
    for name in sets:
        for scale in scales:
            print(f"### {name} x{scale:g}\n\n{_HEAD}", flush=True)
            rows = []
            for picture, truth in ground_truths(data / name):
                truth, small = reduced(truth, scale)
                shave = round(scale)
                bicubic = psnr_and_ssim(resized(small, truth.shape[:2], scale), truth, shave)
                start = time.perf_counter()
                result = Upscaler(config).run(small, scale, size=truth.shape[:2], device=device, seed=seed)
                seconds = time.perf_counter() - start
                ours = psnr_and_ssim(result.image, truth, shave)
                rows.append((*bicubic, *ours, ours[0] - bicubic[0], result.steps, seconds))
                _print(picture, rows[-1])
            _print("**mean**", tuple(np.mean(rows, axis=0)))
            print()


def _print(name: str, row: tuple[float, ...]) -> None:
    b_psnr, b_ssim, psnr, ssim, gain, steps, seconds = row
    figures = f"{b_psnr:.2f} | {b_ssim:.4f} | {psnr:.2f} | {ssim:.4f} | {gain:+.2f} | {steps:.0f} | {seconds:.1f}"
    print(f"| {name} | {figures} |", flush=True)
