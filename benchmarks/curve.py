"""PSNR over the seconds of a photo, for several numbers of training steps: a table and a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.protocol import Picture, compute_psnr_and_ssim, downsample, load_ground_truths
from zssr.api import Upscaler
from zssr.config import PRESETS, Config
from zssr.request import Request

SCALE = 2
STEPS = (0, 10, 20, 40, 60, 120, 240)
CURVES: dict[str, list[dict[str, object]]] = {
    "4 rotations": [{"num_epochs": steps} for steps in STEPS],
    "2 rotations": [{"num_epochs": steps, "self_ensemble": 2} for steps in STEPS[:4]],
    "crops of 96": [{"num_epochs": steps, "crop_size": 96} for steps in STEPS[1:5]],
    "presets": [dict(settings) for settings in PRESETS.values()],
}
"""The settings of the points of each curve."""


def run(data: Path, sets: Sequence[str], config: Config, device: str, out: Path) -> None:
    """Measure every point on all photos of the sets at x2, in a process that is warm, and draw the curves."""
    from matplotlib.figure import Figure

    pairs = [downsample(truth, SCALE) for name in sets for _, truth in load_ground_truths(data / name)]
    figure = Figure((6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    print("| schedule | steps | PSNR | seconds | estimating | learning | applying |\n|---|---|---|---|---|---|---|")
    for name, points in CURVES.items():
        measured = [_measure(config.replace(**settings), pairs, device) for settings in points]
        for steps, psnr, *seconds in measured:
            times = " | ".join(f"{value:.2f}" for value in (sum(seconds), *seconds))
            print(f"| {name} | {steps:.0f} | {psnr:.3f} | {times} |", flush=True)
        axes.plot([sum(point[2:]) for point in measured], [point[1] for point in measured], "o-", label=name)
    axes.set(xlabel="seconds per photo", ylabel=f"PSNR on Y of {', '.join(sets)} x{SCALE}, dB", xscale="log")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(out, dpi=100)


def _measure(config: Config, pairs: Sequence[tuple[Picture, Picture]], device: str) -> list[float]:
    """Return the means of steps, PSNR, and the seconds of estimating, learning and applying."""
    upscaler, rows = Upscaler(config), []
    for k, (truth, small) in enumerate([pairs[0], *pairs]):
        result = upscaler.run(small, Request(SCALE, kernel=None, device=device))
        spent = result.seconds
        learning = spent.get("pairs", 0.0) + spent.get("train", 0.0)
        psnr, _ = compute_psnr_and_ssim(np.asarray(result.image), truth, SCALE)
        if k:  # the first one sets everything up
            rows.append([result.steps, psnr, spent.get("estimate", 0.0), learning, spent["apply"]])
    return [float(column) for column in np.mean(rows, axis=0)]
