"""Texture on photos: blending, spectra, blocks, kinds of images, and the settings of the command."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from benchmarks.texture import compute_grid_peak
from zssr import Config, ConfigError, Request, Upscaler, upscale
from zssr.cli.arguments import build_parser
from zssr.cli.main import main
from zssr.degradation import Degradation

PLAIN = Config(num_epochs=10, lr_schedule="cosine", self_ensemble=1)
TEXTURED = PLAIN.replace(adversarial=1.0)


def photo(height=72, width=64):
    return np.asarray(
        Image.fromarray(data.astronaut()[30:360, 100:400]).resize((width, height), Image.Resampling.LANCZOS)
    )


def run(config, image, scale, model=None):
    return Upscaler(config).run(image, Request(scale, kernel="bicubic", device="cpu"), model=model)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3])
def test_texture_blends_and_downsamples_to_the_photo(scale):
    image = photo()
    plain = run(PLAIN, image, scale).image
    made = run(TEXTURED, image, scale)
    assert len(made.history.adversarial_losses) == len(made.history.discriminator_losses) == 60
    assert made.model.texture.strength > 0
    none, hardly, half, full = (
        run(PLAIN.replace(texture=texture), image, scale, made.model).image.astype(float)
        for texture in (0.0, 1e-9, 0.5, 1.0)
    )
    assert np.array_equal(none, plain)
    assert np.array_equal(full, made.image)
    assert np.abs(full - hardly).mean() > 0.05
    assert np.abs(half - hardly).mean() < 0.75 * np.abs(full - hardly).mean()
    planes = torch.from_numpy(made.image.astype(np.float64)).permute(2, 0, 1)[None]
    back = Degradation(None, (scale, scale)).downsample(planes, image.shape[:2])[0].permute(1, 2, 0).numpy()
    assert 10 * math.log10(255**2 / np.mean((back - image) ** 2)) >= 45


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 4])
def test_no_peak_of_the_spectrum_at_the_strides_of_the_networks(scale):
    image = photo(96, 96)
    made, plain = (run(config, image, scale).image.astype(float).mean(-1) for config in (TEXTURED, PLAIN))
    assert not np.array_equal(made, plain)
    peaks = [compute_grid_peak(each, scale) for each in (made, plain)]
    assert peaks[0] <= peaks[1] + 3
    rows, columns = np.indices(made.shape)
    checkered = made + 4 * ((rows + columns) % scale == 0)
    assert compute_grid_peak(checkered, scale) > peaks[1] + 3  # the measure is sensitive to grids


@pytest.mark.slow
def test_blocks_leave_no_seam():
    image = torch.from_numpy(photo(60, 50).copy()).permute(2, 0, 1)[None].float() / 255
    # in bf16 oneDNN takes other orders of summation for other sizes, and a rounding is a thousandth
    made = run(TEXTURED.replace(precision="fp32"), image, 2)
    tiled = run(PLAIN.replace(patch_size=24, precision="fp32"), image, 2, made.model)
    assert float((tiled.image - made.image).abs().max()) < 2e-4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gray", "bands", "opacity", "fraction"])
def test_images_of_all_kinds_get_texture(kind):
    image, scale = photo(), 1.7 if kind == "fraction" else 2
    opacity = np.linspace(0, 255, 64, dtype=np.uint8)[None].repeat(72, 0)
    image = {
        "gray": image[..., 0],
        "bands": np.dstack([image, 255 - image[..., :1]]),
        "opacity": Image.fromarray(np.dstack([image, opacity])),
        "fraction": image,
    }[kind]
    made = run(TEXTURED, image, scale)
    assert [warning for warning in made.warnings if "transparency" not in warning] == []
    plain = run(PLAIN.replace(texture=0), image, scale, made.model)
    one, other = np.asarray(made.image), np.asarray(plain.image)
    assert one.shape == other.shape
    assert (one != other).mean() > 0.05
    if kind == "opacity":
        assert np.array_equal(one[..., 3], other[..., 3])


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "reason"), [({"noise": 9.0}, "noise"), ({}, "too small")])
def test_without_a_generator_the_result_is_plain(settings, reason):
    image = photo() if settings else photo(23, 60)
    plain = run(PLAIN.replace(**settings), image, 2)
    made = run(TEXTURED.replace(**settings), image, 2)
    assert np.array_equal(plain.image, made.image)
    assert reason in made.warnings[-1]


@pytest.mark.parametrize(
    "setting", ["adversarial=-1", "adversarial=1e999", "gan_loss=wasserstein", "texture=2", "perceptual=x"]
)
def test_bad_settings_are_one_sentence(setting, tmp_path, capsys):
    Image.fromarray(photo(24, 24)).save(tmp_path / "a.png")
    assert main([str(tmp_path / "a.png"), "--set", setting]) == 2
    error = capsys.readouterr().err
    assert setting.partition("=")[0] in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_expected_gain_is_measured_without_texture():
    image = photo(96, 96)
    gains = [run(config.replace(measure_gain=True), image, 2).expected_gain for config in (PLAIN, TEXTURED)]
    assert gains[0] is not None
    assert gains[0] == gains[1]


@pytest.mark.slow
def test_forecast_with_texture(tmp_path):
    Image.fromarray(photo(96, 96)).save(tmp_path / "a.png")
    request = Request(2, kernel="bicubic", device="cpu")
    plain, textured = (
        Upscaler(PLAIN.replace(adversarial=weight)).forecast(tmp_path / "a.png", request) for weight in (0.0, 1.0)
    )
    assert textured.size == plain.size == (192, 192)
    assert textured.seconds > 0


def test_option_takes_an_optional_weight(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["--adversarial", "a.png"])
    assert "photos go before it" in capsys.readouterr().err
    assert build_parser().parse_args(["a.png"]).adversarial is None
    assert build_parser().parse_args(["a.png", "--adversarial"]).adversarial == 1
    assert build_parser().parse_args(["a.png", "--adversarial", "0.5"]).adversarial == 0.5


def test_vgg_without_its_weights_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ConfigError, match=r"perceptual.*fetches it"):
        upscale(photo(), config=TEXTURED.replace(perceptual="vgg"))
