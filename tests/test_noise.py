import numpy as np
import pytest
import torch
from skimage import data

from zssr.degradation import Degradation
from zssr.degradation.noise import add_noise, quantize
from zssr.estimation.noise_level import estimate_noise_level
from zssr.geometry import SYMMETRIES


@pytest.fixture(scope="module")
def photo():
    """A clean photo: the half of a larger one, whose own noise is less than a level."""
    planes = torch.from_numpy(data.astronaut().astype(np.float32) / 255).permute(2, 0, 1)[None]
    return quantize(Degradation().downsample(planes, (256, 256)))


def add_quantized_noise(image, sigma):
    return quantize(add_noise(image, sigma, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("sigma", [1, 2, 5, 15, 25])
def test_noise_on_a_flat_image_is_measured(sigma):
    assert estimate_noise_level(add_quantized_noise(torch.full((1, 1, 200, 200), 0.5), sigma)) == pytest.approx(
        sigma, rel=0.1
    )


@pytest.mark.parametrize("sigma", [2, 5, 15, 25])
def test_noise_on_a_photo_is_measured(photo, sigma):
    assert estimate_noise_level(add_quantized_noise(photo, sigma)) == pytest.approx(sigma, rel=0.15)


def test_texture_is_not_noise(photo):
    assert estimate_noise_level(photo) < 0.8
    y, x = torch.meshgrid(torch.arange(120.0), torch.arange(100.0), indexing="ij")
    assert estimate_noise_level(quantize(0.5 + 0.3 * torch.sin(0.4 * x + 0.7 * y))[None, None]) < 0.5


def test_rotations_flips_and_the_negative_have_the_same_noise(photo):
    noisy = add_quantized_noise(photo, 6.0)
    level = estimate_noise_level(noisy)
    assert estimate_noise_level(1 - noisy) == pytest.approx(level, rel=1e-3)
    for symmetry in SYMMETRIES:
        assert estimate_noise_level(symmetry(noisy)) == pytest.approx(level, rel=0.05)


def test_clipped_parts_do_not_count(photo):
    noisy = add_quantized_noise(photo, 8.0)
    noisy[..., :100, :] = 1
    noisy[..., 220:, :] = 0
    assert estimate_noise_level(noisy) == pytest.approx(8, rel=0.15)


def test_a_batch_has_the_noise_of_its_images(photo):
    batch = torch.cat([add_quantized_noise(photo, 10.0), add_quantized_noise(photo.flip(-1), 10.0)])
    assert estimate_noise_level(batch) == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    "image", [torch.zeros(1, 3, 99, 99), torch.eye(60)[None, None], torch.eye(300)[None, None, :7]]
)
def test_images_without_flat_blocks_have_none(image):
    assert estimate_noise_level(image) == 0
