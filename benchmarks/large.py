"""Time and peak memory of applying a trained network to large photos."""

import json
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.protocol import resized
from zssr.api import Upscaler
from zssr.config import Config

SIDES = (500, 1000, 2000)
_PICTURE = Path(__file__).parent / "images" / "astronaut.png"


def run(config: Config, device: str) -> None:
    """Enlarge a photo of 0.25, 1 and 4 megapixels x2, each in a process of its own, with few training steps."""
    print("| photo | megapixels out | apply seconds | seconds per output megapixel | pairs s | peak GB |")
    print("|---|---|---|---|---|---|", flush=True)
    for side in SIDES:
        order = json.dumps([side, asdict(config.replace(num_epochs=20)), device])
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "benchmarks.large", order], check=True, capture_output=True, text=True
        )
        apply, pairs, peak = json.loads(done.stdout)
        out = (2 * side) ** 2 / 1e6
        print(f"| {side}x{side} | {out:g} | {apply:.1f} | {apply / out:.2f} | {pairs:.1f} | {peak:.2f} |", flush=True)


def measure(side: int, settings: dict[str, object], device: str) -> tuple[float, float, float]:
    """Return the seconds of applying and of making pairs, and this process's peak memory in GB."""
    small = np.asarray(Image.open(_PICTURE).convert("RGB"))
    photo = resized(small, (side, side), side / small.shape[0])
    result = Upscaler(Config.from_dict(settings)).run(photo, 2, device=device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    return result.seconds["apply"], result.seconds["pairs"], peak


if __name__ == "__main__":
    print(json.dumps(measure(*json.loads(sys.argv[1]))))
