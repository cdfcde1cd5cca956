"""Runs of videos: what is refused, what is left of a run that ends early, and the command."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import MILLISECONDS, make_clip, read_size
from helpers import TINY, run_command
from python_process import run_python

from zssr import ImageError, VideoOptions, upscale_video
from zssr.config import Config
from zssr.errors import ConfigError
from zssr.video import upscale_shots
from zssr.video.encoders import _read_policies

QUICK = Config(method="bicubic")
"""Nothing is learned: these tests are about all but the pixels."""


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


@pytest.mark.fuzz
def test_damage_is_found_before_any_work_or_overcome(tmp_path):
    times = [3600 * k for k in range(6)]
    whole = make_clip(tmp_path / "whole.ts", base=Fraction(1, 90000), times=times, sound="aac").read_bytes()
    generator, done = np.random.default_rng(0), 0
    for _ in range(30):
        content = bytearray(whole)
        for at in generator.integers(0, len(whole), 20):
            content[at] ^= 1 << int(generator.integers(8))
        (tmp_path / "clip.ts").write_bytes(content)
        try:
            upscale_video(tmp_path / "clip.ts", tmp_path / "large.mkv", 2, config=QUICK)
            done += 1
        except ImageError as error:
            assert str(error).startswith(str(tmp_path / "clip.ts"))
        assert not (tmp_path / ".large.mkv.segments").exists()
    assert done > 0


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
    done = run_python(RUN_AND_KILL, clip, tmp_path / "whole.mp4", tmp_path / "large.mp4")
    assert done.stdout.split() == ["True"], done.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["clip.mp4", "large.mp4", "whole.mp4"]


ENCODE_WITH_FILLED_MEMORY = """
import ctypes, dataclasses, sys
from pathlib import Path
import numpy as np
from zssr.video.encoders import choose_encoder, encode_frame
from zssr.video.planes import make_frame
from zssr.video.source import VideoSource, read_traits
from zssr.video.video_request import VideoOptions
from zssr.io.limits import Limits

M_PERTURB = -6  # glibc fills new memory with this byte
fill = getattr(ctypes.CDLL(None), "mallopt", lambda *_: None)
traits = read_traits(VideoSource(Path(sys.argv[1])), Limits())

def encode(size, codec):
    settings = choose_encoder(dataclasses.replace(traits, size=size), size, ".mkv", VideoOptions(codec=codec))
    waves = np.add.outer(np.arange(size[0] + 8) ** 1.5, 3.0 * np.arange(size[1] + 8))
    pattern = (128 + 60 * np.sin(waves / 9) + np.random.default_rng(0).normal(0, 9, waves.shape)).astype(np.uint8)
    encoder, packets = settings.make_encoder(), []
    for k in range(4):
        sizes = [settings.layout.plane_size(component, size) for component in range(3)]
        planes = [pattern[k : k + height, 2 * k : 2 * k + width] for height, width in sizes]
        packets += encode_frame(encoder, settings, make_frame(planes, settings.layout), 512 * k)
    return b"".join(bytes(packet) for packet in packets + encoder.encode(None))

for codec in ("h264", "hevc", "av1", "vp9"):
    for size in ((64, 96), (80, 176), (130, 214)):
        results = []
        for byte in (0, 1, 85, 255):
            fill(M_PERTURB, byte)
            results.append(encode(size, codec))
        if len(set(results)) > 1:
            print(codec, size)
"""


def test_encoders_do_not_depend_on_what_was_in_memory(tmp_path):
    done = run_python(ENCODE_WITH_FILLED_MEMORY, make_clip(tmp_path / "clip.mp4", 1))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="needs Linux")
def test_no_encoder_takes_priority_over_other_processes(tmp_path):
    clip, policies, before = make_clip(tmp_path / "clip.mp4", 3, size=(64, 64)), [], os.sched_getscheduler(0)

    def watch(_):
        policies.extend(_read_policies().values())

    upscale_video(clip, tmp_path / "large.webm", 2, config=QUICK, options=VideoOptions(codec="av1"), progress=watch)
    watch(None)
    assert set(policies) == {before}


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
