import numpy as np
import pytest
import torch
from skimage import data
from test_blur import covariance, gaussian
from torch.nn.functional import conv2d

from benchmarks.kernelgan import Shrinker, penalty, refined
from zssr.degradation import Degradation
from zssr.degradation.blur import center_of_mass
from zssr.errors import ImageError

START = gaussian(16, (1.8, 1.0), 0.5)


@pytest.fixture(scope="module")
def picture():
    """A photo of 96 x 88 pixels that a Gaussian blurred."""
    scene = torch.from_numpy(data.camera()[100:292, 150:326].astype(np.float32) / 255)[None, None]
    return Degradation(START, (2.0, 2.0)).downsample(scene, (96, 88))[0, 0].numpy()


def trained(start, generator):
    shrinker = Shrinker.starting(start, generator)
    with torch.no_grad():
        shrinker.weights[-1].normal_(std=0.05, generator=generator)
    return shrinker


@pytest.mark.parametrize("start", [START, gaussian(20, (2.0, 1.0))[:, 2:-2]], ids=["square", "upright"])
def test_composed_kernel_is_what_the_layers_do(picture, generator, start):
    picture = torch.from_numpy(picture)[None, None]
    shrinker = trained(start, generator)
    expected = conv2d(picture, torch.from_numpy(start).float()[None, None]) + shrinker.chain(picture)
    assert conv2d(picture, shrinker.kernel()).detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-5)
    assert float((shrinker.kernel() - shrinker.start).detach().abs().max()) > 0.01


def test_shrinker_starts_with_the_start(generator):
    shrinker = Shrinker.starting(START, generator)
    assert torch.equal(shrinker.kernel(), shrinker.start)


@pytest.mark.parametrize("start", [START, gaussian(8, (0.8, 1.2)), gaussian(26, (3.0, 2.0))[2:-2]])
def test_no_steps_give_the_start(picture, generator, start):
    kernel = refined(picture, start, generator, 0)
    pads = [((after - before) // 2,) * 2 for after, before in zip(kernel.shape, start.shape, strict=True)]
    assert min(kernel.shape) >= 16
    assert np.abs(kernel - np.pad(start, pads)).sum() < 0.02


def test_kernel_sums_to_one_around_its_middle_and_is_near(picture, generator):
    kernel = refined(picture, START, generator, 30)
    assert kernel.shape == START.shape
    assert kernel.sum() == pytest.approx(1)
    assert center_of_mass(kernel) == pytest.approx((7.5, 7.5), abs=0.02)
    assert covariance(kernel) == pytest.approx(covariance(START), abs=0.5)
    assert 1e-4 < np.abs(kernel - START).sum() < 0.3


def test_start_beside_its_middle_comes_back_to_it(picture, generator):
    kernel = refined(picture, gaussian(16, (1.2, 1.5), center=6.8), generator, 0)
    assert center_of_mass(kernel) == pytest.approx((7.5, 7.5), abs=0.02)


def test_same_seed_gives_same_kernel_and_inputs_stay(picture):
    photo, start = picture.copy(), START.copy()
    one, same = (refined(picture, START, torch.Generator().manual_seed(7), 5) for _ in range(2))
    other = refined(picture, START, torch.Generator().manual_seed(8), 5)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.array_equal(picture, photo)
    assert np.array_equal(START, start)


def test_steps_are_told(picture, generator):
    told = []
    refined(picture, START, generator, 3, lambda done, most: told.append((done, most)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_flat_picture_is_survived(generator):
    kernel = refined(np.full((40, 40), 0.5), START, generator, 5)
    assert np.abs(kernel - START).sum() < 0.3


def test_of_a_huge_photo_the_middle_is_looked_at(generator):
    huge = torch.rand(30, 1100, generator=generator).double().numpy()
    whole = refined(huge, START, torch.Generator().manual_seed(0), 2)
    middle = refined(huge[:, 38:1062], START, torch.Generator().manual_seed(0), 2)
    assert np.array_equal(whole, middle)


def test_every_penalty_is_felt():
    start = torch.from_numpy(START).float()[None, None]
    least = float(penalty(start, start))
    wide = torch.from_numpy(gaussian(16, (4.0, 4.0))).float()[None, None]
    assert float(penalty(start * 1.1, start * 1.1)) > least
    assert float(penalty(start.roll(2, 3), start.roll(2, 3))) > least
    assert float(penalty(wide, wide)) > least
    assert float(penalty(start, wide)) > least


def test_photo_smaller_than_a_patch_is_made_of_is_refused(generator):
    with pytest.raises(ImageError, match="40 x 18 pixels are fewer than the 20 x 20"):
        refined(np.zeros((18, 40)), START, generator)
