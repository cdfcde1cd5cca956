import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import trained
from PIL import Image
from safetensors.torch import save_file
from skimage import data

from zssr import Upscaler, upscale
from zssr.cli.main import main as zssr_main
from zssr.config import Config
from zssr.degradation import Degradation
from zssr.degradation.blur import validate_kernel
from zssr.degradation.jpeg import Jpeg
from zssr.errors import ConfigError
from zssr.inference.tiles import apply_network
from zssr.networks.film import KINDS, TOLD, WAVES, ConditionedNetwork, degradation_embedding, response
from zssr.networks.sr import Network
from zssr.prior import train
from zssr.prior.checkpoint import BUILT_IN, DEEP, Prior, load_prior, write_prior
from zssr.prior.dead_leaves import fractal, picture
from zssr.prior.random_degradations import draw_degradations
from zssr.prior.train import TrainingPlan, draw_fathers, draw_pictures, own_pictures, train_prior
from zssr.runtime import resolve_precision
from zssr.training.pairs import make_pair
from zssr.training.trainer import TrainingHistory

CPU = resolve_precision(torch.device("cpu"), "fp32")
SMALL = Config(model_width=8, model_depth=3, num_epochs=0)
BICUBIC = Degradation(quantized=True)
KERNEL = validate_kernel(np.outer([1, 2, 4, 2, 1], [1, 4, 6, 4, 1]))
BLURRED = Degradation(KERNEL, (2, 2), "top_left", quantized=True)


@pytest.fixture
def networks(generator):
    roles = [("bicubic", 2), ("bicubic", 3), ("blurred", 2), ("noisy", 2)]
    return {role: trained(ConditionedNetwork(role[1], SMALL.shape, generator), generator) for role in roles}


@pytest.fixture
def file(networks, tmp_path):
    write_prior(tmp_path / "p.safetensors", networks)
    return tmp_path / "p.safetensors"


@pytest.fixture
def prior(file):
    return Prior.read(file)


@pytest.fixture
def pictures():
    return [torch.from_numpy(picture(seed, 64)).permute(2, 0, 1) for seed in range(3)]


# pictures


def test_a_picture_follows_its_seed_alone():
    assert np.array_equal(picture(5, 48), picture(5, 48))
    assert not np.array_equal(picture(5, 48), picture(6, 48))


def test_pictures_have_contrast_and_edges_of_every_strength():
    for seed in range(6):
        drawn = picture(seed, 96)
        assert drawn.shape == (96, 96, 3)
        assert drawn.dtype == np.uint8
        assert np.ptp(drawn) > 80
    steps = np.concatenate([np.abs(np.diff(picture(seed, 96).astype(int), axis=1)).ravel() for seed in range(6)])
    assert np.percentile(steps, 50) < 6 < 25 < np.percentile(steps, 99)  # smooth mostly, with strong edges


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_fractal_noise_has_the_spectrum_it_is_asked_for(slope):
    noise = fractal(np.random.default_rng(0), 256, slope)
    assert abs(noise.mean()) < 1e-3
    assert abs(noise.std() - 1) < 1e-3
    amplitude = np.abs(np.fft.fft2(noise))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    inside = (frequency > 0.02) & (frequency < 0.4)
    fitted = np.polyfit(np.log(frequency[inside]), np.log(amplitude[inside]), 1)[0]
    assert fitted == pytest.approx(-slope, abs=0.05)


def test_drawn_pictures_are_kept_and_follow_the_seed(tmp_path):
    first = draw_pictures(2, 3, tmp_path)
    assert torch.equal(first[1], torch.from_numpy(picture(7)).permute(2, 0, 1))
    (kept,) = tmp_path.iterdir()
    np.save(kept, 255 - np.load(kept))
    assert torch.equal(draw_pictures(2, 3, tmp_path)[0], 255 - first[0])


# degradations


def test_drawn_degradations_follow_the_seed_and_are_of_every_kind():
    drawn, again = draw_degradations(300, 1, 2), draw_degradations(300, 1, 2)
    kernels = [one.kernel for one in drawn if one.kernel is not None]
    assert all(
        np.array_equal(a, b.kernel) for a, b in zip(kernels, (b for b in again if b.kernel is not None), strict=True)
    )
    assert 0.15 < 1 - len(kernels) / 300 < 0.35
    assert 0.25 < sum(one.sampling == "top_left" for one in drawn) / 300 < 0.45
    assert all(one.scale == (2, 2) for one in drawn)
    y, x = np.mgrid[-12:13, -12:13]
    moments = [[(kernel * part).sum() for part in (1, x, y, x * x, y * y, x * y)] for kernel in kernels]
    total, right, down, across, along, slant = np.array(moments).T
    assert np.allclose(total, 1)
    assert np.allclose(right, 0, atol=1e-9)
    assert np.allclose(down, 0, atol=1e-9)
    assert min(across.min(), along.min()) < 0.3
    assert max(across.max(), along.max()) > 4
    assert slant.min() < -0.5 < 0.5 < slant.max()


@pytest.mark.parametrize("sampling", ["center", "top_left"])
def test_response_is_the_transfer_function_at_the_samples_place(sampling):
    y, x = np.mgrid[-10:11, -10:11] if sampling == "top_left" else np.mgrid[-10:10, -10:10] + 0.5
    variances = {"down": 1.2, "right": 2.1}
    kernel = np.exp(-0.5 * (y**2 / variances["down"] + x**2 / variances["right"]))
    seen = response(Degradation(validate_kernel(kernel), (2, 2), sampling)).reshape(2, 5, 4).numpy()
    shift = 0 if sampling == "center" else -0.5  # the block's first pixel, seen from its middle
    for i, radius in enumerate((0.25, 0.5, 0.75, 1.0, 1.5)):
        for k in range(4):
            down, right = (0.25 * radius * part(math.pi * k / 4) for part in (math.cos, math.sin))
            power = down**2 * variances["down"] + right**2 * variances["right"]
            wanted = np.exp(-2 * math.pi**2 * power + 2j * math.pi * shift * (down + right))
            assert complex(*seen[:, i, k]) == pytest.approx(wanted, abs=2e-3)


def test_bicubic_passes_low_waves_and_stops_high_ones():
    cosines, sines = response(BICUBIC).reshape(2, 5, 4)
    assert sines.abs().max() < 1e-6
    assert (cosines[0] - 1).abs().max() < 0.03
    assert cosines[-1].abs().max() < 0.2
    assert len(response(BLURRED)) == WAVES


def test_noise_and_jpeg_are_told_behind_the_response():
    told = degradation_embedding(BLURRED)
    assert len(told) == TOLD
    assert torch.equal(told[:WAVES], response(BLURRED))
    assert (told[WAVES:] == 0).all()
    levels = [degradation_embedding(replace(BLURRED, noise=sigma))[WAVES] for sigma in (1.0, 5.0, 25.0)]
    assert 0 < levels[0] < levels[1] < levels[2]
    coarse, fine = (
        degradation_embedding(replace(BLURRED, jpeg=Jpeg.from_quality(quality)))[WAVES + 1 :] for quality in (40, 90)
    )
    assert (coarse[:2] > fine[:2]).all()
    assert coarse[2] == fine[2] > 0
    assert (degradation_embedding(replace(BLURRED, jpeg=Jpeg.from_quality(100, "4:4:4"))) == told).all()


def test_noisy_degradations_are_the_clean_ones_with_noise_and_jpeg_of_all_strengths():
    drawn = draw_degradations(400, 1, 2, noisy=True)
    assert all(one.quantized and one.scale == (2, 2) for one in drawn)
    noises = [one.noise for one in drawn if one.noise]
    qualities = [one.jpeg.quality for one in drawn if one.jpeg]
    assert 0.3 < len(noises) / 400 < 0.7
    assert min(noises) < 1
    assert max(noises) > 40
    assert 0.4 < len(qualities) / 400 < 0.6
    assert min(qualities) < 30
    assert max(qualities) > 90
    assert {one.jpeg.subsampling for one in drawn if one.jpeg} == {"4:4:4", "4:2:2", "4:2:0"}
    assert sum(one.kernel is None for one in drawn) > 0.4 * 400
    assert any(one.is_clean for one in drawn)


def test_at_the_start_the_degradation_makes_no_difference(generator):
    network = ConditionedNetwork(2, SMALL.shape, generator)
    image = torch.rand(1, 3, 9, 8, generator=generator)
    plain = network.network(image)
    network.tell(degradation_embedding(BLURRED))
    assert torch.allclose(network(image), plain, atol=1e-6)


@pytest.mark.parametrize("depth", [3, 4, 7, 12])
def test_a_grown_network_does_the_same_and_can_learn_on(networks, depth, generator):
    image = torch.rand(1, 3, 9, 8, generator=generator)
    for network in networks.values():
        grown = network.grown(depth)
        assert grown.shape == (8, depth, 3)
        for degradation in (BICUBIC, BLURRED, replace(BLURRED, noise=20)):
            network.tell(degradation_embedding(degradation))
            grown.tell(degradation_embedding(degradation))
            assert torch.allclose(grown(image), network(image), atol=1e-6)
        grown(image).abs().mean().backward()
        assert all(bool(layer.weight.grad.any()) for layer in grown.network.convolutions)


# training


@pytest.mark.parametrize("degradation", [BICUBIC, BLURRED], ids=["bicubic", "blurred"])
def test_fathers_and_sons_are_8_bit_and_belong_together(pictures, degradation, generator):
    fathers = draw_fathers(pictures, TrainingPlan(crops=5, crop_size=32), generator)
    sons, residuals = make_pair(fathers, degradation, 2, generator)
    assert sons.shape == (5, 3, 16, 16)
    for images in (fathers, sons):
        assert images.min() >= 0
        assert images.max() <= 1
        assert torch.allclose(255 * images, (255 * images).round(), atol=1e-4)
    assert torch.allclose(residuals + degradation.upsample(sons, (32, 32)), fathers, atol=1e-6)
    assert (degradation.downsample(fathers, (16, 16)).clamp(0, 1) - sons).abs().max() < 0.51 / 255


def test_half_of_the_fathers_have_noise_unless_it_is_to_be_removed(generator):
    flat = [torch.full((3, 40, 40), 128, dtype=torch.uint8)]
    assert draw_fathers(flat, TrainingPlan("noisy", crops=40, crop_size=32), generator).std((1, 2, 3)).max() == 0
    spread = 255 * draw_fathers(flat, TrainingPlan(crops=400, crop_size=32), generator).std((1, 2, 3))
    assert 0.4 < (spread == 0).float().mean() < 0.6
    assert 10 < spread.max() < 24


@pytest.mark.parametrize("scale", [2, 3])
def test_training_makes_the_loss_fall_for_all_degradations(pictures, tmp_path, monkeypatch, scale):
    monkeypatch.setattr(train, "_DEGRADATIONS", {"blurred": 4})
    plan = TrainingPlan("blurred", scale, steps=500, crops=4, crop_size=36, rate=5e-3)
    network = train_prior(pictures, plan, Config(model_width=24, model_depth=4), CPU, tmp_path / "x.pt")
    fathers = draw_fathers(pictures, TrainingPlan(crops=40, crop_size=36), torch.Generator().manual_seed(9))
    left = []
    for degradation in draw_degradations(4, plan.seed, scale):
        sons, residuals = make_pair(fathers, degradation, scale, torch.Generator())
        network.tell(degradation_embedding(degradation))
        with torch.no_grad():
            left.append(float((network(sons) - residuals).abs().mean() / residuals.abs().mean()))
    assert max(left) < 1.01  # what a narrow blur has folded over cannot be told apart again
    assert np.mean(left) < 0.9


def test_an_interrupted_training_ends_like_one_that_was_not(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "_LOG_STEPS", 4)
    plan, config = TrainingPlan(steps=12, crops=2, crop_size=32), Config(model_width=8, model_depth=3)

    def weights(name):
        network = train_prior(pictures, plan, config, CPU, tmp_path / name)
        return torch.cat([weight.detach().flatten() for weight in network.parameters()])

    whole = weights("whole.pt")
    calls = iter(range(100))

    def until_the_power_fails(*arguments):
        if next(calls) == 9:
            raise KeyboardInterrupt
        return draw_fathers(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train, "draw_fathers", until_the_power_fails)
        with pytest.raises(KeyboardInterrupt):
            weights("parts.pt")
    assert torch.equal(weights("parts.pt"), whole)


def test_a_checkpoint_of_other_settings_is_refused(pictures, tmp_path):
    config = Config(model_width=8, model_depth=3)
    train_prior(pictures, TrainingPlan(steps=2, crops=1, crop_size=32), config, CPU, tmp_path / "x.pt")
    for plan, other in (
        (TrainingPlan(steps=3, crops=1, crop_size=32), config),
        (TrainingPlan(steps=2, crops=1, crop_size=32), Config()),
    ):
        with pytest.raises(ConfigError, match=r"x\.pt: belongs to a training with other settings"):
            train_prior(pictures, plan, other, CPU, tmp_path / "x.pt")


@pytest.mark.parametrize("kind", ["truncated", "garbage", "pickle", "another"])
def test_a_broken_checkpoint_is_refused(kind, pictures, tmp_path):
    path, plan, config = (
        tmp_path / "x.pt",
        TrainingPlan(steps=2, crops=1, crop_size=32),
        Config(model_width=8, model_depth=3),
    )
    train_prior(pictures, plan, config, CPU, path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "garbage":
        path.write_bytes(b"\0" * 100)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(print, protocol=2))
    else:
        torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(ConfigError, match=r"x\.pt: is not a checkpoint"):
        train_prior(pictures, plan, config, CPU, path)


def test_interrupted_command_says_how_to_go_on(tmp_path, monkeypatch, caplog):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "draw_pictures", interrupted)
    assert train.main(["--out", str(tmp_path), "--device", "cpu"]) == 130
    assert "the same command goes on" in caplog.text


def test_rate_warms_up_and_falls_to_a_thousandth():
    plan = TrainingPlan(steps=2000)
    rates = [plan.rate_at(step) for step in range(2000)]
    assert rates[0] < 0.01 * plan.rate
    assert max(rates) < plan.rate
    assert max(rates) > 0.97 * plan.rate
    assert math.isclose(rates[-1], 1e-3 * plan.rate, rel_tol=0.01)


def test_command_learns_from_own_pictures(tmp_path, astronaut):
    (tmp_path / "mine").mkdir()
    Image.fromarray(astronaut).save(tmp_path / "mine" / "a.png")
    Image.fromarray(astronaut[..., 0]).save(tmp_path / "mine" / "gray.png")
    Image.fromarray(astronaut[:8, :8]).save(tmp_path / "mine" / "too_small.png")
    assert [tuple(one.shape) for one in own_pictures(tmp_path / "mine", 24)] == [(3, 48, 64)] * 2
    settings = ["--steps", "3", "--crops", "1", "--crop-size", "32", "--width", "8", "--depth", "3"]
    settings += ["--scales", "2", "3", "--device", "cpu"]
    out = str(tmp_path / "out")
    assert train.main(["--out", out, "--photos", str(tmp_path / "mine"), *settings]) == 0
    assert set(Prior.read(tmp_path / "out" / "prior.safetensors").networks) == {
        ("bicubic", 2),
        ("bicubic", 3),
        ("blurred", 2),
        ("blurred", 3),
        ("noisy", 2),
        ("noisy", 3),
    }


def test_command_goes_on_from_a_prior_with_deeper_networks(tmp_path, astronaut, file):
    (tmp_path / "mine").mkdir()
    Image.fromarray(astronaut).save(tmp_path / "mine" / "a.png")
    settings = ["--kinds", "bicubic", "--steps", "1", "--crops", "1", "--crop-size", "32", "--width", "8"]
    settings += ["--depth", "5", "--device", "cpu", "--photos", str(tmp_path / "mine"), "--start", str(file)]
    assert train.main(["--out", str(tmp_path / "out"), *settings]) == 0
    before, after = Prior.read(file).networks, Prior.read(tmp_path / "out" / "prior.safetensors").networks
    image = torch.rand(1, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    assert set(after) == set(before)
    for role, network in after.items():
        assert network.shape == (8, 5, 3)
        assert torch.allclose(network(image), before[role](image), atol=1e-6) == (role != ("bicubic", 2))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--photos", "absent"], "absent: is not a folder of pictures"),
        (["--photos", "."], "no picture in gray or RGB"),
        (["--steps", "0"], "steps: 0 is not"),
        (["--crop-size", "300"], "crop_size: 300 is not"),
        (["--pictures", "0"], "pictures: 0 is not"),
        (["--scales", "1"], "scale: 1 is not"),
        (["--width", "1"], "model_width: 1 is not"),
        (["--seed", "-1"], "seed: -1 is not"),
        (["--out", "/dev/null/out"], "out: cannot be made a folder"),
        (
            ["--start", str(BUILT_IN), "--depth", "6"],
            "has width 64 and depth 8, from which none of width 64 and depth 6",
        ),
        (
            ["--start", str(BUILT_IN), "--width", "32"],
            "has width 64 and depth 8, from which none of width 32 and depth 8",
        ),
    ],
)
def test_command_refuses_what_makes_no_sense(arguments, sentence, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--out", "out", "--device", "cpu", *arguments]) == 2
    assert sentence in caplog.text


# weights


def test_weights_come_back_from_the_file_in_half_precision(networks, prior):
    assert prior.shape == SMALL.shape
    assert set(prior.networks) == set(networks)
    for role, network in networks.items():
        read = prior.networks[role].state_dict()
        assert all(torch.equal(read[name], tensor.half().float()) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("degradation", "role"),
    [
        (BICUBIC, ("bicubic", 2)),
        (Degradation(None, (2, 2), "top_left"), ("blurred", 2)),
        (BLURRED, ("blurred", 2)),
        (Degradation(KERNEL, (3, 3)), ("bicubic", 3)),
        (Degradation(noise=5.0), ("noisy", 2)),
        (Degradation(KERNEL, (2, 2), jpeg=Jpeg.from_quality(70)), ("noisy", 2)),
        (Degradation(None, (3, 3), noise=5.0), ("bicubic", 3)),
    ],
)
def test_a_network_starts_as_the_conditional_one_that_is_nearest(prior, degradation, role, generator):
    assert prior.knows(role[1])
    network = Network(3, role[1], *SMALL.shape, generator)
    prior.start(network, degradation)
    conditioned = prior.networks[role]
    conditioned.tell(degradation_embedding(degradation))
    image = torch.rand(2, 3, 12, 14, generator=generator)
    assert torch.allclose(network(image), conditioned(image), atol=1e-6)


def test_other_factors_are_not_known(prior):
    assert not prior.knows(4)


def test_one_channel_gets_what_three_equal_ones_would(prior, generator):
    one, three = Network(1, 2, *SMALL.shape, generator), Network(3, 2, *SMALL.shape, generator)
    prior.start(one, BLURRED)
    prior.start(three, BLURRED)
    gray = torch.rand(2, 1, 12, 14, generator=generator)
    with torch.no_grad():
        wanted = three(gray.expand(-1, 3, -1, -1)).mean(1, keepdim=True)
        assert torch.allclose(one(gray), wanted, atol=1e-6)


def _broken(kind, prior, path):
    whole = path.read_bytes()
    own = prior.networks["bicubic", 2].state_dict()
    tensors = {f"bicubic.x2.{name}": tensor.contiguous() for name, tensor in own.items()}
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(print))
    elif kind == "checkpoint of torch":
        torch.save(tensors, path)
    elif kind == "huge header":
        path.write_bytes((2**62).to_bytes(8, "little") + whole[8:])
    elif kind == "other names":
        save_file({"layer.weight": torch.zeros(3)}, path)
    elif kind == "no tensors":
        save_file({}, path)
    elif kind == "missing layer":
        save_file({name: tensor for name, tensor in tensors.items() if ".1." not in name}, path)
    elif kind == "other shapes":
        save_file({**tensors, "bicubic.x2.network.convolutions.1.weight": torch.zeros(8, 8, 5, 5)}, path)
    elif kind == "no width":
        save_file({name: tensor[:0] for name, tensor in tensors.items()}, path)
    elif kind == "two shapes":
        deeper = ConditionedNetwork(3, (8, 4, 3), torch.Generator()).state_dict()
        save_file({**tensors, **{f"bicubic.x3.{name}": tensor.contiguous() for name, tensor in deeper.items()}}, path)
    elif kind == "not finite":
        save_file({**tensors, "bicubic.x2.network.convolutions.1.bias": torch.full((8,), math.nan)}, path)


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "truncated",
        "empty",
        "pickle",
        "checkpoint of torch",
        "huge header",
        "other names",
        "no tensors",
        "missing layer",
        "other shapes",
        "no width",
        "two shapes",
        "not finite",
    ],
)
def test_a_file_that_is_no_prior_is_refused_in_one_sentence(kind, prior, file, astronaut):
    _broken(kind, prior, file)
    with pytest.raises(ConfigError, match=r"p\.safetensors: (the prior cannot be read|is not a prior)") as caught:
        upscale(astronaut, config=SMALL.replace(prior=str(file)))
    assert "\n" not in str(caught.value)
    assert ("there is no such file" in str(caught.value)) == (kind == "missing")


def test_a_prior_of_another_shape_is_refused_with_both_named(file):
    with pytest.raises(ConfigError, match=r"has model_width 8.*the settings say model_width 64, model_depth 8"):
        load_prior(Config(prior=str(file)))


# in use


@pytest.mark.parametrize("preset", ["default", "best"])
@pytest.mark.parametrize("gray", [False, True])
def test_built_in_prior_knows_edges_without_learning(gray, preset):
    truth = data.astronaut()[:160, 150:310]
    truth = truth[..., 1] if gray else truth
    pixels = torch.from_numpy(truth.astype(np.float32) / 255)
    planes = pixels[None, None] if gray else pixels.permute(2, 0, 1)[None]
    small = (255 * Degradation().at_scale((2, 2)).downsample(planes, (80, 80)).clamp(0, 1)).round()[0].byte()

    def psnr(**settings):
        large = upscale(small, 2, preset=preset, num_epochs=0, **settings)
        return -10 * math.log10(((large.float() - 255 * planes[0]) ** 2).mean() / 255**2)

    interpolated = Degradation().at_scale((2, 2)).upsample(small[None] / 255, (160, 160))
    by_interpolation = -10 * math.log10(((interpolated - planes) ** 2).mean())
    assert psnr(init="prior") > max(psnr(init="random"), by_interpolation) + 1


def test_built_in_weights_stay_small_and_are_for_all_kinds():
    assert BUILT_IN.stat().st_size + DEEP.stat().st_size < 6e6
    for preset, path in (("default", BUILT_IN), ("best", DEEP)):
        prior = load_prior(Config.preset(preset))
        assert prior.name == str(path)
        assert set(prior.networks) == {(kind, 2) for kind in KINDS}


def test_random_start_weights_need_no_prior():
    assert load_prior(Config(init="random", prior="absent")) is None


def test_command_takes_a_prior(file, tmp_path, astronaut, capsys):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    shape = ["--set", "model_width=8", "--set", "model_depth=3", "--set", "num_epochs=0", "--json"]
    command = [str(tmp_path / "a.png"), "--prior", str(file), *shape]
    assert zssr_main(command) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []
    assert zssr_main([*command, "--overwrite", "--set", "model_depth=4"]) == 2
    assert "model_depth 4" in capsys.readouterr().err


def test_result_without_learning_is_that_of_the_prior(file, astronaut):
    config = SMALL.replace(prior=str(file))
    by_prior = [upscale(astronaut, config=config, seed=seed) for seed in (0, 1)]
    by_chance = upscale(astronaut, config=config.replace(init="random"))
    assert np.array_equal(*by_prior)
    assert not np.array_equal(by_prior[0], by_chance)


def test_what_the_prior_has_no_weights_for_is_said(file, astronaut):
    config = SMALL.replace(prior=str(file), scale_factor=4)
    result = Upscaler(config).run(astronaut, 4)
    assert result.image.shape == (192, 256, 3)
    assert any("no weights for x4" in sentence for sentence in result.warnings)


def test_bands_are_enlarged_as_gray_images(file, astronaut):
    bands = np.concatenate([astronaut, astronaut[::-1, :, :2]], -1)
    together = upscale(bands, config=SMALL.replace(prior=str(file)))
    assert together.shape == (96, 128, 5)
    for k in range(5):
        alone = upscale(bands[..., k], config=SMALL.replace(prior=str(file)))
        assert np.abs(together[..., k].astype(int) - alone).max() <= 1


def test_bands_are_learnt_from_together(file, astronaut):
    bands = np.concatenate([astronaut, astronaut[..., :1]], -1)
    config = SMALL.replace(prior=str(file), num_epochs=5, crop_size=24)
    result = Upscaler(config).run(bands)
    assert result.steps == 5
    assert np.array_equal(result.image[..., 0], result.image[..., 3])


def test_learning_from_the_prior_starts_at_a_smaller_rate(file, astronaut):
    config = SMALL.replace(prior=str(file), num_epochs=1, crop_size=24)
    rates = [Upscaler(config.replace(init=init)).run(astronaut).learning_rates[0] for init in ("prior", "random")]
    assert rates[0] < rates[1]
    assert Upscaler(config.replace(lr=5e-4)).run(astronaut).learning_rates == [5e-4]


@pytest.mark.parametrize(
    ("init", "scale", "kept"), [("prior", 2, [0.25]), ("prior", 4, [0.5, 0]), ("random", 2, [0]), ("random", 4, [0, 0])]
)
def test_part_of_the_prior_is_kept(file, init, scale, kept, astronaut, monkeypatch):
    starts, used = [], []

    def learn_a_lot(network, *_):
        starts.append([weight.clone() for weight in network.parameters()])
        for weight in network.parameters():
            weight.data += 0.01
        return TrainingHistory()

    def look(network, *arguments, **settings):
        used[len(starts) - 1 :] = [[weight.clone() for weight in network.parameters()]]
        return apply_network(network, *arguments, **settings)

    monkeypatch.setattr("zssr.fit.train", learn_a_lot)
    monkeypatch.setattr("zssr.inference.regions.apply_network", look)
    upscale(astronaut, scale, config=SMALL.replace(prior=str(file), init=init))
    assert len(starts) == len(used) == len(kept)
    for before, after, share in zip(starts, used, kept, strict=True):
        for start, weight in zip(before, after, strict=True):
            assert torch.allclose(weight - start, torch.tensor(0.01 * (1 - share)), atol=1e-6)
