import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from zssr.config import NetworkShape
from zssr.degradation import Degradation
from zssr.degradation.blur import validate_kernel
from zssr.errors import ConfigError
from zssr.geometry import SYMMETRIES
from zssr.networks.film import ConditionedNetwork, degradation_embedding
from zssr.networks.sr import Network
from zssr.prior.checkpoint import Prior
from zssr.prior.dead_leaves import draw_labels, paint
from zssr.prior.muon import Muon
from zssr.prior.prior_training import TrainingPlan, choose_start, train_prior
from zssr.prior.training_pictures import TrainingPictures
from zssr.runtime import resolve_precision
from zssr.training.pairs import make_pair

CPU = resolve_precision(torch.device("cpu"), "fp32")
SMALL = NetworkShape(8, 4)
BRIEF = TrainingPlan("bicubic", SMALL, steps=2, crops=1, crop_size=16)
BICUBIC = Degradation(quantized=True)
KERNEL = validate_kernel(np.outer([1, 2, 4, 2, 1], [1, 4, 6, 4, 1]))
BLURRED = Degradation(KERNEL, (2, 2), "top_left", quantized=True)


@pytest.fixture
def pictures():
    return [paint(draw_labels(seed, 64), seed, CPU.device) for seed in range(3)]


def store(pictures):
    return TrainingPictures(pictures, CPU.device)


def test_crops_are_augmented_parts_of_the_pictures(generator):
    pictures = [torch.randint(256, (3, *size), dtype=torch.uint8, generator=generator) for size in ((9, 20), (12, 8))]
    crops = (255 * store(pictures).draw_fathers(200, 8, generator, grain=False)).round().to(torch.uint8)
    parts = {
        bytes(symmetry(part).contiguous().numpy()): (k, symmetry)
        for k, picture in enumerate(pictures)
        for channel in (*picture, *(255 - picture))
        for part in channel.unfold(0, 8, 1).unfold(1, 8, 1).reshape(-1, 8, 8)
        for symmetry in SYMMETRIES
    }
    found = [{parts[bytes(channel.numpy())] for channel in crop} for crop in crops]
    assert all(len(each) == 1 for each in found)  # the channels have the same picture and symmetry
    assert len(set.union(*found)) == 2 * len(SYMMETRIES)


def test_muon_is_torchs(generator):
    weights = [
        torch.randn(6, 4, 3, 3, generator=generator).contiguous(memory_format=torch.channels_last) for _ in range(3)
    ]
    matrices = [torch.nn.Parameter(one.permute(0, 2, 3, 1).flatten(1).clone()) for one in weights]
    start = [one.detach().clone() for one in matrices]
    muon, reference = Muon(weights), torch.optim.Muon(matrices, 0.1, weight_decay=0.0)
    for _ in range(4):
        gradients = [torch.randn(one.shape, generator=generator) for one in weights]
        for matrix, gradient in zip(matrices, gradients, strict=True):
            matrix.grad = gradient.permute(0, 2, 3, 1).flatten(1)
        reference.step()
        muon.step(gradients, 0.1)
    for one, matrix, before in zip(weights, matrices, start, strict=True):
        moved = one.permute(0, 2, 3, 1).flatten(1) - before
        assert (moved - (matrix - before)).abs().max() < 0.01 * moved.abs().max()  # both round to bf16


@pytest.mark.parametrize("degradation", [BICUBIC, BLURRED], ids=["bicubic", "blurred"])
def test_pairs_are_8_bit_and_consistent(pictures, degradation, generator):
    fathers = store(pictures).draw_fathers(5, 32, generator, grain=True)
    sons, residuals = make_pair(fathers, degradation, 2, generator)
    assert sons.shape == (5, 3, 16, 16)
    for images in (fathers, sons):
        assert images.min() >= 0
        assert images.max() <= 1
        assert torch.allclose(255 * images, (255 * images).round(), atol=1e-4)
    assert torch.allclose(residuals + degradation.upsample(sons, (32, 32)), fathers, atol=1e-6)
    assert (degradation.downsample(fathers, (16, 16)).clamp(0, 1) - sons).abs().max() < 0.51 / 255


def test_half_of_the_fathers_have_grain_unless_noise_is_to_be_removed(generator):
    flat = store([torch.full((3, 40, 40), 128, dtype=torch.uint8)])
    assert TrainingPlan("noisy", crops=40, crop_size=16).draw_fathers(flat, 2, generator).std((1, 2, 3)).max() == 0
    spread = 255 * TrainingPlan(crops=400, crop_size=16).draw_fathers(flat, 2, generator).std((1, 2, 3))
    assert 0.4 < (spread == 0).float().mean() < 0.6
    assert 10 < spread.max() < 24


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [False, True])
def test_training_reduces_the_loss_for_all_degradations(blocks, pictures, tmp_path):
    shape = NetworkShape(24, 4, blocks=blocks)
    plan = TrainingPlan("blurred", shape, (2, 3), steps=500, crops=4, crop_size=16, rate=0.02, degradations=4)
    network = train_prior(pictures, plan, CPU, tmp_path / "x.pt")
    for scale in plan.scales:
        fathers = store(pictures).draw_fathers(40, 18 * scale, torch.Generator().manual_seed(9), grain=True)
        ratios = []
        for degradation in plan.draw_degradations(scale):
            sons, residuals = make_pair(fathers, degradation, scale, torch.Generator())
            plain = Network(3, scale, shape, torch.Generator())
            with torch.no_grad():
                plain.load_state_dict(network.weights(degradation_embedding(degradation), scale))
                ratios.append(float((plain(sons) - residuals).abs().mean() / residuals.abs().mean()))
        assert max(ratios) < 1.01  # aliasing under a narrow blur cannot be undone
        assert np.mean(ratios) < 0.9


def train_weights(pictures, plan, path):
    network = train_prior(pictures, plan, CPU, path)
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


@pytest.mark.parametrize("blocks", [False, True])
def test_resumed_training_gives_the_same_weights(blocks, pictures, tmp_path, monkeypatch):
    plan = replace(BRIEF, shape=SMALL._replace(blocks=blocks), scales=(2, 3), steps=12, crops=2, checkpoint_steps=4)
    steps, draw = iter(range(100)), TrainingPictures.draw_fathers

    def interrupt(*arguments, **keywords):
        if next(steps) == 9:
            raise KeyboardInterrupt
        return draw(*arguments, **keywords)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainingPictures, "draw_fathers", interrupt)
        train_weights(pictures, plan, tmp_path / "parts.pt")
    assert torch.load(tmp_path / "parts.pt", weights_only=True)["steps"] == 8
    resumed = train_weights(pictures, plan, tmp_path / "parts.pt")
    assert torch.equal(resumed, train_weights(pictures, plan, tmp_path / "whole.pt"))


def test_training_goes_on_with_more_steps(pictures, tmp_path):
    before = train_weights(pictures, BRIEF, tmp_path / "x.pt")
    assert torch.equal(train_weights(pictures, BRIEF, tmp_path / "x.pt"), before)
    assert not torch.equal(train_weights(pictures, replace(BRIEF, steps=3), tmp_path / "x.pt"), before)


def test_snapshots_hold_the_averaged_weights(pictures, tmp_path):
    network = train_prior(pictures, replace(BRIEF, snapshot_steps=1), CPU, tmp_path / "x.pt")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"x.pt", "x_1.safetensors", "x_2.safetensors"}
    last = Prior.read(tmp_path / "x_2.safetensors").networks["bicubic"].state_dict()
    assert all(torch.equal(last[name], weight.half().float()) for name, weight in network.state_dict().items())


def test_checkpoint_of_other_settings_is_refused(pictures, tmp_path):
    train_prior(pictures, BRIEF, CPU, tmp_path / "x.pt")
    for plan in (replace(BRIEF, crops=3), replace(BRIEF, shape=NetworkShape(8, 6))):
        with pytest.raises(ConfigError, match=r"x\.pt: belongs to a training with other settings"):
            train_prior(pictures, plan, CPU, tmp_path / "x.pt")


@pytest.mark.parametrize("kind", ["truncated", "garbage", "pickle", "another"])
def test_broken_checkpoint_is_refused(kind, pictures, tmp_path):
    path = tmp_path / "x.pt"
    train_prior(pictures, BRIEF, CPU, path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "garbage":
        path.write_bytes(b"\0" * 100)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(print, protocol=2))
    else:
        torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(ConfigError, match=r"x\.pt: is not a checkpoint"):
        train_prior(pictures, BRIEF, CPU, path)


def test_new_kind_starts_as_the_other_network_whatever_the_degradation(generator):
    network = ConditionedNetwork([2], SMALL, generator)
    torch.nn.init.normal_(network.film.weight, generator=generator)
    plan = replace(BRIEF, kind="blurred", degradations=8)
    start = choose_start({"bicubic": network}, plan)
    expected = network.weights(degradation_embedding(BICUBIC), 2)
    for degradation in plan.draw_degradations(2):
        weights = start.weights(degradation_embedding(degradation), 2)
        assert all(torch.allclose(weights[name], weight, atol=1e-5) for name, weight in expected.items())
    noisy = choose_start({"bicubic": network, "blurred": network}, replace(plan, kind="noisy"))
    z = degradation_embedding(BLURRED)
    expected, louder = network.weights(z, 2), degradation_embedding(replace(BLURRED, noise=20.0))
    assert not torch.allclose(z, louder)
    for given in (z, louder):
        weights = noisy.weights(given, 2)
        assert all(torch.allclose(weights[name], weight, atol=1e-5) for name, weight in expected.items())
    assert choose_start({"blurred": network}, plan) is network
    assert choose_start({}, plan) is None


def test_learning_rate_warms_up_and_falls_at_the_end():
    plan = TrainingPlan(steps=2000)
    factors = [plan.rate_factor(step) for step in range(2000)]
    assert factors[0] == 1 / 200
    assert factors[199:1400] == [1.0] * 1201
    assert factors[1700] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.002
