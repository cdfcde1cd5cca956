"""Writing picture files: round trips, refused losses, and atomic writes."""

import errno
import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from python_process import run_python

from zssr.errors import ConfigError, ImageError
from zssr.io.atomic import atomic_write, check_writable
from zssr.io.formats import WRITABLE_SUFFIXES, find_format
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.output_format import OutputFormat
from zssr.io.picture import InMemoryPicture, PixelFormat
from zssr.io.pillow import to_pillow
from zssr.io.pixel_conversion import convert_pixels
from zssr.io.reading import open_picture
from zssr.io.writing import write_picture

LIMITS = Limits()
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
UINT8, UINT16, FLOAT32 = (np.dtype(kind) for kind in (np.uint8, np.uint16, np.float32))
PIXEL_FORMATS = {
    "1": PixelFormat("gray", 1, UINT8, bilevel=True),
    "L": PixelFormat("gray", 1, UINT8),
    "LA": PixelFormat("gray", 2, UINT8, alpha="straight"),
    "RGB": PixelFormat("rgb", 3, UINT8),
    "RGBA": PixelFormat("rgb", 4, UINT8, alpha="straight"),
    "CMYK": PixelFormat("cmyk", 4, UINT8),
    "L16": PixelFormat("gray", 1, UINT16),
    "LA16": PixelFormat("gray", 2, UINT16, alpha="straight"),
    "RGB16": PixelFormat("rgb", 3, UINT16),
    "RGBA16": PixelFormat("rgb", 4, UINT16, alpha="straight"),
    "F": PixelFormat("gray", 1, FLOAT32),
    "5 bands": PixelFormat("bands", 5, UINT16),
}
LOSSLESS = [(".png", mode) for mode in PIXEL_FORMATS if mode not in ("CMYK", "F", "5 bands")] + [
    (".bmp", mode) for mode in ("1", "L", "RGB")
]
LOSSLESS += [(".jp2", mode) for mode in ("L", "LA", "RGB", "RGBA", "L16", "LA16", "RGB16", "RGBA16")]
LOSSLESS += [(".jxl", mode) for mode in ("L", "LA", "RGB", "RGBA", "L16", "RGB16", "RGBA16", "F")]
NEARLY = [(suffix, mode) for suffix in (".jpg", ".jpeg") for mode in ("L", "RGB", "CMYK")] + [
    (suffix, mode) for suffix in (".webp", ".avif") for mode in ("RGB", "RGBA")
]
NEARLY += [(".avif", mode) for mode in ("L", "LA")]
HELD_OTHERWISE = [(".jpg", "1", "L"), (".webp", "1", "RGB"), (".webp", "L", "RGB"), (".webp", "LA", "RGBA")]
HELD_OTHERWISE += [(".jxl", "LA16", "RGBA16")] + [(suffix, "1", "L") for suffix in (".jp2", ".jxl", ".avif")]


def ramp(pixel_format, size=(40, 50)):
    """Smooth pixels that use all levels; the opacity is nowhere none."""
    height, width = size
    across = np.linspace(0, 1, width)[None, :, None] * np.ones((height, 1, pixel_format.channels))
    across[..., 1::2] = across[:, ::-1, 1::2]
    if pixel_format.alpha:
        across[..., -1] = 0.5 + across[..., -1] / 2
    if pixel_format.bilevel:
        return 255 * (across > 0.5).astype(np.uint8)
    top = 1 if pixel_format.dtype == FLOAT32 else np.iinfo(pixel_format.dtype).max
    return (across * top).astype(pixel_format.dtype)


def exif_block(orientation=1):
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x011B], exif[0x0128], exif[0x010F] = orientation, 72.0, 72.0, 2, "A maker"
    exif[0x8769] = {0xA002: 50, 0xA003: 40}
    return exif.tobytes().removeprefix(b"Exif\0\0")


def bands_of(pixels, height=7):
    return (pixels[start : start + height] for start in range(0, len(pixels), height))


def round_trip(suffix, pixel_format, pixels, metadata=None, **options):
    stream = io.BytesIO()
    target = OutputFormat.choose(suffix, pixel_format, pixels.shape[:2], **options)
    write_picture(stream, target, bands_of(pixels), pixels.shape[:2], metadata or Metadata())
    picture = open_picture(stream.getvalue(), LIMITS)
    return picture, picture.rows(0, picture.size[0])


@pytest.mark.parametrize(("suffix", "mode"), LOSSLESS)
def test_lossless_formats_round_trip(suffix, mode):
    pixel_format = PIXEL_FORMATS[mode]
    pixels = ramp(pixel_format)
    picture, again = round_trip(suffix, pixel_format, pixels)
    assert picture.pixel_format == pixel_format
    np.testing.assert_array_equal(again, pixels)


@pytest.mark.parametrize(("suffix", "mode"), NEARLY)
def test_lossy_formats_keep_mode_and_colors(suffix, mode):
    pixels = ramp(PIXEL_FORMATS[mode])
    picture, again = round_trip(suffix, PIXEL_FORMATS[mode], pixels)
    assert picture.pixel_format == PIXEL_FORMATS[mode]
    assert np.abs(again.astype(int) - pixels).max() < 12


@pytest.mark.parametrize(("suffix", "mode", "held"), HELD_OTHERWISE)
def test_modes_stored_as_another_lose_nothing(suffix, mode, held):
    pixels = ramp(PIXEL_FORMATS[mode])
    picture, again = round_trip(suffix, PIXEL_FORMATS[mode], pixels)
    assert picture.pixel_format == PIXEL_FORMATS[held]
    alpha = PIXEL_FORMATS[mode].alpha is not None
    gray = np.broadcast_to(pixels[..., :1], (*pixels.shape[:2], again.shape[-1] - alpha))
    assert np.abs(again[..., : gray.shape[-1]].astype(int) - gray).max() < (100 if mode == "1" else 12)  # 1: it rings
    assert not alpha or np.array_equal(again[..., -1], pixels[..., -1])


@pytest.mark.parametrize(("suffix", "mode"), [pair for pair in LOSSLESS + NEARLY if pair[0] != ".bmp"])
def test_metadata_are_kept(suffix, mode):
    exif, xmp = exif_block(), b"<x:xmpmeta/>"
    around = Metadata(ICC, exif, xmp, (150.0, 300.0), {"Title": "漢字", "Author": "ü"} if suffix == ".png" else {})
    picture, _ = round_trip(suffix, PIXEL_FORMATS[mode], ramp(PIXEL_FORMATS[mode]), around)
    got = picture.metadata
    assert (got.xmp, got.texts) == (around.xmp, around.texts)
    assert got.icc == (
        None if suffix == ".jxl" and ("L" in mode or mode == "F") else ICC
    )  # whose encoder looks what it is for
    assert got.exif == exif or (suffix == ".avif" and b"A maker" in got.exif)  # Pillow drops the orientation
    by_exif = suffix in (".webp", ".jp2", ".jxl", ".avif")  # these have no other resolution
    assert got.dpi == pytest.approx((72, 72) if by_exif else around.dpi, rel=1e-3)
    assert not picture.notes


def test_bmp_keeps_the_resolution():
    picture, _ = round_trip(".bmp", PIXEL_FORMATS["RGB"], ramp(PIXEL_FORMATS["RGB"]), Metadata(ICC, dpi=(150.0, 300.0)))
    assert picture.metadata.dpi == pytest.approx((150, 300), rel=1e-3)


@pytest.mark.parametrize(("dpi", "got"), [((2.0**32 - 1, 2.0), (2.0**32 - 1, 2.0)), ((2.0**32, 2.0), None)])
def test_resolutions_that_tiff_has_no_numbers_for_are_left_out(dpi, got):
    """A fuzzer found that: the numerators have 32 bits."""
    picture, _ = round_trip(".tif", PIXEL_FORMATS["L"], ramp(PIXEL_FORMATS["L"]), Metadata(dpi=dpi))
    assert picture.metadata.dpi == got


def test_color_chunks_of_png_are_kept():
    around = Metadata(colors=((b"gAMA", b"\0\1\x86\xa0"), (b"sRGB", b"\0"), (b"mDCV", bytes(24)), (b"cLLI", bytes(8))))
    for mode in ("RGB", "RGB16", "1"):
        got = round_trip(".png", PIXEL_FORMATS[mode], ramp(PIXEL_FORMATS[mode]), around)[0].metadata
        assert dict(got.colors) == dict(around.colors)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_turned_pictures_are_written_upright(orientation, suffix):
    pixels = ramp(PIXEL_FORMATS["RGB"])
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", exif=exif_block(orientation))
    source = open_picture(file.getvalue(), LIMITS)
    size = source.size
    stream = io.BytesIO()
    target = OutputFormat.choose(suffix, source.pixel_format, size)
    write_picture(stream, target, [source.rows(0, size[0])], size, source.metadata.rescale((1.0, 1.0), size))
    written = Image.open(stream)
    upright = ImageOps.exif_transpose(Image.open(file))
    assert written.getexif()[0x0112] == 1
    assert written.size == upright.size
    assert np.abs(np.asarray(written).astype(int) - np.asarray(upright)).max() < 12
    inner = written.getexif().get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003]) == upright.size


def test_sixteen_bits_are_not_rounded_to_eight():
    pixel_format = PIXEL_FORMATS["RGB16"]
    _, again = round_trip(".png", pixel_format, ramp(pixel_format, (4, 3000)))
    assert len(np.unique(again)) > 256


def test_other_libraries_read_the_png():
    stream = io.BytesIO()
    pixel_format = PIXEL_FORMATS["RGBA16"]
    pixels = ramp(pixel_format)
    around = Metadata(ICC, exif_block(), b"<x:xmpmeta/>", (100.0, 100.0), {"Title": "a"})
    write_picture(stream, OutputFormat.choose(".png", pixel_format, (40, 50)), [pixels], (40, 50), around)
    np.testing.assert_array_equal(imagecodecs.png_decode(stream.getvalue()), pixels)
    by_pillow = Image.open(stream)
    by_pillow.load()
    assert by_pillow.info["icc_profile"] == ICC
    assert by_pillow.text["Title"] == "a"
    assert by_pillow.getexif()[0x010F] == "A maker"


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
@pytest.mark.parametrize("mode", PIXEL_FORMATS)
def test_loss_is_refused_in_one_sentence_unless_allowed(suffix, mode):
    pixel_format = PIXEL_FORMATS[mode]
    first = find_format(suffix).suffixes[0]
    fits = (first, mode) in LOSSLESS + NEARLY or (first, mode) in [held[:2] for held in HELD_OTHERWISE]
    fits |= find_format(suffix).name == "TIFF"
    path = Path("photo" + suffix)
    if fits:
        assert OutputFormat.choose(path, pixel_format, (40, 50)).stored == pixel_format
        return
    with pytest.raises(
        ImageError, match=rf"^photo\{suffix}: [\w ]+ cannot hold the photo's .*\.tiff can, or --allow-loss"
    ):
        OutputFormat.choose(path, pixel_format, (40, 50))
    picture, again = round_trip(suffix, pixel_format, ramp(pixel_format), allow_loss=True)
    stored = OutputFormat.choose(suffix, pixel_format, (40, 50), allow_loss=True).stored
    assert stored.channels == convert_pixels(ramp(pixel_format), pixel_format, stored).shape[-1]
    assert picture.pixel_format.dtype == stored.dtype
    assert suffix == ".webp" or picture.pixel_format == stored  # which has no gray
    assert len(np.unique(again)) > 40


def test_conversions_of_pixels():
    def reduced(suffix, pixel_format, values):
        pixels = np.array(values, pixel_format.dtype).reshape(1, 1, -1)
        stored = OutputFormat.choose(suffix, pixel_format, (1, 1), allow_loss=True).stored
        return convert_pixels(pixels, pixel_format, stored).ravel().tolist()

    rgba = PIXEL_FORMATS["RGBA"]
    assert reduced(".jpg", rgba, [200, 100, 0, 0]) == [255, 255, 255]
    assert reduced(".jpg", rgba, [200, 100, 0, 255]) == [200, 100, 0]
    assert reduced(".jpg", rgba, [200, 100, 0, 51]) == [244, 224, 204]
    premultiplied = replace(rgba, alpha="premultiplied")
    assert reduced(".png", premultiplied, [40, 20, 0, 51]) == [200, 100, 0, 51]
    assert reduced(".png", premultiplied, [0, 0, 0, 0]) == [0, 0, 0, 0]
    assert reduced(".jpg", premultiplied, [40, 20, 0, 51]) == [244, 224, 204]
    assert reduced(".jpg", PIXEL_FORMATS["RGB16"], [65535, 257 * 100, 128]) == [255, 100, 0]
    assert reduced(".png", PIXEL_FORMATS["CMYK"], [0, 255, 0, 0]) == [255, 0, 255]
    assert reduced(".png", PIXEL_FORMATS["CMYK"], [0, 0, 0, 255]) == [0, 0, 0]
    assert reduced(".png", PIXEL_FORMATS["5 bands"], [1, 2, 3, 4, 5]) == [1, 2, 3]
    assert reduced(".png", PixelFormat("bands", 2, UINT8), [1, 2]) == [1]
    assert reduced(".png", PIXEL_FORMATS["F"], [0.5]) == [32768]
    wide = np.array([-100, 0, 300], np.float32).reshape(1, 3, 1)
    gray = convert_pixels(wide, PIXEL_FORMATS["F"], PIXEL_FORMATS["L16"])
    assert gray.ravel().tolist() == [0, 16384, 65535]


def test_profile_of_other_colors_is_not_kept():
    picture, _ = round_trip(".png", PIXEL_FORMATS["CMYK"], ramp(PIXEL_FORMATS["CMYK"]), Metadata(ICC), allow_loss=True)
    assert picture.metadata.icc is None


@pytest.mark.parametrize(
    ("output", "size", "sentence"),
    [
        (Path("a.gif"), (9, 9), r"^a\.gif: GIF is read, but not written; known are \.png"),
        (Path("a.xyz"), (9, 9), r'^a\.xyz: the output format "\.xyz" is unknown; known are \.png'),
        (Path("photo"), (9, 9), "^photo: has no suffix that tells the format"),
        (".jpg", (9, 70_000), "^output: JPEG ends at 65500 pixels a side, but 70000 are asked for"),
        (".webp", (17_000, 9), "WebP ends at 16383"),
        (".bmp", (60_000, 60_000), "BMP ends at 4 GB"),
    ],
)
def test_unknown_suffixes_and_too_large_sizes_are_refused(output, size, sentence):
    with pytest.raises(ImageError, match=sentence):
        OutputFormat.choose(output, PIXEL_FORMATS["RGB"], size, allow_loss=True)


def test_longest_sides_are_those_of_the_encoders():
    for suffix, longest in ((".jpg", 65500), (".webp", 16383), (".png", 1_000_000)):
        assert round_trip(suffix, PIXEL_FORMATS["L"], np.zeros((1, longest, 1), np.uint8))[0].size == (1, longest)


def test_too_large_metadata_are_left_out_of_a_jpeg():
    around = Metadata(ICC, exif_block() + bytes(70_000), bytes(70_000), (1e5, 1e5))
    got = round_trip(".jpg", PIXEL_FORMATS["L"], ramp(PIXEL_FORMATS["L"]), around)[0].metadata
    assert got == Metadata(ICC)


@pytest.mark.parametrize("mode", PIXEL_FORMATS)
def test_to_pillow(mode):
    pixel_format = PIXEL_FORMATS[mode]
    pixels = ramp(pixel_format)
    picture = InMemoryPicture("photo", pixels[:20, :25], pixel_format, Metadata(ICC, exif_block(6), dpi=(100.0, 100.0)))
    image = to_pillow(picture, pixels)
    modes = {"1": "1", "L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "CMYK", "L16": "I;16"}
    if mode not in modes:
        np.testing.assert_array_equal(image, pixels)
        return
    assert image.mode == modes[mode]
    levels = np.asarray(image.convert("L") if mode == "1" else image)
    np.testing.assert_array_equal(levels.reshape(pixels.shape), pixels)
    assert (image.info["icc_profile"], image.info["dpi"]) == (ICC, (200, 200))
    assert image.getexif()[0x0112] == 1


def test_failure_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"old")

    def bands():
        yield np.zeros((2, 4, 1), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_picture(path, OutputFormat.choose(path, PIXEL_FORMATS["L"], (4, 4)), bands(), (4, 4), Metadata())
    with pytest.raises(RuntimeError, match="mine"), atomic_write(path) as file:
        file.write(b"half")
        raise RuntimeError("mine")
    assert [other.name for other in tmp_path.iterdir()] == ["photo.png"]
    assert path.read_bytes() == b"old"


def test_a_file_keeps_its_permissions_and_a_link_its_place(tmp_path):
    path, link = tmp_path / "photo.png", tmp_path / "link.png"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    with atomic_write(link) as file:
        file.write(b"new")
        file.seek(0)
        assert file.read() == b"new"
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_missing_folder_is_one_sentence(tmp_path):
    with (
        pytest.raises(ImageError, match=r"absent/photo\.png: cannot be written \(No such file or directory\)"),
        atomic_write(tmp_path / "absent" / "photo.png"),
    ):
        pass


def run(script, *arguments):
    done = run_python(script, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


COMMON = """
import json, os, random, resource, signal, sys, time
from pathlib import Path
import numpy as np
from zssr.errors import ConfigError, ImageError
from zssr.io.metadata import Metadata
from zssr.io.picture import PixelFormat
from zssr.io.output_format import OutputFormat
from zssr.io.writing import write_picture
path = Path(sys.argv[1])
pixel_format = PixelFormat("rgb", 3, np.dtype(np.uint8))
def write(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (500, 700, 3)).astype(np.uint8)
    write_picture(path, OutputFormat.choose(path, pixel_format, (500, 700)), [pixels], (500, 700), Metadata())
"""
FULL = """
write(path, 0)
before = path.read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    write(path, 1)
    sentence = ""
except ImageError as error:
    sentence = str(error)
print(json.dumps([sentence, path.read_bytes() == before, os.listdir(path.parent)]))
"""
KILLS = """
whole = []
for seed in (0, 1):
    write(path, seed)
    whole.append(path.read_bytes())
draws, found = random.Random(3), []
for _ in range(20):
    child = os.fork()
    if not child:
        for seed in range(10**9):
            write(path, seed % 2)
    time.sleep(draws.uniform(0.02, 0.3))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found.append(path.read_bytes() in whole)
others = [name for name in os.listdir(path.parent) if name != path.name]
write(path, 0)
print(json.dumps([found, others, path.read_bytes() == whole[0]]))
"""


@pytest.mark.slow
def test_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path):
    sentence, old_is_there, files = run(COMMON + FULL, str(tmp_path / "photo.png"))
    assert sentence == f"{tmp_path}/photo.png: cannot be written (File too large)"
    assert old_is_there
    assert files == ["photo.png"]


@pytest.mark.fuzz
@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    found, others, goes_on = run(COMMON + KILLS, str(tmp_path / "photo.png"))
    assert found == [True] * 20
    assert goes_on
    assert all(name.startswith(".zssr-") and name.endswith(".part") for name in others)


def refuse(number):
    """Return a function that fails as one of a file system that does not support it."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"old, and longer")
    return path


@pytest.mark.parametrize(
    ("function", "number"),
    [
        ("chmod", errno.EPERM),
        ("chmod", errno.EOPNOTSUPP),
        ("fsync", errno.EINVAL),
        ("fsync", errno.ENOSYS),
        ("replace", errno.EPERM),
        ("replace", errno.EBUSY),
        ("replace", errno.EXDEV),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_file_systems_that_refuse_something_get_the_file_all_the_same(old, monkeypatch, function, number, exists):
    if not exists:
        old.unlink()
    monkeypatch.setattr(os, function, refuse(number))
    with atomic_write(old) as file:
        file.write(b"new")
    assert old.read_bytes() == b"new"
    assert [path.name for path in old.parent.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_what_did_not_reach_the_disk_is_no_success(old, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", refuse(number))
    with pytest.raises(ImageError, match=r"photo\.png: cannot be written"), atomic_write(old) as file:
        file.write(b"new")
    assert old.read_bytes() == b"old, and longer"
    assert [path.name for path in old.parent.iterdir()] == ["photo.png"]


def test_a_result_that_has_no_other_place_is_kept_and_named(old, monkeypatch):
    monkeypatch.setattr(os, "replace", refuse(errno.EPERM))
    monkeypatch.setattr(shutil, "copyfileobj", refuse(errno.ENOSPC))
    for content in (b"first", b"second"):  # the second does not take the first one's place
        with pytest.raises(ImageError, match="the result is kept in ") as caught, atomic_write(old) as file:
            file.write(content)
        assert Path(str(caught.value).rpartition(" kept in ")[2]).read_bytes() == content


def test_an_interrupted_copy_keeps_the_result(old, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", refuse(errno.EPERM))
    monkeypatch.setattr(shutil, "copyfileobj", interrupt)
    with pytest.raises(KeyboardInterrupt), atomic_write(old) as file:
        file.write(b"new")
    assert b"new" in [path.read_bytes() for path in old.parent.iterdir()]


def test_what_cannot_be_written_is_found_without_a_trace(tmp_path, monkeypatch):
    check_writable(tmp_path / "photo.png")
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "absent" / "photo.png", "cannot be written"),
        (tmp_path / ("a" * 300 + ".png"), "name too long"),
        (tmp_path / "a\0.png", "null"),
    ):
        with pytest.raises(ImageError, match=words):
            check_writable(path)
    monkeypatch.setattr(Path, "write_bytes", refuse(errno.EROFS))
    with pytest.raises(ImageError, match="Read-only"):
        check_writable(tmp_path / "photo.png")
    assert list(tmp_path.iterdir()) == []


def saved_webp(image, **options):
    file = io.BytesIO()
    image.save(file, "WEBP", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("options", [{}, {"exif": b"Exif\0\0" + exif_block(), "icc_profile": ICC}, {"save_all": True}])
def test_a_lossless_webp_stays_lossless(mode, options):
    image = Image.fromarray(ramp(PIXEL_FORMATS[mode]))
    if options.get("save_all"):
        options = {"save_all": True, "append_images": [image.rotate(180)]}
    for lossless in (True, False):
        picture = open_picture(saved_webp(image, lossless=lossless, **options), LIMITS)
        assert picture.is_lossless == lossless
        target = OutputFormat.choose(".webp", picture.pixel_format, picture.size, stays_lossless=picture.is_lossless)
        stream, pixels = io.BytesIO(), picture.rows(0, picture.size[0])
        write_picture(stream, target, [pixels], picture.size, Metadata())
        again = open_picture(stream.getvalue(), LIMITS)
        assert again.is_lossless == lossless
        assert np.array_equal(again.rows(0, 40), pixels) == lossless


def test_hidden_colors_of_a_lossless_webp_stay():
    pixels = ramp(PIXEL_FORMATS["RGBA"])
    pixels[:20, :, 3] = 0
    _, again = round_trip(".webp", PIXEL_FORMATS["RGBA"], pixels, quality=100)
    np.testing.assert_array_equal(again, pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_quality_makes_files_smaller_or_better(suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    errors = []
    for quality in (5, 50, 95, 100):
        _, again = round_trip(suffix, PIXEL_FORMATS["RGB"], pixels, quality=quality)
        errors.append(np.abs(again.astype(int) - pixels).mean())
    assert errors == sorted(errors, reverse=True)
    assert (errors[-1] == 0) == (suffix == ".webp")
    usual = OutputFormat.choose(suffix, PIXEL_FORMATS["RGB"], (1, 1))
    assert (usual.quality, usual.is_lossless) == (95, False)
    assert OutputFormat.choose(".png", PIXEL_FORMATS["RGB"], (1, 1), quality=9).is_lossless


@pytest.mark.parametrize("quality", [0, 101, 50.5, "95", True])
def test_senseless_quality_is_refused(quality):
    with pytest.raises(ConfigError, match=r"^quality: .* is not a whole number from 1 to 100$"):
        OutputFormat.choose(".png", PIXEL_FORMATS["RGB"], (1, 1), quality=quality)
