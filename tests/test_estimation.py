import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import block_diag
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis
from scipy.special import erf
from skimage import data

import zssr
from zssr import ImageError, estimate_kernel, upscale
from zssr.cli.main import main
from zssr.color import luma
from zssr.degradation import Degradation
from zssr.degradation.blur import center_of_mass, rescale_kernel
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import add_noise, quantize
from zssr.degradation.resamplers import BICUBIC, Resampler
from zssr.estimation.blur_kernel import estimate_blur
from zssr.estimation.candidates import make_candidates
from zssr.estimation.edges import (
    EdgeModel,
    draw_profiles,
    edge_log_likelihoods,
    find_profiles,
    mixture_log_likelihoods,
)
from zssr.estimation.estimate import estimate_degradation
from zssr.estimation.jpeg_quality import estimate_jpeg
from zssr.estimation.noise_level import estimate_noise_level
from zssr.estimation.parametric_kernels import Gaussian, transfer_functions
from zssr.estimation.periodogram import frequencies, measure_spectrum
from zssr.estimation.scene_spectra import (
    COVARIANCE,
    NOISE_VARIANCE,
    ORDERS,
    RADIAL_BINS,
    evaluate_basis,
    mean_deviation,
    varying_directions,
)
from zssr.estimation.spectrum import deviation_from_bicubic, mahalanobis_distances, spectrum_log_likelihoods

BLUR = Gaussian(1.6, 1.0, math.radians(34))
PHOTOS = ("astronaut", "coffee", "chelsea")
NOISY = np.random.default_rng(0).random((64, 64))
STEPS = np.kron(np.random.default_rng(0).random((20, 20)), np.ones((12, 12)))
STRIPES = np.tile(np.kron(np.random.default_rng(0).integers(50, 205, 64), np.ones(8)), (512, 1)).astype(np.uint8)


def downsample(photo, blur=None, scale=2.0):
    """Downsample a photo (H, W) or (H, W, 3) by bicubic or by a blur, to 8 bits."""
    photo = photo if photo.ndim == 3 else photo[..., None].repeat(3, 2)
    height, width = (int(length // scale) for length in photo.shape[:2])
    kernel = None if blur is None else blur.to_kernel((scale, scale))
    planes = torch.from_numpy(photo[: int(height * scale), : int(width * scale)].astype(float)).permute(2, 0, 1)[None]
    small = Degradation(kernel, (scale, scale)).downsample(planes, (height, width))[0]
    return small.round().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)


def width_error(blur, truth):
    """Return the largest error of a blur's standard deviation, over all directions."""
    return np.abs(np.linalg.eigvalsh(blur.covariance_root - truth.covariance_root)).max()


def enumerate_gaussians():
    """Return the Gaussian candidates, each with its index."""
    candidates = make_candidates()
    blurs = enumerate(candidates.blurs, len(candidates.resamplers))
    return [(k, blur) for k, blur in blurs if isinstance(blur, Gaussian)]


# kernels


@pytest.mark.parametrize("blur", [BLUR, Gaussian(2.4, 0.7, 2.5), Gaussian(1.1, 1.1)])
@pytest.mark.parametrize("scale", [(2.0, 2.0), (3.0, 3.0), (2.0, 4.0), (1.5, 2.5)])
def test_kernel_of_a_gaussian_has_its_covariance_and_is_centered(blur, scale):
    blur = blur.at_scale(scale)
    kernel = blur.to_kernel(scale)
    assert kernel.sum() == pytest.approx(1)
    assert center_of_mass(kernel) == pytest.approx([(side - 1) / 2 for side in kernel.shape])
    assert [side % 2 for side in kernel.shape] == [round(s) % 2 for s in scale]
    y, x = (np.arange(side) - (side - 1) / 2 for side in kernel.shape)
    moments = [[kernel.sum(1) @ y**2, y @ kernel @ x], [y @ kernel @ x, kernel.sum(0) @ x**2]]
    assert np.array(moments) == pytest.approx(blur.covariance, abs=0.02 * blur.along**2)


def test_gaussian_and_covariance_are_inverse():
    back = Gaussian.from_covariance(BLUR.covariance)
    assert (back.along, back.across, back.angle) == pytest.approx((BLUR.along, BLUR.across, BLUR.angle))
    assert BLUR.covariance_root @ BLUR.covariance_root == pytest.approx(BLUR.covariance)
    along = np.array([-math.sin(BLUR.angle), math.cos(BLUR.angle)])  # (row, column): rows go down, angles up
    assert along @ BLUR.covariance @ along == pytest.approx(BLUR.along**2)


def test_estimate_for_a_larger_scale_is_nearly_the_same_blur_of_the_photo():
    assert BLUR.at_scale((2.0, 2.0)).covariance == pytest.approx(BLUR.covariance)
    wider = BLUR.at_scale((6.0, 6.0))
    assert wider.along / wider.across == pytest.approx(BLUR.along / BLUR.across)
    assert 2.5 * BLUR.along < wider.along < 3 * BLUR.along


def test_kernel_rescaled_to_a_larger_scale_is_the_same_blur_of_the_photo():
    kernel = BLUR.to_kernel()
    rescaled = rescale_kernel(kernel, (2.0, 2.0), (4.0, 4.0))
    y = np.arange(len(rescaled)) - center_of_mass(rescaled)[0]
    assert rescaled.sum(1) @ y**2 == pytest.approx(4 * BLUR.covariance[0, 0], rel=0.05)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_kernel_downsamples_like_bicubic(scale, photo):
    size = (photo.shape[-2] // scale, photo.shape[-1] // scale)
    photo = photo[..., : scale * size[0], : scale * size[1]]
    scales = (float(scale), float(scale))
    ours = Degradation(BICUBIC.to_kernel(scales), scales).downsample(photo, size)
    assert (ours - Degradation(None, scales).downsample(photo, size)).abs().max() < 1e-5


def test_transfer_function_is_the_fourier_transform():
    kernel = BLUR.sample((9, 9))
    expected = np.abs(np.fft.fft2(kernel, (16, 16)))
    ours = transfer_functions(kernel[None], np.fft.fftfreq(16)[:, None], np.fft.fftfreq(16))[0]
    assert np.abs(ours) == pytest.approx(expected, abs=1e-12)


def test_a_wrong_kernel_costs_and_one_too_wide_costs_more():
    candidates = make_candidates()
    losses = candidates.mutual_losses()
    assert np.abs(np.diag(losses)).max() < 1e-9
    assert losses.min() > -1e-9
    isotropic = {blur.along: k for k, blur in enumerate_gaussians() if blur.along == blur.across}
    narrow, wide = isotropic[0.8], isotropic[1.55]
    assert losses[wide, narrow] > 1.5 * losses[narrow, wide]
    assert losses[wide, 0] > 1.5 * losses[0, wide]


# edges


def draw_edges(taps, softness):
    """Draw upright steps of the scene's softness at all places between pixels, behind a kernel (taps,), halved."""
    at = np.arange(64) - 31.4 - np.linspace(0, 2, 60, endpoint=False)[:, None]
    scene = 0.2 + 0.5 * (1 + erf(at / (math.sqrt(2) * softness))) / 2
    small = np.stack([np.convolve(row, taps, "same")[4:-4:2] for row in scene])
    return small


@pytest.mark.parametrize("name", ["bicubic", "box", "bilinear", "lanczos", "cubic"])
def test_profiles_of_ideal_edges_are_those_of_their_kernel(name):
    """Drawn edges, every row at another place, are explained by their own resampler best."""
    profiles = find_profiles(np.repeat(draw_edges(Resampler(name).profile(2.0), 0.5), 3, axis=0))
    assert len(profiles) > 40
    ideal = np.stack([draw_profiles(one.profile(2.0), 0.0, 2.0) for one in make_candidates().resamplers])
    log_likelihoods = mixture_log_likelihoods(profiles, ideal, EdgeModel())
    names = [one.name for one in make_candidates().resamplers]
    assert log_likelihoods[names.index(name)] > log_likelihoods.max() - 0.03
    assert log_likelihoods[names.index({"bilinear": "lanczos"}.get(name, "bilinear"))] < log_likelihoods.max() - 0.1


def test_profiles_rise_from_0_to_1_and_stand_out_of_noise():
    profiles = find_profiles(255 / 256 * STEPS)
    assert profiles[:, :2].mean(1) == pytest.approx(0, abs=1e-9)
    assert profiles[:, -2:].mean(1) == pytest.approx(1)
    assert np.abs(np.diff(profiles)).argmax(1).tolist() == [3] * len(profiles)
    assert len(find_profiles(STEPS, most_noise=0.02)) < len(profiles)
    assert len(find_profiles(STEPS, np.zeros(STEPS.shape, bool))) == 0


def test_edges_show_the_width_of_a_blur_and_its_direction():
    soft = gaussian_filter(STEPS, (0.2, 0.9))  # rows, columns
    log_likelihoods = edge_log_likelihoods(soft, 2.0)
    best = max(enumerate_gaussians(), key=lambda one: log_likelihoods[one[0]])[1]
    (rows, _), (_, columns) = best.covariance
    assert rows < 0.3 < 1 < columns < 4
    assert edge_log_likelihoods(np.full((60, 60), 0.5), 2.0) is None


# the power spectrum


def scene_covariance(radius, angle, noise_variance):
    """Return the covariance (frequencies, frequencies) of scenes, as its definition says."""
    weights = block_diag(*(COVARIANCE[(k + 1) // 2] + 0.002 * np.eye(RADIAL_BINS) for k in range(2 * len(ORDERS) - 1)))
    basis = evaluate_basis(radius, angle)
    return basis @ weights @ basis.T + noise_variance * np.eye(len(radius))


def test_distances_are_those_of_mahalanobis(generator):
    """Of the spectrum from what a candidate predicts, both without their means."""
    radius, angle = frequencies()
    measured = np.exp(torch.randn(len(radius), generator=generator).double().numpy())
    inverse = np.linalg.inv(scene_covariance(radius, angle, 4 * NOISE_VARIANCE))
    expected = mean_deviation(radius, angle) - deviation_from_bicubic(NOISY)  # bicubic's own logarithms cancel below
    assert np.isfinite(expected).all()
    logs = np.log(measure_spectrum(NOISY).power)
    bicubic = logs - logs.mean() + expected
    distance = mahalanobis(np.log(measured) - np.log(measured).mean(), bicubic, inverse)
    assert mahalanobis_distances(measured)[0, 0] == pytest.approx(distance**2, rel=1e-4)


def test_variation_of_scenes_is_isotropic():
    """The covariance of two frequencies depends on their radii and on the angle in between alone."""
    radius, angle = np.array([0.1, 0.2, 0.4, 0.4]), np.array([0.3, -0.5, 1.0, 1.4])
    varying = varying_directions(radius, angle, 0.1)
    covariance = np.linalg.inv((np.eye(4) - varying @ varying.T) / 0.1)
    assert covariance == pytest.approx(scene_covariance(radius, angle, 0.1))
    assert np.linalg.eigvalsh(covariance).min() > 0.1
    assert scene_covariance(radius, angle + 0.7, 0.1) == pytest.approx(covariance)
    assert scene_covariance(radius, -angle, 0.1) == pytest.approx(covariance)


def test_the_mean_scene_is_the_same_after_a_quarter_turn():
    radius, angle = np.array([0.1, 0.2, 0.4, 0.4]), np.array([0.3, -0.5, 1.0, 1.4])
    mean = mean_deviation(radius, angle)
    assert mean_deviation(radius, angle + math.pi / 2) == pytest.approx(mean)
    assert np.abs(mean_deviation(radius, angle + math.pi / 4) - mean).max() > 0.1


def test_triangular_basis_sums_to_one():
    isotropic = evaluate_basis(np.array([0.1, 0.2, 0.4, 0.7]), np.array([0.3, -0.5, 1.0, 1.4]))[:, :RADIAL_BINS]
    assert isotropic.sum(1) == pytest.approx(np.ones(4))


def test_spectrum_of_a_random_scene_gives_its_blur():
    rng = np.random.default_rng(0)
    down, right = np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)
    radius = np.maximum(np.hypot(down, right), 1 / 512)
    scene = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((512, 512))) * radius**-1.3)
    scene = torch.from_numpy(0.5 + 0.1 * scene / scene.std())[None, None]
    small = Degradation(BLUR.to_kernel(), (2.0, 2.0)).downsample(scene, (256, 256))[0, 0].numpy()
    log_likelihoods = spectrum_log_likelihoods(measure_spectrum(small), small.size)
    best = max(enumerate_gaussians(), key=lambda one: log_likelihoods[one[0]])[1]
    assert width_error(best, BLUR) < 0.3  # neighboring candidates are as far apart


# the estimate


@pytest.mark.parametrize("name", PHOTOS)
def test_bicubic_is_recognized(name):
    estimate = estimate_kernel(downsample(getattr(data, name)()))
    assert estimate.blur is None
    assert str(estimate).startswith("bicubic (confidence")
    assert estimate.kernel == pytest.approx(BICUBIC.to_kernel((2, 2)))
    assert 0 <= estimate.confidence <= 1


@pytest.mark.parametrize("name", PHOTOS)
def test_gaussian_blur_is_measured(name):
    estimate = estimate_kernel(downsample(getattr(data, name)(), BLUR))
    assert width_error(estimate.blur, BLUR) < 0.2
    assert estimate.confidence > 0.4
    assert estimate.cues == {"spectrum": True, "edges": True}
    assert "gaussian 1." in str(estimate)


def test_estimate_turns_and_flips_with_the_photo():
    small = downsample(data.astronaut(), BLUR)
    upright = estimate_kernel(small).blur.covariance
    turned = estimate_kernel(np.rot90(small).copy()).blur.covariance
    (rows, mixed), (_, columns) = upright
    assert turned == pytest.approx(np.array([[columns, -mixed], [-mixed, rows]]), abs=0.3)
    assert estimate_kernel(255 - small).blur.covariance == pytest.approx(upright, abs=0.15)


@pytest.mark.parametrize("scene", [data.brick(), data.grass(), STRIPES], ids=["brick", "grass", "stripes"])
def test_directions_of_a_scene_are_not_taken_for_blur(scene):
    assert estimate_kernel(downsample(scene)).blur is None


def test_where_the_cues_disagree_bicubic_is_safe():
    estimate = estimate_kernel(downsample(data.brick(), BLUR))
    assert estimate.cues == {"spectrum": False, "edges": False}
    assert estimate.blur is None
    assert estimate.reason == "no cue alone for bicubic downsampling, spectrum against, edges against"
    assert estimate.confidence < 0.3


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
def test_images_without_evidence_are_taken_for_bicubic(name):
    estimate = estimate_kernel(HARD[name])
    assert estimate.blur is None
    assert estimate.confidence == 0
    assert estimate.reason.endswith("bicubic is assumed")
    assert np.isfinite(estimate.kernel).all()


@pytest.mark.parametrize("shape", [(48, 48, 3), (300, 48), (64, 64, 4), (900, 1200), (200, 200, 13)])
@pytest.mark.parametrize("scale", [1, 1.5, 2, (2, 4), 7])
def test_any_size_channels_and_scale_have_an_estimate(shape, scale):
    image = np.resize(data.astronaut()[..., 0], shape)
    estimate = estimate_kernel(image, scale)
    assert np.isfinite(estimate.kernel).all()
    assert estimate.kernel.sum() == pytest.approx(1)
    assert 0 <= estimate.confidence <= 1


# the whole degradation


def to_tensor(picture):
    return torch.from_numpy(picture).permute(2, 0, 1)[None] / 255


def test_degradation_is_made_of_all_estimates(generator):
    small = to_tensor(downsample(data.astronaut(), BLUR))
    noisy = quantize(add_noise(small, 6.0, generator))
    degradation, estimate = estimate_degradation(noisy, scale=(2.0, 2.0), sampling="top_left")
    assert degradation.noise == estimate_noise_level(noisy)
    assert degradation.noise == pytest.approx(6, rel=0.2)
    assert (degradation.scale, degradation.sampling, degradation.jpeg) == ((2.0, 2.0), "top_left", None)
    assert degradation.quantized
    expected = estimate_blur(luma(noisy[0]), (2.0, 2.0))
    assert estimate.confidence == expected.confidence
    assert (degradation.kernel is None) == (expected.blur is None)
    degradation, _ = estimate_degradation(Jpeg.from_quality(60).compress(small), scale=(2.0, 2.0))
    assert degradation.jpeg == Jpeg.from_quality(60)


def test_estimated_kernel_is_that_of_the_degradation():
    small = to_tensor(downsample(data.astronaut(), BLUR))
    degradation, estimate = estimate_degradation(small, scale=(3.0, 3.0))
    assert degradation.kernel is estimate.kernel
    assert degradation.scale == estimate.scale == (3.0, 3.0)
    degradation, estimate = estimate_degradation(to_tensor(downsample(data.astronaut())), scale=(2.0, 2.0))
    assert (degradation.kernel, estimate.blur) == (None, None)
    assert degradation.is_clean


@pytest.mark.parametrize("kernel", [BLUR.to_kernel(), None], ids=["gaussian", "bicubic"])
def test_known_parts_of_a_degradation_are_not_estimated(kernel, generator):
    image = torch.rand(1, 3, 60, 60, generator=generator)
    file_jpeg = Jpeg.from_quality(20)
    known = {"kernel": kernel, "noise": 3, "jpeg": 70, "file_jpeg": file_jpeg}
    degradation, estimate = estimate_degradation(image, scale=(2.0, 2.0), **known)
    assert degradation.kernel is kernel
    assert (degradation.noise, degradation.jpeg) == (3.0, Jpeg.from_quality(70))
    assert not degradation.quantized
    assert estimate is None
    degradation, _ = estimate_degradation(image, scale=(2.0, 2.0), kernel=None, file_jpeg=file_jpeg)
    assert degradation.jpeg == file_jpeg
    degradation, _ = estimate_degradation(image, scale=(2.0, 2.0), kernel=None, jpeg="off", file_jpeg=file_jpeg)
    assert degradation.jpeg is None


def test_weak_noise_and_fine_compression_are_left_in(generator):
    image = to_tensor(downsample(data.astronaut()))
    noisy = quantize(add_noise(image, 1.5, generator))
    assert 1 < estimate_noise_level(noisy) < 2.5
    assert estimate_degradation(noisy, scale=(2.0, 2.0), kernel=None)[0].noise == 0
    compressed = Jpeg.from_quality(97).compress(image)
    assert estimate_jpeg(compressed) is None
    assert estimate_degradation(compressed, scale=(2.0, 2.0), kernel=None)[0].is_clean


# the command, and upscaling


def test_kernel_command_saves_and_draws(tmp_path, capsys):
    photo, kernel, plot = (tmp_path / name for name in ("photo.png", "kernel.npy", "kernel.svg"))
    Image.fromarray(downsample(data.astronaut(), BLUR)).save(photo)
    assert main(["kernel", str(photo), "-o", str(kernel), "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    assert "kernel: gaussian 1." in printed
    assert "likeliest: gaussian 0.9" in printed or "likeliest: gaussian 1.00" in printed
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


def test_a_batch_is_refused(generator):
    with pytest.raises(ImageError, match="a batch of 2 has no one kernel"):
        estimate_kernel(torch.rand(2, 3, 64, 64, generator=generator))


def test_auto_is_the_default_and_equals_giving_the_estimate():
    small = downsample(data.astronaut()[:256, 100:356], BLUR)
    fast = {"num_epochs": 3, "precision": "fp32"}
    assert np.array_equal(upscale(small, **fast), upscale(small, kernel=estimate_kernel(small).kernel, **fast))
    sharp = downsample(data.astronaut()[:256, 100:356])
    assert np.array_equal(upscale(sharp, **fast), upscale(sharp, kernel="bicubic", **fast))


def test_blurred_photo_is_upscaled_better_than_with_bicubic_assumed():
    truth = data.astronaut()[:256, 100:356]
    small = downsample(truth, BLUR)
    result = zssr.Upscaler(zssr.Config(num_epochs=0)).run(small)
    assumed = upscale(small, kernel="bicubic", num_epochs=0)
    errors = [np.square(image.astype(float) - truth).mean() for image in (result.image, assumed)]
    assert errors[0] < 0.7 * errors[1]
    assert len(result.kernel_estimates) == 1
    assert result.assumed == f"kernel: {result.kernel_estimates[0]}"
