"""Four bands: one network for all as gray images, RGB and gray apart, or one from random weights for all jointly."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.protocol import ASTRONAUT, Picture, resize_bicubic
from benchmarks.quality import BASELINES
from zssr.api import Upscaler
from zssr.config import Config
from zssr.request import Request

_SHAVE = 2


def run(config: Config, device: str) -> None:
    """Print the mean PSNR over the bands of a photo in cyan, magenta, yellow and black, downsampled by bicubic, x2."""
    truth = separate_cmyk(np.asarray(Image.open(ASTRONAUT).convert("RGB")))
    small = resize_bicubic(truth, (truth.shape[0] // 2, truth.shape[1] // 2), 0.5)
    request = Request(device=device)
    by_band = Upscaler(config).run(small, request)
    three = Upscaler(config).run(small[..., :3], request)
    fourth = Upscaler(config).run(small[..., 3], request)
    jointly = Upscaler(BASELINES["random"](config)).run(small, request)
    results = {
        "bicubic": (resize_bicubic(small, truth.shape[:2], 2), 0),
        "prior, by band": (by_band.image, by_band.steps),
        "prior, three bands as RGB, one as gray": (np.dstack([three.image, fourth.image]), three.steps + fourth.steps),
        "random weights, four bands jointly": (jointly.image, jointly.steps),
    }
    print("| x2, four bands | PSNR | steps |\n|---|---|---|")
    for name, (image, steps) in results.items():
        print(f"| {name} | {compute_band_psnr(image, truth):.2f} | {steps} |")
    print(flush=True)


def separate_cmyk(picture: Picture) -> Picture:
    """Turn RGB into cyan, magenta, yellow and black: (H, W, 4); what the three have in common is black."""
    inks = 255 - picture
    black = inks.min(-1, keepdims=True)
    return np.concatenate([inks - black, black], -1)


def compute_band_psnr(image: Picture, truth: Picture) -> float:
    """Return the mean PSNR of the bands in dB, without the border."""
    inner = (slice(_SHAVE, -_SHAVE),) * 2
    errors: NDArray[np.float64] = np.mean((image[inner].astype(float) - truth[inner]) ** 2, axis=(0, 1))
    return float(np.mean(10 * np.log10(255**2 / errors)))
