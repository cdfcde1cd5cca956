import numpy as np
import pytest
import torch
from helpers import randomize_weights

from zssr.config import NetworkShape
from zssr.degradation import Degradation, resize
from zssr.degradation.forward_model import chebyshev_steps
from zssr.geometry import SYMMETRIES
from zssr.inference.tiles import EVERYWHERE, add_residual, count_tiles, map_tiles
from zssr.networks.sr import Network
from zssr.runtime import Runtime, resolve_precision

CPU = resolve_precision(torch.device("cpu"), "fp32")
BICUBIC = Degradation(None, (2, 2))
SLANTED = Degradation(np.eye(7) / 7, (2, 2))


def applied(network, image, degradation=BICUBIC, tile_size=384, on_tile=lambda: None, self_ensemble=8):
    """Return the interpolated image with the residual that the network predicts."""
    large = degradation.upsample(image, (network.factor * image.shape[-2], network.factor * image.shape[-1]))
    runtime = Runtime(CPU, tile_size, 64)
    add_residual(network, image, large, degradation, runtime, on_tile, self_ensemble=self_ensemble)
    return large


def assemble(network, image, factor, tile, margin, on_tile=lambda: None, inner=EVERYWHERE):
    """Return the whole of what `map_tiles` yields; each pixel comes once."""
    rows, columns = (range(length)[part] for length, part in zip(image.shape[-2:], inner, strict=True))
    out = torch.zeros(*image.shape[:-2], factor * len(rows), factor * len(columns))
    for rows, columns, part in map_tiles([network.predict_inside], image, factor, tile, margin, on_tile, inner):
        assert not out[..., rows, columns].any()
        out[..., rows, columns] = part
    return out


@pytest.fixture
def network(generator):
    return randomize_weights(Network(3, 2, NetworkShape(8, 3), generator), generator)


def test_self_ensemble_is_the_mean_of_the_transformed_results(network, photo):
    one_by_one = [symmetry.inverse(applied(network, symmetry(photo), self_ensemble=1)) for symmetry in SYMMETRIES]
    expected = torch.stack(one_by_one).mean(0)
    assert (expected - one_by_one[0]).abs().max() > 0.01
    assert (applied(network, photo) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("degradation", "left"),  # a line blur is ill-conditioned: less of the error can be undone in 4 iterations
    [(BICUBIC, 0.2), (SLANTED, 0.5), (Degradation(np.eye(7) / 7, (2, 2), "top_left"), 0.5)],
)
def test_back_projection_brings_the_downsampled_result_to_the_photo(photo, degradation, left):
    size = (photo.shape[-2], photo.shape[-1])
    large = resize(photo, (2 * size[0], 2 * size[1])) * 0.9

    def distance(image):
        return (degradation.downsample(image, size) - photo).abs().mean()

    distances = [distance(degradation.back_project(large, photo, n)) for n in (0, 1, 4, 16)]
    assert distances == sorted(distances, reverse=True)
    assert distances[2] < left * distances[0]


@pytest.mark.parametrize(("count", "cycles"), [(1, [1]), (2, [2]), (4, [4]), (5, [2, 3]), (20, [4] * 5)])
def test_steps_of_back_projection_are_those_of_chebyshev(count, cycles):
    eigenvalues = np.linspace(0.001, 1, 1000)
    left = np.abs(np.prod([1 - step * eigenvalues for step in chebyshev_steps(count)], axis=0))
    # from a tenth of the largest eigenvalue up no polynomial of this degree leaves less than 1 / T(1.1 / 0.9)
    least = np.prod([1 / np.cosh(length * np.arccosh(1.1 / 0.9)) for length in cycles])
    assert left.max() <= 1
    assert left[eigenvalues >= 0.1].max() <= least * (1 + 1e-6)
    assert left[-1] == pytest.approx(least)


def test_many_steps_of_back_projection_round_little(photo):
    large = resize(photo, (96, 128))
    exact = BICUBIC.back_project(large.double(), photo.double(), 60)
    assert (BICUBIC.back_project(large, photo, 60) - exact).abs().max() < 1e-4


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


def test_self_ensemble_is_equivariant(photo, network):
    for symmetry in SYMMETRIES:
        turned = applied(network, symmetry(photo))
        assert torch.allclose(turned, symmetry(applied(network, photo)), atol=1e-5)
    assert not torch.allclose(
        applied(network, photo.mT, self_ensemble=1), applied(network, photo, self_ensemble=1).mT, atol=1e-5
    )


def test_self_ensemble_uses_only_symmetries_of_the_kernel(photo, network):
    calls = []
    applied(network, photo, SLANTED, on_tile=lambda: calls.append(None))
    # a diagonal line: half a turn, and two flips across diagonals
    assert len(calls) == count_tiles((48, 64), SLANTED, 384, self_ensemble=8) == 4


@pytest.mark.parametrize("kernel", [None, np.outer([1, 2, 1], [1, 2, 1]) / 16])
@pytest.mark.parametrize("factor", [2, 3])
def test_self_ensemble_keeps_samples_at_the_top_left(factor, kernel, generator):
    degradation = Degradation(kernel, (factor, factor), "top_left")
    ramp = torch.arange(32.0).expand(1, 1, 32, 32) + 3 * torch.arange(32.0)[:, None]
    network = Network(1, factor, NetworkShape(8, 3), generator)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    inner = (..., slice(4 * factor, -4 * factor), slice(4 * factor, -4 * factor))
    alone = applied(network, ramp, degradation, self_ensemble=1)
    assert len(degradation.symmetries()) == 8
    assert torch.allclose(applied(network, ramp, degradation)[inner], alone[inner], atol=1e-3)
    assert torch.allclose(alone[0, 0, 40, factor * 10 : factor * 20 : factor].diff(), torch.ones(9))


def test_zero_residual_gives_the_interpolation(photo, network):
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    plain = applied(network, photo)
    assert torch.allclose(plain, BICUBIC.upsample(photo, (96, 128)), atol=1e-6)


@pytest.mark.parametrize("shape", [NetworkShape(8, 3), NetworkShape(8, 12, blocks=True)])
@pytest.mark.parametrize("sampling", ["center", "top_left"])
def test_tile_size_does_not_matter(shape, sampling, photo, generator):
    network = randomize_weights(Network(3, 2, shape, generator), generator)
    degradation = Degradation(None, (2, 2), sampling)
    whole = applied(network, photo, degradation, tile_size=512)
    for size in (8, 13, 20, 32, 47, 60):
        assert (applied(network, photo, degradation, tile_size=size) - whole).abs().max() < 1e-5


@pytest.mark.parametrize("shape", [NetworkShape(16, 8), NetworkShape(8, 22, blocks=True)])
@pytest.mark.parametrize("tile", [8, 11, 16, 23, 40, 64])
def test_tiled_equals_untiled(tile, shape, generator):
    network = randomize_weights(Network(3, 2, shape, generator), generator)
    image = torch.rand(1, 3, 50, 67, generator=generator)
    tiles = []
    with torch.no_grad():
        whole = network(image)
        tiled = assemble(network, image, 2, tile, network.margin, lambda: tiles.append(1))
        inner = (slice(7, 41), slice(0, 29))
        part = assemble(network, image, 2, tile, network.margin, inner=inner)
    assert (tiled - whole).abs().max() < 1e-5
    assert len(tiles) == -(-50 // tile) * -(-67 // tile)
    assert (part - whole[..., 14:82, :58]).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (8, 8), (9, 17)])
def test_any_size_works(size, generator):
    network = randomize_weights(Network(1, 3, NetworkShape(4, 3), generator), generator)
    image = torch.rand(2, 1, *size, generator=generator)
    with torch.no_grad():
        tiled = assemble(network, image, 3, 8, network.margin)
        assert torch.allclose(tiled, network(image), atol=1e-6)


def test_too_small_a_margin_would_show(generator):
    network = randomize_weights(Network(1, 2, NetworkShape(8, 8), generator), generator)
    image = torch.rand(1, 1, 40, 40, generator=generator)
    with torch.no_grad():
        tiled = assemble(network, image, 2, 16, 0)
        assert (tiled - network(image)).abs().max() > 1e-4  # ten times what equal means
