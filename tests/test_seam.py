"""Photos whose sides join: they are the same wherever they were cut open, and the step across the seam is as inside."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import PRIOR_CONFIG, TINY, gaussian_kernel, image_size, run_command, save_prior
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from zssr.api import Upscaler, upscale
from zssr.degradation import resize
from zssr.images import load
from zssr.io.limits import Limits
from zssr.request import Request
from zssr.seam import find_least_rotation, find_origin


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Settings that apply start weights as they are; these are random, and so the networks do much."""
    path = save_prior(tmp_path_factory.mktemp("prior") / "prior.safetensors")
    return PRIOR_CONFIG.replace(prior=str(path), precision="fp32", noise=0, jpeg="off", wrap="xy")


def make_texture(height, width, channels=3, seed=0, sigma=1.2):
    """Draw a seamless texture (H, W, C) of float32 in [0, 1]."""
    noise = np.random.default_rng(seed).normal(size=(height, width, channels))
    smooth = gaussian_filter(noise, (sigma, sigma, 0), mode="wrap")
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


def compare_rolled(image, offset, config, request):
    """Return how much the result for a rolled image differs from the rolled result."""
    upscaler = Upscaler(config)
    large = upscaler.run(image, request).image.astype(np.float64)
    rolled = upscaler.run(np.roll(image, offset, (0, 1)), request).image
    moved = [by * new / old for by, new, old in zip(offset, large.shape, image.shape, strict=False)]
    assert all(by == round(by) for by in moved)
    return np.abs(rolled - np.roll(large, [round(by) for by in moved], (0, 1))).max()


@pytest.mark.parametrize(
    ("shape", "offset", "scale", "settings"),
    [
        ((48, 64), (5, 7), 2, {}),
        ((48, 64), (24, 63), 2, {"patch_size": 17}),  # tiles
        ((48, 64), (0, 9), 2, {"wrap": "x"}),
        ((48, 64), (9, 0), 2, {"wrap": "y"}),
        ((48, 64), (-3, 1), 4, {}),
        ((48, 64), (7, 11), 3, {}),
        ((48, 64), (4, 6), 1.5, {}),
        ((40, 65), (4, 0), 1.5, {}),  # 65 * 1.5 is no whole number
        ((48, 65), (4, 0), 2.25, {"scale_factor": 1.5, "scale_times": 2}),
        ((30, 33), (5, 7), (1, 2), {}),
        ((10, 12), (5, 7), 2, {}),  # too small to learn from, and smaller than the margins
        ((48, 64), (5, 7), 2, {"sampling": "top_left"}),
        ((48, 64), (5, 7), 2, {"self_ensemble": 1, "back_projection": 0}),
    ],
)
def test_a_rolled_image_gives_the_rolled_result(config, shape, offset, scale, settings):
    image = make_texture(*shape)
    assert compare_rolled(image, offset, config.replace(**settings), Request(scale, kernel=None)) < 1e-5


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels_may_be_rolled(config, channels):
    request = Request(2, kernel=gaussian_kernel(9, (1.2, 0.8), 0.4))
    assert compare_rolled(make_texture(40, 44, channels), (13, -7), config, request) < 1e-5


def test_without_the_setting_the_sides_are_borders(config):
    assert compare_rolled(make_texture(48, 64), (5, 7), config.replace(wrap="off"), Request(2, kernel=None)) > 1e-3
    assert compare_rolled(make_texture(48, 64), (5, 0), config.replace(wrap="x"), Request(2, kernel=None)) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "scale"), [({}, 2), ({"noise": "auto"}, 2), ({"wrap": "x"}, 4), ({"adversarial": 1.0}, 2)]
)
def test_estimation_and_training_begin_at_the_same_place(settings, scale):
    image = make_texture(48, 64)
    if "noise" in settings:
        image = (image + np.random.default_rng(1).normal(0, 0.03, image.shape)).clip(0, 1).astype(np.float32)
    config = TINY.replace(precision="fp32", wrap="xy", num_epochs=5).replace(**settings)
    offset = (0, 7) if config.wrap == "x" else (5, 7)
    assert compare_rolled(image, offset, config, Request(scale)) < 1e-5


def test_blocks_see_across_the_seam(config, monkeypatch):
    whole = upscale(make_texture(48, 50), 2, config=config, kernel=None)
    monkeypatch.setattr("zssr.inference.blockwise._LARGEST_BLOCK", 50)
    blocks = upscale(make_texture(48, 50), 2, config=config, kernel=None)
    assert np.abs(blocks - whole).max() < 1e-5


def test_windows_that_large_photos_are_learned_from_move_with_them(monkeypatch):
    monkeypatch.setattr("zssr.fit._MOST_WHOLE_PIXELS", 0)
    monkeypatch.setattr("zssr.fit.MOST_PIXELS", {True: 5000, False: 5000})
    monkeypatch.setattr("zssr.training.pairs.WINDOW_SIZE", 40)
    config = TINY.replace(precision="fp32", wrap="xy", self_ensemble=1)
    assert compare_rolled(make_texture(72, 80), (51, 37), config, Request(2, kernel=None)) < 1e-5


def test_opacity_joins_too(config):
    image = make_texture(32, 40, 4)
    image[..., 3] = 0.5 + image[..., 3] / 2
    picture = Image.fromarray((255 * image).astype(np.uint8), "RGBA")
    rolled = Image.fromarray(np.roll(np.asarray(picture), (5, 7), (0, 1)), "RGBA")
    large, moved = (np.asarray(upscale(one, 2, config=config, kernel=None)).astype(int) for one in (picture, rolled))
    assert np.abs(np.roll(large, (10, 14), (0, 1)) - moved).max() <= 1


@pytest.mark.slow
def test_the_step_across_the_seam_is_as_inside():
    truth = torch.from_numpy(np.tile(make_texture(128, 128, 1, sigma=1.0)[..., 0], (3, 3)))[None, None]
    small = resize(truth, (192, 192), (0.5, 0.5))[0, 0, 64:128, 64:128].clamp(0, 1).numpy()
    inner = truth[0, 0, :128, :128].numpy()

    def measure(wrap):
        large = upscale(small, 2, num_epochs=100, lr_schedule="cosine", wrap=wrap)
        error = np.abs(large - inner)
        rim = np.concatenate([error[:2].ravel(), error[-2:].ravel(), error[:, :2].ravel(), error[:, -2:].ravel()])
        return rim.mean() / error[8:-8, 8:-8].mean()

    assert measure("xy") < 1.1 < 1.2 < measure("off")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 11))
def test_least_rotation_is_the_least_of_all(numbers, by):
    start = find_least_rotation(numbers)
    rotations = [numbers[k:] + numbers[:k] for k in range(len(numbers))]
    assert rotations[start] == min(rotations)
    turned = rotations[by % len(numbers)]
    again = find_least_rotation(turned)
    assert turned[again:] + turned[:again] == min(rotations)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_origin_moves_with_the_photo(dtype):
    image = make_texture(40, 30)
    image = image if dtype is np.float32 else (255 * image).astype(np.uint8)

    def origin(array, wraps):
        return find_origin(replace(load(array, Limits()).photos[0], wraps=wraps))

    rolled = np.roll(image, (11, 7), (0, 1))
    row, column = origin(image, (True, True))
    assert origin(rolled, (True, True)) == ((row + 11) % 40, (column + 7) % 30)
    assert origin(np.roll(image, 7, 1), (False, True)) == (0, (origin(image, (False, True))[1] + 7) % 30)
    assert origin(rolled, (False, False)) == (0, 0)
    assert origin(np.zeros_like(image), (True, True)) == (0, 0)


def test_the_command_has_the_setting(tmp_path):
    image = (255 * make_texture(32, 36)).astype(np.uint8)
    for name, pixels in (("a", image), ("b", np.roll(image, 9, 1))):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    options = ("--wrap", "x", "--kernel", "bicubic", "--set", "precision=fp32")
    assert run_command(tmp_path / "a.png", tmp_path / "b.png", *options) == 0
    assert image_size(tmp_path / "a_x2.png") == (72, 64)
    large, rolled = (np.asarray(Image.open(tmp_path / f"{name}_x2.png")).astype(int) for name in "ab")
    assert np.abs(np.roll(large, 18, 1) - rolled).max() <= 1
