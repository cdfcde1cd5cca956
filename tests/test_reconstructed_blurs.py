"""Blurs that take whole frequencies away: photos are reconstructed, and nothing is learned."""

import math

import numpy as np
import pytest
from helpers import TINY, gaussian_kernel
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.special import j1

from zssr import Request, Upscaler
from zssr.cli.main import main
from zssr.degradation import Degradation
from zssr.degradation.blur import least_response
from zssr.degradation.named_kernels import parse_kernel

SCALE = (2.0, 2.0)
CLEAN = TINY.replace(noise=0.0, jpeg="off")


def make_photo():
    values = gaussian_filter(np.random.default_rng(0).random((64, 72, 3)), (1.5, 1.5, 0))
    return (255 * (values - values.min()) / np.ptp(values)).round().astype(np.uint8)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("name", "has"),
    [("disc:2.4", False), ("disc:2.9", True), ("line:4,30", False), ("line:5,30", True), ("line:8,90", True)],
)
def test_blurs_with_zeros_are_known_at_any_scale(name, has, scale):
    shape, _, numbers = name.partition(":")
    size, *angle = map(float, numbers.split(","))
    sizes = ",".join(map(str, [size * scale / 2, *angle]))
    scales = (float(scale), float(scale))
    assert Degradation(parse_kernel(f"{shape}:{sizes}", scales), scales).has_zeros == has


@pytest.mark.parametrize(
    "name", ["box", "lanczos", "nearest", "cubic", "unsharp:0.8,1", "gaussian:2.5", "gaussian:0.5"]
)
def test_resamplers_and_gaussians_have_none(name):
    assert not Degradation(parse_kernel(name, SCALE), SCALE).has_zeros
    assert not Degradation().has_zeros


def test_the_least_response_is_that_of_the_formula():
    frequency = np.linspace(1e-6, 0.25, 400)  # up to the Nyquist frequency of the photo, in cycles per large pixel
    disc = 2 * j1(2 * math.pi * 4 * frequency) / (2 * math.pi * 4 * frequency)
    assert least_response(parse_kernel("disc:4", SCALE), SCALE) == pytest.approx(disc.min(), abs=0.02)
    assert least_response(parse_kernel("line:8,0", SCALE), SCALE) == pytest.approx(
        np.sinc(8 * frequency).min(), abs=0.03
    )


@pytest.mark.parametrize("kernel", ["disc:3", "line:7,20"])
def test_such_photos_are_reconstructed_as_the_method_map_does(kernel):
    photo = make_photo()
    result = Upscaler(CLEAN).run(photo, Request(2, kernel=kernel))
    mapped = Upscaler(CLEAN.replace(method="map:prior=huber")).run(photo, Request(2, kernel=kernel))
    assert np.array_equal(result.image, mapped.image)
    assert result.steps == 0
    assert result.model.networks == ()
    assert result.warnings == []
    assert np.array_equal(Upscaler(CLEAN).run(photo, Request(2), model=result.model).image, result.image)


@pytest.mark.parametrize("kernel", ["line:7,20", "bicubic"])
def test_the_command_says_whether_the_photo_was_trained_on(tmp_path, capsys, kernel):
    Image.fromarray(make_photo()).save(photo := tmp_path / "photo.png")
    settings = ["noise=0", "jpeg=off", "num_epochs=2", "self_ensemble=1"]
    sets = [word for setting in settings for word in ("--set", setting)]
    assert main([str(photo), "--kernel", kernel, *sets]) == 0
    said = capsys.readouterr().out
    assert ("no training" in said) == kernel.startswith("line")
    assert ("2 steps" in said) == (kernel == "bicubic")


def test_others_are_learned():
    photo = make_photo()
    cases = [
        (CLEAN, "disc:2"),
        (CLEAN, gaussian_kernel(15, (2.0, 2.0), 0.0)),
        (CLEAN.replace(noise=8.0), "disc:3"),
        (CLEAN.replace(wrap="xy"), "disc:3"),
    ]
    for config, kernel in cases:
        assert Upscaler(config).run(photo, Request(2, kernel=kernel)).steps > 0


def test_texture_is_asked_for_in_vain():
    photo = make_photo()
    result = Upscaler(CLEAN.replace(adversarial=1.0)).run(photo, Request(2, kernel="disc:3"))
    assert result.warnings == ["the blur takes whole frequencies away, so no texture can be learned: none is added"]
    assert result.model.texture is None
