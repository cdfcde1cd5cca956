"""Fusing the neighbors of a frame: what they add, and what they must not."""

from dataclasses import replace

import numpy as np
import torch
from clips import make_clip, read_facts
from helpers import TINY
from scipy.ndimage import gaussian_filter, shift

from zssr import VideoOptions, upscale_video
from zssr.config import Config
from zssr.degradation import Degradation
from zssr.multiframe.registration import register
from zssr.multiframe.warping import make_grid
from zssr.request import Request
from zssr.video import neighbor_fusion
from zssr.video.neighbor_fusion import (
    FusedFrame,
    SeenFrame,
    average_neighbors,
    fuse_neighbors,
    register_neighbors,
    to_large_image,
    to_small_image,
)
from zssr.video.plan_video import plan_video
from zssr.video.planes import read_planes
from zssr.video.windows import slide

SCENE = np.random.default_rng(0).normal(0.5, 0.2, (96, 120))
MOTION = [(-0.9, 0.4), (0.6, -1.1), (0, 0), (1.1, 0.7), (-0.5, -0.6)]
"""Of the large image, in its pixels, for each frame."""


def see(image):
    """Make an image (H, W) small by bicubic: (1, h, w)."""
    small = Degradation().downsample(torch.from_numpy(image)[None, None].float(), (48, 60))
    return small[0]


def make_frames(scene):
    smooth = np.asarray(torch.nn.functional.avg_pool2d(torch.from_numpy(scene)[None], 3, 1, 1)[0])
    return smooth, [see(shift(smooth, motion, order=5, mode="mirror")) for motion in MOTION]


def look_at(frames):
    seen = {id(frame): SeenFrame(frame, interpolate(frame)) for frame in frames}
    return [seen[id(frame)] for frame in frames]


def fuse(frames):
    reach = len(frames) // 2
    windows = slide(iter(look_at(frames)), reach)
    fused = slide((fuse_neighbors(window, Degradation()) for window in windows), reach)
    return average_neighbors(list(fused)[reach], Degradation())


def interpolate(frame):
    degradation = Degradation()
    return degradation.back_project(degradation.upsample(frame[None], (96, 120)), frame[None], 4)[0]


def error(large, truth):
    return float((large[0] - torch.from_numpy(truth))[12:-12, 12:-12].square().mean().sqrt())


def test_frames_between_the_pixels_of_each_other_tell_more_than_one():
    truth, frames = make_frames(SCENE)
    single = interpolate(frames[2])
    fused = fuse(frames)
    assert error(fused, truth) < 0.88 * error(single, truth)


def test_a_neighbor_that_shows_something_else_changes_nothing():
    _, frames = make_frames(SCENE)
    others = [see(np.random.default_rng(seed).normal(0.5, 0.2, SCENE.shape)) for seed in (1, 2)]
    assert torch.equal(fuse([others[0], frames[2], others[1]]), fuse([frames[2]]))


def test_a_frame_without_content_changes_nothing():
    _, frames = make_frames(SCENE)
    flash = torch.ones_like(frames[0])
    assert torch.equal(fuse([frames[0], flash, frames[2], flash.clone(), frames[4]]), fuse([frames[2]]))


def test_the_same_frame_counts_once():
    _, frames = make_frames(SCENE)
    once, thrice = ([frames[1], frames[2], frames[3]], [frames[1], frames[1], frames[2], frames[3], frames[3]])
    assert torch.equal(*(fuse_neighbors(look_at(window), Degradation()).image for window in (once, thrice)))


def test_exposure_is_undone():
    truth, frames = make_frames(SCENE)
    single = interpolate(frames[2])
    darker = [0.8 * frame + 0.02 if k != 2 else frame for k, frame in enumerate(frames)]
    assert error(fuse(darker), truth) < 0.88 * error(single, truth)


def test_noise_is_averaged_away():
    smooth = 0.5 + 6 * (gaussian_filter(SCENE, 3) - 0.5)  # nothing that a frame does not show
    clean = [see(shift(smooth, motion, order=5, mode="mirror")) for motion in MOTION]
    noise = torch.from_numpy(np.random.default_rng(3).normal(0, 0.02, (5, 1, 48, 60))).float()
    noisy = [frame + one for frame, one in zip(clean, noise, strict=True)]
    assert error(fuse(noisy), smooth) < 0.6 * error(interpolate(noisy[2]), smooth)


def test_motion_is_followed_from_frame_to_frame():
    _, frames = make_frames(SCENE)
    seen = [SeenFrame(frame, interpolate(frame)) for frame in frames]
    found = dict(register_neighbors(seen))
    assert [seen.index(frame) for frame in found] == [1, 0, 3, 4]
    for frame, registration in found.items():
        down, right = MOTION[seen.index(frame)]
        assert np.abs(registration.matrix - [[1, 0, -right / 2], [0, 1, -down / 2], [0, 0, 1]]).max() < 0.05


def test_the_mean_is_that_of_the_images_that_match():
    _, frames = make_frames(SCENE)
    seen = [SeenFrame(frame, interpolate(frame)) for frame in frames[:3]]
    still = register(seen[1].brightness.image, seen[1].brightness.image)
    matches = np.broadcast_to(np.arange(60) < 30, (48, 60)).astype(float)  # what is at the left
    neighbors = [(seen[0], replace(still, confidence=np.ones((48, 60)))), (seen[2], replace(still, confidence=matches))]
    images = torch.rand(3, 1, 96, 120, generator=torch.Generator().manual_seed(0))
    fused = [FusedFrame(seen[k], neighbors if k == 1 else [], images[k]) for k in range(3)]
    mean = average_neighbors(fused, Degradation())
    assert torch.allclose(mean[..., 4:-4, 4:56], images.mean(0)[..., 4:-4, 4:56], atol=1e-4)
    assert torch.allclose(mean[..., 4:-4, 64:-4], images[:2].mean(0)[..., 4:-4, 64:-4], atol=1e-4)


def test_bands_are_like_the_whole(monkeypatch):
    _, frames = make_frames(SCENE)
    whole = fuse(frames)
    monkeypatch.setattr(neighbor_fusion, "_BAND_PIXELS", 120 * 20)
    assert float((fuse(frames) - whole).abs().max()) < 0.5 / 255


def test_positions_come_back():
    for sampling in ("center", "top_left"):
        degradation, here = Degradation(scale=(2.0, 3.0), sampling=sampling), make_grid((7, 5))
        assert np.allclose(to_small_image(to_large_image(here, degradation), degradation), here)


def test_a_clip_is_fused_unless_its_method_is_another(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 3, size=(48, 64))
    for config, usual in ((TINY, True), (Config(method="bicubic"), False)):
        results = []
        for fuse in (None, True, False):
            upscale_video(clip, tmp_path / "large.mp4", 2, config=config, options=VideoOptions(fuse=fuse))
            assert read_facts(tmp_path / "large.mp4") == read_facts(clip)
            results.append((tmp_path / "large.mp4").read_bytes())
        assert results[1] != results[2]
        assert results[0] == results[1 if usual else 2]


def test_a_frame_depends_on_four_on_each_side(tmp_path):
    plan = plan_video(make_clip(tmp_path / "clip.mp4", 11, size=(48, 64)), ".mkv", Request(2), TINY, VideoOptions())
    frames = [read_planes(frame, plan.traits.layout) for frame in plan.source.frames()]
    model = plan.upsampler.fit([[frames[0]]])
    whole, part, less = (plan.upsampler.upscale_middle(frames[k : 11 - k], model) for k in (0, 1, 2))
    assert all(np.array_equal(*planes) for planes in zip(whole, part, strict=True))
    assert not np.array_equal(whole[0], less[0])
