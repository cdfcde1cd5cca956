"""The adversarial head: what it is made of, how it is learnt, and what it does to a photo."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import zssr
from benchmarks.texture import compute_grid_peak
from zssr import Config, ConfigError, Upscaler
from zssr.cli.main import main
from zssr.degradation import Degradation
from zssr.geometry import Interval, Region
from zssr.networks.discriminator import CHANCE_LOSS, DISCRIMINATOR_LOSSES, GENERATOR_LOSSES, Discriminator
from zssr.networks.texture import TextureGenerator, hash_normal, local_std, weakest_gradient
from zssr.training import texture_gan as adversarial
from zssr.training.patches import TextureExample
from zssr.training.perceptual import load_vgg_distance
from zssr.training.texture_gan import train_texture_gan

QUICK = {"num_epochs": 10, "lr_schedule": "cosine", "self_ensemble": False, "device": "cpu", "kernel": "bicubic"}


def photo(height=72, width=64):
    return np.asarray(
        Image.fromarray(data.astronaut()[30:360, 100:400]).resize((width, height), Image.Resampling.LANCZOS)
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def region(top, bottom, left, right):
    return Region(Interval(top, bottom, 1000), Interval(left, right, 1000))


def grains(height, width, seed=0):
    return (0.5 + 0.1 * torch.randn(1, 3, height, width, generator=generator(seed))).clamp(0, 1)


def softened(image):
    return torch.nn.functional.avg_pool2d(torch.nn.functional.pad(image, [1] * 4, mode="reflect"), 3, 1)


def scene(size=64):
    large, father = grains(2 * size, 2 * size, 1), grains(size, size, 2)
    own, son = grains(size, size), softened(father)
    big = torch.nn.functional.interpolate(local_std(own), scale_factor=2)
    return TextureExample(own, local_std(own), softened(softened(large)), big, father, son, local_std(father))


def model(config=None, scenes=None, seed=0, **settings):
    config = config or Config(adversarial=1.0, num_epochs=13, **settings)
    return train_texture_gan(scenes or [scene()], 2.0, config, seed, lambda done, most: None)


def test_noise_belongs_to_its_place():
    whole = hash_normal(region(0, 300, 0, 200), 5)
    assert torch.equal(hash_normal(region(37, 150, 11, 200), 5), whole[..., 37:150, 11:200])
    assert abs(float(whole.mean())) < 0.02
    assert float(whole.std()) == pytest.approx(1, abs=0.02)
    assert float((whole.abs() < 0.6745).float().mean()) == pytest.approx(0.5, abs=0.01)
    for other in (whole.roll(1, -1), whole.roll(1, -2), whole.mT[..., :200, :], hash_normal(region(0, 300, 0, 200), 6)):
        height = min(whole.shape[-2], other.shape[-2])
        assert abs(float((whole[..., :height, :200] * other[..., :height, :200]).mean())) < 0.02


def test_contrast_is_the_deviation_of_fine_detail():
    assert local_std(torch.full((1, 3, 20, 20), 0.3)).max() < 1e-6
    kept = 1 - 2 / 4 + (6 / 16) ** 2  # of the variance of white noise, less its mean over [1 2 1] / 4 along both axes
    found = local_std(grains(128, 128))
    assert found.shape == (1, 1, 128, 128)
    assert float(found.square().mean()) == pytest.approx(kept * 0.1**2 / 3, rel=0.03)


def test_weakest_slope_is_that_of_the_lower_of_crossed_waves():
    place = 2 * math.pi / 7 * torch.arange(42.0)
    for down, right in ((0.3, 0.1), (0.1, 0.3), (0.2, 0.0)):
        waves = down * torch.sin(place)[:, None] + right * torch.sin(place)
        slope = weakest_gradient(waves.expand(1, 3, 42, 42), 7)[..., 4:-4, 4:-4]
        expected = torch.full_like(slope, min(down, right) * math.sin(2 * math.pi / 7) / math.sqrt(2))
        torch.testing.assert_close(slope, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 160])
def test_head_adds_nothing_along_edges_and_beside_them(degrees):
    head = TextureGenerator(3, generator())
    torch.nn.init.normal_(head.convolutions[-1].weight, generator=generator())
    y, x = torch.meshgrid(torch.arange(-24.0, 24), torch.arange(-24.0, 24), indexing="ij")
    across = math.cos(math.radians(degrees)) * y + math.sin(math.radians(degrees)) * x
    edge = torch.sigmoid(across).expand(1, 3, 48, 48)
    random = torch.randn(1, 1, 48, 48, generator=generator())
    high = torch.full((1, 1, 48, 48), 0.1)
    m = head.margin
    on_edge, on_grains = (head(image, high, random)[..., m:-m, m:-m].abs().max() for image in (edge, grains(48, 48)))
    assert on_edge < 0.1 * on_grains


def test_head_adds_nothing_at_first_nor_to_what_is_flat():
    head = TextureGenerator(3, generator())
    image, random = torch.rand(1, 3, 20, 20, generator=generator()), torch.randn(1, 1, 20, 20, generator=generator())
    assert not head(image, local_std(image), random).any()
    torch.nn.init.normal_(head.convolutions[-1].weight, generator=generator())
    assert head(image, local_std(image), random).any()
    assert not head(image, torch.zeros(1, 1, 20, 20), random).any()


def test_head_leaves_no_grid():
    head = TextureGenerator(3, generator())
    torch.nn.init.normal_(head.convolutions[-1].weight, generator=generator())
    image, random = torch.rand(1, 3, 41, 40, generator=generator()), torch.randn(1, 1, 41, 40, generator=generator())
    own = local_std(image)
    whole, m = head(image, own, random), head.margin
    for down, right in ((1, 0), (0, 1), (3, 2)):
        part = head(*(each[..., down:, right:].contiguous() for each in (image, own, random)))
        torch.testing.assert_close(
            part[..., m:-m, m:-m], whole[..., down + m : -m, right + m : -m], rtol=1e-4, atol=1e-5
        )


def test_layers_of_the_discriminator_amplify_by_one():
    judge = Discriminator(3, generator())
    with torch.no_grad():
        for weight in judge.weights:
            weight.mul_(7)
    for _ in range(50):
        judge.power_iteration()
    for k, weight in enumerate(weight.detach() for weight in judge.weights):
        norm = (weight.flatten(1).mT @ judge.u[k].detach()).norm()
        assert float(torch.linalg.matrix_norm(weight.flatten(1) / norm, 2)) == pytest.approx(1, abs=0.02)


def test_discriminator_does_not_see_what_is_coarse():
    judge = Discriminator(1, generator())
    fine = grains(40, 40)[:, :1]
    ramp = torch.linspace(0, 0.4, 40).expand(1, 1, 40, 40)
    inner = (..., slice(4, -4), slice(4, -4))
    torch.testing.assert_close(judge(fine)[-1][inner], judge(fine + ramp)[-1][inner], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(GENERATOR_LOSSES))
def test_losses_pull_both_players_apart(kind):
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    assert float(DISCRIMINATOR_LOSSES[kind](real, fake).detach()) == pytest.approx(CHANCE_LOSS[kind])
    up, down = torch.autograd.grad(DISCRIMINATOR_LOSSES[kind](real + 0.2, fake + 0.2), (real, fake))
    assert (up < 0).all()
    assert (down > 0).all()
    (better,) = torch.autograd.grad(GENERATOR_LOSSES[kind](real.detach(), fake), fake)
    assert (better < 0).all()
    far = torch.full((4,), 30.0)
    assert float(DISCRIMINATOR_LOSSES[kind](far, -far)) < 1e-6


def test_learning_is_deterministic_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    (one, game), (same, again), (other, _) = model(), model(), model(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert game == again
    assert len(game.generator_losses) == len(game.discriminator_losses) == 69
    for a, b in zip(one.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("limit", ["energy", "error"])
def test_strength_fills_up_a_share_of_the_missing_energy_and_stays_faithful(limit, monkeypatch):
    place = scene()
    monkeypatch.setattr(adversarial, "_FAITHFUL", 1e9 if limit == "energy" else 1.05)
    monkeypatch.setattr(adversarial, "_STRONGEST", 1e9)
    head = TextureGenerator(3, generator(), seed=4)
    torch.nn.init.normal_(head.convolutions[-1].weight, generator=generator())
    strength = adversarial._strength(head, [place], 4.0)
    random = generator(4)
    with torch.no_grad():
        large = place.large + strength * adversarial._texture(head, place.large, place.large_contrast, random)
        son = place.son + strength * adversarial._texture(head, place.son, place.son_contrast, random)
    if limit == "energy":
        energy = [float(adversarial._fine(image).abs().square().mean()) for image in (place.photo, place.large, large)]
        assert energy[2] - energy[1] == pytest.approx(adversarial._FILLED / 2 * (energy[0] - energy[1]), rel=1e-3)
    else:
        errors = [float((image - place.father).square().mean()) for image in (place.son, son)]
        assert errors[1] == pytest.approx(1.05 * errors[0], rel=1e-3)


def test_fine_energy_of_waves():
    y = torch.arange(64.0)
    slow, fast = (torch.sin(2 * math.pi * f * y).expand(1, 3, 64, 64) for f in (0.15, 0.4))
    assert float(adversarial._fine(slow).abs().square().sum()) < 1e-4 * float(
        adversarial._fine(fast).abs().square().sum()
    )


def test_enlargement_that_is_as_rough_as_the_photo_gets_no_texture():
    place = scene()
    rough = dataclasses.replace(place, photo=softened(place.photo), large=grains(128, 128))
    head, game = model(scenes=[rough])
    assert head is None
    assert "came to nothing" in game.failure


@pytest.mark.parametrize("times", [1, 99])
def test_players_that_are_not_finite_go_back(times, monkeypatch, caplog):
    forward, calls = Discriminator.forward, []

    def fails(self, images):
        calls.append(1)
        scores = forward(self, images)
        return [*scores[:-1], scores[-1] * float("nan")] if 35 <= len(calls) < 35 + 30 * times else scores

    monkeypatch.setattr(Discriminator, "forward", fails)
    head, game = model()
    assert "going back" in caplog.text
    if times == 1:
        assert all(bool(weight.isfinite().all()) for weight in head.parameters())
    else:
        assert head is None
        assert "not finite" in game.failure


def test_collapse_and_too_small_photos_give_no_head(monkeypatch):
    head, game = model(scenes=[scene(20)])
    assert head is None
    assert "too small" in game.failure
    head, game = model(scenes=[scene(26)])  # patches as small as it
    assert head is not None
    monkeypatch.setattr(adversarial, "_FAITHFUL", 1.0)
    head, game = model()
    assert head is None
    assert "came to nothing" in game.failure


def test_discriminator_that_has_won_ends_the_game(monkeypatch):
    monkeypatch.setattr(adversarial, "_WON", 10)
    head, game = model()
    assert len(game.generator_losses) == 1
    assert head is None  # it had nothing to learn


@pytest.mark.parametrize("scale", [2, 3])
def test_texture_blends_and_gives_the_photo_back(scale):
    image = photo()
    plain = zssr.upscale(image, scale, **QUICK)
    made = Upscaler(Config(adversarial=1.0, **settings())).run(image, scale, kernel="bicubic", device="cpu")
    assert len(made.adversarial_losses) == len(made.discriminator_losses) == 60
    assert made.model.texture.strength > 0
    blends = [
        Upscaler(Config(texture=texture, **settings())).run(
            image, scale, kernel="bicubic", device="cpu", model=made.model
        )
        for texture in (0.0, 1e-9, 0.5, 1.0)
    ]
    none, hardly, half, full = (blend.image.astype(float) for blend in blends)
    assert np.array_equal(none, plain)
    assert np.array_equal(full, made.image)
    assert np.abs(full - hardly).mean() > 0.05
    assert np.abs(half - hardly).mean() < 0.75 * np.abs(full - hardly).mean()
    planes = torch.from_numpy(made.image.astype(np.float64)).permute(2, 0, 1)[None]
    back = Degradation(None, (scale, scale)).downsample(planes, image.shape[:2])[0].permute(1, 2, 0).numpy()
    assert 10 * math.log10(255**2 / np.mean((back - image) ** 2)) >= 45


def settings(**more):
    return {key: value for key, value in QUICK.items() if key not in ("device", "kernel")} | more


@pytest.mark.parametrize("scale", [2, 4])
def test_no_line_of_the_spectrum_stands_out_at_the_strides_of_the_networks(scale):
    image = photo(96, 96)
    made = Upscaler(Config(adversarial=1.0, **settings())).run(image, scale, kernel="bicubic", device="cpu")
    without = zssr.upscale(image, scale, **QUICK)
    assert not np.array_equal(made.image, without)
    peaks = [compute_grid_peak(each.astype(float).mean(-1), scale) for each in (made.image, without)]
    assert peaks[0] <= peaks[1] + 3
    rows, columns = np.indices(made.image.shape[:2])
    checkered = made.image.astype(float).mean(-1) + 4 * ((rows + columns) % scale == 0)
    assert compute_grid_peak(checkered, scale) > peaks[1] + 3  # so that the measure would tell


def test_tiles_leave_no_seam():
    image = torch.from_numpy(photo(60, 50).copy()).permute(2, 0, 1)[None].float() / 255
    made = Upscaler(Config(adversarial=1.0, **settings())).run(image, 2, kernel="bicubic", device="cpu")
    tiled = Upscaler(Config(patch_size=8, **settings())).run(image, 2, kernel="bicubic", device="cpu", model=made.model)
    assert float((tiled.image - made.image).abs().max()) < 2e-4


@pytest.mark.parametrize("kind", ["gray", "bands", "opacity", "fraction"])
def test_images_of_all_kinds_get_texture(kind):
    image, scale = photo(), 2
    image = {"gray": image[..., 0], "bands": np.dstack([image, 255 - image[..., :1]]), "fraction": image}.get(kind)
    if kind == "opacity":
        image = Image.fromarray(np.dstack([photo(), np.linspace(0, 255, 64, dtype=np.uint8)[None].repeat(72, 0)]))
    scale = 1.7 if kind == "fraction" else 2
    made = Upscaler(Config(adversarial=1.0, **settings())).run(image, scale, kernel="bicubic", device="cpu")
    assert not made.warnings
    plain = Upscaler(Config(texture=0, **settings())).run(
        image, scale, kernel="bicubic", device="cpu", model=made.model
    )
    one, other = np.asarray(made.image), np.asarray(plain.image)
    assert one.shape == other.shape
    assert (one != other).mean() > 0.05
    if kind == "opacity":
        assert np.array_equal(one[..., 3], other[..., 3])


@pytest.mark.parametrize(("spoilt", "reason"), [({"noise": 9.0}, "noise"), ({}, "too small")])
def test_without_a_head_the_result_is_as_ever(spoilt, reason):
    image = photo() if spoilt else photo(23, 60)
    plain = Upscaler(Config(**settings(**spoilt))).run(image, 2, kernel="bicubic", device="cpu")
    made = Upscaler(Config(adversarial=1.0, **settings(**spoilt))).run(image, 2, kernel="bicubic", device="cpu")
    assert np.array_equal(plain.image, made.image)
    assert reason in made.warnings[-1]


@pytest.mark.parametrize(
    "key", ["adversarial=-1", "adversarial=1e999", "gan_loss=wasserstein", "texture=2", "perceptual=x"]
)
def test_bad_settings_are_one_sentence(key, tmp_path, capsys):
    Image.fromarray(photo(24, 24)).save(tmp_path / "a.png")
    assert main([str(tmp_path / "a.png"), "--set", key]) == 2
    error = capsys.readouterr().err
    assert key.partition("=")[0] in error
    assert error.count("\n") == 1


def test_what_is_expected_of_a_photo_is_not_the_head(tmp_path):
    image = Image.fromarray(photo(96, 96))
    image.save(tmp_path / "a.png")
    gains = [
        Upscaler(Config(adversarial=weight, measure_gain=True, **settings()))
        .run(image, 2, kernel="bicubic")
        .expected_gain
        for weight in (0.0, 1.0)
    ]
    assert gains[0] == gains[1]
    forecast = Upscaler(Config(adversarial=1.0)).forecast(tmp_path / "a.png", 2, kernel="bicubic")
    assert forecast.size == (192, 192)
    assert forecast.seconds > 0


def test_command_has_a_weight_of_its_own(capsys):
    from zssr.cli.arguments import build_parser

    with pytest.raises(SystemExit):
        build_parser().parse_args(["--adversarial", "a.png"])
    assert "photos go before it" in capsys.readouterr().err

    assert build_parser().parse_args(["a.png"]).adversarial is None
    assert build_parser().parse_args(["a.png", "--adversarial"]).adversarial == 1
    assert build_parser().parse_args(["a.png", "--adversarial", "0.5"]).adversarial == 0.5


def test_vgg_without_its_weights_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ConfigError, match=r"perceptual.*fetches it"):
        zssr.upscale(photo(), 2, adversarial=1.0, perceptual="vgg", **QUICK)


def test_vgg_with_weights_measures_distances_and_is_learnt_by(monkeypatch, tmp_path):
    layers = [
        (0, 3, 64),
        (2, 64, 64),
        (5, 64, 128),
        (7, 128, 128),
        *((k, 128 if k == 10 else 256, 256) for k in (10, 12, 14, 16)),
    ]
    weights = {f"features.{k}.bias": torch.zeros(out) for k, _, out in layers}
    weights |= {
        f"features.{k}.weight": torch.randn(out, to, 3, 3, generator=generator(k)) / (4.5 * to) ** 0.5
        for k, to, out in layers
    }
    (tmp_path / "checkpoints").mkdir()
    torch.save(weights | {"classifier.0.weight": torch.zeros(1)}, tmp_path / "checkpoints" / "vgg19-dcbb9e9d.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    distance = load_vgg_distance()
    image = grains(32, 32)
    near, far = (float(distance(image + step * (grains(32, 32, 1) - image), image)) for step in (0.1, 1.0))
    assert float(distance(image, image)) == 0 < near < far
    gray = image.mean(1, keepdim=True)
    assert float(distance(gray, gray.expand(-1, 3, -1, -1))) == 0
    by_vgg, by_features = (
        zssr.upscale(photo(48, 40), 2, adversarial=1.0, perceptual=kind, **QUICK) for kind in ("vgg", "features")
    )
    assert not np.array_equal(by_vgg, by_features)


def test_critics_are_loaded_only_when_used():
    import subprocess
    import sys

    code = "import sys, zssr, numpy; zssr.upscale(numpy.zeros((40, 40), numpy.float32), 2, num_epochs=1); "
    code += "sys.exit('zssr.training.texture_gan' in sys.modules or 'torchvision' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
