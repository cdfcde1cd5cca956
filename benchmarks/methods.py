"""All methods side by side: PSNR and SSIM on Y, the least gain over bicubic of a photo, seconds and weights."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.protocol import Picture, compute_psnr_and_ssim, downsample, load_ground_truths, resize_bicubic
from zssr.api import Upscaler, list_methods
from zssr.config import Config
from zssr.errors import ZssrError
from zssr.request import Request


class Figures(NamedTuple):
    """What a method makes of one photo, or of several in the mean; the gain is the least one."""

    psnr: float
    ssim: float
    gain: float
    seconds: float
    weights: float


def run(data: Path, sets: Sequence[str], scales: Sequence[float], methods: str, config: Config, device: str) -> None:
    """Print one table for each set and scale, a row for each method; photos that are done are told on stderr.

    When it is interrupted, the row has the photos so far.
    """
    names = list(list_methods()) if methods == "all" else methods.split(",")
    columns = "method | photos | PSNR | SSIM | least gain dB | seconds | weights"
    for name in sets:
        for scale in scales:
            print(f"### {name} x{scale:g}\n\n| {columns} |\n|---|---|---|---|---|---|---|", flush=True)
            pairs = [(photo, *downsample(truth, scale)) for photo, truth in load_ground_truths(data / name)]
            for method in names:
                _run_method(pairs, scale, config.replace(method=method), device)
            print(flush=True)


def _run_method(pairs: Sequence[tuple[str, Picture, Picture]], scale: float, config: Config, device: str) -> None:
    """Measure a method photo by photo, and print its row, as far as it came."""
    rows: list[Figures] = []
    reason = ""
    try:
        upscaler = Upscaler(config)
        for photo, truth, small in pairs:
            rows.append(_measure_photo(upscaler, truth, small, Request(scale, truth.shape[:2], "bicubic", device)))
            print(f"{config.method} {photo} | {_format(rows[-1])}", file=sys.stderr, flush=True)
    except ZssrError as error:
        reason = f" failed: {error}"
    finally:
        cells = _format(_average(rows)) if rows else "- | - | - | - | -"
        print(f"| {config.method} | {len(rows)}{reason} | {cells} |", flush=True)


def _measure_photo(upscaler: Upscaler, truth: Picture, small: Picture, request: Request) -> Figures:
    start = time.perf_counter()
    result = upscaler.run(small, request)
    seconds, scale = time.perf_counter() - start, max(result.scale)
    plain, ours = resize_bicubic(small, truth.shape[:2], scale), np.asarray(result.image)
    (before, _), (psnr, ssim) = (compute_psnr_and_ssim(one, truth, round(scale)) for one in (plain, ours))
    return Figures(psnr, ssim, psnr - before, seconds, result.weights)


def _average(rows: Sequence[Figures]) -> Figures:
    means = Figures(*np.mean(rows, axis=0).tolist())
    return means._replace(gain=min(row.gain for row in rows))


def _format(row: Figures) -> str:
    return f"{row.psnr:.2f} | {row.ssim:.4f} | {row.gain:+.2f} | {row.seconds:.1f} | {row.weights:.0f}"
