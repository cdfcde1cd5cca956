"""Videos: all but the pixels is kept."""

from fractions import Fraction

import av
import numpy as np
import pytest
from clips import MILLISECONDS, draw_frame, make_clip, read_facts, read_size
from helpers import TINY

from zssr import ImageError, VideoOptions, upscale_video
from zssr.config import Config
from zssr.request import Request
from zssr.video.encoders import CONTAINERS, KINDS
from zssr.video.hdr_metadata import HdrMetadata
from zssr.video.plan_video import plan_video

QUICK = Config(method="bicubic")
"""Nothing is learned: these tests are about all but the pixels."""

HDR = (9, 16, 9, 1)
BT709 = (1, 1, 1, 2)

CLIPS = {
    "sound.mp4": {"sound": "aac", "extras": True, "options": {"bf": "2"}},
    "subtitles.mp4": {"sound": "aac", "subtitles": "mov_text", "aspect": Fraction(4, 3)},
    "turned.mov": {"rotation": 90, "sound": "pcm_s16le", "colors": BT709},
    "ten_bits.mkv": {
        "codec": "libx265",
        "pixel_format": "yuv420p10le",
        "colors": HDR,
        "sound": "flac",
        "size": (64, 96),
        "options": {"x265-params": "log-level=error"},
    },
    "all.mkv": {
        "sound": "libopus",
        "subtitles": "subrip",
        "extras": True,
        "base": MILLISECONDS,
        "times": [0, 40, 80, 120],
    },
    "vp9.webm": {"codec": "libvpx-vp9", "sound": "libopus", "base": MILLISECONDS, "times": [0, 33, 67, 100]},
    "av1_ten_bits.webm": {
        "codec": "libsvtav1",
        "pixel_format": "yuv420p10le",
        "size": (64, 96),
        "base": MILLISECONDS,
        "times": [0, 33, 67],
    },
    "variable.mp4": {"times": [0, 512, 700, 3000, 3001, 9000], "options": {"bf": "2"}},
    "variable.mkv": {"times": [0, 40, 55, 300, 1000], "base": MILLISECONDS, "sound": "aac"},
    "three.mp4": {"count": 3},
    "one.mp4": {"count": 1, "sound": "aac"},
    "late.mp4": {"times": [25600 + 512 * k for k in range(5)], "sound": "aac", "options": {"bf": "2"}},
    "full_422.mov": {"pixel_format": "yuv422p", "colors": BT709},
    "lossless.mkv": {"codec": "ffv1", "pixel_format": "bgr0", "base": MILLISECONDS, "times": [0, 40, 80]},
    "gray.mkv": {"codec": "ffv1", "pixel_format": "gray", "base": MILLISECONDS, "times": [0, 40, 80]},
    "prores.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
    "motion.mov": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
}


@pytest.mark.parametrize("name", CLIPS)
def test_all_but_the_pixels_is_kept(name, tmp_path):
    clip, output = make_clip(tmp_path / name, **CLIPS[name]), tmp_path / f"large_{name}"
    result = upscale_video(clip, output, 2, config=QUICK)
    before, after = read_facts(clip), read_facts(output)
    assert after == before
    assert read_size(output) == result.size == tuple(2 * side for side in read_size(clip))
    assert len(before["times"]) == result.frames
    assert ("sound" in CLIPS[name]) == any(kind == "audio" for kind, *_ in after["packets"])
    assert ("subtitles" in CLIPS[name]) == any(kind == "subtitle" for kind, *_ in after["packets"])
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([name, f"large_{name}"])


def test_it_is_the_codec_of_the_source_or_the_one_asked_for(tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", 3, "mpeg4", base=MILLISECONDS, times=[0, 40, 80])
    for codec, expected in ((None, "h264"), ("hevc", "hevc"), ("ffv1", "ffv1")):
        result = upscale_video(clip, tmp_path / "large.mkv", 2, config=QUICK, options=VideoOptions(codec=codec))
        with av.open(str(tmp_path / "large.mkv")) as large:
            assert large.streams.video[0].codec_context.codec.canonical_name == expected == result.codec
        assert bool(result.warnings) == (codec is None)


def test_a_video_without_loss_stays_without(tmp_path):
    clip = make_clip(tmp_path / "clip.avi", 2, "utvideo", "gbrp", base=Fraction(1, 25), times=range(2))
    assert upscale_video(clip, tmp_path / "large.mkv", 2, config=QUICK).codec == "ffv1"


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_containers_hold_the_codecs_that_they_are_said_to(suffix, tmp_path):
    with av.open(str(tmp_path / f"none{suffix}"), "w", format=CONTAINERS[suffix].name) as out:
        for codec in CONTAINERS[suffix].codecs:
            out.add_stream(KINDS[codec].encoder, rate=25)


def test_a_lower_crf_is_nearer_to_what_was_encoded(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 3)
    sizes = []
    for crf in (5, 40):
        upscale_video(clip, tmp_path / "large.mp4", 2, config=QUICK, options=VideoOptions(crf=crf))
        sizes.append((tmp_path / "large.mp4").stat().st_size)
    assert sizes[0] > 2 * sizes[1]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_ten_bits_are_more_than_eight(codec, tmp_path):
    def draw(k, pixel_format, size):
        frame = av.VideoFrame(48, 32, pixel_format)
        for plane in frame.planes:
            np.frombuffer(plane, np.uint16).reshape(plane.height, -1)[:] = 513  # between two levels of 8 bits
        return frame

    clip = make_clip(tmp_path / "clip.mp4", 2, pixel_format="yuv420p10le", draw=draw, options={"crf": "0"})
    upscale_video(clip, tmp_path / "large.mp4", 2, config=QUICK, options=VideoOptions(codec=codec, crf=0))
    with av.open(str(tmp_path / "large.mp4")) as large:
        frame = next(large.decode(video=0))
        plane = frame.planes[0]
        assert (np.frombuffer(plane, np.uint16).reshape(plane.height, -1)[:, :96] == 513).all()


def read_light(path):
    """Read the static metadata of HDR as FFmpeg has it."""
    with av.open(str(path)) as clip:
        return HdrMetadata.read(next(clip.decode(video=0)))


@pytest.mark.parametrize("codec", ["hevc", "h264", "av1"])
def test_the_static_metadata_of_hdr_is_kept(codec, tmp_path):
    display = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    options = {"x265-params": f"log-level=error:bframes=0:{display}:max-cll=1000,400"}
    clip = make_clip(tmp_path / "clip.mp4", 2, "libx265", "yuv420p10le", size=(64, 96), colors=HDR, options=options)
    upscale_video(clip, tmp_path / "large.mp4", 2, config=QUICK, options=VideoOptions(codec=codec))
    before, after = read_light(clip), read_light(tmp_path / "large.mp4")
    assert after.light == before.light == (1000, 400)
    assert [float(one) for one in before.mastering[:2]] == [0.68, 0.32]
    assert [float(one) for one in after.mastering] == pytest.approx([float(one) for one in before.mastering], rel=2e-3)


@pytest.mark.parametrize(
    ("scale", "size", "expected"), [(1.5, None, (48, 72)), ((3, 2), None, (96, 96)), (2, (50, None), (50, 76))]
)
def test_sizes_are_those_asked_for_in_even_numbers(scale, size, expected, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 1)
    assert upscale_video(clip, tmp_path / "large.mp4", scale, size=size, config=QUICK).size == expected


def test_a_size_is_about_the_frames_as_they_are_shown(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 1, rotation=90)
    upscale_video(clip, tmp_path / "large.mp4", size=(96, 64), config=QUICK)
    assert read_size(tmp_path / "large.mp4") == (64, 96)


def test_colors_stay_in_their_places(tmp_path):
    def draw(k, pixel_format, size):
        frame = av.VideoFrame(48, 32, pixel_format)
        for plane, ramp in zip(frame.planes, (100, np.arange(24) * 8 + 20, 128), strict=True):
            np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width] = ramp
        return frame

    clip = make_clip(tmp_path / "clip.mkv", 1, "ffv1", base=MILLISECONDS, times=[0], draw=draw)
    upscale_video(clip, tmp_path / "large.mkv", 2, config=QUICK)
    with av.open(str(tmp_path / "large.mkv")) as large:
        plane = next(large.decode(video=0)).planes[1]
        row = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[8, 4:44].astype(float)
    # a color lies at the first of its two pixels: the j-th at 2 j + 0.5 of the large ones, j / 2 - 1 / 8 of the small
    assert np.abs(row - (20 + 8 * (np.arange(4, 44) / 2 - 1 / 8))).max() <= 0.5


def test_a_part_begins_at_zero(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 40, sound="aac", options={"g": "10", "bf": "2"})
    options = VideoOptions(start=0.5, duration=0.4)
    assert upscale_video(clip, tmp_path / "part.mp4", 2, config=QUICK, options=options).frames == 10
    facts = read_facts(tmp_path / "part.mp4")
    assert facts["times"] == pytest.approx([0.02 + k / 25 for k in range(10)], abs=0.021)


def test_interlaced_frames_are_refused_or_made_progressive(tmp_path):
    options = {"flags": "+ildct+ilme", "top": "1"}
    clip = make_clip(tmp_path / "clip.mkv", 5, "mpeg2video", options=options, base=Fraction(1, 25), times=range(5))
    with pytest.raises(ImageError, match="is interlaced"):
        upscale_video(clip, tmp_path / "large.mkv", 2, config=QUICK)
    upscale_video(clip, tmp_path / "large.mkv", 2, config=QUICK, options=VideoOptions(deinterlace=True))
    assert read_facts(tmp_path / "large.mkv")["times"] == read_facts(clip)["times"]


def test_streams_that_a_format_cannot_hold_are_told_before_any_work(tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", 2, sound="flac", subtitles="subrip", base=MILLISECONDS, times=[0, 40])
    with pytest.raises(ImageError, match=r"\.mp4 cannot hold its stream 2 \(subtitle srt\)"):
        upscale_video(clip, tmp_path / "large.mp4", 2, config=QUICK)
    result = upscale_video(clip, tmp_path / "large.mp4", 2, config=QUICK, options=VideoOptions(allow_loss=True))
    assert result.warnings == ["its stream 2 (subtitle srt) is left out"]


def test_a_cut_begins_a_new_shot(tmp_path):
    def draw(k, pixel_format, size):
        frame = draw_frame(k, pixel_format, size)
        if k >= 10:
            np.frombuffer(frame.planes[0], np.uint8)[:] = 40 + k
        return frame

    clip = make_clip(tmp_path / "clip.mp4", 20, draw=draw)
    assert upscale_video(clip, tmp_path / "large.mp4", 2, config=QUICK).shots == 2


def test_fast_applies_the_network_to_frames_once(tmp_path):
    clip, options = make_clip(tmp_path / "a.mp4"), VideoOptions()
    plan = plan_video(clip, ".mp4", Request(2), Config.preset("fast"), options)
    assert plan.context.config.self_ensemble == 1
    assert plan_video(clip, ".mp4", Request(2), Config(), options).context.config.self_ensemble == 4


def test_a_network_is_trained_for_a_clip(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 3)
    result = upscale_video(clip, tmp_path / "large.mp4", 2, config=TINY)
    assert len(result.model.networks) == 1
    assert result.model.channels == 1
