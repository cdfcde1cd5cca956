import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis
from skimage import data

import zssr
from zssr import ImageError, estimate_kernel, upscale
from zssr.cli.main import main
from zssr.degradation import Degradation
from zssr.degradation.blur import center_of_mass, rescale_kernel
from zssr.estimation import edges, spectrum
from zssr.estimation import scene_spectra as scenes
from zssr.estimation.candidates import Gaussian, bicubic_kernel, candidates, transfer

BLUR = Gaussian(1.6, 1.0, math.radians(34))
PHOTOS = ("astronaut", "coffee", "chelsea")
NOISY = np.random.default_rng(0).random((64, 64))


def shrunk(photo, blur=None, scale=2.0):
    """Shrink a photo (H, W, 3) by bicubic or by a blur, to 8 bits."""
    height, width = (int(length // scale) for length in photo.shape[:2])
    kernel = None if blur is None else blur.kernel((scale, scale))
    planes = torch.from_numpy(photo[: int(height * scale), : int(width * scale)].astype(float)).permute(2, 0, 1)[None]
    small = Degradation(kernel, (scale, scale)).downsample(planes, (height, width))[0]
    return small.round().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)


def error(estimate, blur):
    return np.abs(np.linalg.eigvalsh(estimate.blur.root - blur.root)).max()


@pytest.mark.parametrize("blur", [BLUR, Gaussian(2.4, 0.7, 2.5), Gaussian(1.1, 1.1)])
@pytest.mark.parametrize("scale", [(2.0, 2.0), (3.0, 3.0), (2.0, 4.0), (1.5, 2.5)])
def test_kernel_of_a_gaussian_has_its_covariance_and_lies_in_the_middle(blur, scale):
    blur = blur.at_scale(scale)
    kernel = blur.kernel(scale)
    assert kernel.sum() == pytest.approx(1)
    assert center_of_mass(kernel) == pytest.approx([(side - 1) / 2 for side in kernel.shape])
    assert [side % 2 for side in kernel.shape] == [round(s) % 2 for s in scale]
    y, x = (np.arange(side) - (side - 1) / 2 for side in kernel.shape)
    moments = [[kernel.sum(1) @ y**2, y @ kernel @ x], [y @ kernel @ x, kernel.sum(0) @ x**2]]
    assert np.array(moments) == pytest.approx(blur.covariance, abs=0.02 * blur.along**2)


def test_a_gaussian_is_what_its_covariance_says():
    back = Gaussian.from_covariance(BLUR.covariance)
    assert (back.along, back.across, back.angle) == pytest.approx((BLUR.along, BLUR.across, BLUR.angle))
    assert BLUR.root @ BLUR.root == pytest.approx(BLUR.covariance)
    along = np.array([-math.sin(BLUR.angle), math.cos(BLUR.angle)])  # (row, column): rows go down, angles up
    assert along @ BLUR.covariance @ along == pytest.approx(BLUR.along**2)


def test_an_estimate_for_a_larger_scale_is_nearly_the_same_blur_of_the_photo():
    assert BLUR.at_scale((2.0, 2.0)).covariance == pytest.approx(BLUR.covariance)
    wider = BLUR.at_scale((6.0, 6.0))
    assert wider.along / wider.across == pytest.approx(BLUR.along / BLUR.across)
    assert 2.5 * BLUR.along < wider.along < 3 * BLUR.along


def test_a_given_kernel_for_a_larger_scale_is_the_same_blur_of_the_photo():
    kernel = BLUR.kernel()
    moved = rescale_kernel(kernel, (2.0, 2.0), (4.0, 4.0))
    y = np.arange(len(moved)) - center_of_mass(moved)[0]
    assert moved.sum(1) @ y**2 == pytest.approx(4 * BLUR.covariance[0, 0], rel=0.05)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_kernel_shrinks_like_bicubic(scale, photo):
    size = (photo.shape[-2] // scale, photo.shape[-1] // scale)
    photo = photo[..., : scale * size[0], : scale * size[1]]
    scales = (float(scale), float(scale))
    ours = Degradation(bicubic_kernel(scales), scales).downsample(photo, size)
    assert (ours - Degradation(None, scales).downsample(photo, size)).abs().max() < 1e-5


def test_transfer_function_is_the_fourier_transform():
    kernel = BLUR.sampled((9, 9))
    spectrum_of = np.abs(np.fft.fft2(kernel, (16, 16)))
    ours = transfer(kernel[None], np.fft.fftfreq(16), np.fft.fftfreq(16))[0]
    assert np.abs(ours) == pytest.approx(spectrum_of, abs=1e-12)


def test_a_wrong_guess_costs_and_one_too_wide_costs_more():
    known = candidates()
    costs = known.own_costs
    assert np.abs(np.diag(costs)).max() < 1e-9
    assert costs.min() > -1e-9
    round_ones = [k + 1 for k, blur in enumerate(known.blurs) if blur.along == blur.across]
    widths = [known.blurs[k - 1].along for k in round_ones]
    narrow, wide = round_ones[widths.index(0.65)], round_ones[widths.index(1.55)]
    assert costs[wide, narrow] > 1.5 * costs[narrow, wide]
    assert costs[wide, 0] > 1.5 * costs[0, wide]


@pytest.mark.parametrize("name", PHOTOS)
def test_bicubic_is_recognized(name):
    estimate = estimate_kernel(shrunk(getattr(data, name)()))
    assert estimate.blur is None
    assert str(estimate).startswith("bicubic (confidence")
    assert estimate.kernel == pytest.approx(bicubic_kernel())
    assert 0 <= estimate.confidence <= 1


@pytest.mark.parametrize("name", PHOTOS)
def test_a_blur_is_measured(name):
    estimate = estimate_kernel(shrunk(getattr(data, name)(), BLUR))
    assert error(estimate, BLUR) < 0.2
    assert estimate.confidence > 0.4
    assert estimate.cues == {"spectrum": True, "edges": True}
    assert "gaussian 1." in str(estimate)


def test_the_estimate_turns_and_flips_with_the_photo():
    small = shrunk(data.astronaut(), BLUR)
    upright = estimate_kernel(small).blur.covariance
    turned = estimate_kernel(np.rot90(small).copy()).blur.covariance
    (rows, mixed), (_, columns) = upright
    assert turned == pytest.approx(np.array([[columns, -mixed], [-mixed, rows]]), abs=0.3)
    assert estimate_kernel(255 - small).blur.covariance == pytest.approx(upright, abs=0.15)


def test_the_scene_may_have_directions_of_its_own():
    stripes = data.brick()[..., None].repeat(3, 2)
    estimate = estimate_kernel(shrunk(stripes, BLUR))
    assert estimate.blur is None or estimate.blur.along < BLUR.along + 0.5


def test_edges_get_less_steep_with_blur_in_its_direction():
    rng = np.random.default_rng(0)
    steps = np.kron(rng.random((20, 20)), np.ones((12, 12)))
    sharp = edges.edge_sharpness(steps)
    soft = edges.edge_sharpness(gaussian_filter(steps, (0, 1.5)))  # rows stay, columns mix
    assert (sharp[:2] > 0.95).all()
    assert soft[0] < 0.5 < 0.95 < soft[1]


def test_edges_exclude_what_is_too_wide_and_leave_what_is_narrower():
    steps = np.kron(np.random.default_rng(0).random((20, 20)), np.ones((12, 12)))
    said = edges.edge_log_likelihoods(gaussian_filter(steps, 0.6), 2.0)
    round_ones = {blur.along: said[k + 1] for k, blur in enumerate(candidates().blurs) if blur.along == blur.across}
    assert round_ones[1.95] < max(said) - 5
    assert round_ones[0.65] > max(said) - 3
    assert edges.edge_log_likelihoods(np.full((60, 60), 0.5), 2.0) is None


def test_soft_edges_tell_more_of_a_blur_the_smaller_the_photo_was_made():
    steps = np.kron(np.random.default_rng(0).random((20, 20)), np.ones((12, 12)))
    wide = 1 + next(k for k, blur in enumerate(candidates().blurs) if blur.across == 1.4)
    for_a_blur = [
        said[wide] - said[0]
        for said in (edges.edge_log_likelihoods(gaussian_filter(steps, 0.7), s) for s in (1.5, 2, 4))
    ]
    assert for_a_blur == sorted(for_a_blur)
    assert for_a_blur[0] < for_a_blur[-1] - 0.5


def test_misfits_are_mahalanobis_distances(generator):
    """Of the spectrum from what a hypothesis expects, both without their means."""
    radius, angle = spectrum.frequencies()
    measured = np.exp(torch.randn(len(radius), generator=generator).double().numpy())
    inverse = np.linalg.inv(scenes.covariance(radius, angle, 4 * scenes.REST))
    expected = scenes.usual(radius, angle) - spectrum.beside_bicubic(NOISY)  # bicubic's own logarithms cancel
    assert np.isfinite(expected).all()
    logs = np.log(spectrum.measured_spectrum(NOISY))
    bicubic = logs - logs.mean() + expected
    distance = mahalanobis(np.log(measured) - np.log(measured).mean(), bicubic, inverse)
    assert spectrum._misfits(measured)[0, 0] == pytest.approx(distance**2, rel=1e-4)


def test_scenes_are_alike_in_all_directions_but_for_their_usual_course():
    """How two frequencies stray together depends on the angle in between, and on their radii, alone."""
    radius, angle = (np.array(values) for values in ([0.1, 0.2, 0.4, 0.4], [0.3, -0.5, 1.0, 1.4]))
    covariance = scenes.covariance(radius, angle, 0.1)
    assert np.linalg.eigvalsh(covariance).min() > 0.1
    assert scenes.covariance(radius, angle + 0.7, 0.1) == pytest.approx(covariance)
    assert scenes.covariance(radius, -angle, 0.1) == pytest.approx(covariance)
    assert scenes.usual(radius, angle + math.pi / 2) == pytest.approx(scenes.usual(radius, angle))
    flat = scenes.basis(radius, angle)[:, : scenes.RINGS]
    assert flat.sum(1) == pytest.approx(np.ones(4))  # hats share out each frequency


def test_spectrum_of_a_random_scene_gives_its_blur():
    rng = np.random.default_rng(0)
    down, right = np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)
    radius = np.maximum(np.hypot(down, right), 1 / 512)
    scene = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((512, 512))) * radius**-1.3)
    scene = torch.from_numpy(0.5 + 0.1 * scene / scene.std())[None, None]
    small = Degradation(BLUR.kernel(), (2.0, 2.0)).downsample(scene, (256, 256))[0, 0].numpy()
    best = candidates().blurs[spectrum.spectrum_log_likelihoods(small).argmax() - 1]
    assert np.abs(np.linalg.eigvalsh(best.root - BLUR.root)).max() < 0.3  # neighboring hypotheses are as far apart


HARD = {
    "constant": np.full((80, 80, 3), 90, np.uint8),
    "black": np.zeros((80, 80), np.uint8),
    "two colors": np.random.default_rng(0).integers(0, 2, (80, 80)).astype(np.float32),
    "16x16": data.astronaut()[:16, :16],
    "noise": np.random.default_rng(0).random((128, 128, 3)).astype(np.float32),
    "gray noise": np.random.default_rng(0).normal(128, 20, (128, 128)).clip(0, 255).astype(np.uint8),
    "slope": np.tile(np.linspace(0, 1, 200, dtype=np.float32), (200, 1)),
}


@pytest.mark.parametrize("name", HARD)
def test_what_tells_nothing_is_taken_for_bicubic(name):
    estimate = estimate_kernel(HARD[name])
    assert estimate.blur is None
    assert estimate.confidence == 0
    assert estimate.reason.endswith("bicubic is assumed")
    assert np.isfinite(estimate.kernel).all()


@pytest.mark.parametrize("shape", [(48, 48, 3), (300, 48), (64, 64, 4), (900, 1200), (200, 200, 13)])
@pytest.mark.parametrize("scale", [1, 1.5, 2, (2, 4), 7])
def test_any_size_bands_and_scale_have_an_answer(shape, scale):
    image = np.resize(data.astronaut()[..., 0], shape)
    estimate = estimate_kernel(image, scale)
    assert np.isfinite(estimate.kernel).all()
    assert estimate.kernel.sum() == pytest.approx(1)
    assert 0 <= estimate.confidence <= 1


def test_command_saves_and_draws(tmp_path, capsys):
    photo, kernel, plot = (tmp_path / name for name in ("photo.png", "kernel.npy", "kernel.svg"))
    Image.fromarray(shrunk(data.astronaut(), BLUR)).save(photo)
    assert main(["kernel", str(photo), "-o", str(kernel), "--plot", str(plot)]) == 0
    assert "kernel: gaussian 1." in capsys.readouterr().out
    assert np.load(kernel) == pytest.approx(estimate_kernel(photo).kernel)
    assert b"<svg" in plot.read_bytes()
    assert main(["kernel", str(photo), "-o", str(kernel)]) == 1
    assert "kernel.npy: exists already" in capsys.readouterr().err
    assert main(["kernel", str(photo), "-o", str(tmp_path / "kernel.txt")]) == 2
    assert "saved as .npy or .png" in capsys.readouterr().err
    assert main(["kernel", str(tmp_path / "absent.png")]) == 1
    same = str(tmp_path / "same.png")
    assert main(["kernel", str(photo), "-o", same, "--plot", same]) == 2
    picture = kernel.with_suffix(".png")
    assert main(["kernel", str(photo), "-o", str(picture)]) == 0
    again = upscale(photo, kernel=picture, num_epochs=0)
    assert np.abs(np.asarray(again, float) - np.asarray(upscale(photo, num_epochs=0), float)).max() <= 1


def test_a_batch_has_no_one_kernel(generator):
    with pytest.raises(ImageError, match="a batch of 2 has no one kernel"):
        estimate_kernel(torch.rand(2, 3, 64, 64, generator=generator))


def test_auto_is_the_default_and_equals_giving_the_estimate():
    small = shrunk(data.astronaut()[:256, 100:356], BLUR)
    fast = {"num_epochs": 3, "precision": "fp32"}
    assert np.array_equal(upscale(small, **fast), upscale(small, kernel=estimate_kernel(small).kernel, **fast))
    sharp = shrunk(data.astronaut()[:256, 100:356])
    assert np.array_equal(upscale(sharp, **fast), upscale(sharp, kernel="bicubic", **fast))


def test_a_blurred_photo_is_enlarged_better_than_with_bicubic_assumed():
    truth = data.astronaut()[:256, 100:356]
    small = shrunk(truth, BLUR)
    result = zssr.Upscaler(zssr.Config(num_epochs=0)).run(small)
    assumed = upscale(small, kernel="bicubic", num_epochs=0)
    errors = [np.square(image.astype(float) - truth).mean() for image in (result.image, assumed)]
    assert errors[0] < 0.7 * errors[1]
    assert len(result.kernel_estimates) == 1
    assert result.assumed == f"kernel: {result.kernel_estimates[0]}"
