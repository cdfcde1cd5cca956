"""Bursts: what frames show together, what does not belong to them, every kind of image, and bad input."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from helpers import TINY, run_command
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter
from skimage import data

from zssr import BurstOptions, Config, ConfigError, ImageError, Request, upscale, upscale_burst
from zssr.degradation.resamplers import BICUBIC
from zssr.io.limits import Limits
from zssr.multiframe.alignment import align_frames, match_exposure
from zssr.multiframe.burst import run_burst
from zssr.multiframe.frame_blur import FrameBlur, estimate_frame_blur
from zssr.multiframe.frames_of_burst import choose_reference, find_sharpest, load_frames
from zssr.multiframe.registration import register
from zssr.multiframe.warping import Spline, make_grid, transform

TRUTH = data.astronaut()[20:116, 180:276]
OTHER = data.coffee()[100:196, 200:296]
SIZE = (48, 48)
LIMITS = Limits()
FIRST = BurstOptions(reference=1)


def shoot(count, truth=TRUTH, noise=2.0, blur=1.0, seed=0):
    """Photograph a picture (H, W, C) at half its size, from where shaking hands hold the camera."""
    generator = np.random.default_rng(seed)
    planes = [Spline(gaussian_filter(plane.astype(float), blur)) for plane in np.moveaxis(truth, -1, 0)]
    frames = []
    for k in range(count):
        turn, (right, down) = np.deg2rad(generator.uniform(-1, 1)), generator.uniform(-1.5, 1.5, 2)
        cos, sin = np.cos(turn), np.sin(turn)
        moved = np.array([[cos, -sin, right], [sin, cos, down], [0, 0, 1]]) if k else np.eye(3)
        positions = 2 * transform(moved, make_grid(SIZE)) + 0.5
        frame = np.stack([plane.sample(positions) for plane in planes], -1)
        frames.append((frame + generator.normal(0, noise, frame.shape)).round().clip(0, 255).astype(np.uint8))
    return frames


def fuse(frames, options=FIRST, **settings):
    return run_burst(frames, Request(2), TINY.replace(**settings), options)


def psnr(image, truth=TRUTH, part=(slice(6, -6), slice(6, -6))):
    return -10 * np.log10(np.square((image.astype(float) - truth)[part] / 255).mean())


@pytest.fixture(scope="module")
def frames():
    return shoot(8)


@pytest.fixture(scope="module")
def small(frames):
    return [frame[:24, :24] for frame in frames[:3]]


@pytest.fixture(scope="module")
def fused(frames):
    return fuse(frames)


def test_eight_frames_show_more_than_four_and_these_more_than_one(frames, fused):
    single, four = upscale(frames[0], 2, config=TINY), fuse(frames[:4]).image
    assert psnr(four) > psnr(single) + 1
    assert psnr(fused.image) > psnr(four) + 0.3
    assert fused.used == 8


@pytest.mark.parametrize("reconstruction", ["ibp", "pocs"])
def test_other_reconstructions_gain_too(frames, reconstruction):
    single = upscale(frames[0], 2, config=TINY)
    assert psnr(fuse(frames[:5], replace(FIRST, reconstruction=reconstruction)).image) > psnr(single) + 0.3


def test_a_strange_frame_is_left_out_and_told(frames, fused):
    found = fuse([*frames, *shoot(1, OTHER)])
    assert found.used == 8
    assert "image 9 does not show what the reference does, and is left out" in found.result.warnings
    assert np.array_equal(found.image, fused.image)


def test_what_moves_leaves_no_ghost_and_costs_nothing_elsewhere(frames, fused):
    spoiled, patch = [frames[0]], shoot(1, OTHER)[0][:14, :14]
    for k, frame in enumerate(frames[1:]):
        copy = frame.copy()
        copy[3 * k : 3 * k + 14, 20:34] = patch
        spoiled.append(copy)
    found = fuse(spoiled)
    assert psnr(found.image) > psnr(fused.image) - 1.5
    away = (slice(6, -6), slice(6, 28))
    assert psnr(found.image, part=away) > psnr(fused.image, part=away) - 0.3


def test_exposures_are_undone(frames, fused):
    gains = np.linspace(1.0, 0.7, 8)
    pairs = zip(frames, gains, strict=True)
    darker = [(frame * gain + 20 * (1 - gain)).round().astype(np.uint8) for frame, gain in pairs]
    assert psnr(fuse(darker).image) > psnr(fused.image) - 0.4


def test_exposure_is_that_of_the_frame_beside_the_reference(frames):
    reference = frames[0][..., 0] / 255
    registration = register(reference, reference)
    found = match_exposure(0.8 * reference + 0.1, reference, registration, torch.ones(SIZE))
    assert found == pytest.approx((0.8, 0.1), abs=1e-4)
    flat = np.full(SIZE, 0.5)
    assert match_exposure(flat + 0.1, flat, registration, torch.ones(SIZE)) == pytest.approx((1, 0.1))


def test_what_is_clipped_counts_unless_exposures_differ(frames):
    bright = [(frame * 1.5).clip(0, 255).astype(np.uint8) for frame in frames[:2]]
    pairs = (bright, [frames[0], bright[1]])
    same, brighter = (list(align_frames(load_frames(pair, LIMITS), 0, "rigid"))[1] for pair in pairs)
    clipped = torch.from_numpy(bright[1] == 255).any(-1)
    assert float(same.weights[clipped].mean()) > 0.5
    assert float(brighter.weights[clipped].max()) == 0
    assert float(brighter.weights[~clipped].mean()) > 0.5


@pytest.mark.parametrize("blur", [0.6, 1.2])
def test_blur_is_estimated_from_all_frames(blur):
    scene = data.camera()[100:260, 150:310, None]
    burst = [frame[..., 0] for frame in shoot_large(scene, 8, blur)]
    aligned = list(align_frames(load_frames(burst, LIMITS), 0, "rigid"))
    found = estimate_frame_blur(aligned)
    assert found.sigma == pytest.approx(blur / 2, abs=0.15)
    assert estimate_frame_blur(aligned[:3]) is None


def shoot_large(scene, count, blur):
    """Photograph a larger picture, behind a Gaussian blur or one by a kernel, without rotation."""
    generator, frames = np.random.default_rng(1), []
    filter_plane = gaussian_filter if isinstance(blur, float) else convolve
    planes = [Spline(filter_plane(plane.astype(float), blur)) for plane in np.moveaxis(scene, -1, 0)]
    for k in range(count):
        shift = generator.uniform(-1.5, 1.5, 2)[:, None, None] * (k > 0)
        positions = 2 * (make_grid((scene.shape[0] // 2, scene.shape[1] // 2)) + shift) + 0.5
        frames.append(np.stack([plane.sample(positions).round().clip(0, 255) for plane in planes], -1).astype(np.uint8))
    return frames


@pytest.mark.parametrize("name", ["checkerboard", "brick", "mosaic"])
def test_regular_scenes_that_bicubic_made_small_are_not_taken_for_blurred(name):
    mosaic = np.kron(np.random.default_rng(0).integers(0, 256, (16, 16)), np.ones((10, 10)))
    scene = mosaic if name == "mosaic" else getattr(data, name)()[:160, :160]
    burst = [frame[..., 0] for frame in shoot_large(scene[..., None], 8, BICUBIC.to_kernel((2.0, 2.0)))]
    found = estimate_frame_blur(list(align_frames(load_frames(burst, LIMITS), 0, "rigid")))
    assert (found, str(found), found.to_kernel((2.0, 2.0))) == (FrameBlur(None), "bicubic", None)


def test_flat_frames_tell_nothing_of_their_blur():
    assert (
        estimate_frame_blur(list(align_frames(load_frames([np.full((64, 64), 0.5)] * 4, LIMITS), 0, "rigid"))) is None
    )


def test_blurs_are_stretched_by_the_scale():
    kernel = FrameBlur(0.5).to_kernel((2.0, 4.0))
    deviations = [
        np.sqrt(kernel.sum(axis) @ (np.arange(len(kernel.sum(axis))) - len(kernel.sum(axis)) // 2) ** 2)
        for axis in (1, 0)
    ]
    assert deviations == pytest.approx([1.0, 2.0], rel=0.02)


def test_the_sharpest_is_the_reference_unless_another_is_chosen(frames):
    soft = [np.stack([gaussian_filter(plane, 1.0) for plane in np.moveaxis(frame, -1, 0)], -1) for frame in frames[:3]]
    burst = load_frames([soft[0], frames[1], soft[2]], LIMITS)
    assert find_sharpest(burst) == choose_reference(burst, None) == 1
    assert choose_reference(burst, 3) == 2
    for wrong in (0, 4, 1.5, True):
        with pytest.raises(ConfigError, match=r"reference: .* is not the number of a frame, from 1 to 3"):
            choose_reference(burst, wrong)


@pytest.mark.parametrize("kind", ["gray", "uint16", "bands", "float", "alpha", "tensor", "nodata"])
def test_every_kind_comes_back_as_it_came(frames, kind):
    burst = [frame[:32, :32] for frame in frames[:2]]
    burst = {
        "gray": [frame[..., 0] for frame in burst],
        "uint16": [frame.astype(np.uint16) * 257 for frame in burst],
        "bands": [np.dstack([frame, frame[..., :2]]) for frame in burst],
        "float": [frame / np.float32(255) for frame in burst],
        "alpha": [Image.fromarray(np.dstack([frame, np.tri(32, 32, 8, np.uint8) * 255])) for frame in burst],
        "tensor": torch.from_numpy(np.stack(burst)).permute(0, 3, 1, 2),
        "nodata": [np.where(np.tri(32, 32, -24)[..., None] > 0, np.nan, frame / 255) for frame in burst],
    }[kind]
    large = upscale_burst(burst, 2, config=TINY, options=FIRST)
    if kind == "alpha":
        assert large.mode == "RGBA"
        assert set(np.unique(np.asarray(large)[::9, ::9, 3])) >= {0, 255}
    elif kind == "tensor":
        assert large.shape == (1, 3, 64, 64)
    else:
        assert large.dtype == burst[0].dtype
        assert large.shape == (64, 64, *burst[0].shape[2:])
        assert np.nanmean(large.astype(float)) == pytest.approx(np.nanmean(burst[0].astype(float)), rel=0.02)
        assert np.isnan(large[-2, 0]).all() == (kind == "nodata")


def test_a_mix_of_inputs_is_one_burst(small, tmp_path):
    Image.fromarray(small[1]).save(tmp_path / "one.png")
    content = io.BytesIO()
    Image.fromarray(small[2]).save(content, "PNG")
    mixed = [small[0], tmp_path / "one.png", content.getvalue(), Image.fromarray(small[1])]
    expected = upscale_burst([*small, small[1]], 2, config=TINY, options=FIRST)
    assert np.array_equal(upscale_burst(mixed, 2, config=TINY, options=FIRST), expected)


def test_stacks_and_animations_are_bursts(small, tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", np.stack(small), photometric="rgb")
    pages = [Image.fromarray(frame) for frame in small]
    pages[0].save(tmp_path / "moving.png", save_all=True, append_images=pages[1:])
    expected = upscale_burst(small, 2, config=TINY, options=FIRST)
    for name in ("stack.tif", "moving.png"):
        assert np.array_equal(np.asarray(upscale_burst(tmp_path / name, 2, config=TINY, options=FIRST)), expected)
    with Image.open(tmp_path / "moving.png") as opened:
        assert np.array_equal(np.asarray(upscale_burst(opened, 2, config=TINY, options=FIRST)), expected)


def test_fractional_scales_and_sizes(small):
    assert upscale_burst(small, 1.5, config=TINY).shape == (36, 36, 3)
    assert upscale_burst(small, size=(40, None), config=TINY).shape == (40, 40, 3)


def test_same_seed_same_pixels(small):
    one, other = (upscale_burst(small, 2, config=TINY, seed=3) for _ in range(2))
    assert np.array_equal(one, other)


def test_progress_has_all_stages(small):
    stages = []
    run_burst(small, Request(2), TINY, FIRST, lambda event: stages.append(str(event.stage)))
    assert list(dict.fromkeys(stages)) == ["register", "train", "apply", "fuse"]


def test_bad_input_is_told_in_one_sentence(frames, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    cases = {
        "a burst has two frames or more": frames[:1],
        "images: a burst has two": [],
        "image 2: has 1 channels, and image 1 3": [frames[0], frames[1][..., 0]],
        "image 2: its 4x4 pixels are too few; 8 a side": [frames[0], frames[1][:4, :4]],
        "broken.png: ": [frames[0], tmp_path / "broken.png"],
        "none.png: no such file": [frames[0], tmp_path / "none.png"],
        "image 2: the path, the bytes": [frames[0], None],
    }
    for sentence, images in cases.items():
        with pytest.raises(ImageError, match=sentence) as raised:
            upscale_burst(images, 2, config=TINY)
        assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="motion: 'warp' is not one of translation, rigid"):
        BurstOptions(motion="warp")
    for settings in ({"content": "labels"}, {"wrap": "x"}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            upscale_burst(frames[:2], 2, **settings)
    with pytest.raises(ConfigError, match="preset"):
        upscale_burst(frames[:2], 2, preset="fast", config=Config())


@pytest.fixture
def folder(small, tmp_path):
    for k, frame in enumerate(small):
        Image.fromarray(frame).save(tmp_path / f"shot{k + 1}.png", dpi=(72, 72))
    return tmp_path


def burst(*arguments):
    return run_command("burst", *arguments)


def test_command_writes_the_file_beside_the_first(folder, capsys):
    assert burst(folder / "shot1.png", folder / "shot2.png", folder / "shot3.png", "--reference", 2) == 0
    with Image.open(folder / "shot1_burst_x2.png") as result:
        assert result.size == (48, 48)
        assert result.info["dpi"] == pytest.approx((144, 144), abs=0.1)
    assert "3 of 3 frames" in capsys.readouterr().out


def test_command_takes_a_folder_and_tells_json(folder, capsys):
    assert burst(folder, "-o", folder / "out.tif", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["width"], facts["frames_used"], len(facts["frames"])) == (48, 3, 3)
    assert tifffile.imread(folder / "out.tif").shape == (48, 48, 3)


def test_command_refuses_in_one_sentence(folder, capsys):
    shots = [folder / f"shot{k}.png" for k in (1, 2, 3)]
    (folder / "there.png").write_bytes(b"mine")
    for code, said, arguments in (
        (1, "there.png: exists already; --overwrite replaces it", [*shots, "-o", folder / "there.png"]),
        (2, "is one of the frames", [*shots, "-o", shots[0], "--overwrite"]),
        (1, "none.png: no such file", [shots[0], folder / "none.png"]),
        (1, "a burst has two frames or more", [shots[0], "-o", folder / "out.png"]),
        (1, "the output format", [*shots, "-o", folder / "out.xyz"]),
        (2, "reference: 9 is not the number", [*shots, "--reference", 9, "-o", folder / "out.png"]),
    ):
        assert burst(*arguments) == code
        errors = capsys.readouterr().err.strip()
        assert said in errors
        assert errors.count("\n") == 0
    assert (folder / "there.png").read_bytes() == b"mine"
    assert not (folder / "out.png").exists()
