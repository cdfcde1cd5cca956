"""Whether a GPU computes what the CPU does: 16 cases, in each precision, from the same crops."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from PIL import Image

from benchmarks.protocol import ASTRONAUT, Picture, add_gaussian_noise, compress_jpeg, downsample, resize_bicubic
from zssr.api import Upscaler
from zssr.config import PRESETS, Config
from zssr.degradation.resize import Floats
from zssr.estimation.parametric_kernels import Gaussian
from zssr.request import Request

PRECISIONS = ("fp32", "bf16", "fp16")
LEAST_PSNR, MOST_GAIN_CHANGE = 45.0, 0.03
"""In dB: between the results of the two devices at least, and between their gains over bicubic at most."""

_BATCH_SIZE = 8  # with more crops than one they are the same on every device
_HIGHEST_PSNR = 99.0  # of equal pictures


@dataclass(frozen=True)
class Case:
    """What is upscaled, and how.

    Attributes
    ----------
    scale, kernel, settings
        As `Upscaler` takes them.
    channels
        Makes the ground truth from an RGB picture.
    damage
        What happens to the downsampled picture.
    shown
        Makes of a picture what of it is compared.
    given
        Whether it is upscaled by itself, in a batch of two, or by the model of another photo.
    """

    scale: float = 2
    kernel: Floats | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    channels: Callable[[Picture], Picture] = lambda rgb: rgb
    damage: Callable[[Picture], Picture] = lambda small: small
    shown: Callable[[Picture], Picture] = lambda picture: picture
    given: Literal["alone", "batch", "shared"] = "alone"


def _add_opacity(rgb: Picture) -> Picture:
    opacity = np.full(rgb.shape[:2], 255, np.uint8)
    opacity[: len(rgb) // 3, : len(rgb) // 2] = 0
    return np.dstack([rgb, opacity])


def _composite(rgba: Picture) -> Picture:
    """Show a picture on black: the colors of what is clear do not count."""
    return (rgba[..., :3] * (rgba[..., 3:] / 255)).round().astype(np.uint8)


CASES = {
    "x2": Case(),
    "x3": Case(3),
    "x4": Case(4),
    "x1.7": Case(1.7),
    "known kernel": Case(kernel=Gaussian(1.8, 1.1, 0.5).to_kernel((2.0, 2.0))),
    "noise": Case(settings={"noise": 10.0}, damage=lambda small: add_gaussian_noise(small, 10, seed=0)),
    "JPEG": Case(settings={"jpeg": 50}, damage=lambda small: np.asarray(compress_jpeg(small, 50))),
    "alpha": Case(channels=_add_opacity, shown=_composite),
    "bands": Case(channels=lambda rgb: np.dstack([rgb, rgb[::-1, :, :2]])),
    "gray": Case(channels=lambda rgb: rgb[..., 1:2]),
    "texture": Case(settings={"adversarial": 1.0}),
    "all symmetries": Case(settings={"self_ensemble": PRESETS["best"]["self_ensemble"]}),
    "random start": Case(settings={"init": "random"}),
    "batch": Case(given="batch"),
    "in blocks": Case(settings={"patch_size": 24}),
    "shared model": Case(given="shared"),
}


def compare_devices(device: str, precisions: Sequence[str], side: int, steps: int) -> tuple[list[str], list[str]]:
    """Return a table of the cases on photos of `side` pixels after `steps` training steps, and what is off limits."""
    names = " | ".join(f"{name}: PSNR | gain" for name in precisions)
    lines = [f"| case | gain on the CPU | {names} |", "|---" * (2 + 2 * len(precisions)) + "|"]
    failures = []
    for name, case in CASES.items():
        truth, small = make_input(case, side)
        bicubic = resize_bicubic(small, (truth.shape[0], truth.shape[1]), case.scale)
        truth, bicubic = case.shown(truth), case.shown(bicubic)
        expected = upscale_case(case, small, "cpu", "fp32", steps)
        plain = compute_psnr(bicubic, truth)
        gain = compute_psnr(expected, truth) - plain
        cells = []
        for precision in precisions:
            result = upscale_case(case, small, device, precision, steps)
            agreement, own = compute_psnr(result, expected), compute_psnr(result, truth) - plain
            cells += [f"{agreement:.1f}", f"{own:.2f}"]
            if agreement < LEAST_PSNR or abs(own - gain) > MOST_GAIN_CHANGE:
                failures.append(f"{name} in {precision}")
        lines.append(f"| {name} | {gain:.2f} | {' | '.join(cells)} |")
    return lines, failures


def compare_seeds(side: int, steps: int) -> float:
    """Return the PSNR in dB of the results of two seeds on the CPU, as a measure for those of two devices."""
    case = CASES["x2"]
    _, small = make_input(case, side)
    one, other = (upscale_case(case, small, "cpu", "fp32", steps, seed) for seed in range(2))
    return compute_psnr(one, other)


def make_input(case: Case, side: int) -> tuple[Picture, Picture]:
    """Return the ground truth (H, W, C) of a case, and its input of `side` pixels."""
    rgb: Picture = np.asarray(Image.open(ASTRONAUT).convert("RGB"))
    whole = round(case.scale * side)
    top, left = max(0, rgb.shape[0] - whole) // 2, max(0, rgb.shape[1] - whole) // 2
    rgb = rgb[top : top + whole, left : left + whole]
    truth, small = downsample(case.channels(rgb), case.scale, case.kernel)
    return truth, case.damage(small)


def upscale_case(case: Case, small: Picture, device: str, precision: str, steps: int, seed: int = 0) -> Picture:
    """Upscale the input of a case on a device; return what is compared of the result (H, W, C)."""
    config = Config(batch_size=_BATCH_SIZE, lr_schedule="cosine", num_epochs=steps)
    upscaler = Upscaler(config.replace(precision=precision, **case.settings))
    request = Request(case.scale, None, case.kernel, device, seed)
    if case.given == "batch":
        planes = torch.from_numpy(np.stack([small, small[::-1]])).permute(0, 3, 1, 2)
        return upscaler.run(planes, request).image[0].permute(1, 2, 0).numpy()
    if case.channels is _add_opacity:
        return case.shown(np.asarray(upscaler.run(Image.fromarray(small), request).image))
    model = upscaler.run(small[::-1], request).model if case.given == "shared" else None
    result: Picture = upscaler.run(small, request, model=model).image
    return result


def compute_psnr(picture: Picture, other: Picture) -> float:
    """Return the PSNR of two pictures over all channels in dB, without a border of 4 pixels."""
    inner = (slice(4, -4),) * 2
    error = float(np.mean((picture[inner].astype(np.float64) - other[inner]) ** 2))
    return min(_HIGHEST_PSNR, 10 * math.log10(255**2 / max(error, 1e-12)))
