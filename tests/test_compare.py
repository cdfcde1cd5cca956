"""The command `compare`: table, results, contact sheet and page; measures of quality."""

import base64
import json
import re

import numpy as np
import pytest
from helpers import file_names, image_size
from PIL import Image
from skimage import data
from skimage.metrics import structural_similarity

import zssr.methods
from zssr import Config, Upscaler
from zssr.cli.main import main
from zssr.io.limits import Limits
from zssr.quality import find_detail, measure_quality, measure_ssim, read_view

TRUTH = data.astronaut()[20:84, 180:252]
FAST = ("--set", "num_epochs=2", "--set", "noise=0", "--jobs", "1", "--threads", "1", "-q")


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(TRUTH).resize((36, 32), Image.Resampling.BICUBIC).save(path)
    Image.fromarray(TRUTH).save(tmp_path / "truth.png")
    return path


def compare(*arguments):
    return main(["compare", *map(str, arguments), *FAST])


def parse_table(text):
    """Return the cells of each row by method."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()[2:]}


def test_truth_measures_each_method(photo, tmp_path, capsys):
    truth, out = tmp_path / "truth.png", tmp_path / "out"
    assert compare(photo, "--methods", "nearest,lanczos,srcnn:middle=5,map:prior=tv", "--truth", truth, "-o", out) == 0
    rows = parse_table(capsys.readouterr().out)
    assert list(rows) == ["nearest", "lanczos", "srcnn:middle=5", "map:prior=tv"]
    assert [int(rows[name][1]) > 0 for name in rows] == [False, False, True, False]
    assert float(rows["nearest"][2]) < float(rows["lanczos"][2])
    assert float(rows["nearest"][3]) < float(rows["lanczos"][3]) < float(rows["map:prior=tv"][3])
    expected = measure_quality(np.asarray(Image.open(out / "photo_lanczos.png")), TRUTH, 2)
    assert rows["lanczos"][2:] == [f"{expected.psnr:.2f}", f"{expected.ssim:.4f}"]
    assert image_size(out / "photo_srcnn-middle-5.png") == (72, 64)


def test_without_truth_the_son_is_upscaled(photo, tmp_path, capsys):
    assert compare(photo, "--methods", "nearest,lanczos", "-o", tmp_path / "out", "--kernel", "bicubic") == 0
    out = capsys.readouterr().out
    assert "its son, upscaled, against the photo" in out
    rows = parse_table(out)
    assert 10 < float(rows["nearest"][2]) < float(rows["lanczos"][2]) < 60


def test_sheet_and_page_are_self_contained(photo, tmp_path):
    assert compare(photo, "--methods", "nearest,bicubic,lanczos,bilinear,ibp", "-o", tmp_path / "out") == 0
    names = file_names(tmp_path / "out")
    assert len(names) == 7
    page = (tmp_path / "out" / "photo_methods.html").read_text()
    assert not re.search(r"(src|href)=.?https?:", page)
    pictures = json.loads(re.search(r"const pictures = (\{.*\});", page)[1])
    assert list(pictures) == ["nearest", "bicubic", "lanczos", "bilinear", "ibp"]
    png = base64.b64decode(pictures["lanczos"].partition(",")[2])
    assert png.startswith(b"\x89PNG")
    assert page.count("<tr>") == 6
    assert image_size(tmp_path / "out" / "photo_methods.png")[0] > 4 * 72


def test_a_failing_method_is_a_row(photo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(zssr.methods, "find_spec", lambda _: None)
    methods = "nearest,plug-and-play,lapsrn,lanczos"
    assert compare(photo, "--methods", methods, "-o", tmp_path / "out", "--set", "scale_factor=3", "-s", "3") == 1
    rows = parse_table(capsys.readouterr().out)
    assert list(rows) == methods.split(",")
    assert "zssr[methods]" in " ".join(rows["plug-and-play"])
    assert "no step of x3" in " ".join(rows["lapsrn"])
    assert rows["lanczos"][0] != "failed:"
    assert "no step of x3" in (tmp_path / "out" / "photo_methods.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--methods", "lancsos"], 'method: "lancsos" is not a method; did you mean "lanczos"?'),
        (["--methods", "ibp,ibp"], "names a method twice"),
        (["--truth", "photo.png"], "--truth: photo.png has 36x32 pixels, but the result will have 72x64"),
        (["--truth", "absent.png"], "absent.png"),
        (["absent.png"], "absent.png: there is no such file"),
    ],
)
def test_bad_usage_is_one_sentence(photo, tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert compare("photo.png", *arguments, "-o", "out") == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert file_names(tmp_path) == ["photo.png", "truth.png"]


def test_nothing_is_replaced_unless_asked(photo, tmp_path, capsys):
    assert compare(photo, "--methods", "nearest", "-o", tmp_path) == 0
    assert compare(photo, "--methods", "nearest", "-o", tmp_path) == 2
    assert "exists already" in capsys.readouterr().err
    assert compare(photo, "--methods", "nearest", "-o", tmp_path, "--overwrite") == 0


@pytest.mark.parametrize("kind", ["gray", "alpha", "16 bit", "4 bands"])
def test_other_kinds_of_photos(tmp_path, kind):
    import tifffile

    path = tmp_path / "photo.tif"
    gray = TRUTH[:32, :36, 0]
    bands = {"gray": gray, "16 bit": gray.astype(np.uint16) * 257, "4 bands": np.dstack([gray] * 4)}
    if kind == "alpha":
        path = tmp_path / "photo.png"
        Image.fromarray(np.dstack([TRUTH[:32, :36], gray])).save(path)
    else:
        tifffile.imwrite(
            path, bands[kind], photometric="minisblack", planarconfig="contig" if kind == "4 bands" else None
        )
    assert compare(path, "--methods", "lanczos,fsrcnn", "-o", tmp_path / "out") == 0
    assert len(file_names(tmp_path / "out")) == 4


@pytest.mark.slow
def test_methods_run_in_processes(photo, tmp_path, capsys):
    options = ["--methods", "nearest,lanczos", "--truth", str(tmp_path / "truth.png"), "-o", str(tmp_path / "out")]
    assert main(["compare", str(photo), *options, "-q", "--jobs", "2"]) == 0
    assert len(parse_table(capsys.readouterr().out)) == 2


def test_ssim_is_that_of_scikit_image():
    one, other = data.camera()[:64, :70].astype(float), data.camera()[2:66, 3:73].astype(float)
    usual = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert measure_ssim(one, other) == pytest.approx(structural_similarity(one, other, **usual), abs=1e-6)
    assert measure_ssim(one, one) == pytest.approx(1)


def test_detail_is_found():
    picture = np.full((60, 80, 3), 128, np.uint8)
    picture[40:50:2, 56:72] = 255
    left, top, right, bottom = find_detail(picture, 24)
    assert (right - left, bottom - top) == (24, 24)
    assert left <= 56 and right >= 72 and top <= 40 and bottom >= 50
    assert find_detail(picture[:10, :12], 24) == (0, 0, 12, 10)


def test_a_son_is_the_photo_made_small(photo, tmp_path):
    size = Upscaler(Config(noise=0)).write_son(photo, tmp_path / "son.png", 2.0)
    assert size == (32, 36)
    assert image_size(tmp_path / "son.png") == (18, 16)
    assert read_view(tmp_path / "son.png", Limits(1, 1e6)).mean() == pytest.approx(
        np.asarray(Image.open(photo)).mean(), abs=2
    )
