"""Optimizer steps: the gradients and Adam of torch, the same for any number of threads."""

import pytest
import torch
from helpers import randomize_weights
from torch import nn

from zssr import Config, Request, Upscaler
from zssr.config import NetworkShape
from zssr.networks.sr import Network
from zssr.runtime import resolve_precision
from zssr.training.train_step import TrainStep

THREADS = (1, 2, 3, 8)
SMALL = NetworkShape(16, 4)


@pytest.fixture
def threads():
    """Yield the function that sets the number of threads; restore the number afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def make_step(precision="fp32", shape=SMALL):
    generator = torch.Generator().manual_seed(0)
    network = randomize_weights(Network(3, 2, shape, generator), generator)
    return network, TrainStep(network, resolve_precision(torch.device("cpu"), precision))


def draw_crops(count, side=16):
    generator = torch.Generator().manual_seed(1)
    residuals = 0.1 * torch.randn(count, 3, 2 * side, 2 * side, generator=generator)
    return torch.rand(count, 3, side, side, generator=generator), residuals


@pytest.mark.parametrize("count", [1, 3])
def test_steps_are_those_of_torchs_adam(count):
    network, step = make_step()
    oracle, _ = make_step()
    adam = torch.optim.Adam(oracle.parameters(), betas=(0.8, 0.95))
    crops = draw_crops(count)
    for k in range(4):
        adam.param_groups[0]["lr"] = rate = 1e-3 / (k + 1)
        adam.zero_grad()
        loss = nn.functional.l1_loss(oracle(crops[0]), crops[1])
        loss.backward()
        adam.step()
        assert float(step(*crops, rate)) == pytest.approx(float(loss.detach()), rel=1e-5)
    for ours, theirs in zip(network.parameters(), oracle.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_restored_step_starts_anew():
    network, step = make_step()
    start, crops = step.weights(), draw_crops(2)
    first = [float(step(*crops, 1e-3)) for _ in range(3)]
    step.restore(start)
    assert torch.equal(
        torch.cat([weight.flatten() for weight in network.parameters()]).sort().values, start.sort().values
    )
    assert [float(step(*crops, 1e-3)) for _ in range(3)] == first


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("shape", [NetworkShape(64, 4), NetworkShape(64, 4, blocks=True)], ids=str)
@pytest.mark.parametrize(("count", "side"), [(1, 32), (4, 16), (3, 21)])
def test_weights_are_the_same_for_any_number_of_threads(count, side, shape, precision, threads):
    found = []
    for number in THREADS:
        threads(number)
        _, step = make_step(precision, shape)
        for _ in range(3):
            step(*draw_crops(count, side), 1e-3)
        found.append(step.weights())
        assert torch.get_num_threads() == number
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, 4),
        ({"precision": "fp32"}, 2),
        ({"precision": "bf16", "init": "random"}, 2),
        ({"adversarial": 1.0, "model_width": 16, "init": "random"}, 2),
    ],
    ids=str,
)
@pytest.mark.slow
def test_pixels_and_losses_are_the_same_for_any_number_of_threads(settings, scale, threads, monkeypatch):
    monkeypatch.setattr("zssr.training.texture_gan.WARM_UP_STEPS", 3)
    image = torch.rand(1, 3, 44, 40, generator=torch.Generator().manual_seed(3))
    image = nn.functional.avg_pool2d(image, 5, 1)
    upscaler = Upscaler(Config(num_epochs=4, lr_schedule="cosine", **settings))
    found = []
    for count in THREADS:
        threads(count)
        found.append(upscaler.run(image, Request(scale, device="cpu")))
    assert len(found[0].history.adversarial_losses) == (15 if "adversarial" in settings else 0)
    assert all(torch.equal(found[0].image, other.image) for other in found[1:])
    assert all(found[0].history == other.history for other in found[1:])
