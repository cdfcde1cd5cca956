"""Which resampler made a photo small: the parts of the posterior, and what is chosen on photos that nobody fitted."""

import math

import numpy as np
import pytest
import torch
from skimage import data

from zssr import estimate_kernel
from zssr.api import Upscaler
from zssr.color import luma
from zssr.config import Config
from zssr.degradation import Degradation
from zssr.degradation.noise import add_noise
from zssr.degradation.resamplers import RESAMPLERS, Resampler
from zssr.estimation.blur_kernel import minimize_expected_loss
from zssr.estimation.candidates import make_candidates
from zssr.estimation.estimate import estimate_degradation
from zssr.estimation.noise_level import bound_noise
from zssr.estimation.parametric_kernels import Disc, Gaussian, LensBlur, Line, Sharpening
from zssr.estimation.resampler_facts import (
    MEANS,
    MEASURED_SCALES,
    PROBABILITIES,
    interpolate_gains,
    interpolate_losses,
)
from zssr.estimation.spectrum import fitted_spectra
from zssr.request import Request

SCALE = (2.0, 2.0)


def shrink(photo, name, scale=SCALE):
    """Make a photo small by a resampler, in 8 bits: (1, 3, h, w) in [0, 1]."""
    height, width = (int(side // factor) for side, factor in zip(photo.shape[:2], scale, strict=True))
    planes = torch.from_numpy(photo.astype(float)).permute(2, 0, 1)[None]
    planes = planes[..., : round(height * scale[0]), : round(width * scale[1])]
    small = Degradation(Resampler(name), scale).downsample(planes, (height, width))
    return (small.round().clamp(0, 255) / 255).float()


@pytest.fixture(scope="module")
def photos():
    return {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea")}


ALIASED = {"cubic", "lanczos4", "nearest"}


@pytest.mark.parametrize("name", ["coffee", "chelsea"])
@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_aliasing_is_seen(photos, name, scale):
    for made in ("cubic", "nearest"):
        estimate = estimate_kernel(shrink(photos[name], made, (scale, scale))[0], scale)
        assert isinstance(estimate.blur, Resampler)
        assert estimate.blur.name in ALIASED


@pytest.mark.parametrize(("photo", "made"), [("astronaut", "box"), ("chelsea", "box"), ("coffee", "lanczos")])
def test_resamplers_are_recognized(photos, photo, made):
    small = shrink(photos[photo], made)
    estimate = estimate_kernel(small[0])
    assert estimate.blur == Resampler(made)
    assert estimate.kernel == pytest.approx(Resampler(made).to_kernel(SCALE))
    assert str(estimate).startswith(f"{made} (confidence ")
    assert estimate.reason.startswith("spectrum ")
    assert f"for {made} downsampling" in estimate.reason
    probabilities = [probability for _, probability in estimate.likeliest]
    assert len(probabilities) == 5
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0.5 < sum(probabilities) < 1.0001
    assert made in dict(estimate.likeliest)
    degradation, _ = estimate_degradation(small, scale=SCALE)
    assert degradation.kernel == Resampler(made)


def test_noise_is_not_taken_for_aliasing(photos, generator):
    small = shrink(photos["astronaut"], "bicubic")
    for sigma in (2.0, 5.0, 10.0):
        assert estimate_kernel(add_noise(small, sigma, generator)[0].clamp(0, 1)).blur is None


@pytest.mark.parametrize("sigma", [0.0, 2.0, 8.0])
def test_noise_is_below_its_bound_and_aliasing_above(photos, sigma, generator):
    clean = torch.from_numpy(luma(shrink(photos["coffee"], "bicubic")[0]))[None, None].float()
    bound = bound_noise(add_noise(clean, sigma, generator))
    assert sigma - 0.1 <= bound <= 1.5 * sigma + 1
    assert bound_noise(torch.zeros(1, 1, 40, 40)) == math.inf


@pytest.mark.parametrize("scale", [2.0, 3.0, 4.0, 2.5])
@pytest.mark.parametrize("name", RESAMPLERS)
def test_mean_power_is_that_of_downsampled_waves(name, scale):
    frequencies = np.array([0.0, 0.1, 0.23, 0.41])
    at = np.arange(240)
    small = round(240 / scale)
    waves = np.stack([wave(2 * np.pi * f * at) for f in frequencies for wave in (np.cos, np.sin)])
    image = torch.from_numpy(waves)[None, None]
    operator = Degradation(Resampler(name), (1.0, scale)).operator((8, 240), (8, small))
    parts = operator(image)[0, 0, :, 12:-12].square().mean(1).reshape(4, 2).sum(1)
    assert Resampler(name).mean_power(scale, frequencies) == pytest.approx(parts.numpy(), abs=0.03)


@pytest.mark.parametrize("scale", [2.0, 2.8, 4.0])
def test_the_surest_is_chosen_and_bicubic_if_little_is_gained(scale):
    candidates, losses = make_candidates(), interpolate_losses(scale)
    names = [one.name for one in candidates.resamplers]
    for k, name in enumerate(names):
        sure = np.zeros(len(candidates.kernels))
        sure[k] = 1
        expected = None if losses[0, k] < 0.1 else Resampler(name)
        chosen = minimize_expected_loss(sure, scale)
        assert chosen == expected or losses[names.index(chosen.name), k] < 0.05


@pytest.mark.parametrize(("scale", "careful"), [(2, None), (4, Resampler("bicubic+box"))])
def test_without_any_cue_it_is_bicubic_and_at_large_scales_what_does_less_harm(scale, careful):
    shares = {Gaussian: 0.005, Disc: 0.001, Line: 0.001, Sharpening: 0.01, LensBlur: 0.01}
    doubtful = np.exp(make_candidates().log_prior(shares))
    assert doubtful.sum() == pytest.approx(1)
    assert minimize_expected_loss(doubtful, scale) == careful


@pytest.mark.parametrize("scale", MEASURED_SCALES)
def test_losses_are_of_all_pairs(scale):
    losses = make_candidates().mutual_losses(scale)
    assert interpolate_losses(scale).shape == (len(PROBABILITIES) + len(MEANS), len(PROBABILITIES))
    assert losses.shape == (len(make_candidates().assumable), len(make_candidates().kernels))
    assert np.diag(losses) == pytest.approx(0, abs=1e-9)
    assert losses.min() > -1e-9
    for k, one in enumerate(make_candidates().assumable):
        if isinstance(one, Resampler):
            assert np.array_equal(make_candidates().losses(one, scale), losses[k])
    aliased = [k for k, name in enumerate(PROBABILITIES) if name in ALIASED]
    assert losses[len(PROBABILITIES) : -len(MEANS), aliased].min() > 0.7  # a Gaussian is wrong there
    assert sum(PROBABILITIES.values()) == pytest.approx(1, abs=0.002)


def test_harm_counts_twice_and_a_safer_resampler_is_taken_for_a_likelier_one():
    candidates = make_candidates()
    names = [one.name for one in candidates.resamplers]
    box, cubic, nearest = (names.index(name) for name in ("box", "cubic", "nearest"))
    losses, gains, risks = candidates.mutual_losses(), interpolate_gains(2), candidates.risks()
    assert risks[cubic, box] == losses[cubic, box] < gains[box]
    assert risks[box, nearest] == pytest.approx(2 * losses[box, nearest] - gains[nearest])
    doubtful = np.zeros(len(candidates.kernels))
    doubtful[[box, cubic, nearest]] = 0.6, 0.1, 0.3
    assert minimize_expected_loss(doubtful) == Resampler("box+cubic")
    doubtful[[box, cubic, nearest]] = 0.9, 0.05, 0.05
    assert minimize_expected_loss(doubtful) == Resampler("box")


@pytest.mark.parametrize(
    ("shares", "scale", "mean"),
    [
        ({"box": 0.6, "cubic": 0.4}, 2, "box+cubic"),
        ({"bicubic": 0.65, "box": 0.35}, 2, "bicubic+box"),
        ({"bicubic": 0.65, "cubic": 0.35}, 2, "bicubic+cubic"),
        ({"bicubic": 0.6, "box": 0.4}, 4, "bicubic+box"),
    ],
)
def test_the_mean_is_chosen_between_two_that_the_photo_does_not_tell_apart(shares, scale, mean):
    candidates = make_candidates()
    names = [one.name for one in candidates.resamplers]
    doubtful = np.zeros(len(candidates.kernels))
    doubtful[[names.index(name) for name in shares]] = list(shares.values())
    risks = dict(zip(map(str, candidates.assumable), candidates.risks(scale) @ doubtful, strict=True))
    assert minimize_expected_loss(doubtful, scale) == Resampler(mean)
    assert risks[mean] < min(risks[name] for name in shares)


def test_more_must_be_gained_where_there_is_noise():
    candidates = make_candidates()
    names = [one.name for one in candidates.resamplers]
    doubtful = np.zeros(len(candidates.kernels))
    doubtful[[names.index("bicubic"), names.index("box")]] = 0.65, 0.35
    expected = candidates.risks() @ doubtful
    enough = (expected[0] - expected.min()) / 0.1 - 1  # as much noise as there may be
    assert minimize_expected_loss(doubtful, 2, 0.99 * enough) == Resampler("bicubic+box")
    assert minimize_expected_loss(doubtful, 2, 1.01 * enough) is None


def test_fits_of_resamplers_are_near_the_spectrum(photos):
    shades = luma(shrink(photos["astronaut"], "box")[0])
    _, measured, box, bicubic = fitted_spectra(shades, Resampler("box"), 2.0)
    errors = [np.square(measured - fit).mean() for fit in (box, bicubic)]
    assert errors[0] < errors[1] < 0.2
    mean, hamming = (fitted_spectra(shades, Resampler(name), 2.0)[2] for name in ("bilinear+cubic", "hamming"))
    assert np.array_equal(mean, hamming)  # the nearest of the candidates is fitted


@pytest.mark.parametrize(("name", "is_told"), [("box", True), ("cubic", True), ("bicubic", False)])
def test_a_resampler_that_the_photo_does_not_show_is_told(photos, name, is_told):
    small = shrink(photos["chelsea"], name)[0]
    result = Upscaler(Config(num_epochs=0, self_ensemble=1)).run(small, Request(2))
    (estimate,) = result.kernel_estimates
    assert estimate.is_doubtful == is_told
    told = [warning for warning in result.warnings if "hardly shows how it was made small" in warning]
    assert len(told) == is_told
    assert all(f"{estimate.blur} is assumed" in warning for warning in told)
