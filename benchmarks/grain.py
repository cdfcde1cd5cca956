"""Noise that is not white: how often it is found, and what its removal gains."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.protocol import Picture, compute_psnr_and_ssim, downsample, load_ground_truths, to_picture
from zssr.api import Upscaler
from zssr.config import Config
from zssr.degradation.noise import Grain, add_noise
from zssr.estimation.noise_level import resolve_noise
from zssr.request import Request

SETS = ("Set5", "Set14", "BSD100", "Urban100")
UPSCALED = (("BSD100", "012"), ("BSD100", "018"), ("Set14", "009"), ("Set14", "012"))


def _add(grain: Grain) -> Callable[[Picture], Picture]:
    def add(photo: Picture) -> Picture:
        planes = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None] / 255
        return to_picture(255 * add_noise(planes, 10.0, torch.Generator().manual_seed(0), grain)[0])

    return add


def _enlarge(photo: Picture) -> Picture:
    """Make a photo smaller, add white noise, and enlarge it to its size."""
    picture = Image.fromarray(photo)
    small = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.BICUBIC)
    return np.asarray(Image.fromarray(_add(Grain())(np.asarray(small))).resize(picture.size, Image.Resampling.BICUBIC))


KINDS: dict[str, Callable[[Picture], Picture]] = {
    "none": lambda photo: photo,
    "white": _add(Grain()),
    "blurred by 0.7 px": _add(Grain(0.7)),
    "blurred by 0.7 px, gray": _add(Grain(0.7, 1.0)),
    "white, gray": _add(Grain(correlation=1.0)),
    "grows with brightness": _add(Grain(shot=1.0)),
    "enlarged by 1.25": _enlarge,
}
"""How noise of 10 of 255 comes on a photo."""


def run(data: Path, config: Config, limit: int | None, side: int | None) -> None:
    """Print for each kind how many downsampled photos it is found in, and the gain by its removal in some of them.

    With a `side`, photos are the corners and the middle of these, so large, and nothing is upscaled.
    """
    photos = [downsample(truth, 2)[1] for name in SETS for _, truth in load_ground_truths(data / name)]
    if side:
        photos = [part for photo in photos for part in _cut(photo, side)]
    columns = [] if side else ["left in: PSNR", "removed: PSNR"]
    print(f"{len(photos)} photos\n\n| {' | '.join(['noise', 'found', 'sigma: 5 %', '50 %', '95 %', *columns])} |")
    print("|---" * (5 + len(columns)) + "|", flush=True)
    for name, degrade in KINDS.items():
        sigmas = [sigma for sigma in (_estimate(degrade(photo)) for photo in photos) if sigma]
        row = [name, str(len(sigmas))]
        row += [f"{q:.1f}" for q in np.quantile(sigmas, (0.05, 0.5, 0.95))] if sigmas else ["-"] * 3
        if not side:
            measured = [_measure(data / folder / f"{stem}.png", degrade, config) for folder, stem in UPSCALED[:limit]]
            row += [f"{psnr:.2f}" for psnr in np.mean(measured, axis=0)]
        print(f"| {' | '.join(row)} |", flush=True)


def _cut(photo: Picture, side: int) -> list[Picture]:
    """Cut the corners and the middle out of a photo."""
    bottom, right = (max(length - side, 0) for length in photo.shape[:2])
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [photo[top : top + side, left : left + side] for top, left in places]


def _estimate(photo: Picture) -> float:
    return resolve_noise("auto", torch.from_numpy(photo.copy()).permute(2, 0, 1)[None] / 255)[0]


def _measure(path: Path, degrade: Callable[[Picture], Picture], config: Config) -> list[float]:
    """Return PSNR with the noise left in, and removed."""
    with Image.open(path) as opened:
        truth, small = downsample(np.asarray(opened.convert("RGB"))[:320, :480], 2)
    photo, request = degrade(small), Request(2, kernel="bicubic")
    results = [Upscaler(config.replace(noise=noise)).run(photo, request) for noise in (0, "auto")]
    return [compute_psnr_and_ssim(np.asarray(result.image), truth, 2)[0] for result in results]
