"""Start weights for the networks of other methods: their training, their file, and that they are taken."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from zssr import Config, ConfigError, Upscaler
from zssr.degradation import Degradation
from zssr.methods import find_method
from zssr.prior.network_prior import NetworkPrior, write_network_prior
from zssr.prior.train import run_training

PHOTO = data.astronaut()[:40, 200:240]
LIGHT = ("vdsr:depth=3", "fsrcnn:d=8,s=4,m=1", "lapsrn:depth=1", "srresnet:blocks=1", "espcn", "mdsr:width=4,blocks=1")


def make_network(text, channels=3, seed=0):
    method = find_method(text)
    factor = 1 if method.on_interpolated else 2
    network = method.make_network(channels, factor, Config(), torch.Generator().manual_seed(seed)).eval()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(weight.numel()))
    return method, factor, network


@pytest.mark.parametrize("text", LIGHT)
def test_weights_come_back_and_gray_images_are_three_equal_channels(text, tmp_path):
    method, factor, network = make_network(text)
    write_network_prior(tmp_path / "p.safetensors", method, {factor: network})
    prior = NetworkPrior.read(tmp_path / "p.safetensors", method)
    assert prior.supports(factor)
    assert not prior.supports(7)
    gray = torch.rand(1, 1, 12, 13, generator=torch.Generator().manual_seed(1))
    results = []
    for channels in (3, 1):
        _, _, other = make_network(text, channels, 1)
        prior.initialize(other, Degradation(None, (2, 2)))
        with torch.no_grad():
            results.append(other.predict(gray.expand(1, channels, -1, -1)).mean(1))
    with torch.no_grad():
        expected = network.predict(gray.expand(1, 3, -1, -1)).mean(1)
    assert torch.allclose(results[0], expected, atol=5e-3)
    assert torch.allclose(results[1], expected, atol=5e-3)


@pytest.mark.parametrize(("name", "scales"), [("vdsr:depth=3", ["2", "3"]), ("fsrcnn", ["2"])])
def test_command_trains_what_a_photo_starts_from(name, scales, tmp_path):
    (tmp_path / "mine").mkdir()
    Image.fromarray(data.astronaut()[:64, 180:250]).save(tmp_path / "mine" / "a.png")
    arguments = [
        "--out",
        str(tmp_path / "out"),
        "--method",
        name,
        "--photos",
        str(tmp_path / "mine"),
        "--device",
        "cpu",
    ]
    arguments += ["--scales", *scales, "--steps", "40", "--crops", "2", "--crop-size", "16"]
    assert run_training(arguments) == 0
    prior = str(tmp_path / "out" / "prior.safetensors")
    config = Config(method=name, prior=prior, num_epochs=0, noise=0, jpeg="off", self_ensemble=1)
    trained = Upscaler(config).run(PHOTO)
    assert trained.steps == 0
    read = NetworkPrior.read(prior, find_method(name))
    weights, (own,) = trained.model.networks[0].state_dict(), read.weights.values()
    for key, expected in own.items():
        assert torch.allclose(weights[key], expected, atol=1e-6)  # which the final move to the prior rounds
    untrained = Upscaler(config.replace(prior=None)).run(PHOTO).image
    assert not np.array_equal(trained.image, untrained)
    assert np.array_equal(Upscaler(config.replace(init="random")).run(PHOTO).image, untrained)


def test_prior_of_another_method_is_refused(tmp_path):
    method, factor, network = make_network("vdsr:depth=3")
    path = tmp_path / "p.safetensors"
    write_network_prior(path, method, {factor: network})
    for name in ("vdsr", "fsrcnn"):
        with pytest.raises(ConfigError, match=r"p\.safetensors: the prior is of the method vdsr:depth=3, not of"):
            Upscaler(Config(method=name, prior=str(path))).run(PHOTO)
    with pytest.raises(ConfigError, match=r"absent: the prior cannot be read: there is no such file"):
        NetworkPrior.read("absent", method)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--method", "lanczos"], "--method: lanczos has no network that this trains"),
        (["--method", "zssr"], "--method: zssr has no network that this trains"),
        (["--method", "vespcn"], "--method: vespcn has no network that this trains"),
        (["--method", "svr"], "--method: svr has no network that this trains"),
        (["--method", "vdrs"], 'did you mean "vdsr"?'),
        (["--method", "vdsr", "--kinds", "noisy"], "--kinds: is for the networks of zssr, not for vdsr"),
        (["--method", "vdsr", "--adam-rate", "1"], "--adam-rate: is for the networks of zssr"),
        (["--method", "vdsr", "--steps", "0"], "steps: 0 is not"),
        (["--method", "vdsr", "--scales", "1"], "scale: 1 is not"),
    ],
)
def test_command_refuses_bad_options(arguments, sentence, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert run_training(["--out", "out", *arguments]) == 2
    assert sentence in caplog.text
    assert not (tmp_path / "out").exists()
