import math
import pickle

import numpy as np
import pytest
import torch
from helpers import PRIOR_CONFIG, make_prior_networks, save_prior
from safetensors.torch import save_file

from zssr import upscale
from zssr.config import Config, NetworkShape
from zssr.degradation import Degradation
from zssr.degradation.blur import validate_kernel
from zssr.degradation.jpeg import Jpeg
from zssr.errors import ConfigError
from zssr.networks.film import DEGRADATION_KINDS, ConditionedNetwork, degradation_embedding
from zssr.networks.sr import Network
from zssr.prior.checkpoint import BUILT_IN, Prior, load_prior, write_prior
from zssr.prior.prior_training import BUILT_IN_SHAPE
from zssr.progress import Progress
from zssr.request import Request
from zssr.run_context import make_context

KERNEL = validate_kernel(np.outer([1, 2, 4, 2, 1], [1, 4, 6, 4, 1]))
BLURRED = Degradation(KERNEL, (2, 2), "top_left", quantized=True)
BICUBIC = Degradation(quantized=True)


@pytest.fixture
def file(tmp_path):
    return save_prior(tmp_path / "p.safetensors")


@pytest.fixture
def prior(file):
    return Prior.read(file)


def test_weights_are_stored_in_half_precision(prior):
    networks = make_prior_networks()
    assert prior.shape == PRIOR_CONFIG.shape
    assert set(prior.networks) == set(networks)
    for kind, network in networks.items():
        read = prior.networks[kind].state_dict()
        assert all(torch.equal(read[name], tensor.half().float()) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("degradation", "key"),
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
def test_network_starts_as_the_nearest_conditioned_one(prior, degradation, key, generator):
    assert prior.supports(key[1])
    kind, factor = key
    network = Network(3, factor, PRIOR_CONFIG.shape, generator)
    prior.initialize(network, degradation)
    expected = prior.networks[kind].weights(degradation_embedding(degradation), factor)
    assert all(torch.equal(weight, expected[name]) for name, weight in network.state_dict().items())


def test_other_factors_are_not_supported(prior):
    assert not prior.supports(4)


def test_one_channel_is_treated_as_three_equal_ones(prior, generator):
    one, three = Network(1, 2, PRIOR_CONFIG.shape, generator), Network(3, 2, PRIOR_CONFIG.shape, generator)
    prior.initialize(one, BLURRED)
    prior.initialize(three, BLURRED)
    gray = torch.rand(2, 1, 12, 14, generator=generator)
    with torch.no_grad():
        expected = three(gray.expand(-1, 3, -1, -1)).mean(1, keepdim=True)
        assert torch.allclose(one(gray), expected, atol=1e-6)


def damage(kind, prior, path):
    whole = path.read_bytes()
    own = prior.networks["bicubic"].state_dict()
    tensors = {f"bicubic.{name}": tensor.contiguous() for name, tensor in own.items()}
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
        save_file({**tensors, "bicubic.trunk.1.weight": torch.zeros(8, 8, 5, 5)}, path)
    elif kind == "no width":
        save_file({name: tensor[:0] for name, tensor in tensors.items()}, path)
    elif kind == "two shapes":
        deeper = ConditionedNetwork((2,), NetworkShape(8, 4), torch.Generator()).state_dict()
        save_file({**tensors, **{f"noisy.{name}": tensor.contiguous() for name, tensor in deeper.items()}}, path)
    elif kind == "not finite":
        save_file({**tensors, "bicubic.trunk.1.bias": torch.full((8,), math.nan)}, path)


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
def test_file_that_is_no_prior_is_refused_in_one_sentence(kind, prior, file, astronaut):
    damage(kind, prior, file)
    with pytest.raises(ConfigError, match=r"p\.safetensors: (the prior cannot be read|is not a prior)") as caught:
        upscale(astronaut, config=PRIOR_CONFIG.replace(prior=str(file)))
    assert "\n" not in str(caught.value)
    assert ("there is no such file" in str(caught.value)) == (kind == "missing")


def test_form_of_the_networks_is_stored(tmp_path):
    network = ConditionedNetwork((4,), NetworkShape(8, 4, blocks=True), torch.Generator())
    write_prior(tmp_path / "p.safetensors", {"noisy": network})
    prior = Prior.read(tmp_path / "p.safetensors")
    assert prior.shape == network.shape
    assert prior.supports(4) and not prior.supports(2)


def test_prior_of_another_shape_is_refused_with_both_shapes(file):
    with pytest.raises(ConfigError, match=r"has model_width 8.*the settings say model_width 8, model_depth 34"):
        load_prior(Config(prior=str(file), model_depth=34))


def test_networks_have_the_shape_of_their_prior_where_the_settings_leave_it_open(file):
    context = make_context(Config(prior=str(file), model_depth=3), Request(2), Progress())
    assert context.config.shape == Prior.read(file).shape == NetworkShape(8, 3)
    assert make_context(Config(init="random"), Request(2), Progress()).config.shape == NetworkShape()


def test_built_in_prior_is_small_and_holds_all_kinds():
    assert BUILT_IN.stat().st_size < 10e6
    prior = load_prior(Config())
    assert prior.name == str(BUILT_IN)
    assert prior.shape == BUILT_IN_SHAPE
    assert {kind: network.factors for kind, network in prior.networks.items()} == dict.fromkeys(DEGRADATION_KINDS, (2,))


def test_random_initial_weights_need_no_prior():
    assert load_prior(Config(init="random", prior="absent")) is None
