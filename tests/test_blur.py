import numpy as np
import pytest
import torch
from helpers import gaussian_kernel, kernel_covariance
from PIL import Image
from scipy import io, ndimage

from zssr.degradation import Degradation
from zssr.degradation.blur import rescale_kernel, validate_kernel
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import add_noise, is_quantized, quantize
from zssr.errors import KernelError
from zssr.geometry import SYMMETRIES
from zssr.io.kernels import load_kernel


@pytest.fixture
def image():
    return torch.rand(1, 2, 30, 36, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def correlate_scipy(image, kernel):
    return np.stack([ndimage.correlate(plane, kernel, mode="reflect") for plane in image[0].numpy()])[None]


@pytest.mark.parametrize("scale", [2, 3])
def test_top_left_equals_scipy_at_the_first_pixel_of_each_block(image, scale):
    kernel = gaussian_kernel(9, (1.0, 2.0), 0.7)
    small = Degradation(kernel, (scale, scale), "top_left").downsample(image, (30 // scale, 36 // scale))
    expected = correlate_scipy(image, kernel)[..., ::scale, ::scale]
    assert np.abs(small.numpy() - expected).max() < 1e-5


def test_center_equals_scipy_for_an_even_kernel(image):
    kernel = gaussian_kernel(8, (0.9, 1.7), 0.4)  # its middle lies between pixels, as does that of a 2 x 2 block
    small = Degradation(kernel, (2, 2), "center").downsample(image, (15, 18))
    expected = correlate_scipy(image, kernel)[..., 1::2, 1::2]  # scipy centers an even kernel half a pixel right
    assert np.abs(small.numpy() - expected)[..., 2:-2, 2:-2].max() < 1e-5


def test_the_center_of_mass_lies_on_the_sample(image):
    kernel = gaussian_kernel(8, (0.9, 1.7), 0.4)
    wider = np.pad(kernel, ((0, 3), (2, 0)))
    a = Degradation(kernel, (2, 2)).downsample(image, (15, 18))
    b = Degradation(wider, (2, 2)).downsample(image, (15, 18))
    assert torch.allclose(a, b, atol=1e-6)


def test_odd_kernel_is_shifted_by_half_a_pixel(image):
    smooth = Degradation(gaussian_kernel(15, (2.0, 2.0)), (2, 2)).downsample(image, (15, 18))
    exact = Degradation(gaussian_kernel(16, (2.0, 2.0)), (2, 2)).downsample(image, (15, 18))
    assert torch.allclose(smooth, exact, atol=2e-3)


@pytest.mark.parametrize("sampling", ["center", "top_left"])
@pytest.mark.parametrize("scale", [(2.0, 2.0), (1.5, 2.5), (3.0, 3.0)])
def test_upsample_puts_a_ramp_back_where_it_was_sampled(sampling, scale):
    degradation = Degradation(gaussian_kernel(7, (1.0, 1.5), 0.3), scale, sampling)
    ramp = torch.arange(60.0, dtype=torch.float64).expand(1, 1, 60, 60)
    size = (round(60 / scale[0]), round(60 / scale[1]))
    back = degradation.upsample(degradation.downsample(ramp, size), (60, 60))
    assert (back - ramp)[..., 20:40, 20:40].abs().max() < 1e-3


def test_kernel_turns_with_the_image(image):
    kernel = gaussian_kernel(9, (0.6, 2.5), 0.5)
    for symmetry in SYMMETRIES:
        turned = symmetry(image)
        size = (turned.shape[-2] // 2, turned.shape[-1] // 2)
        turned_kernel = symmetry(torch.from_numpy(kernel)).numpy()
        expected = symmetry(Degradation(kernel, (2, 2)).downsample(image, (15, 18)))
        assert torch.allclose(Degradation(turned_kernel, (2, 2)).downsample(turned, size), expected, atol=1e-6)


def test_symmetries_commute_with_downsampling(image):
    square = image[..., :30, :30]
    for kernel, count in (
        (None, 8),
        (gaussian_kernel(9, (1.5, 1.5)), 8),
        (gaussian_kernel(9, (1, 2)), 4),
        (gaussian_kernel(9, (1, 2), 0.5), 2),
    ):
        degradation = Degradation(kernel, (2, 2))
        symmetries = degradation.symmetries()
        assert len(symmetries) == count
        for symmetry in symmetries:
            one = symmetry(degradation.downsample(square, (15, 15)))
            assert torch.allclose(one, degradation.downsample(symmetry(square), (15, 15)), atol=1e-5)


def test_a_shifted_kernel_has_the_same_symmetries():
    assert len(Degradation(np.pad(gaussian_kernel(9, (1.5, 1.5)), ((0, 1), (0, 1))), (2, 2)).symmetries()) == 8


def test_rescaled_kernel_has_the_covariance_of_a_step():
    kernel = gaussian_kernel(41, (4.0, 6.0), 0.6)
    half = rescale_kernel(kernel, (4.0, 4.0), (2.0, 2.0))
    assert kernel_covariance(half) * 5 == pytest.approx(kernel_covariance(kernel), rel=0.02, abs=0.02)  # 1 + 2^2
    assert half.sum() == pytest.approx(1)


def test_kernel_at_its_own_scale_is_unchanged():
    kernel = gaussian_kernel(7, (1, 2), 0.2)
    assert rescale_kernel(kernel, (2.0, 2.0), (2.0, 2.0)) is kernel


def test_two_steps_downsample_like_one():
    image = torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = Degradation(gaussian_kernel(32, (3.5, 4.5), 0.3), (4.0, 4.0))
    step = whole.at_scale((2.0, 2.0))
    twice = step.downsample(step.downsample(image, (48, 48)), (24, 24))
    once = whole.downsample(image, (24, 24))
    assert (twice - once)[..., 4:-4, 4:-4].abs().max() < 0.1 * once.std()


@pytest.mark.parametrize("suffix", [".npy", ".mat", ".png"])
def test_kernels_are_read_from_files(tmp_path, suffix):
    kernel = gaussian_kernel(9, (1, 2), 0.5)
    path = tmp_path / f"kernel{suffix}"
    if suffix == ".npy":
        np.save(path, kernel)
    elif suffix == ".mat":
        io.savemat(path, {"Kernel": kernel, "other": np.eye(3)})
    else:
        Image.fromarray((kernel / kernel.max() * 255).round().astype(np.uint8)).save(path)
    assert np.abs(validate_kernel(load_kernel(path)) - kernel).max() < (2e-4 if suffix == ".png" else 1e-12)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 3)), "positive"),
        (-np.ones((3, 3)), "positive"),
        (np.full((3, 3), np.nan), "NaN"),
        (np.full((3, 3), np.inf), "infinite"),
        ([[-1, 0, 1.001]], "cancel"),
        (np.ones(3), "2-D"),
        (np.ones((3, 0)), "2-D"),
        (np.ones((3, 3, 1)), "2-D"),
        ([["a", "b"]], "numbers"),
        ([[1, 2], [3]], "numbers"),
    ],
)
def test_invalid_kernels_are_refused(values, words):
    with pytest.raises(KernelError, match=words):
        validate_kernel(values)


def test_unreadable_kernel_files_are_refused(tmp_path):
    for name, content in (("a.npy", b"junk"), ("a.mat", b"junk"), ("a.png", b"junk"), ("a.txt", b"1 2 3")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(KernelError, match=name):
            load_kernel(tmp_path / name)
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(KernelError, match=r"pickle\.npy"):
        load_kernel(tmp_path / "pickle.npy")
    io.savemat(tmp_path / "b.mat", {"first": np.eye(3), "second": np.eye(3)})
    with pytest.raises(KernelError, match="Kernel"):
        load_kernel(tmp_path / "b.mat")
    with pytest.raises(KernelError, match="no such"):
        load_kernel(tmp_path / "absent.npy")


def test_kernel_larger_than_the_image_is_refused(image):
    with pytest.raises(KernelError, match="31"):
        Degradation(np.ones((31, 31)) / 961, (2, 2)).downsample(image, (15, 18))


def test_noise_and_artifacts_are_not_back_projected(image):
    small = torch.rand(1, 1, 10, 10, generator=torch.Generator().manual_seed(0)).to(image.dtype)
    large = Degradation().upsample(small, (20, 20))
    for unclean in (Degradation(noise=4.0), Degradation(jpeg=Jpeg.from_quality(80))):
        assert not unclean.is_clean
        assert unclean.back_project(large, small, 3) is large
        assert unclean.without_noise().is_clean
        assert torch.equal(
            unclean.without_noise().back_project(large, small, 3), Degradation().back_project(large, small, 3)
        )
    assert not torch.equal(Degradation().back_project(large, small, 3), large)


def test_noise_has_its_sigma_and_the_input_stays(generator):
    image = torch.full((1, 1, 200, 200), 0.5)
    noisy = add_noise(image, 10.0, generator)
    assert (noisy - image).std().item() * 255 == pytest.approx(10, rel=0.02)
    assert torch.equal(image, torch.full((1, 1, 200, 200), 0.5))


def test_quantized_values_are_those_of_8_bits(generator):
    levels = torch.arange(256, dtype=torch.uint8)
    assert is_quantized(levels / 255)
    image = 1.4 * torch.rand(9, 7, generator=generator) - 0.2
    assert not is_quantized(image)
    assert torch.equal(quantize(image), (255 * image.clamp(0, 1)).round().byte() / 255)
    assert not is_quantized(torch.arange(65536, dtype=torch.int32) / 65535)


@pytest.mark.parametrize("sigma", [0.8, 1.5])
def test_blur_sigma_is_the_larger_standard_deviation(sigma):
    y, x = np.mgrid[-12:13, -12:13]
    kernel = validate_kernel(np.exp(-(y**2) / (2 * 0.6**2) - x**2 / (2 * sigma**2)))
    assert Degradation(kernel).blur_sigma == pytest.approx(sigma, rel=1e-3)
    assert Degradation(np.array([[-0.25, 1.5, -0.25]])).blur_sigma == 0
    assert Degradation().blur_sigma == 0
