"""The picture of docs/burst.md: a frame, what it gives by itself, what eight give, and the original."""

from argparse import Namespace

import numpy as np
from skimage import data

from benchmarks.burst import LENS, NOISE, fuse_frames, measure_psnr
from benchmarks.bursts_of_pictures import SCALE, shoot_burst
from benchmarks.gallery import draw_row
from zssr.api import Upscaler
from zssr.config import Config
from zssr.request import Request

_SHOWN = (20, 20, 200, 160)


def run_picture(options: Namespace, config: Config) -> None:
    """Write burst.png into the folder `out`, and print a table."""
    truth = np.asarray(data.astronaut()[290:490, 20:260])  # type: ignore[no-untyped-call]
    frames = list(shoot_burst(truth, 8, LENS, NOISE, np.random.default_rng(0)))
    request = Request(SCALE)
    single = np.asarray(Upscaler(config).run(frames[0], request).image)
    fused, blur = fuse_frames(frames, config, request)
    figures = [measure_psnr(image, truth) for image in (single, fused)]
    labels = ("one of 8 frames", f"zssr, {figures[0]:.2f} dB", f"8 frames, {figures[1]:.2f} dB", "original")
    pictures = (frames[0].repeat(SCALE, 0).repeat(SCALE, 1), single, fused, truth)
    draw_row(dict(zip(labels, pictures, strict=True)), _SHOWN).save(options.out / "burst.png", optimize=True)
    print("| zssr, one frame: PSNR | 8 frames: PSNR | blur |\n|---|---|---|")
    print(f"| {figures[0]:.2f} | {figures[1]:.2f} | {blur} |")
