"""Megapixels a second, share of the best convolution rate, seconds of each stage and peak memory of applying."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from benchmarks.large import make_photo, read_peak
from benchmarks.speed import measure_best_convolution
from zssr.api import Upscaler
from zssr.config import PRESETS, Config
from zssr.io.limits import Limits
from zssr.io.reading import open_picture
from zssr.progress import Progress
from zssr.request import Request
from zssr.run_context import make_context
from zssr.runtime import Runtime, single_threaded

SIZES = (1, 4, 12, 48)
"""Megapixels of the results."""


def run(config: Config, device: str) -> None:
    """Apply the start weights of each preset to PNG files, twice as large; each in a process of its own."""
    runtime = Runtime.resolve(device, config)
    with single_threaded():
        best = measure_best_convolution(runtime.compute)
    print(f"The best convolution, on all threads at once: {best:.0f} GFLOP/s.\n")
    print("| preset | megapixels out | a second | of the best | reading s | applying s | writing s | peak GB |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for preset, settings in PRESETS.items():
        for megapixels in SIZES:
            chosen = config.replace(**{**settings, "num_epochs": 0})
            line = measure_apart(chosen, device, megapixels)
            print(f"| `{preset}` | {megapixels} | " + _format(line, chosen, megapixels, best), flush=True)


def _format(line: dict[str, float], config: Config, megapixels: float, best: float) -> str:
    flop = 2 * _count_weights(config) * megapixels / 4 * 1e6 * config.choose_self_ensemble(megapixels * 1e6)
    rate, share = megapixels / line["apply"], flop / line["apply"] / 1e9 / best
    times = " | ".join(f"{line[key]:.1f}" for key in ("read", "apply", "write"))
    return f"{rate:.2f} | {share:.0%} | {times} | {line['peak']:.2f} |"


def _count_weights(config: Config) -> int:
    """Count the weights of a network for RGB, which are multiplied once for each pixel of the photo."""
    shape = make_context(config, Request(2), Progress()).config.shape
    return shape.kernel_size**2 * shape.width * (3 + (shape.depth - 2) * shape.width + 3 * 2**2)


def measure_apart(config: Config, device: str, megapixels: float) -> dict[str, float]:
    """Return the seconds of the stages and the peak memory in GB of another process."""
    arguments = json.dumps([asdict(config), device, megapixels])
    command = [sys.executable, "-m", "benchmarks.apply", arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def measure_file(settings: dict[str, object], device: str, megapixels: float) -> dict[str, float]:
    """Apply to a file whose result has so many megapixels, after a small one that sets everything up."""
    upscaler = Upscaler(Config.from_dict(settings).replace(noise=0.0, jpeg="off"))
    request = Request(2, kernel=None, device=device)
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "photo.png", Path(folder) / "large.png"
        for side in (64, round((megapixels * 1e6) ** 0.5 / 2)):
            Image.fromarray(make_photo(side)).save(source, compress_level=1)
            start = time.perf_counter()
            result = upscaler.run_file(source, output, request)
            total = time.perf_counter() - start
            output.unlink()
        start = time.perf_counter()
        with open_picture(source, Limits(1000, 1e9)) as picture:
            picture.rows(0, picture.size[0])
        read = time.perf_counter() - start
    applying = result.seconds["apply"]
    return {"read": read, "apply": applying, "write": total - applying - read, "peak": read_peak()}


if __name__ == "__main__":
    print(json.dumps(measure_file(*json.loads(sys.argv[1]))))
