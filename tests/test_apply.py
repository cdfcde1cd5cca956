import numpy as np
import pytest
import torch
from conftest import trained
from zssr.inference.ensemble import enlarge, tile_calls

from zssr.config import Config
from zssr.degradation import Degradation, resize
from zssr.geometry import SYMMETRIES
from zssr.networks.sr import Network
from zssr.runtime import resolve_precision

CPU = resolve_precision(torch.device("cpu"), "fp32")
BICUBIC = Degradation(None, (2, 2))
SLANTED = Degradation(np.eye(7) / 7, (2, 2))


def enlarged(network, image, degradation=BICUBIC, **settings):
    return enlarge(network, image, degradation, Config(**settings), CPU, lambda: None)


@pytest.fixture
def network(generator):
    return trained(Network(3, 2, 8, 3, 3, generator), generator)


def test_ensemble_is_the_mean_of_the_turned_results(network, photo):
    one_by_one = [symmetry.inverse(enlarged(network, symmetry(photo), self_ensemble=False)) for symmetry in SYMMETRIES]
    expected = torch.stack(one_by_one).mean(0)
    assert (expected - one_by_one[0]).abs().max() > 0.01
    assert (enlarged(network, photo) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("degradation", "left"),  # a line blur is ill-conditioned: less of the error can be undone in 4 iterations
    [(BICUBIC, 0.2), (SLANTED, 0.5), (Degradation(np.eye(7) / 7, (2, 2), "top_left"), 0.5)],
)
def test_back_projection_makes_the_result_shrink_to_the_photo(photo, degradation, left):
    size = (photo.shape[-2], photo.shape[-1])
    large = resize(photo, (2 * size[0], 2 * size[1])) * 0.9

    def distance(image):
        return (degradation.downsample(image, size) - photo).abs().mean()

    distances = [distance(degradation.back_project(large, photo, n)) for n in (0, 1, 4, 16)]
    assert distances == sorted(distances, reverse=True)
    assert distances[2] < left * distances[0]


def test_interpolating_the_difference_back_diverges_for_a_line_blur(photo):
    size = (photo.shape[-2], photo.shape[-1])
    large = plain = resize(photo, (2 * size[0], 2 * size[1])) * 0.9
    for _ in range(16):
        plain = plain + SLANTED.upsample(photo - SLANTED.downsample(plain, size), (2 * size[0], 2 * size[1]))
    ours = SLANTED.back_project(large, photo, 16)
    start, naive, end = ((SLANTED.downsample(image, size) - photo).norm() for image in (large, plain, ours))
    assert end < start < naive


def test_back_projection_leaves_what_fits_alone(generator):
    large = torch.rand(1, 1, 40, 40, generator=generator)
    small = BICUBIC.downsample(large, (20, 20))
    assert torch.allclose(BICUBIC.back_project(large, small, 3), large, atol=1e-6)


def test_ensemble_turns_with_the_image(photo, network):
    for symmetry in SYMMETRIES:
        turned = enlarged(network, symmetry(photo))
        assert torch.allclose(turned, symmetry(enlarged(network, photo)), atol=1e-5)
    assert not torch.allclose(
        enlarged(network, photo.mT, self_ensemble=False), enlarged(network, photo, self_ensemble=False).mT, atol=1e-5
    )


def test_ensemble_takes_only_turns_that_keep_the_kernel(photo, network):
    calls = []
    enlarge(network, photo, SLANTED, Config(), CPU, lambda: calls.append(None))
    assert (
        len(calls) == tile_calls((48, 64), SLANTED, Config()) == 4
    )  # a diagonal line: half a turn, and two flips across diagonals


@pytest.mark.parametrize("kernel", [None, np.outer([1, 2, 1], [1, 2, 1]) / 16])
@pytest.mark.parametrize("factor", [2, 3])
def test_ensemble_keeps_the_samples_at_their_corners(factor, kernel, generator):
    degradation = Degradation(kernel, (factor, factor), "top_left")
    ramp = torch.arange(32.0).expand(1, 1, 32, 32) + 3 * torch.arange(32.0)[:, None]
    network = Network(1, factor, 8, 3, 3, generator)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    inner = (..., slice(4 * factor, -4 * factor), slice(4 * factor, -4 * factor))
    settings = {"back_projection": 0}
    alone = enlarged(network, ramp, degradation, self_ensemble=False, **settings)
    assert len(degradation.symmetries()) == 8
    assert torch.allclose(enlarged(network, ramp, degradation, **settings)[inner], alone[inner], atol=1e-3)
    assert torch.allclose(alone[0, 0, 40, factor * 10 : factor * 20 : factor].diff(), torch.ones(9))


def test_residual_of_zero_gives_the_interpolation(photo, network):
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    plain = enlarged(network, photo, back_projection=0)
    assert torch.allclose(plain, BICUBIC.upsample(photo, (96, 128)), atol=1e-6)


def test_tile_size_does_not_matter(photo, network):
    whole = enlarged(network, photo, patch_size=512)
    for size in (8, 13, 20, 32, 47, 60):
        assert (enlarged(network, photo, patch_size=size) - whole).abs().max() < 1e-5
