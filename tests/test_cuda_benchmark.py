"""`python -m benchmarks cuda`, which is meant for a GPU, runs on a CPU too; and it says where there is no GPU."""

import re
import sys

import numpy as np
import pytest
import torch

from benchmarks import cuda
from benchmarks.__main__ import main
from benchmarks.cuda_cases import CASES, compute_psnr


@pytest.mark.slow
def test_command_runs_on_a_cpu(tmp_path, monkeypatch, capsys):
    path = tmp_path / "cuda.md"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "cuda", "--device", "cpu", "--out", str(path)])
    assert main() == 0
    printed, written = capsys.readouterr().out, path.read_text()
    assert written.partition("\n\n")[2] in printed
    rows = [line.split(" | ") for line in written.splitlines() if line.startswith("| ")]
    assert {row[0].lstrip("| ") for row in rows} >= {*CASES, "bf16"}
    assert len({len(row) for row in rows}) == 3  # as many columns in all rows of a table
    assert "Of 16 results 0 miss" in written
    assert re.search(r"Two seeds on the CPU, x2: \d+\.\d dB", written)
    assert re.search(r"\| bf16 \| \d+ \| \d+ \| [\d.]+ \| \d+% \| 0.0 \|", written)


def test_without_a_gpu_it_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "cuda"])
    assert main() == 1
    assert capsys.readouterr().err.startswith("device: there is no CUDA GPU here")


def test_results_off_limits_are_named(monkeypatch):
    other = iter(range(10**6))

    def upscale(case, small, device, *_):
        size = (round(small.shape[0] * case.scale), round(small.shape[1] * case.scale))
        shift = 0 if device == "cpu" else 9 * (next(other) % 2)
        return np.full((*size, small.shape[2]), shift, np.uint8)

    monkeypatch.setattr("benchmarks.cuda_cases.upscale_case", upscale)
    monkeypatch.setattr("benchmarks.cuda_cases.CASES", {name: CASES[name] for name in ("x2", "gray")})
    _, failures = cuda.compare_devices("cuda", ("fp32", "bf16"), 26, 1)
    assert failures == ["x2 in bf16", "gray in bf16"]
    assert compute_psnr(np.zeros((20, 20, 1), np.uint8), np.full((20, 20, 1), 255, np.uint8)) == pytest.approx(0)
