import json
import math

import numpy as np
import pytest
import torch
from helpers import PRIOR_CONFIG, save_prior
from PIL import Image
from skimage import data

from zssr import Upscaler, upscale
from zssr.cli.main import main
from zssr.degradation import Degradation
from zssr.inference.tiles import add_residual
from zssr.method import ResidualNetwork
from zssr.runtime import resolve_precision
from zssr.training.pairs import Pair, Pairs
from zssr.training.prior_share import is_better
from zssr.training.trainer import TrainingHistory


@pytest.fixture
def file(tmp_path):
    return save_prior(tmp_path / "p.safetensors")


@pytest.mark.parametrize("preset", ["default", "best"])
@pytest.mark.parametrize("gray", [False, True])
def test_built_in_prior_beats_interpolation_without_training(gray, preset):
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


def test_command_takes_a_prior(file, tmp_path, astronaut, capsys):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    command = [str(tmp_path / "a.png"), "--prior", str(file), "--set", "num_epochs=0", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []
    assert main([*command, "--overwrite", "--set", "model_depth=4"]) == 2
    assert "model_depth 4" in capsys.readouterr().err


def test_result_without_training_is_that_of_the_prior(file, astronaut):
    config = PRIOR_CONFIG.replace(prior=str(file))
    from_prior = [upscale(astronaut, config=config, seed=seed) for seed in (0, 1)]
    from_random = upscale(astronaut, config=config.replace(init="random"))
    assert np.array_equal(*from_prior)
    assert not np.array_equal(from_prior[0], from_random)


def test_factor_without_weights_is_a_warning(file, astronaut):
    config = PRIOR_CONFIG.replace(prior=str(file), scale_factor=4)
    result = Upscaler(config).run(astronaut, 4)
    assert result.image.shape == (192, 256, 3)
    assert any("no weights for x4" in sentence for sentence in result.warnings)


def test_bands_are_upscaled_as_gray_images(file, astronaut):
    bands = np.concatenate([astronaut, astronaut[::-1, :, :2]], -1)
    together = upscale(bands, kernel="bicubic", config=PRIOR_CONFIG.replace(prior=str(file)))
    assert together.shape == (96, 128, 5)
    for k in range(5):
        alone = upscale(bands[..., k], kernel="bicubic", config=PRIOR_CONFIG.replace(prior=str(file)))
        assert np.abs(together[..., k].astype(int) - alone).max() <= 1


def test_bands_share_one_training(file, astronaut):
    bands = np.concatenate([astronaut, astronaut[..., :1]], -1)
    config = PRIOR_CONFIG.replace(prior=str(file), num_epochs=5, crop_size=24)
    result = Upscaler(config).run(bands)
    assert result.steps == 5
    assert np.array_equal(result.image[..., 0], result.image[..., 3])


def test_training_from_the_prior_starts_at_a_smaller_rate(file, astronaut):
    config = PRIOR_CONFIG.replace(prior=str(file), num_epochs=1, crop_size=24)

    def rates(**settings):
        return Upscaler(config.replace(**settings)).run(astronaut).history.learning_rates

    assert rates(init="prior") < rates(init="random")
    assert rates(lr=5e-4) == [5e-4]


@pytest.mark.parametrize(
    ("init", "scale", "kept"), [("prior", 2, [0.25]), ("prior", 4, [0.5, 0]), ("random", 2, [0]), ("random", 4, [0, 0])]
)
def test_weights_are_interpolated_back_to_the_prior(file, init, scale, kept, astronaut, monkeypatch):
    starts, used = [], []

    def move_weights(network, *_):
        starts.append([weight.clone() for weight in network.parameters()])
        for weight in network.parameters():
            weight.data += 0.01
        return TrainingHistory()

    def record_weights(network, *arguments, **settings):
        used[len(starts) - 1 :] = [[weight.clone() for weight in network.parameters()]]
        add_residual(network, *arguments, **settings)

    monkeypatch.setattr("zssr.fit.train", move_weights)
    monkeypatch.setattr("zssr.fit.is_better", lambda *_: True)
    monkeypatch.setattr("zssr.inference.regions.add_residual", record_weights)
    upscale(astronaut, scale, config=PRIOR_CONFIG.replace(prior=str(file), init=init))
    assert len(starts) == len(used) == len(kept)
    for before, after, share in zip(starts, used, kept, strict=True):
        for start, weight in zip(before, after, strict=True):
            assert torch.allclose(weight - start, torch.tensor(0.01 * (1 - share)), atol=1e-6)


def test_prior_is_kept_where_training_made_it_worse(file, astronaut, monkeypatch):
    def spoil_weights(network, *_):
        for weight in network.parameters():
            weight.data += 0.3
        return TrainingHistory()

    config = PRIOR_CONFIG.replace(prior=str(file), num_epochs=1)
    unadapted = upscale(astronaut, config=config.replace(num_epochs=0))
    assert not np.array_equal(upscale(astronaut, config=config), unadapted)
    monkeypatch.setattr("zssr.fit.train", spoil_weights)
    assert np.array_equal(upscale(astronaut, config=config), unadapted)


class OneNumber(ResidualNetwork):
    """Predicts the same number everywhere."""

    def __init__(self, number):
        super().__init__()
        self.channels, self.factor, self.margin = 3, 2, 0
        self.number = torch.nn.Parameter(torch.tensor(number))

    def forward(self, image):
        return self.number.expand(*image.shape[:2], 2 * image.shape[-2], 2 * image.shape[-1])


@pytest.mark.parametrize(("number", "spread", "better"), [(0.5, 0.1, True), (-0.5, 0.1, False), (0.01, 3.0, False)])
def test_training_must_have_made_it_surely_better(number, spread, better, generator):
    pairs = []
    for _ in range(200):  # of which a step in either direction is right, by their mean
        right = 1 + spread * torch.randn((), generator=generator)
        pairs.append(Pair(torch.zeros(3, 24, 24), right.expand(3, 48, 48)))
    held_back = Pairs(pairs, 2, 48)
    start = [torch.tensor(0.0)]
    compute = resolve_precision(torch.device("cpu"), "fp32")
    assert is_better(OneNumber(number), start, held_back, compute) is better
