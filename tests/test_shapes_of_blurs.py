"""Blurs out of focus and by motion, and unsharp masks: their kernels, and their estimates on photos nobody fitted."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.ndimage import convolve, gaussian_filter
from skimage import data

from zssr import estimate_kernel
from zssr.cli.main import main
from zssr.degradation import Degradation
from zssr.degradation.named_kernels import parse_kernel
from zssr.degradation.resamplers import BICUBIC, sharpened_kernel
from zssr.errors import KernelError
from zssr.estimation import blur_kernel
from zssr.estimation.candidates import make_candidates
from zssr.estimation.edges import round_blur_log_likelihoods
from zssr.estimation.estimate import estimate_degradation
from zssr.estimation.parametric_kernels import Disc, Gaussian, LensBlur, Line, Sharpening

SCALE = (2.0, 2.0)
SHAPES = [Disc(2.3), Line(6.0, 0.6), Sharpening(0.8, 1.0), Gaussian(1.6, 1.0, 0.6), LensBlur(0.8)]


def shrink(photo, kernel, scale=SCALE):
    """Make a photo small by a kernel, in 8 bits: (1, 3, h, w) in [0, 1]."""
    size = tuple(int(side // factor) for side, factor in zip(photo.shape[:2], scale, strict=True))
    planes = torch.from_numpy(photo.astype(float)).permute(2, 0, 1)[None]
    planes = planes[..., : round(size[0] * scale[0]), : round(size[1] * scale[1])]
    return (Degradation(kernel, scale).downsample(planes, size).round().clamp(0, 255) / 255).float()


def moments(kernel):
    y, x = (np.arange(side) - (side - 1) / 2 for side in kernel.shape)
    mixed = y @ kernel @ x
    return np.array([[kernel.sum(1) @ y**2, mixed], [mixed, kernel.sum(0) @ x**2]])


@pytest.fixture(scope="module")
def photos():
    return {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea")}


# kernels


@pytest.mark.parametrize(
    "blur",
    [Disc(2.3), Disc(3.25), Line(6.0, 0.6), Line(8.0, 2.0), Sharpening(0.8, 1.0), LensBlur(0.6), LensBlur(1.1)],
    ids=str,
)
def test_kernels_have_the_covariance_that_is_said(blur):
    """Up to the bilinear weights by which points are laid on pixels."""
    kernel = blur.to_kernel()
    assert kernel.sum() == pytest.approx(1)
    assert kernel == pytest.approx(kernel[::-1, ::-1])
    assert moments(kernel) == pytest.approx(blur.covariance, abs=0.2)


@pytest.mark.parametrize("blur", SHAPES, ids=str)
def test_the_same_blur_at_another_scale(blur):
    """Frequencies of the photo are weakened alike at all scales."""
    frequencies = np.linspace(0, 0.15, 4)  # cycles per pixel of the photo
    responses = []
    for scale in (2.0, 4.0):
        kernel = blur.at_scale((scale, scale)).to_kernel((scale, scale))
        at = np.arange(kernel.shape[1]) - (kernel.shape[1] - 1) / 2
        responses.append([kernel.sum(0) @ np.cos(2 * np.pi * f / scale * at) for f in frequencies])
    assert responses[1] == pytest.approx(responses[0], abs=0.06)


def test_lines_stretch_with_unequal_scales_and_discs_become_gaussians():
    stretched = Line(5.0, math.radians(30)).at_scale((2.0, 8.0))
    assert stretched.angle < math.radians(12)
    assert stretched.length > 12
    wide = Disc(2.0).at_scale((2.0, 4.0))
    assert isinstance(wide, Gaussian)
    assert wide.covariance[1, 1] == pytest.approx(4 * wide.covariance[0, 0])


@pytest.mark.parametrize("scale", [2, 3])
def test_an_unsharp_mask_after_bicubic_is_one_kernel(photos, scale):
    """A mask on the small photo does what the kernel does, up to aliasing."""
    factors = (float(scale), float(scale))
    small = shrink(photos["coffee"], None, factors)[0, 0].double().numpy()
    masked = small + 0.8 * (small - gaussian_filter(small, 1.0))
    ours = shrink(photos["coffee"], sharpened_kernel(0.8, 1.0, factors), factors)[0, 0].numpy()
    inside = np.s_[8:-8, 8:-8]
    assert np.abs(masked - small)[inside].mean() > 4 * np.abs(ours - masked.clip(0, 1))[inside].mean()
    assert sharpened_kernel(0.0, 1.0, factors).sum() == pytest.approx(1)
    plain = BICUBIC.to_kernel(factors)
    margin = (len(sharpened_kernel(0.0, 1.0, factors)) - len(plain)) // 2
    assert sharpened_kernel(0.0, 1.0, factors)[margin:-margin, margin:-margin] == pytest.approx(plain)


def test_an_unsharp_mask_has_a_name():
    assert parse_kernel("unsharp:0.8,1", SCALE) == pytest.approx(sharpened_kernel(0.8, 1.0, SCALE))
    for wrong in (
        "unsharp:0.8",
        "unsharp:0.8,0",
        "unsharp:0.8,-1",
        "unsharp:-1,1",
        "unsharp:1,1*box",
        "unsharp:1,1*disc:2",
    ):
        with pytest.raises(KernelError):
            parse_kernel(wrong, SCALE)


@pytest.mark.parametrize("blur", SHAPES, ids=str)
def test_neighbors_hold_the_blur_itself_and_differ_by_no_more_than_the_step(blur):
    around = blur.neighbors(0.05)
    assert around[0] == blur
    sizes = np.array([list(vars(one).values()) for one in around])
    assert np.abs(sizes - sizes[0]).max() == pytest.approx(0.1 if len(sizes[0]) == 2 else 0.05)
    assert len({str(vars(one)) for one in around}) == len(around)
    tiny = type(blur)(*(0.0 for _ in sizes[0]))
    assert all(size > 0 for one in tiny.neighbors(0.05) for size in list(vars(one).values())[:1])


def test_candidates_are_kernels_of_sum_one_and_each_costs_nothing_where_it_is_right():
    candidates = make_candidates()
    assert candidates.kernels.sum((1, 2)) == pytest.approx(1, abs=0.05)
    counts = {shape: sum(isinstance(one, shape) for one in candidates.blurs) for shape in (Gaussian, Disc, Line)}
    assert min(counts.values()) > 10
    for blur in SHAPES:
        near = candidates.blur_losses([blur])[0].min()
        assert 0 <= near < 0.3


@pytest.mark.parametrize("is_compressed", [False, True])
def test_prior_probabilities_sum_to_one_and_half_are_resamplers(is_compressed):
    candidates = make_candidates()
    count = len(candidates.resamplers)
    even = np.exp(candidates.even_prior(is_compressed))
    lens_blurs = [count + k for k, blur in enumerate(candidates.blurs) if isinstance(blur, LensBlur)]
    assert even.sum() == pytest.approx(1)
    assert even[:count].sum() + even[lens_blurs].sum() == pytest.approx(0.5)
    assert even[lens_blurs] == pytest.approx(even[1])
    shares = {Gaussian: 0.01, Disc: 0.002, Line: 0.003, Sharpening: 0.004, LensBlur: 0.005}
    prior = np.exp(candidates.log_prior(shares, is_compressed))
    assert prior.sum() == pytest.approx(1)
    for shape, share in shares.items():
        which = [count + k for k, blur in enumerate(candidates.blurs) if isinstance(blur, shape)]
        expected = share if shape is Gaussian or not is_compressed else 1e-6 * share
        assert prior[which].sum() == pytest.approx(expected)
    assert prior[0] == pytest.approx(1 - prior[1:].sum())
    assert bool(prior[1:count].sum() < 1e-5) == is_compressed


# estimates


@pytest.mark.parametrize("photo", ["astronaut", "coffee", "chelsea"])
@pytest.mark.parametrize(
    "blur", [Disc(2.2), Disc(3.0), Line(6.0, math.radians(20)), Line(8.0, math.radians(120))], ids=str
)
def test_lenses_out_of_focus_and_motion_are_recognized(photos, photo, blur):
    estimate = estimate_kernel(shrink(photos[photo], blur.to_kernel())[0])
    assert type(estimate.blur) is type(blur)
    assert np.abs(np.linalg.eigvalsh(estimate.blur.covariance_root - blur.covariance_root)).max() < 0.2
    assert dict(estimate.likeliest)[str(blur).partition(" ")[0]] > 0.5
    assert str(estimate).startswith(str(blur).partition(" ")[0])
    assert f"for {'a blur out of focus' if isinstance(blur, Disc) else 'a blur by motion'}" in estimate.reason
    assert estimate.kernel == pytest.approx(estimate.blur.to_kernel())


@pytest.mark.parametrize(
    ("photo", "sigma"), [("astronaut", 0.8), ("astronaut", 1.0), ("coffee", 1.0), ("chelsea", 0.8), ("chelsea", 1.0)]
)
def test_lens_blurs_before_bicubic_are_recognized(photos, photo, sigma):
    estimate = estimate_kernel(shrink(photos[photo], LensBlur(sigma).to_kernel())[0])
    assert isinstance(estimate.blur, LensBlur)
    assert estimate.blur.sigma == pytest.approx(sigma, abs=0.15)
    assert "for a lens blur before bicubic downsampling" in estimate.reason


def test_a_motion_turns_with_the_photo(photos):
    small = shrink(photos["astronaut"], Line(7.0, math.radians(30)).to_kernel())[0]
    for turns in range(2):
        found = estimate_kernel(torch.rot90(small, turns, (1, 2)).contiguous()).blur
        assert math.degrees(found.angle) == pytest.approx(30 + 90 * turns, abs=4)


@pytest.mark.parametrize(("photo", "percent"), [("astronaut", 200), ("coffee", 100)])
def test_sharpening_is_recognized_and_can_be_kept(photos, photo, percent):
    plain = (255 * shrink(photos[photo], None)[0]).byte().permute(1, 2, 0).numpy()
    sharpened = np.array(Image.fromarray(plain).filter(ImageFilter.UnsharpMask(1, percent, 0)))
    image = torch.from_numpy(sharpened).permute(2, 0, 1)[None] / 255
    estimate = estimate_kernel(image[0])
    assert isinstance(estimate.blur, Sharpening)
    candidates = make_candidates()
    truth = len(candidates.resamplers) + candidates.blurs.index(Sharpening(1.4, 1.0))
    loss, plain_loss = (candidates.losses(one)[truth] for one in (estimate.blur, BICUBIC))
    assert loss < 0.8 * plain_loss
    undone, found = estimate_degradation(image, scale=SCALE)
    assert isinstance(found.blur, Sharpening)
    assert undone.kernel is found.kernel
    kept, told = estimate_degradation(image, scale=SCALE, sharpening="keep")
    assert (kept.kernel, told.blur) == (None, None)
    assert told.reason.endswith("which is kept")
    assert told.kernel == pytest.approx(BICUBIC.to_kernel(SCALE))


@pytest.mark.parametrize(("bicubic_by_edges", "shape"), [(-30.0, Sharpening), (0.0, type(None))])
def test_sharpening_that_one_cue_denies_is_undone_only_if_both_deny_bicubic(
    photos, monkeypatch, bicubic_by_edges, shape
):
    candidates = make_candidates()
    known = candidates.assumable.index(BICUBIC), candidates.assumable.index(Sharpening(0.8, 1.0))
    disc = candidates.assumable.index(Disc(2.0))

    def say(bicubic, sharpened, other):
        cue = np.full(len(candidates.kernels), -60.0)
        cue[[*known, disc]] = bicubic, sharpened, other
        return lambda *_: cue

    monkeypatch.setattr(blur_kernel, "spectrum_log_likelihoods", say(-30.0, 0.0, 5.0))
    monkeypatch.setattr(blur_kernel, "edge_log_likelihoods", say(bicubic_by_edges, 0.0, -30.0))
    estimate = estimate_kernel(shrink(photos["astronaut"], None)[0])
    assert type(estimate.blur) is shape
    assert list(estimate.cues.values()) == [False, True]


@pytest.mark.parametrize(("agreement", "shape"), [(-1.0, Line), (-5.0, type(None))])
def test_what_lies_between_cues_that_contradict_each_other_is_not_assumed(photos, monkeypatch, agreement, shape):
    candidates = make_candidates()
    narrow, between, wide = (candidates.assumable.index(one) for one in (Gaussian(1.1, 1.1), Line(8.0, 0.0), Disc(3.0)))

    def say(best, worst):
        cue = np.full(len(candidates.kernels), -90.0)
        cue[[best, between, worst]] = 0.0, agreement, -60.0
        return lambda *_: cue

    monkeypatch.setattr(blur_kernel, "spectrum_log_likelihoods", say(narrow, wide))
    monkeypatch.setattr(blur_kernel, "edge_log_likelihoods", say(wide, narrow))
    assert type(estimate_kernel(shrink(photos["astronaut"], None)[0]).blur) is shape


def test_the_settings_reach_the_command(photos, tmp_path, capsys):
    plain = (255 * shrink(photos["astronaut"][:256, 100:356], None)[0]).byte().permute(1, 2, 0).numpy()
    photo = tmp_path / "photo.png"
    Image.fromarray(plain).filter(ImageFilter.UnsharpMask(1, 150, 0)).save(photo)
    assert main([str(photo), "--dry-run"]) == 0
    assert "sharpened bicubic" in capsys.readouterr().out
    assert main([str(photo), "--dry-run", "--set", "sharpening=keep"]) == 0
    assert "kernel: bicubic" in capsys.readouterr().out
    assert main([str(photo), "--dry-run", "--set", "sharpening=undo"]) == 2
    assert "sharpening" in capsys.readouterr().err


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_compression_is_not_taken_for_motion_or_a_mask(photos, quality, tmp_path):
    for name, photo in photos.items():
        plain = (255 * shrink(photo, None)[0]).byte().permute(1, 2, 0).numpy()
        file = tmp_path / f"{name}.jpg"
        Image.fromarray(plain).save(file, quality=quality)
        blur = estimate_kernel(file).blur
        assert blur is None or isinstance(blur, Gaussian)


def test_edges_of_an_image_show_the_round_blur_behind_them():
    scene = np.kron(np.random.default_rng(0).random((12, 12)), np.ones((20, 20)))
    kernels = [BICUBIC.to_kernel(SCALE), *(Gaussian(one, one).to_kernel() for one in (0.8, 1.1, 1.4, 1.8))]
    for k, kernel in enumerate(kernels):
        assert round_blur_log_likelihoods(convolve(scene, kernel, mode="nearest"), kernels).argmax() == k
    assert round_blur_log_likelihoods(np.full((64, 64), 0.5), kernels) is None
