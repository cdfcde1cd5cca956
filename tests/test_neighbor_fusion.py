"""Fusing the neighbors of a frame: what they add, and what they must not."""

import numpy as np
import torch
from clips import make_clip, read_facts
from scipy.ndimage import shift

from zssr import VideoOptions, upscale_video
from zssr.config import Config
from zssr.degradation import Degradation
from zssr.video.neighbor_fusion import fuse_neighbors

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


def interpolate(frame):
    degradation = Degradation()
    return degradation.back_project(degradation.upsample(frame[None], (96, 120)), frame[None], 4)[0]


def error(large, truth):
    return float((large[0] - torch.from_numpy(truth))[12:-12, 12:-12].square().mean().sqrt())


def test_frames_between_the_pixels_of_each_other_tell_more_than_one():
    truth, frames = make_frames(SCENE)
    single = interpolate(frames[2])
    fused = fuse_neighbors(frames, single, Degradation())
    assert error(fused, truth) < 0.88 * error(single, truth)


def test_a_neighbor_that_shows_something_else_changes_nothing():
    _, frames = make_frames(SCENE)
    other = see(np.random.default_rng(1).normal(0.5, 0.2, SCENE.shape))
    single = interpolate(frames[2])
    alone = fuse_neighbors([frames[2]], single, Degradation())
    assert torch.equal(fuse_neighbors([other, frames[2], other], single, Degradation()), alone)


def test_the_same_frame_counts_once():
    _, frames = make_frames(SCENE)
    single = interpolate(frames[2])
    once, thrice = ([frames[1], frames[2], frames[3]], [frames[1], frames[1], frames[2], frames[3], frames[3]])
    assert torch.equal(*(fuse_neighbors(window, single, Degradation()) for window in (once, thrice)))


def test_exposure_is_undone():
    truth, frames = make_frames(SCENE)
    single = interpolate(frames[2])
    darker = [0.8 * frame + 0.02 if k != 2 else frame for k, frame in enumerate(frames)]
    assert error(fuse_neighbors(darker, single, Degradation()), truth) < 0.88 * error(single, truth)


def test_a_clip_is_fused(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 3, size=(48, 64))
    config = Config(method="bicubic")
    upscale_video(clip, tmp_path / "fused.mp4", 2, config=config, options=VideoOptions(fuse=True))
    upscale_video(clip, tmp_path / "single.mp4", 2, config=config)
    assert read_facts(tmp_path / "fused.mp4") == read_facts(clip)
    assert (tmp_path / "fused.mp4").read_bytes() != (tmp_path / "single.mp4").read_bytes()
