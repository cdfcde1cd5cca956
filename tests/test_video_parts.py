"""The parts of video: windows, stages that overlap, planes, timestamps of coded frames, animations."""

import threading
import time
from itertools import pairwise

import av
import numpy as np
import pytest
from helpers import TINY, run_command
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from zssr import upscale_video
from zssr.config import Config
from zssr.video.planes import PLANAR, find_layout, make_frame, read_planes
from zssr.video.prefetch import prefetch
from zssr.video.segment_store import CodedFrame, SegmentStore, decoding_times
from zssr.video.windows import slide, split_range, spread

QUICK = Config(method="bicubic")


@given(st.integers(0, 9), st.integers(0, 3))
def test_windows_are_the_neighbors_with_the_ends_repeated(count, reach):
    wanted = [[min(max(k + d, 0), count - 1) for d in range(-reach, reach + 1)] for k in range(count)]
    assert list(slide(iter(range(count)), reach)) == wanted


@given(st.integers(1, 100), st.integers(1, 8))
def test_frames_to_learn_from_lie_within_the_shot(count, most):
    chosen = spread(count, most)
    assert len(chosen) == min(count, most)
    assert chosen <= set(range(count))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 9))
def test_parts_of_a_range_make_it_up(start, count, most):
    whole = range(start, start + count)
    parts = split_range(whole, most)
    assert [k for part in parts for k in part] == list(whole)
    assert all(1 <= len(part) <= most for part in parts)


def test_stages_overlap_in_order_and_only_a_few_items_ahead():
    made = []

    def numbers():
        for k in range(20):
            made.append(k)
            yield k

    items = prefetch(numbers(), 2)
    assert next(items) == 0
    time.sleep(0.2)
    assert len(made) <= 5
    assert list(items) == list(range(1, 20))


def test_what_a_stage_raises_is_raised_and_its_thread_ends():
    def fail():
        yield 1
        raise ValueError("bad")

    items = prefetch(fail())
    assert next(items) == 1
    with pytest.raises(ValueError, match="bad"):
        next(items)
    assert not any(thread.name == "zssr-prefetch" for thread in threading.enumerate())


def test_a_stage_that_nobody_waits_for_is_closed():
    ended = threading.Event()

    def endless():
        try:
            while True:
                yield 0
        finally:
            ended.set()

    items = prefetch(endless())
    next(items)
    items.close()
    assert ended.is_set()


@pytest.mark.parametrize("name", PLANAR)
def test_planes_make_the_frame_that_they_are_of(name):
    layout = find_layout(name)
    assert layout.name == name
    generator = np.random.default_rng(0)
    sizes = [layout.plane_size(k, (30, 50)) for k in range(len(layout.order))]
    planes = [
        generator.integers(0, 2**layout.bits, size).astype(np.uint8 if layout.bits == 8 else np.uint16)
        for size in sizes
    ]
    frame = make_frame(planes, layout)
    assert all(np.array_equal(a, b) for a, b in zip(read_planes(frame, layout), planes, strict=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nv12", "yuv420p"),
        ("p010le", "yuv420p10le"),
        ("yuyv422", "yuv422p"),
        ("yuvj420p", "yuv420p"),
        ("rgb24", "gbrp"),
        ("bgr0", "gbrp"),
        ("rgba", "gbrap"),
        ("rgb48be", "gbrp16le"),
        ("gray16be", "gray16le"),
    ],
)
def test_packed_formats_have_planes_of_as_many_bits(name, expected):
    assert find_layout(name).name == expected


def test_the_planes_of_a_frame_are_what_pyav_says():
    pixels = np.random.default_rng(0).integers(0, 256, (36, 20), np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, "yuv420p")
    luma, *_ = read_planes(frame, find_layout("yuv420p"))
    assert np.array_equal(luma, pixels[:24])


@given(st.integers(1, 4), st.lists(st.integers(1, 50), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_decoding_times_increase_and_are_never_late(ahead, gaps, random):
    times = np.cumsum(gaps).tolist()
    groups = [times[k : k + ahead] for k in range(0, len(times), ahead)]
    coded = [time for group in groups for time in random.sample(group, len(group))]
    decoded = decoding_times(coded, gaps[0])
    assert all(a < b for a, b in pairwise(decoded))
    assert all(dts <= pts for dts, pts in zip(decoded, coded, strict=True))


def test_segments_come_back_in_order_and_those_of_another_key_do_not(tmp_path):
    store = SegmentStore.open(tmp_path / "out.mp4", {"a": 1})
    frames = [CodedFrame(5, True, b"xyz"), CodedFrame(-3, False, b"")]
    store.write(96, frames[1:])
    store.write(0, frames[:1])
    again = SegmentStore.open(tmp_path / "out.mp4", {"a": 1})
    assert (again.has(0), again.has(96), again.has(192)) == (True, True, False)
    assert list(again.read()) == frames
    assert not SegmentStore.open(tmp_path / "out.mp4", {"a": 2}).has(0)
    again.remove()
    assert list(tmp_path.iterdir()) == []


def make_animation(path, mode="RGBA"):
    """Write an animation of 4 frames of a disc that moves over nothing, or over gray."""
    frames = []
    y, x = np.mgrid[:32, :40]
    for k in range(4):
        inside = (x - 10 - 5 * k) ** 2 + (y - 16) ** 2 < 64
        pixels = np.zeros((32, 40, 4), np.uint8)
        pixels[..., 0] = np.where(inside, 220, 60)
        pixels[..., 3] = np.where(inside, 255, 0 if mode == "RGBA" else 255)
        frames.append(Image.fromarray(pixels))
    options = {"lossless": True} if path.suffix == ".webp" else {"disposal": 2 if path.suffix == ".gif" else 1}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[100, 50, 200, 70], loop=3, **options)
    return path


def read_animation(path):
    """Return the frames of an animation, how long each is shown, and how often all are."""
    with Image.open(path) as image:
        frames, durations = [], []
        for frame in ImageSequence.Iterator(image):
            frames.append(np.asarray(frame.convert("RGBA")))
            durations.append(frame.info["duration"])
        return frames, durations, image.info["loop"]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_animations_stay_animations(suffix, tmp_path):
    source, output = make_animation(tmp_path / f"small{suffix}"), tmp_path / f"large{suffix}"
    assert upscale_video(source, output, 2, config=QUICK).frames == 4
    (small, *timing), (large, *large_timing) = read_animation(source), read_animation(output)
    assert large_timing == timing == [[100, 50, 200, 70], 3]
    for before, after in zip(small, large, strict=True):
        assert after.shape == (64, 80, 4)
        assert (after[::2, ::2, 3] > 127).mean() == pytest.approx((before[..., 3] > 127).mean(), abs=0.02)


def test_the_command_animates_gifs_and_what_it_is_told_to(tmp_path):
    make_animation(tmp_path / "a.gif")
    make_animation(tmp_path / "b.png")
    assert run_command(tmp_path / "a.gif", "-o", tmp_path / "large.gif", "--method", "bicubic") == 0
    assert run_command(tmp_path / "b.png", "--animate", "--method", "bicubic") == 0
    assert len(read_animation(tmp_path / "large.gif")[0]) == len(read_animation(tmp_path / "b_x2.png")[0]) == 4


def test_a_network_is_trained_for_an_animation(tmp_path):
    source = make_animation(tmp_path / "small.gif", "RGB")
    assert upscale_video(source, tmp_path / "large.gif", 2, config=TINY).model.networks
