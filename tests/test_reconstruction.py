"""Reconstruction without learning: back-projection, convex sets, MAP, plug-and-play."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import gaussian_kernel
from skimage import data

import zssr.methods
from zssr import ConfigError, upscale
from zssr.classical.data_term import DataTerm
from zssr.classical.ibp import back_project_fully
from zssr.classical.map import CURVATURE, GRADIENT, PRIORS, estimate_map, penalize, respond
from zssr.classical.plug_and_play import denoise, split_half_quadratic
from zssr.classical.pocs import ConvexSets, project_onto_sets
from zssr.degradation import Degradation

NAMES = ("ibp", "pocs", "map", "map:prior=gaussian", "map:prior=huber", "plug-and-play", "plug-and-play:denoiser=nlm")
TRUTH = data.astronaut()[20:84, 180:244]
BICUBIC = Degradation(None, (2.0, 2.0))
BLUR = Degradation(gaussian_kernel(9, (1.6, 1.0), 0.5), (2.0, 2.0))
HERE = (0.0, 0.0)


def shrink(degradation, size=(32, 32)):
    """Return the truth and its downsampled image, rounded to 8 bits, in [0, 1]."""
    truth = torch.from_numpy(TRUTH).permute(2, 0, 1)[None] / 255
    small = (degradation.downsample(truth, size) * 255).round().clamp(0, 255) / 255
    return truth, small, degradation.upsample(small, TRUTH.shape[:2])


def psnr(one, other):
    return -10 * np.log10(float((one.clamp(0, 1) - other).square().mean()))


@pytest.mark.parametrize("degradation", [BICUBIC, BLUR])
def test_ibp_never_increases_the_data_error_and_gives_the_photo_back(degradation):
    _, small, large = shrink(degradation)
    term = DataTerm.of_photo(small, TRUTH.shape[:2], degradation, HERE)
    steps = [back_project_fully(large, small, degradation, HERE, iterations=count) for count in range(1, 30)]
    errors = [float(term.error(one).square().sum()) for one in (large, *steps)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2 * errors[-1]
    end = back_project_fully(large, small, degradation, HERE, iterations=2000)
    assert psnr(degradation.downsample(end, (32, 32)), small) >= 50


@pytest.mark.parametrize("degradation", [BICUBIC, BLUR])
def test_pocs_ends_inside_every_set(degradation):
    _, small, large = shrink(degradation)
    sets = ConvexSets.around(large, DataTerm.of_photo(small, TRUTH.shape[:2], degradation, HERE))
    assert sets.distance(large) > 1 / 255
    end = project_onto_sets(large, small, degradation, HERE, iterations=2000)
    assert sets.distance(end) <= 0.1 / 255
    assert bool(((sets.low <= end) & (end <= sets.high)).all())
    assert float(end.min()) >= 0
    assert float(end.max()) <= 1


@pytest.mark.parametrize("degradation", [BICUBIC, BLUR])
def test_map_with_a_gaussian_prior_is_the_closed_form(degradation, monkeypatch):
    small = torch.rand(1, 1, 10, 10, generator=torch.Generator().manual_seed(0))
    columns = torch.eye(400).view(400, 1, 20, 20)
    matrix = degradation.downsample(columns, (10, 10)).reshape(400, 100).T.double()
    prior = replace(PRIORS["gaussian"], strength=0.05)
    monkeypatch.setitem(PRIORS, "gaussian", prior)
    filters = respond(columns, prior.filters).reshape(400, -1).T.double()
    normal = matrix.T @ matrix + prior.strength * filters.T @ filters
    expected = torch.linalg.solve(normal, matrix.T @ small.view(100, 1).double()).view(20, 20)
    large = degradation.upsample(small, (20, 20))
    ours = estimate_map(large, small, degradation, HERE, prior="gaussian")[0, 0]
    assert float((large - expected).abs().max()) > 0.05
    assert float((ours - expected).abs().max()) < 0.01


@pytest.mark.parametrize("filters", [GRADIENT, CURVATURE])
def test_penalties_are_symmetric_and_positive(filters):
    one, other = torch.rand(2, 1, 2, 9, 8, generator=torch.Generator().manual_seed(1)).unbind()
    weights = respond(one, filters).square()
    forward, backward = (float((a * penalize(b, filters, weights)).sum()) for a, b in ((one, other), (other, one)))
    assert forward == pytest.approx(backward, rel=1e-4)
    assert float((one * penalize(one, filters, weights)).sum()) > 0


@pytest.mark.parametrize(("prior", "gain"), [("huber", 0.3), ("tv", 3)])
def test_robust_priors_keep_a_step_sharper_than_the_gaussian(prior, gain):
    step = (torch.arange(32) >= 16).float().expand(1, 1, 32, 32)
    small = BICUBIC.downsample(step, (16, 16))
    large = BICUBIC.upsample(small, (32, 32))
    errors = [psnr(estimate_map(large, small, BICUBIC, HERE, prior=name), step) for name in (prior, "gaussian")]
    assert errors[0] > errors[1] + gain


@pytest.mark.parametrize("denoiser", ["tv", "nlm"])
def test_denoiser_takes_noise_away_and_keeps_the_mean(denoiser):
    noise = 0.05 * torch.randn(1, 2, 40, 40, generator=torch.Generator().manual_seed(2))
    clean = denoise(0.5 + noise, 0.05, denoiser)
    assert float(clean.std()) < 0.5 * float(noise.std())
    assert float(clean.mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("degradation", [BICUBIC, BLUR])
@pytest.mark.parametrize(
    ("reconstruct", "options"),
    [
        (back_project_fully, {"iterations": 100}),
        (project_onto_sets, {"iterations": 300}),
        *((estimate_map, {"prior": prior}) for prior in PRIORS),
        *((split_half_quadratic, {"denoiser": name, "iterations": 8}) for name in ("tv", "nlm")),
    ],
)
def test_reconstruction_gains_over_interpolation(degradation, reconstruct, options):
    truth, small, large = shrink(degradation)
    result = reconstruct(large, small, degradation, HERE, **options)
    assert psnr(result, truth) > psnr(large, truth) + (0.15 if degradation is BICUBIC else 1.2)


@pytest.mark.parametrize("name", NAMES)
def test_photos_of_all_kinds(name):
    photo = TRUTH[:24, :28]
    for image in (photo, photo[..., 0], np.dstack([photo, photo[..., :1]]), photo.astype(np.uint16) * 257):
        large = upscale(image, 2, method=name, kernel="bicubic", noise=0)
        assert large.dtype == image.dtype
        assert large.shape == (48, 56, *image.shape[2:])
        assert np.abs(large.mean() / image.mean() - 1) < 0.02


@pytest.mark.parametrize("name", ["ibp", "pocs", "map", "plug-and-play"])
@pytest.mark.parametrize("scale", [1.5, (3, 2)])
def test_any_scale_in_one_step(name, scale):
    large = upscale(TRUTH[:24, :28], scale, method=name, kernel="bicubic", noise=0)
    plain = upscale(TRUTH[:24, :28], scale, method="bicubic", kernel="bicubic", noise=0)
    assert large.shape == plain.shape
    assert 0 < np.abs(large.astype(int) - plain).mean() < 12


@pytest.mark.parametrize("name", ["ibp", "pocs", "map"])
def test_blocks_equal_the_whole_to_a_few_levels(name):
    photo = data.astronaut()[:80, 180:260]
    one, many = (upscale(photo, 2, method=name, kernel="bicubic", patch_size=side, noise=0) for side in (384, 8))
    difference = np.abs(one.astype(int) - many)
    assert difference.max() <= 6
    assert difference.mean() < 0.1


def test_noise_is_not_reconstructed():
    noisy = np.clip(TRUTH[::2, ::2] + np.random.default_rng(0).normal(0, 15, (32, 32, 3)), 0, 255).astype(np.uint8)
    exact, robust = (upscale(noisy, 2, method="map", kernel="bicubic", noise=sigma) for sigma in (0, 15))
    errors = [np.square(one.astype(float) - TRUTH).mean() for one in (exact, robust)]
    assert errors[1] < 0.8 * errors[0]


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(zssr.methods, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"method: plug-and-play needs skimage: pip install 'zssr\[methods\]'"):
        upscale(TRUTH, method="plug-and-play")
    assert upscale(TRUTH[:24, :24], method="ibp").shape == (48, 48, 3)


def test_unknown_prior_is_refused():
    with pytest.raises(ConfigError, match='prior of map is one of tv, huber, gaussian, not "laplace"'):
        upscale(TRUTH, method="map:prior=laplace")
