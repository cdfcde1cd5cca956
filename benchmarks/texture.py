"""Fine energy, gradients and PSNR with the texture network, against the same networks without it."""

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import wasserstein_distance

from benchmarks.protocol import (
    Picture,
    compute_psnr_and_ssim,
    downsample,
    load_ground_truths,
    resize_bicubic,
    to_y_channel,
)
from benchmarks.real import crop_with_label, find_highest_contrast
from zssr.api import Upscaler
from zssr.config import Config
from zssr.degradation import Degradation
from zssr.request import Request

_CROP = 192  # in pixels of the result
_COLUMNS = ["picture", "PSNR", "energy", "distance", "texture: PSNR", "energy", "distance", "half: PSNR"]
_COLUMNS += ["back dB", "grid dB", "times the time"]


def run(data: Path, sets: list[str], scales: list[int], seed: int, out: Path | None, config: Config) -> None:
    """Print one table for each set and scale, and write a contact sheet of all pictures to `out`."""
    rows = []
    for name in sets:
        for scale in scales:
            print(f"### {name} x{scale}\n\n| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|", flush=True)
            figures = []
            for picture, truth in load_ground_truths(data / name):
                measured, row = _measure(picture, truth, scale, seed, config)
                figures.append(measured)
                rows += [row] if out else []
                _print(picture, measured)
            mean = np.mean(figures, axis=0)
            _print("**mean**", list(mean))
            cut, nearer = (mean[4] - mean[1]) / (1 - mean[1]), 1 - mean[5] / mean[2]
            print(f"\nShortfall of energy cut by {cut:.0%}, distance of gradients by {nearer:.0%}.\n", flush=True)
    if out:
        Image.fromarray(np.concatenate(rows)).save(out)


def _measure(name: str, truth: Picture, scale: int, seed: int, config: Config) -> tuple[list[float], Picture]:
    truth, small = downsample(truth, scale)
    start = time.perf_counter()
    run = Upscaler(config).run(small, Request(scale, kernel="bicubic", seed=seed))
    seconds = time.perf_counter() - start
    results = [np.asarray(run.image)]
    for texture in (0.5, 0.0):
        start = time.perf_counter()
        again = Upscaler(config.replace(texture=texture)).run(small, Request(scale, kernel="bicubic"), model=run.model)
        last = time.perf_counter() - start
        results.append(np.asarray(again.image))
    without = last + sum(run.seconds.get(part, 0.0) for part in ("estimate", "pairs", "train"))
    full, half, plain = results
    inner = (slice(scale, -scale),) * 2
    y, *ys = (to_y_channel(picture)[inner] for picture in (truth, plain, full))
    psnr = [compute_psnr_and_ssim(picture, truth, scale)[0] for picture in (plain, full, half)]
    energies = [compute_fine_energy(each) / compute_fine_energy(y) for each in ys]
    distances = [float(wasserstein_distance(_compute_gradients(each), _compute_gradients(y))) for each in ys]
    back = _compute_reprojection_psnr(full, small, scale)
    grid = compute_grid_peak(ys[1], scale) - compute_grid_peak(ys[0], scale)
    pictures = [truth, resize_bicubic(small, truth.shape[:2], scale), plain, half, full]
    top_left = find_highest_contrast(Image.fromarray(small), _CROP // scale)
    labels = (f"{name} x{scale}: truth", "bicubic", "zssr", "texture 0.5", "texture 1")
    row = [
        np.asarray(crop_with_label(Image.fromarray(picture), top_left, scale, label, _CROP))
        for picture, label in zip(pictures, labels, strict=True)
    ]
    measured = [psnr[0], energies[0], distances[0], psnr[1], energies[1], distances[1], psnr[2], back, grid]
    return [*measured, seconds / without], np.concatenate(row, axis=1)


def compute_fine_energy(y: NDArray[np.float64]) -> float:
    """Return the energy of luma above half the Nyquist frequency, under a Hann window."""
    power = _compute_power(y)
    frequency = np.hypot(np.fft.fftfreq(y.shape[0])[:, None], np.fft.fftfreq(y.shape[1])[None])
    return float(power[frequency >= 0.25].sum())


def compute_grid_peak(y: NDArray[np.float64], scale: int) -> float:
    """Return the peaks of luma's spectrum at the lines of the networks' grids, in dB over the lines around.

    The lines are the whole multiples of 1 / `scale` cycles a pixel, along both axes; the largest counts.
    """
    power = _compute_power(y)
    peaks = []
    for axis in (0, 1):
        length = y.shape[axis]
        lines = power.sum(1 - axis)
        for k in range(1, scale // 2 + 1):
            at = round(k * length / scale)
            around = [lines[(at + d) % length] for d in (*range(-12, -3), *range(4, 13))]
            peaks.append(10 * np.log10(max(lines[(at + d) % length] for d in (-1, 0, 1)) / np.median(around)))
    return float(max(peaks))


def _compute_power(y: NDArray[np.float64]) -> NDArray[np.float64]:
    window = np.hanning(y.shape[0])[:, None] * np.hanning(y.shape[1])[None]
    power: NDArray[np.float64] = np.abs(np.fft.fft2((y - y.mean()) * window)) ** 2
    return power


def _compute_gradients(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the magnitudes of luma's gradients, by differences of neighbors."""
    return np.hypot(np.diff(y, axis=0)[:, :-1], np.diff(y, axis=1)[:-1]).ravel()


def _compute_reprojection_psnr(large: Picture, small: Picture, scale: int) -> float:
    """Return the PSNR of the shrunk result against the photo, over all channels."""
    planes = torch.from_numpy(large.astype(np.float64)).permute(2, 0, 1)[None]
    shrunk = Degradation(None, (scale, scale)).downsample(planes, small.shape[:2])[0].permute(1, 2, 0).numpy()
    return float(10 * np.log10(255**2 / np.mean((shrunk - small) ** 2)))


def _print(name: str, row: list[float]) -> None:
    psnr, energy, distance, after, energy_after, distance_after, half, back, grid, times = row
    print(
        f"| {name} | {psnr:.2f} | {energy:.3f} | {distance:.2f} | {after:.2f} | {energy_after:.3f} "
        f"| {distance_after:.2f} | {half:.2f} | {back:.1f} | {grid:+.1f} | {times:.2f} |",
        flush=True,
    )
