"""VESPCN: moving frames, fusing them, its losses, and what it is trained for."""

import numpy as np
import pytest
import torch
from clips import make_clip
from helpers import randomize_weights
from scipy.ndimage import map_coordinates

from zssr import ConfigError, Upscaler, upscale_video
from zssr.config import Config
from zssr.methods import find_method
from zssr.networks.vespcn import SpatialTransformer, compensate_motion, measure_variation, warp
from zssr.runtime import resolve_precision
from zssr.training.train_step import TrainStep


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make(text="vespcn", channels=3):
    return find_method(text).make_network(channels, 2, Config(), seeded())


def test_warping_is_what_scipy_does():
    frames, flow = torch.rand(1, 1, 9, 12, generator=seeded()), 3 * torch.randn(1, 2, 9, 12, generator=seeded(1))
    y, x = np.mgrid[:9, :12] + flow[0].flip(0).numpy()
    expected = map_coordinates(frames[0, 0].numpy(), [y.clip(0, 8), x.clip(0, 11)], order=1)
    assert np.allclose(warp(frames, flow)[0, 0].numpy(), expected, atol=1e-5)


def test_no_flow_moves_nothing():
    frames = torch.rand(2, 1, 8, 8, generator=seeded())
    assert torch.allclose(warp(frames, torch.zeros(2, 2, 8, 8)), frames, atol=1e-6)


@pytest.mark.parametrize("size", [(16, 16), (17, 19), (5, 6)])
def test_flows_have_the_size_of_the_frames(size):
    moved, flow = SpatialTransformer()(*torch.rand(2, 2, 1, *size, generator=seeded()))
    assert moved.shape == (2, 1, *size)
    assert flow.shape == (2, 2, *size)


@pytest.mark.parametrize("options", ["", ":frames=5", ":fusion=slow", ":frames=5,fusion=slow,layers=9"])
def test_the_middle_frame_alone_gets_a_residual_that_depends_on_all(options):
    text = f"vespcn{options}"
    frames = find_method(text).values["frames"]
    network = randomize_weights(make(text, frames), seeded(1))
    image = torch.rand(1, frames, 12, 12, generator=seeded()).requires_grad_()
    residual = network(image)
    assert residual.shape == (1, frames, 24, 24)
    others = [k for k in range(frames) if k != frames // 2]
    assert not residual[:, others].any()
    residual.sum().backward()
    assert all(image.grad[0, k].any() for k in range(frames))


def test_one_frame_is_an_espcn_of_24_channels():
    one, three = (make(text, frames) for text, frames in (("vespcn:frames=1", 1), ("vespcn", 3)))
    counts = [sum(weight.numel() for weight in network.layers.parameters()) for network in (one, three)]
    assert counts[1] - counts[0] == 2 * 24 * 9
    assert one(torch.rand(1, 1, 8, 8, generator=seeded())).shape == (1, 1, 16, 16)


def test_frames_that_agree_are_seen_as_their_mean():
    first = make().layers[0]
    frames = torch.rand(1, 3, 8, 8, generator=seeded())
    mean = frames.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert torch.allclose(first(frames), first(mean), atol=1e-6)


def test_the_variation_of_a_constant_flow_is_the_least():
    constant, varied = torch.ones(1, 2, 8, 8), torch.randn(1, 2, 8, 8, generator=seeded())
    assert measure_variation(constant) == pytest.approx(0.1)
    assert measure_variation(varied) > 0.5


def test_losses_of_motion_count_less_after_the_start():
    network, sons = randomize_weights(make(), seeded(2)), torch.rand(1, 3, 16, 16, generator=seeded())
    residuals = torch.zeros(1, 3, 32, 32)
    first, then = (compensate_motion(network, sons, residuals, torch.tensor(share)) for share in (0.0, 0.5))
    assert first > then > 0


@pytest.mark.slow
def test_training_finds_the_motion():
    base = torch.nn.functional.interpolate(torch.rand(1, 1, 12, 12, generator=seeded()), size=(48, 48), mode="bicubic")
    network = make()
    step = TrainStep(network, resolve_precision(torch.device("cpu"), "fp32"), compensate_motion)

    def draw():
        shift = int(torch.randint(-2, 3, (), generator=draw.generator))
        frames = [base[..., 8:40, 8 + d * shift : 40 + d * shift] for d in (-1, 0, 1)]
        return torch.cat(frames, 1), shift

    draw.generator = seeded(3)
    for _ in range(150):
        sons, _ = draw()
        step(sons, torch.zeros(1, 3, 64, 64), 2e-3, 0.0)
    sons, shift = draw()
    while shift == 0:
        sons, shift = draw()
    moved, _ = network.compensate(network.to_features(sons))
    before, after = ((one[:, [0, 2]] - one[:, [1]]).square().mean() for one in (sons, moved))
    assert after < 0.5 * before


def test_photos_have_no_frames():
    with pytest.raises(ConfigError, match="takes several frames of a video, not a photo"):
        Upscaler(Config(method="vespcn")).run(np.zeros((32, 32), np.uint8))


def test_a_clip_is_upscaled_by_it(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 4, size=(48, 64))
    config = Config(method="vespcn:frames=3", num_epochs=2, crop_size=32)
    result = upscale_video(clip, tmp_path / "large.mp4", 2, config=config)
    assert result.frames == 4
    assert result.model.channels == 3
