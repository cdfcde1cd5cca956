"""The registry of methods, the setting, and interpolation against Pillow."""

import re
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers import TINY, file_names, run_command
from PIL import Image
from skimage import data

import zssr.methods
from zssr import Config, ConfigError, ImageError, Upscaler, upscale
from zssr.cli.main import main
from zssr.method import Method, ResidualNetwork
from zssr.methods import find_method, list_frame_methods, list_methods

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
PHOTO = data.astronaut()[:40, 200:250]


@pytest.mark.parametrize("name", RESAMPLING)
@pytest.mark.parametrize("size", [(80, 100), (120, 150), (100, 125), (80, 150), (50, 70)])
def test_interpolation_is_that_of_pillow(name, size):
    expected = np.asarray(Image.fromarray(PHOTO).resize(size[::-1], RESAMPLING[name]), int)
    ours = upscale(PHOTO, size=size, method=name, noise=0)
    # a pixel whose middle lies between two others may take either
    rows, columns = ((np.arange(n) + 0.5) * m / n % 1 > 1e-6 for n, m in zip(size, PHOTO.shape[:2], strict=True))
    assert np.abs(ours - expected)[rows][:, columns].max() <= 1


@pytest.mark.parametrize("name", RESAMPLING)
def test_fractional_scales_reach_the_border(name):
    large = upscale(PHOTO[:33, :31], 1.5, method=name, noise=0)
    assert large.shape == (50, 46, 3)
    assert np.abs(large[-1].astype(int) - PHOTO[32, np.arange(46) * 31 // 46]).mean() < 25


@pytest.mark.parametrize("name", RESAMPLING)
@pytest.mark.parametrize("scale", [2, 1.5, (3, 2)])
def test_blocks_of_interpolation_equal_the_whole(name, scale):
    one, many = (upscale(PHOTO, scale, method=name, patch_size=side, noise=0) for side in (384, 8))
    assert np.abs(one.astype(int) - many).max() <= 1


def test_nearest_repeats_pixels():
    assert np.array_equal(upscale(PHOTO, 3, method="nearest"), PHOTO.repeat(3, 0).repeat(3, 1))


def test_top_left_sampling_keeps_the_first_pixel():
    large = upscale(PHOTO, 2, method="bilinear", sampling="top_left", noise=0)
    assert np.array_equal(large[::2, ::2], PHOTO)


@pytest.mark.parametrize(
    "image", [PHOTO[..., 0], np.dstack([PHOTO, PHOTO[..., :1]]), PHOTO.astype(np.uint16) * 256, PHOTO / np.float32(255)]
)
def test_images_of_other_kinds_are_interpolated(image):
    large = upscale(image, 2, method="bicubic", noise=0)
    assert large.dtype == image.dtype
    assert large.shape == (80, 100, *image.shape[2:])


def test_transparency_is_interpolated(tmp_path):
    alpha = Image.fromarray(np.dstack([PHOTO, np.full((40, 50), 128, np.uint8)]))
    assert upscale(alpha, 2, method="lanczos").getpixel((9, 9))[3] == 128
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    assert run_command(tmp_path / "photo.png", "--method", "nearest") == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "photo_x2.png")), PHOTO.repeat(2, 0).repeat(2, 1))


def test_zssr_is_the_default():
    assert next(iter(list_methods())) == Config().method == "zssr"
    assert np.array_equal(upscale(PHOTO, config=TINY), upscale(PHOTO, config=TINY, method="zssr"))


def test_unknown_method_names_the_nearest(tmp_path, capsys):
    with pytest.raises(ConfigError, match='method: "lancsos" is not a method; did you mean "lanczos"'):
        upscale(PHOTO, method="lancsos")
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    assert main([str(tmp_path / "photo.png"), "--method", "lancsos"]) == 2
    assert file_names(tmp_path) == ["photo.png"]
    assert "did you mean" in capsys.readouterr().err
    with pytest.raises(ConfigError, match='method: "size=3" is not an option of nearest; it has no options'):
        find_method("nearest:size=3")


def test_methods_are_listed(capsys):
    assert main(["methods"]) == 0
    listed = re.findall(r"^([a-z-]+) ", capsys.readouterr().out, re.MULTILINE)
    assert listed == [*list_methods(), *list_frame_methods()]


def test_names_are_unique_and_papers_named():
    assert len(list_methods()) == len(zssr.methods.MODULES)
    for method in list_methods().values():
        assert method.summary
        assert method.paper


class Toy(ResidualNetwork):
    """Adds one number to the interpolated image."""

    def __init__(self, *, channels, factor, generator, bias):
        super().__init__()
        self.channels, self.factor, self.margin = channels, factor, 0
        self.bias = torch.nn.Parameter(torch.full((channels, 1, 1), bias / 100.0))

    def forward(self, image):
        return (self.bias + 0 * image).to(image.dtype)


TOY = Method(
    name="toy",
    summary="adds a number",
    paper="nobody",
    network=Toy,
    on_interpolated=True,
    settings={"num_epochs": 7, "lr": 1e-9, "crop_size": 16},
    options={"bias": 10},
)


@pytest.fixture
def _registered(monkeypatch):
    module = ModuleType("toy")
    module.METHOD = TOY
    monkeypatch.setitem(sys.modules, "toy", module)
    monkeypatch.setattr(zssr.methods, "MODULES", (*zssr.methods.MODULES, module))


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize("scale", [2, 1.6, (3, 2)])
def test_adding_a_method_takes_one_file_and_one_line(scale):
    config = Config(method="toy:bias=20", back_projection=0, noise=0, jpeg="off", precision="fp32")
    result = Upscaler(config).run(PHOTO, scale)
    plain = Upscaler(config.replace(method="toy:bias=1", lr=1e-9)).run(PHOTO, scale).image
    assert result.steps == 7
    assert len(result.model.networks) == 1
    inner = (plain > 30) & (plain < 200)
    difference = (np.asarray(result.image, int) - plain)[inner]
    assert np.abs(difference - 0.19 * 255).max() <= 1


@pytest.mark.usefixtures("_registered")
def test_settings_given_are_above_those_of_the_method():
    assert Upscaler(Config(method="toy", num_epochs=3)).run(PHOTO).steps == 3


@pytest.mark.usefixtures("_registered")
def test_a_model_serves_its_method_only():
    model = Upscaler(Config(method="toy")).run(PHOTO).model
    assert Upscaler(Config(method="toy")).run(PHOTO, 3, model=model).steps == 0
    with pytest.raises(ImageError, match="the model is of the method toy, not of zssr"):
        Upscaler(TINY).run(PHOTO, model=model)


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize("text", ["toy:bias=0", "toy:bias", "toy:width=3", "toy:bias=x"])
def test_bad_options_are_refused(text):
    with pytest.raises(ConfigError, match=r"^method: .* of toy"):
        find_method(text)


@pytest.mark.usefixtures("_registered")
def test_tiles_of_an_interpolated_image_equal_the_whole():
    one, many = (upscale(PHOTO, 1.7, method="toy", patch_size=side) for side in (384, 8))
    assert np.array_equal(one, many)
