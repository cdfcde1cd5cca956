"""The gain that is expected from a photo itself against the true one; bicubic reductions by 2."""

from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.protocol import ground_truths, psnr_and_ssim, reduced, resized
from zssr.api import Upscaler
from zssr.config import Config

_SCALE = 2


def run(data: Path, sets: list[str], config: Config) -> None:
    """Print one table for all sets, and how well the two gains rank the photos alike."""
    print("| picture | expected gain dB | true gain dB | seconds more |\n|---|---|---|---|", flush=True)
    gains = []
    for name in sets:
        for picture, whole in ground_truths(data / name):
            truth, small = reduced(whole, _SCALE)
            result = Upscaler(config.replace(measure_gain=True)).run(small, _SCALE)
            ours, _ = psnr_and_ssim(result.image, truth, _SCALE)
            bicubic, _ = psnr_and_ssim(resized(small, truth.shape[:2], _SCALE), truth, _SCALE)
            expected = result.expected_gain or 0.0
            gains.append((expected, ours - bicubic))
            more = result.seconds["measure_gain"]
            print(f"| {name}/{picture} | {expected:+.2f} | {ours - bicubic:+.2f} | {more:.1f} |", flush=True)
    ranks = spearmanr(np.array(gains))
    means = np.mean(gains, axis=0)
    print(f"| **mean** | {means[0]:+.2f} | {means[1]:+.2f} | |\n\nRank correlation (Spearman): {ranks.statistic:.2f}.")
