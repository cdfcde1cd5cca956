"""Adversarial training of the texture generator, its strength, and the perceptual distance."""

import dataclasses
import math
from functools import partial

import pytest
import torch
from helpers import make_noise_image

from zssr import Config
from zssr.networks.discriminator import Discriminator
from zssr.networks.texture import TextureGenerator, local_std
from zssr.training.gan_trainer import GanConstants, GanTrainer
from zssr.training.patches import PatchBatchSampler, TextureExample
from zssr.training.perceptual import load_vgg_distance
from zssr.training.texture_gan import GanHistory, count_gan_steps, make_texture_batch, run_gan, train_texture_gan
from zssr.training.texture_strength import StrengthLimits, choose_strength, fine_spectrum, generate_texture

CONFIG = Config(adversarial=1.0, num_epochs=4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def blur(image):
    return torch.nn.functional.avg_pool2d(torch.nn.functional.pad(image, [1] * 4, mode="reflect"), 3, 1)


def make_example(size=64):
    upscaled, father = make_noise_image(2 * size, 2 * size, 1), make_noise_image(size, size, 2)
    photo = make_noise_image(size, size)
    upscaled_std = torch.nn.functional.interpolate(local_std(photo), scale_factor=2)
    return TextureExample(
        photo, local_std(photo), blur(blur(upscaled)), upscaled_std, father, blur(father), local_std(father)
    )


def train_texture(config=CONFIG, example=None, seed=0):
    return train_texture_gan([example or make_example()], 2.0, config, seed, lambda done, most: None)


@pytest.fixture(scope="module")
def trained():
    return train_texture()


def random_texture(seed=0):
    texture = TextureGenerator(3, seeded(), seed)
    torch.nn.init.normal_(texture.convolutions[-1].weight, generator=seeded())
    return texture


@pytest.mark.slow
def test_training_is_deterministic_and_leaves_the_global_generator_alone(trained):
    before = torch.get_rng_state()
    (one, history), (same, again), (other, _) = trained, train_texture(), train_texture(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert history == again
    assert len(history.generator_losses) == len(history.discriminator_losses) == count_gan_steps(CONFIG)
    for a, b in zip(one.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"gan_loss": "bce"}, {"perceptual": "off"}, {"pixel_weight": 0.0}])
def test_settings_of_the_losses_change_the_generator(settings, trained):
    texture, _ = train_texture(CONFIG.replace(**settings))
    default, _ = trained
    assert any(not torch.equal(a, b) for a, b in zip(texture.parameters(), default.parameters(), strict=True))
    assert all(bool(weight.isfinite().all()) for weight in texture.parameters())


@pytest.mark.parametrize("limit", ["energy", "error"])
def test_strength_adds_a_share_of_the_missing_energy_and_stays_faithful(limit):
    example, texture = make_example(), random_texture(4)
    limits = StrengthLimits(error_growth=1e9 if limit == "energy" else 1.05, highest=1e9)
    strength = choose_strength(texture, [example], 4.0, limits)
    random = seeded(4)
    with torch.no_grad():
        textured = example.upscaled + strength * generate_texture(
            texture, example.upscaled, example.upscaled_std, random
        )
        son = example.upscaled_son + strength * generate_texture(texture, example.upscaled_son, example.son_std, random)
    if limit == "energy":
        photo, before, after = (
            float(fine_spectrum(image).abs().square().mean()) for image in (example.photo, example.upscaled, textured)
        )
        assert after - before == pytest.approx(limits.energy_share / 2 * (photo - before), rel=1e-3)
    else:
        errors = [float((image - example.father).square().mean()) for image in (example.upscaled_son, son)]
        assert errors[1] == pytest.approx(1.05 * errors[0], rel=1e-3)


def test_strength_is_zero_where_no_error_may_be_added():
    assert choose_strength(random_texture(), [make_example()], 2.0, StrengthLimits(error_growth=1.0)) == 0


def test_fine_energy_of_waves():
    y = torch.arange(64.0)
    slow, fast = (
        float(fine_spectrum(torch.sin(2 * math.pi * f * y).expand(1, 3, 64, 64)).abs().square().sum())
        for f in (0.15, 0.4)
    )
    assert slow < 1e-4 * fast


@pytest.mark.slow
def test_upscaled_photo_as_rough_as_the_photo_gets_no_texture():
    example = make_example()
    rough = dataclasses.replace(example, photo=blur(example.photo), upscaled=make_noise_image(128, 128))
    texture, history = train_texture(example=rough)
    assert texture is None
    assert "found no texture" in history.failure


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 99])
def test_losses_that_are_not_finite_restart_the_training(times, monkeypatch, caplog):
    caplog.set_level("INFO", "zssr")
    forward, calls = Discriminator.forward, []

    def fail(self, images):
        calls.append(1)
        scores = forward(self, images)
        return [*scores[:-1], scores[-1] * float("nan")] if 35 <= len(calls) < 35 + 30 * times else scores

    monkeypatch.setattr(Discriminator, "forward", fail)
    texture, history = train_texture(CONFIG.replace(num_epochs=13))
    assert "restarting at a tenth" in caplog.text
    if times == 1:
        assert all(bool(weight.isfinite().all()) for weight in texture.parameters())
    else:
        assert texture is None
        assert "diverged" in history.failure


def test_photos_smaller_than_a_patch_give_no_texture():
    texture, history = train_texture(example=make_example(20))
    assert texture is None
    assert "too small" in history.failure
    texture, _ = train_texture(example=make_example(26))  # patches as small as it
    assert texture is not None


def test_saturated_discriminator_ends_the_training():
    texture, history = random_texture(), GanHistory()
    trainer = GanTrainer(texture, Discriminator(3, seeded()), CONFIG, GanConstants(saturated_loss=10.0))
    draw = partial(make_texture_batch, texture, PatchBatchSampler([make_example()], 32), seeded())
    run_gan(trainer, draw, count_gan_steps(CONFIG), torch.device("cpu"), history, lambda done, most: None)
    assert len(history.generator_losses) == 1


def save_vgg_weights(folder):
    shapes = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256)]
    shapes += [(k, 256, 256) for k in (12, 14, 16)]
    weights = {f"features.{k}.bias": torch.zeros(out) for k, _, out in shapes}
    weights |= {
        f"features.{k}.weight": torch.randn(out, channels, 3, 3, generator=seeded(k)) / (4.5 * channels) ** 0.5
        for k, channels, out in shapes
    }
    (folder / "checkpoints").mkdir()
    torch.save(weights | {"classifier.0.weight": torch.zeros(1)}, folder / "checkpoints" / "vgg19-dcbb9e9d.pth")


def test_vgg_distance_grows_with_the_error_and_changes_the_training(monkeypatch, tmp_path):
    save_vgg_weights(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    distance, image, other = load_vgg_distance(), make_noise_image(32, 32), make_noise_image(32, 32, 1)
    near, far = (float(distance(image + step * (other - image), image)) for step in (0.1, 1.0))
    assert float(distance(image, image)) == 0 < near < far
    gray = image.mean(1, keepdim=True)
    assert float(distance(gray, gray.expand(-1, 3, -1, -1))) == 0
    config, example = CONFIG.replace(num_epochs=3), make_example(26)
    (by_vgg, _), (by_features, _) = (
        train_texture(config.replace(perceptual=kind), example) for kind in ("vgg", "features")
    )
    weights = zip(by_vgg.parameters(), by_features.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in weights)
