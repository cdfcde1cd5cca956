"""Videos: what is kept, what is refused, and what is left of a run that ends early."""

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import draw_frame, make_clip, read_facts, read_size
from helpers import TINY, run_command

from zssr import ImageError, VideoOptions, upscale_video
from zssr.config import Config
from zssr.errors import ConfigError
from zssr.video import upscale_shots
from zssr.video.encoders import CONTAINERS, KINDS
from zssr.video.hdr_metadata import HdrMetadata

QUICK = Config(method="bicubic")
"""Nothing is learned: these tests are about all but the pixels."""

HDR = (9, 16, 9, 1)
BT709 = (1, 1, 1, 2)

MILLISECONDS = Fraction(1, 1000)

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


def test_a_network_is_trained_for_a_clip(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 3)
    result = upscale_video(clip, tmp_path / "large.mp4", 2, config=TINY)
    assert len(result.model.networks) == 1
    assert result.model.channels == 1


def broken_files(folder):
    """Write files that are no whole videos, each with what is said about it."""
    whole = make_clip(folder / "whole.mp4", 60, file_options={"movflags": "+faststart"}).read_bytes()
    times = [40 * k for k in range(60)]
    matroska = make_clip(folder / "whole.mkv", times=times, base=MILLISECONDS).read_bytes()
    header_last = make_clip(folder / "last.mp4", 6).read_bytes()
    return {
        "truncated.mp4": (whole[: len(whole) * 3 // 4], "truncated|damaged"),
        "truncated.mkv": (matroska[: len(matroska) // 3], "truncated|damaged"),
        "no_header.mp4": (header_last[: len(header_last) // 2], "damaged, or not a video"),
        "text.mp4": (b"<html>not a video</html>", "damaged, or not a video"),
        "empty.mp4": (b"", "damaged, or not a video"),
        "noise.mkv": (bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8)), "damaged, or not a video"),
        "picture.mp4": (b"\x89PNG\r\n\x1a\n" + bytes(100), "damaged, or not a video|holds no"),
    }


def test_broken_files_give_one_sentence_and_leave_nothing(tmp_path):
    for name, (content, sentence) in broken_files(tmp_path).items():
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_bytes(content)
        with pytest.raises(ImageError, match=sentence) as raised:
            upscale_video(folder / name, folder / f"large_{name}", 2, config=QUICK)
        assert str(raised.value).startswith(str(folder / name))
        assert [one.name for one in folder.iterdir()] == [name]


def test_an_absurd_header_is_refused_before_any_frame_is_decoded(tmp_path):
    clip = make_clip(tmp_path / "clip.avi", 2, "rawvideo", base=Fraction(1, 25), times=range(2))
    content = bytearray(clip.read_bytes())
    at = content.index(b"strf") + 12  # width and height of the bitmap header
    content[at : at + 8] = (12000).to_bytes(4, "little") + (10000).to_bytes(4, "little")
    clip.write_bytes(content)
    with pytest.raises(ImageError, match="has 12000x10000 pixels, more than max_pixels"):
        upscale_video(clip, tmp_path / "large.mkv", 2, config=QUICK)
    assert [one.name for one in tmp_path.iterdir()] == ["clip.avi"]


def test_a_size_that_changes_is_refused(tmp_path):
    timing = {"base": Fraction(1, 90000), "times": [3600 * k for k in range(6)]}
    first, second = (
        make_clip(tmp_path / f"{size[0]}.ts", size=size, **timing).read_bytes() for size in ((32, 48), (48, 64))
    )
    (tmp_path / "both.ts").write_bytes(first + second)
    with pytest.raises(ImageError, match="its size changes from 48x32 to 64x48 at frame 7"):
        upscale_video(tmp_path / "both.ts", tmp_path / "large.mkv", 2, config=QUICK)


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        audio = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        out.mux(audio.encode(frame))
        out.mux(audio.encode())
    with pytest.raises(ImageError, match="holds no video"):
        upscale_video(tmp_path / "sound.mp4", tmp_path / "large.mp4", 2, config=QUICK)


def test_limits_are_those_of_photos(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 1)
    with pytest.raises(ImageError, match="more than max_output_pixels"):
        upscale_video(clip, tmp_path / "large.mp4", 2, config=QUICK.replace(max_output_pixels=1000))
    with pytest.raises(ImageError, match="more than max_pixels"):
        upscale_video(clip, tmp_path / "large.mp4", 2, config=QUICK.replace(max_pixels=1000))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"codec": "divx"}, 'codec: "divx" is not one of those of .mp4'),
        ({"crf": 99}, "crf: 99 is not a number"),
        ({"start": -1}, "start: -1 is not a time"),
        ({"duration": 0}, "duration: 0 is not a time"),
    ],
)
def test_options_that_are_none(options, sentence, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 1)
    with pytest.raises(ConfigError, match=sentence):
        upscale_video(clip, tmp_path / "large.mp4", 2, config=QUICK, options=VideoOptions(**options))


class KilledError(Exception):
    pass


def test_a_run_that_ended_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(upscale_shots, "SEGMENT_FRAMES", 3)
    clip = make_clip(tmp_path / "clip.mp4", 10, sound="aac", options={"bf": "2"})
    whole, output = tmp_path / "whole.mp4", tmp_path / "large.mp4"
    upscale_video(clip, whole, 2, config=TINY)
    worked = []

    def stop(event):
        if event.stage == "frames" and event.done == 5:
            raise KilledError

    with pytest.raises(KilledError):
        upscale_video(clip, output, 2, config=TINY, progress=stop)
    assert not output.exists()
    assert (tmp_path / ".large.mp4.segments").is_dir()
    upscale_video(clip, output, 2, config=TINY, progress=lambda event: worked.append(event))
    assert output.read_bytes() == whole.read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["clip.mp4", "large.mp4", "whole.mp4"]


RUN_AND_KILL = """
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from zssr import Config, upscale_video
from zssr.video import upscale_shots
from zssr.video.encoders import CONTAINERS, KINDS
from zssr.video.hdr_metadata import HdrMetadata

upscale_shots.SEGMENT_FRAMES = 3
clip, whole, output = map(Path, sys.argv[1:])
config = Config(num_epochs=2, init="random", model_width=8, model_depth=3, crop_size=32)

def fork(target):
    child = os.fork()
    if not child:
        try:
            upscale_video(clip, target, 2, config=config)
        finally:
            os._exit(0)
    return child

os.waitpid(fork(whole), 0)
draws, ended = random.Random(3), 0
for _ in range(12):
    child = fork(output)
    time.sleep(draws.uniform(0.05, 0.8))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    ended += output.exists()
    assert not output.exists() or output.read_bytes() == whole.read_bytes()
os.waitpid(fork(output), 0)
print(output.read_bytes() == whole.read_bytes())
"""


@pytest.mark.fuzz
@pytest.mark.slow
def test_a_run_that_is_killed_12_times_ends_with_the_same_bytes(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", 24, sound="aac", options={"bf": "2"})
    arguments = [sys.executable, "-c", RUN_AND_KILL, clip, tmp_path / "whole.mp4", tmp_path / "large.mp4"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True"], done.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["clip.mp4", "large.mp4", "whole.mp4"]


def test_segments_of_other_settings_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(upscale_shots, "SEGMENT_FRAMES", 3)
    clip, output = make_clip(tmp_path / "clip.mp4", 6), tmp_path / "large.mp4"

    def stop(event):
        if event.stage == "frames" and event.done == 5:
            raise KilledError

    with pytest.raises(KilledError):
        upscale_video(clip, output, 2, config=QUICK, progress=stop)
    upscale_video(clip, output, 3, config=QUICK)
    assert read_size(output) == (96, 144)


def test_an_output_that_exists_stays_if_the_run_fails(tmp_path):
    output = tmp_path / "large.mp4"
    output.write_bytes(b"old")
    (tmp_path / "clip.mp4").write_bytes(b"nothing")
    with pytest.raises(ImageError):
        upscale_video(tmp_path / "clip.mp4", output, 2, config=QUICK)
    assert output.read_bytes() == b"old"


def test_the_command_upscales_a_clip(tmp_path, capsys):
    clip = make_clip(tmp_path / "clip.mp4", 4, sound="aac")
    assert run_command(clip, "-o", tmp_path / "clip_x2.mp4", "-s", 2) == 0
    assert "4 frames of 96x64 px" in capsys.readouterr().out
    assert read_size(tmp_path / "clip_x2.mp4") == (64, 96)
    assert run_command(clip, "-s", 2) == 1
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err


def test_the_command_previews_and_forecasts(tmp_path, capsys):
    clip = make_clip(tmp_path / "clip.mp4", 4)
    assert run_command(clip, "--dry-run", "--method", "bicubic") == 0
    assert "48x32 -> 4 frames of 96x64 px" in capsys.readouterr().out
    assert run_command(clip, "--preview", "--start", "0:00:00.04", "--method", "bicubic") == 0
    assert "clip_x2_preview.png: 1 frame of 96x64 px" in capsys.readouterr().out
    assert sorted(one.name for one in tmp_path.iterdir()) == ["clip.mp4", "clip_x2_preview.png"]


def test_the_command_refuses_what_makes_no_sense(tmp_path, capsys):
    clip = make_clip(tmp_path / "clip.avi", 2, "mpeg4", base=Fraction(1, 25), times=range(2))
    assert run_command(clip, "-o", tmp_path / "large.png") == 1
    assert 'the output format ".png" is unknown; known are .mp4' in capsys.readouterr().err
    assert run_command(clip, "-o", "-") == 1
    assert "is written to a file, not to stdout" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_command(clip, "--start", "soon")
