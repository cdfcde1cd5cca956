import numpy as np
import pytest
import torch
from helpers import gaussian_kernel, kernel_covariance
from skimage import data
from torch.nn.functional import conv2d

from benchmarks.kernelgan import LinearGenerator, kernel_penalty, refine_kernel
from zssr.degradation import Degradation
from zssr.degradation.blur import center_of_mass
from zssr.errors import ImageError

START = gaussian_kernel(16, (1.8, 1.0), 0.5)


@pytest.fixture(scope="module")
def picture():
    """A photo of 96 x 88 pixels that a Gaussian blurred."""
    scene = torch.from_numpy(data.camera()[100:292, 150:326].astype(np.float32) / 255)[None, None]
    return Degradation(START, (2.0, 2.0)).downsample(scene, (96, 88))[0, 0].numpy()


def perturbed_generator(start, generator):
    linear = LinearGenerator.initialize(start, generator)
    with torch.no_grad():
        linear.weights[-1].normal_(std=0.05, generator=generator)
    return linear


@pytest.mark.parametrize("start", [START, gaussian_kernel(20, (2.0, 1.0))[:, 2:-2]], ids=["square", "upright"])
def test_composed_kernel_equals_the_layers(picture, generator, start):
    picture = torch.from_numpy(picture)[None, None]
    linear = perturbed_generator(start, generator)
    expected = conv2d(picture, torch.from_numpy(start).float()[None, None]) + linear.chain(picture)
    assert conv2d(picture, linear.kernel()).detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-5)
    assert float((linear.kernel() - linear.start).detach().abs().max()) > 0.01


def test_generator_begins_with_the_start(generator):
    linear = LinearGenerator.initialize(START, generator)
    assert torch.equal(linear.kernel(), linear.start)


@pytest.mark.parametrize("start", [START, gaussian_kernel(8, (0.8, 1.2)), gaussian_kernel(26, (3.0, 2.0))[2:-2]])
def test_no_steps_give_the_start(picture, generator, start):
    kernel = refine_kernel(picture, start, generator, 0)
    pads = [((after - before) // 2,) * 2 for after, before in zip(kernel.shape, start.shape, strict=True)]
    assert min(kernel.shape) >= 16
    assert np.abs(kernel - np.pad(start, pads)).sum() < 0.02


def test_kernel_is_centered_sums_to_one_and_stays_near_the_start(picture, generator):
    kernel = refine_kernel(picture, START, generator, 30)
    assert kernel.shape == START.shape
    assert kernel.sum() == pytest.approx(1)
    assert center_of_mass(kernel) == pytest.approx((7.5, 7.5), abs=0.02)
    assert kernel_covariance(kernel) == pytest.approx(kernel_covariance(START), abs=0.5)
    assert 1e-4 < np.abs(kernel - START).sum() < 0.3


def test_start_is_centered(picture, generator):
    kernel = refine_kernel(picture, gaussian_kernel(16, (1.2, 1.5), center=6.8), generator, 0)
    assert center_of_mass(kernel) == pytest.approx((7.5, 7.5), abs=0.02)


def test_same_seed_gives_same_kernel_and_inputs_stay(picture):
    photo, start = picture.copy(), START.copy()
    one, same = (refine_kernel(picture, START, torch.Generator().manual_seed(7), 5) for _ in range(2))
    other = refine_kernel(picture, START, torch.Generator().manual_seed(8), 5)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.array_equal(picture, photo)
    assert np.array_equal(START, start)


def test_steps_are_reported(picture, generator):
    reported = []
    refine_kernel(picture, START, generator, 3, lambda done, most: reported.append((done, most)))
    assert reported == [(1, 3), (2, 3), (3, 3)]


def test_flat_photo_leaves_the_kernel(generator):
    kernel = refine_kernel(np.full((40, 40), 0.5), START, generator, 5)
    assert np.abs(kernel - START).sum() < 0.3


def test_of_a_large_photo_the_middle_is_used(generator):
    huge = torch.rand(30, 1100, generator=generator).double().numpy()
    whole = refine_kernel(huge, START, torch.Generator().manual_seed(0), 2)
    middle = refine_kernel(huge[:, 38:1062], START, torch.Generator().manual_seed(0), 2)
    assert np.array_equal(whole, middle)


def test_every_term_of_the_penalty_counts():
    start = torch.from_numpy(START).float()[None, None]
    least = float(kernel_penalty(start, start))
    wide = torch.from_numpy(gaussian_kernel(16, (4.0, 4.0))).float()[None, None]
    assert float(kernel_penalty(start * 1.1, start * 1.1)) > least
    assert float(kernel_penalty(start.roll(2, 3), start.roll(2, 3))) > least
    assert float(kernel_penalty(wide, wide)) > least
    assert float(kernel_penalty(start, wide)) > least


def test_photo_smaller_than_a_patch_is_refused(generator):
    with pytest.raises(ImageError, match="40 x 18 pixels are fewer than the 20 x 20"):
        refine_kernel(np.zeros((18, 40)), START, generator)
