"""The expected gain that is measured on a photo itself, against the true one; downsampled by 2."""

from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.protocol import compute_psnr_and_ssim, downsample, load_ground_truths, resize_bicubic
from zssr.api import Upscaler
from zssr.config import Config

_SCALE = 2


def run(data: Path, sets: list[str], config: Config) -> None:
    """Print one table for all sets, and the rank correlation of the two gains."""
    print("| picture | expected gain dB | true gain dB | seconds more |\n|---|---|---|---|", flush=True)
    gains = []
    for name in sets:
        for picture, whole in load_ground_truths(data / name):
            truth, small = downsample(whole, _SCALE)
            result = Upscaler(config.replace(measure_gain=True)).run(small, _SCALE)
            ours, _ = compute_psnr_and_ssim(result.image, truth, _SCALE)
            bicubic, _ = compute_psnr_and_ssim(resize_bicubic(small, truth.shape[:2], _SCALE), truth, _SCALE)
            expected = result.expected_gain or 0.0
            gains.append((expected, ours - bicubic))
            more = result.seconds["measure_gain"]
            print(f"| {name}/{picture} | {expected:+.2f} | {ours - bicubic:+.2f} | {more:.1f} |", flush=True)
    ranks = spearmanr(np.array(gains))
    means = np.mean(gains, axis=0)
    print(f"| **mean** | {means[0]:+.2f} | {means[1]:+.2f} | |\n\nRank correlation (Spearman): {ranks.statistic:.2f}.")
