"""Full disks, kills, raising callbacks and odd pixels harm no file; long runs leak no memory and no file handles."""

import io
import json
import os
import sys

import numpy as np
import pytest
import tifffile
from helpers import QUICK, TINY, file_names, run_command
from PIL import Image
from python_process import run_python

from zssr.api import Upscaler
from zssr.errors import ImageError
from zssr.io.atomic import atomic_write, remove_partial_files
from zssr.io.limits import Limits
from zssr.io.reading import open_picture

RUN_MANY = """
import gc, json, os, re, sys
from pathlib import Path
from helpers import TINY
from zssr import Request, Upscaler

def state():
    gc.collect()
    resident = re.search(r"VmRSS:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1]
    return int(resident), len(os.listdir("/proc/self/fd"))

folder, states = Path(sys.argv[1]), []
sources = sorted(folder.glob("in.*"))
for k in range(36):
    source = sources[k % len(sources)]
    suffix = ".png" if source.suffix == ".gif" else source.suffix
    Upscaler(TINY).run_file(source, folder / ("out" + suffix), Request(seed=k))
    states.append(state())
print(json.dumps(states))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_pictures_in_a_row_leak_no_memory_and_no_file_handles(astronaut, tmp_path):
    image = Image.fromarray(astronaut)
    for suffix in (".png", ".jpg", ".webp", ".tif", ".bmp", ".gif"):
        image.save(tmp_path / f"in{suffix}")
    done = run_python(RUN_MANY, tmp_path)
    assert done.returncode == 0, done.stderr
    resident, files = zip(*json.loads(done.stdout), strict=True)
    assert min(resident[21:]) < 1.02 * min(resident[6:21])  # each format was met; threads free their memory late
    assert set(files[5:]) == {files[5]}


RUN_ON_FULL_DISK = """
import resource, signal, sys
from zssr.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for output in sys.argv[2:4]:
    print(main([sys.argv[1], "-o", output, "-q", "--overwrite", *sys.argv[4:]]))
"""


def test_full_disk_is_one_sentence_and_the_old_file_stays(tmp_path):
    source, outputs = tmp_path / "photo.png", [tmp_path / "out.png", tmp_path / "out.tif"]
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    Image.fromarray(noise).save(source)
    for output in outputs:
        output.write_bytes(b"old")
    done = run_python(RUN_ON_FULL_DISK, source, *outputs, *QUICK)
    assert done.stdout.split() == ["1", "1"]
    errors = [f"zssr: {output}: cannot be written (File too large)" for output in outputs]
    assert done.stderr.splitlines() == errors
    assert [output.read_bytes() for output in outputs] == [b"old"] * 2
    assert file_names(tmp_path) == ["out.png", "out.tif", "photo.png"]


RUN_AND_KILL = """
import json, os, random, signal, sys, time
from pathlib import Path
from zssr.cli.main import main
import zssr.api

photo, output, quick = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]

def upscale(seed):
    return main([photo, "-o", str(output), "--overwrite", "-q", "--threads", "1", "--seed", str(seed), *quick])

def forked(work):
    child = os.fork()
    if not child:
        os._exit(work())
    return child

whole = []
for seed in (0, 1):
    _, status = os.waitpid(forked(lambda: upscale(seed)), 0)
    assert status == 0
    whole.append(output.read_bytes())
draws, found = random.Random(5), []
for _ in range(6):
    child = forked(lambda: any(upscale(seed % 2) for seed in range(10**9)))
    time.sleep(draws.uniform(0.02, 1.5))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found.append(output.read_bytes() in whole)
print(json.dumps([whole[0] != whole[1], found, os.listdir(output.parent)]))
"""


@pytest.mark.fuzz
@pytest.mark.slow
def test_command_killed_at_any_moment_leaves_a_whole_file(astronaut, tmp_path):
    photo, output = tmp_path / "photo.png", tmp_path / "out" / "large.png"
    Image.fromarray(astronaut).save(photo)
    output.parent.mkdir()
    done = run_python(RUN_AND_KILL, photo, output, *QUICK)
    assert done.returncode == 0, done.stderr
    differ, found, others = json.loads(done.stdout)
    assert differ
    assert found == [True] * 6
    assert all(name == "large.png" or name.endswith(".part") for name in others)


def test_partial_files_of_a_killed_process_are_removed(tmp_path):
    with pytest.raises(ImageError, match="cannot be written"), atomic_write(tmp_path / "photo.png"):
        remove_partial_files(tmp_path / "photo.png", os.getpid() + 1)
        assert len(file_names(tmp_path)) == 1
        remove_partial_files(tmp_path / "photo.png", os.getpid())
        assert file_names(tmp_path) == []


@pytest.mark.parametrize("error", [KeyError("mine"), OSError(28, "mine"), MemoryError("mine")], ids=repr)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_callback_that_raises_stops_the_run_and_leaves_the_old_file(astronaut, tmp_path, suffix, error):
    source, output = tmp_path / "photo.png", tmp_path / f"out{suffix}"
    Image.fromarray(astronaut).save(source)
    output.write_bytes(b"old")
    calls = []
    Upscaler(TINY).run_file(source, io.BytesIO(), suffix=suffix, progress=lambda *call: calls.append(call))
    for last in (1, len(calls) // 2, len(calls)):
        left = iter(range(last - 1))

        def progress(*_, left=left):
            if next(left, None) is None:
                raise error

        with pytest.raises(type(error)) as caught:
            Upscaler(TINY).run_file(source, output, progress=progress)
        assert caught.value is error
        assert file_names(tmp_path) == sorted(["photo.png", output.name])
        assert output.read_bytes() == b"old"


def test_pixels_that_are_infinite_or_all_no_number_are_an_error(tmp_path, capsys):
    path = tmp_path / "photo.tif"
    pixels = np.full((40, 40), 0.5, np.float32)
    pixels[30, 3] = np.inf
    for bad, words in (
        (pixels, "has values that are infinite"),
        (pixels * np.nan, "has no data, as all its values are NaN"),
    ):
        tifffile.imwrite(path, bad)
        assert run_command(path, "-q") == 1
        assert capsys.readouterr().err == f"zssr: {path}: {words}\n"
    assert file_names(tmp_path) == ["photo.tif"]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_fully_transparent_picture_stays_transparent(astronaut, tmp_path, mode):
    image = Image.fromarray(astronaut).convert(mode)
    image.putalpha(0)
    image.save(tmp_path / "photo.png")
    assert run_command(tmp_path / "photo.png") == 0
    with Image.open(tmp_path / "photo_x2.png") as large:
        assert (large.mode, large.size) == (mode, (128, 96))
        assert large.getchannel("A").getextrema() == (0, 0)


PIXEL = np.array([[[40, 90, 200, 160]]], np.uint8)
ONE_PIXEL = {
    f"{mode}{suffix}": Image.fromarray(PIXEL[..., :3]).convert(mode)
    for suffix, modes in {
        ".png": ("1", "L", "LA", "P", "RGB", "RGBA"),
        ".jpg": ("L", "RGB", "CMYK"),
        ".webp": ("RGB", "RGBA"),
        ".tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F"),
        ".bmp": ("1", "L", "P", "RGB"),
        ".gif": ("L", "P"),
    }.items()
    for mode in modes
}
ONE_PIXEL["16 bits.png"] = Image.fromarray(np.array([[40_000]], np.uint16))
ONE_PIXEL["16 bits.tif"] = np.array([[[40_000, 9, 65_535]]], np.uint16)
ONE_PIXEL["5 bands.tif"] = np.array([[[1, 0, 3, 255, 9]]], np.uint8)


def read_pixels(path):
    with open_picture(path, Limits()) as picture:
        return picture.pixel_format, picture.rows(0, picture.size[0])


@pytest.mark.parametrize("name", ONE_PIXEL)
def test_one_pixel_of_any_mode_becomes_four_like_it(name, tmp_path):
    path, image = tmp_path / name, ONE_PIXEL[name]
    if isinstance(image, np.ndarray):
        tifffile.imwrite(
            path, image, photometric="rgb" if image.shape[-1] == 3 else "minisblack", planarconfig="contig"
        )
    else:
        image.save(path)
    assert run_command(path, "--allow-loss") == 0
    (output,) = (other for other in tmp_path.iterdir() if other != path)
    layout, pixel = read_pixels(path)
    large_layout, pixels = read_pixels(output)
    assert large_layout == layout
    assert pixels.shape == (2, 2, layout.channels)
    assert np.ptp(pixels, axis=(0, 1)).max() == 0
    near = 3 if path.suffix in (".jpg", ".webp") else 0
    np.testing.assert_allclose(pixels[0, 0].astype(float), pixel[0, 0], atol=near, rtol=1e-6)
