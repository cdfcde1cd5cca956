import math

import numpy as np
import pytest
import torch

from zssr.config import NetworkShape
from zssr.degradation import Degradation
from zssr.errors import ConfigError
from zssr.networks.sr import Network
from zssr.runtime import resolve_device, resolve_precision
from zssr.training.divergence import DivergedError
from zssr.training.pairs import make_training_pairs
from zssr.training.schedule import make_schedule
from zssr.training.trainer import train

CPU = resolve_precision(torch.device("cpu"), "fp32")


def prepare(photo, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pairs, validation = make_training_pairs([[photo]], Degradation(None, (2, 2)), 2, 32, generator)
    return Network(3, 2, NetworkShape(12, 4), generator), pairs, validation, generator


def run_training(photo, config, on_step=lambda done, most: None, seed=0, compute=CPU):
    network, pairs, validation, generator = prepare(photo, seed)
    schedule = make_schedule(config, "random")
    history = train(network, pairs, validation, config, schedule, compute, generator, on_step)
    return network, history


def test_training_lowers_the_errors(quick):
    y, x = np.mgrid[:64, :96]
    rings = 1 / (1 + np.exp(-8 * np.sin(np.hypot(y - 20, x - 30) / 5)))
    _, history = run_training(
        torch.from_numpy(rings).float().expand(1, 3, 64, 96),
        quick.replace(num_epochs=200, lr=3e-3, lr_schedule="cosine"),
    )
    errors = list(history.validation_errors.values())
    assert errors[-1] < 0.7 * errors[0]
    assert np.mean(history.losses[-20:]) < np.mean(history.losses[:20])


def test_history_has_an_entry_for_each_step(photo, quick):
    calls = []
    _, history = run_training(photo, quick, lambda done, most: calls.append((done, most)))
    assert calls == [(done, 12) for done in range(1, 13)]
    assert len(history.losses) == len(history.learning_rates) == 12
    assert list(history.validation_errors) == [4, 8, 12]


def test_same_seed_same_weights(photo, quick):
    def weights(seed):
        return torch.cat([w.detach().flatten() for w in run_training(photo, quick, seed=seed)[0].parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_less_precision_reaches_the_error_of_fp32(photo, quick):
    config = quick.replace(num_epochs=60)
    ends = []
    for precision in ("fp32", "bf16", "fp16"):
        compute = resolve_precision(torch.device("cpu"), precision)
        ends.append(list(run_training(photo, config, compute=compute)[1].validation_errors.values())[-1])
    assert ends[1:] == pytest.approx([ends[0]] * 2, rel=0.05)


def test_callback_may_stop_the_training(photo, quick):
    def stop(done, _most):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(photo, quick, stop)


def test_nan_restores_good_weights_at_a_tenth_of_the_rate(photo, quick):
    network, pairs, validation, generator = prepare(photo)

    def poison(done, _most):
        if done == 6:
            with torch.no_grad():
                next(network.parameters()).fill_(math.nan)

    config = quick.replace(num_epochs=40, lr=1e-3)
    history = train(network, pairs, validation, config, make_schedule(config, "random"), CPU, generator, poison)
    assert history.restarts == 1
    assert [history.learning_rates[7], history.learning_rates[8]] == [1e-3, pytest.approx(1e-4)]
    assert 8 not in history.validation_errors
    assert all(math.isfinite(error) for error in history.validation_errors.values())
    assert all(torch.isfinite(weight).all() for weight in network.parameters())


def test_nan_that_stays_raises_after_three_restarts(photo, quick):
    network, pairs, validation, generator = prepare(photo)

    def poison(_done, _most):
        with torch.no_grad():
            next(network.parameters()).fill_(math.nan)

    schedule = make_schedule(quick.replace(num_epochs=400), "random")
    with pytest.raises(DivergedError, match="3"):
        train(network, pairs, validation, quick, schedule, CPU, generator, poison)


def test_no_steps_leave_the_network_alone(photo, quick):
    network, pairs, validation, generator = prepare(photo)
    before = [weight.clone() for weight in network.parameters()]
    schedule = make_schedule(quick.replace(num_epochs=0), "random")
    history = train(network, pairs, validation, quick, schedule, CPU, generator, lambda done, most: None)
    assert history.losses == []
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_unknown_and_absent_devices_raise():
    for name in ("tpu", "meta-physics", "cuda:99"):
        with pytest.raises(ConfigError, match=name):
            resolve_device(name)
    assert resolve_device("cpu").type == "cpu"
