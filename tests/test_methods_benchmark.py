"""The table of methods: figures are those of the protocol, failures and interruptions leave what is there."""

import sys

import numpy as np
import pytest
from PIL import Image
from skimage import data

import benchmarks.methods
from benchmarks.__main__ import main
from benchmarks.protocol import compute_psnr_and_ssim, downsample


@pytest.fixture
def table(tmp_path, monkeypatch, capsys):
    (tmp_path / "Two").mkdir()
    for k in range(2):
        Image.fromarray(data.astronaut()[20:68, 180 + 48 * k : 228 + 48 * k]).save(tmp_path / "Two" / f"{k}.png")

    def run(methods):
        options = ["--data", str(tmp_path), "--sets", "Two", "--scales", "2", "--methods", methods]
        monkeypatch.setattr(sys, "argv", ["benchmarks", "methods", *options])
        code = main()
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
        return code, {row[0]: row[1:] for row in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}

    return run


def test_figures_are_means_over_photos(table):
    code, rows = table("bicubic,nearest")
    assert code == 0
    expected = []
    for k in range(2):
        truth, small = downsample(data.astronaut()[20:68, 180 + 48 * k : 228 + 48 * k], 2)
        expected.append(compute_psnr_and_ssim(small.repeat(2, 0).repeat(2, 1), truth, 2))
    psnr, ssim = np.mean(expected, axis=0)
    assert rows["nearest"][:3] == ["2", f"{psnr:.2f}", f"{ssim:.4f}"]
    assert float(rows["nearest"][3]) < 0
    assert abs(float(rows["bicubic"][3])) < 0.3


def test_a_failure_is_a_row(table):
    code, rows = table("lancsos,nearest")
    assert code == 0
    assert "did you mean" in rows["lancsos"][0]
    assert rows["nearest"][0] == "2"


def test_an_interruption_leaves_the_photos_so_far(table, monkeypatch):
    measure, calls = benchmarks.methods._measure_photo, []

    def interrupt(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(benchmarks.methods, "_measure_photo", interrupt)
    code, rows = table("nearest,bicubic")
    assert code == 130
    assert list(rows) == ["nearest"]
    assert rows["nearest"][0] == "1"
