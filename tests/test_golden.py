"""Stored results in fp32, which any machine must reproduce up to rounding.

`python tests/test_golden.py` writes them anew, for a change that is meant to change pixels.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from zssr import upscale

GOLDEN = Path(__file__).parent / "golden"
BRIEF = {"num_epochs": 8, "lr_schedule": "cosine", "precision": "fp32", "device": "cpu"}
PORTRAIT = data.astronaut()[40:88, 190:238]
CUP = data.coffee()[200:248, 300:348]
CAT = data.chelsea()[100:148, 150:198]
Y, X = np.mgrid[-6:7, -6:7]
BLUR = np.exp(-0.5 * ((X / 1.8) ** 2 + (Y / 1.1) ** 2))


def with_alpha(image):
    """Add an opacity that is full in a rectangle, half at its top, and none around it."""
    opacity = np.zeros(image.shape[:2], np.uint8)
    opacity[8:40, 10:44] = 255
    opacity[8:12] //= 2
    return Image.fromarray(np.dstack([image, opacity]))


CASES = {
    "x2": lambda: upscale(PORTRAIT, 2, **BRIEF),
    "x3": lambda: upscale(CUP, 3, **BRIEF),
    "x1.7": lambda: upscale(CAT, 1.7, **BRIEF),
    "best": lambda: upscale(CAT, 2, preset="best", **BRIEF),
    "random": lambda: upscale(CAT, 2, init="random", **BRIEF),
    "kernel": lambda: upscale(PORTRAIT, 2, kernel=BLUR, **BRIEF),
    "kernel_top_left": lambda: upscale(PORTRAIT, 2, kernel=BLUR, sampling="top_left", **BRIEF),
    "noise_and_jpeg": lambda: upscale(CUP, 2, noise=9.0, jpeg=60, **BRIEF),
    "gray": lambda: upscale(CAT[..., 0], 2, **BRIEF),
    "alpha": lambda: upscale(with_alpha(CAT), 2, **BRIEF),
    "bands": lambda: upscale(np.dstack([CAT, CUP[..., :1]]), 2, **BRIEF),
}


def store(name):
    """Return the file of a case; arrays of four bands are stored as if the fourth were an opacity."""
    return GOLDEN / f"{name}.png"


@pytest.mark.parametrize("name", CASES)
def test_results_equal_the_stored_ones_to_50_db(name):
    result = np.asarray(CASES[name]()).astype(float)
    with Image.open(store(name)) as stored:
        error = np.mean((result - np.asarray(stored)) ** 2)
    assert 10 * np.log10(255**2 / max(error, 1e-9)) >= 50


def test_other_pixels_would_show():
    results = {name: np.asarray(Image.open(store(name)).convert("RGB")).astype(float) for name in ("x2", "kernel")}
    assert 10 * np.log10(255**2 / np.mean((results["x2"] - results["kernel"]) ** 2)) < 40


if __name__ == "__main__":
    for case, make in CASES.items():
        Image.fromarray(np.asarray(make())).save(store(case))
