"""The commands that fit the constants of zssr/estimation run, on one picture; what they print is in benchmarks/."""

import re

import numpy as np
import pytest
from PIL import Image
from skimage import data

from benchmarks import constants, reliability, resamplers
from benchmarks.blind import Case, downsample_by_kernel
from zssr import KernelEstimate
from zssr.config import Config
from zssr.degradation.resamplers import BICUBIC, Resampler
from zssr.estimation.kernel_loss import KernelLoss
from zssr.estimation.parametric_kernels import Gaussian
from zssr.estimation.resampler_facts import PROBABILITIES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Set5 and Set14 of one picture each, and blind/Set14_x4 with a known blur."""
    root, picture = tmp_path_factory.mktemp("sets"), data.astronaut()[:320, 60:380]
    for name in ("Set5", "Set14", "blind/Set14_x4"):
        (root / name).mkdir(parents=True)
    for name in ("Set5", "Set14"):
        Image.fromarray(picture).save(root / name / "001.png")
    kernel = Gaussian(3.2, 2.4).to_kernel((4.0, 4.0))
    Image.fromarray(downsample_by_kernel(picture, 4, kernel)).save(root / "blind" / "Set14_x4" / "001_lr.png")
    np.save(root / "blind" / "Set14_x4" / "001_kernel.npy", kernel)
    return root


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("costs", ["fitted: KernelLoss(", f"in the code: {KernelLoss()}"]),
        ("edges", ["| scale | in the code | error 0.04 |", "| 4 | -"]),
        ("scenes", ["NOISE_VARIANCE = ", "MEAN = np.array(", "COVARIANCE = np.array("]),
        ("thresholds", ["| noise | gain", "| JPEG quality | gain"]),
    ],
)
def test_every_group_of_constants_can_be_fitted(sets, capsys, monkeypatch, what, words):
    monkeypatch.setattr(constants, "PROBABILITIES", {"bicubic": 1.0})
    constants.run(sets, what, Config(), 1)
    printed = capsys.readouterr().out
    assert all(word in printed for word in words)
    assert "nan" not in printed


def test_losses_of_resamplers_are_measured(sets, capsys, monkeypatch):
    monkeypatch.setattr(resamplers, "PROBABILITIES", {name: PROBABILITIES[name] for name in ("bicubic", "cubic")})
    monkeypatch.setattr(resamplers, "MEANS", ("bicubic+cubic",))
    constants.run(sets, "resamplers", Config(), 1)
    printed = capsys.readouterr().out
    for scale in (2, 4):
        table = printed.partition(f"('bicubic', 'cubic', 'bicubic+cubic') at x{scale}: mean of 1 crops")[2].partition(
            "[["
        )[2]
        losses = np.array(re.findall(r"\d+\.\d+", table)[:6], float).reshape(3, 2)
        assert np.diag(losses).tolist() == [0, 0]
        assert losses[0, 1] > 0.5  # bicubic assumed
        assert losses[2, 1] < losses[0, 1]  # the mean


def test_gains_of_resamplers_are_measured(sets, capsys):
    resamplers.run(sets, ["Set14"], [2], ["bicubic", "nearest"], Config(num_epochs=0, self_ensemble=1), 1)
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith(("| bic", "| near"))]
    assert [row[0] for row in rows] == ["| bicubic", "| nearest"]
    assert rows[0][1] == rows[0][2] == rows[0][3]
    assert float(rows[1][1]) < float(rows[1][2]) <= float(rows[1][3])  # assumed, auto, true: it is found


def test_confidence_is_compared_with_what_is_right(sets, capsys, tmp_path):
    reliability.run(sets, ["Set14"], [2], 1, tmp_path / "plot.svg")
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert sum(int(row[1]) for row in rows) == len(resamplers.NAMES) + 4  # a Gaussian, a disc, a line and a lens blur
    assert all(0 <= float(row[3].strip(" |")) <= 1 for row in rows)
    assert b"<svg" in (tmp_path / "plot.svg").read_bytes()


@pytest.mark.parametrize(
    ("found", "true", "is_right"),
    [
        (None, None, True),
        (None, Resampler("lanczos2"), True),  # as wide as bicubic
        (None, Resampler("bilinear"), False),
        (Resampler("cubic"), Resampler("lanczos4"), True),
        (Resampler("cubic"), Resampler("nearest"), False),
        (Resampler("nearest"), Resampler("nearest"), True),
        (Resampler("box"), Resampler("cubic"), False),
        (Gaussian(1.2, 0.9), Gaussian(1.3, 0.9).to_kernel(), True),
        (Gaussian(1.2, 0.9), Gaussian(1.4, 0.9).to_kernel(), False),
        (Gaussian(0.9, 0.9), Resampler("bilinear"), True),
    ],
)
def test_an_estimate_is_right_by_name_or_width(found, true, is_right):
    kernel = (found or BICUBIC).to_kernel((2.0, 2.0))
    estimate = KernelEstimate(kernel, (2.0, 2.0), found, 1.0, {}, "")
    assert reliability.is_right(estimate, Case("", None, None, true)) is is_right


def test_a_known_loss_is_fitted_again():
    """From losses that the model itself predicts, the same constants follow."""
    rng = np.random.default_rng(0)
    truth = KernelLoss(0.26, -1.5, 0.02, 10.0)
    kernels = np.stack([Gaussian(*rng.uniform(0.4, 2, 2), rng.uniform(0, 3)).sample((24, 24)) for _ in range(60)])
    assumed, true = kernels[:30], kernels[30:]
    losses = np.diag(truth.decibels(truth.responses(assumed), truth.responses(true)))
    fitted = constants.fit_kernel_loss(0.26, assumed, true, losses)
    predicted = np.diag(fitted.decibels(fitted.responses(assumed), fitted.responses(true)))
    assert predicted == pytest.approx(losses, abs=0.1)
    assert fitted.decay == pytest.approx(truth.decay, abs=0.1)
    assert fitted.regularization == pytest.approx(truth.regularization, rel=0.1)
