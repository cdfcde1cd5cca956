"""Blur and sampling at positions: adjoints, and what other code makes of the same."""

import numpy as np
import pytest
import torch
from helpers import gaussian_kernel
from scipy.ndimage import convolve, map_coordinates
from skimage import data

from zssr.degradation import Degradation
from zssr.degradation.scattered import Identity, LinearMap, ScatteredSampling, Stacked

PHOTO = torch.from_numpy(data.astronaut()[:48, 180:236] / 255).permute(2, 0, 1)[None]
SIZE = (48, 56)
KERNEL = gaussian_kernel(9, (1.3, 0.9), 0.4)
POSITIONS = np.random.default_rng(0).uniform(-3, 60, (2, 300))


def sites(size, scale):
    """Return the positions (2, n) of the centers of blocks."""
    rows, columns = ((np.arange(n) + 0.5) * scale - 0.5 for n in size)
    return np.stack(np.meshgrid(rows, columns, indexing="ij")).reshape(2, -1)


MAPS: dict[str, LinearMap] = {
    "scattered": ScatteredSampling.make(KERNEL, SIZE, POSITIONS),
    "scattered, quadratic": ScatteredSampling.make(KERNEL, SIZE, POSITIONS, 2),
    "identity": Identity(SIZE),
    "stacked": Stacked([ScatteredSampling.make(KERNEL, SIZE, POSITIONS), Identity(SIZE)], [300, 48 * 56]),
}


@pytest.mark.parametrize("name", MAPS)
def test_adjoints_are_exact(name):
    image = torch.rand(2, 3, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    samples = MAPS[name](image)
    other = torch.rand(samples.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert float((samples * other).sum()) == pytest.approx(float((image * MAPS[name].adjoint(other)).sum()), rel=1e-9)


@pytest.mark.parametrize("degree", [2, 3])
def test_sampling_is_scipys_spline_of_the_blurred_image(degree):
    plane = PHOTO[0, 0].numpy()
    inner = POSITIONS.clip(8, 38)
    expected = map_coordinates(convolve(plane, KERNEL[::-1, ::-1], mode="reflect"), inner, order=degree, mode="mirror")
    ours = ScatteredSampling.make(KERNEL, SIZE, inner, degree)(PHOTO)[0, 0]
    assert np.abs(ours.numpy() - expected).max() < 1e-3


def test_beyond_the_border_lies_the_mirrored_image():
    inside, outside = np.array([[2.3, 40.0], [47.2, 3.1]]).T, np.array([[-3.3, 40.0], [47.8, 3.1]]).T
    one, other = (ScatteredSampling.make(KERNEL, SIZE, at)(PHOTO) for at in (inside, outside))
    assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("degradation", "accuracy"),
    [
        (Degradation(None, (2.0, 2.0)), 0.01),
        (Degradation(KERNEL, (2.0, 2.0)), 0.005),
        (Degradation(gaussian_kernel(9, (1.5, 1.5)), (3.0, 3.0)), 0.002),
    ],
)
def test_without_motion_it_is_downsampling(degradation, accuracy):
    size = (int(SIZE[0] / degradation.scale[0]), int(SIZE[1] / degradation.scale[1]))
    ours = degradation.operator_at(SIZE, sites(size, degradation.scale[0]))(PHOTO).view(1, 3, *size)
    assert float((ours - degradation.downsample(PHOTO, size)).abs().max()) < accuracy


def test_density_counts_samples_per_pixel():
    positions = sites((24, 28), 2.0)
    density = ScatteredSampling.make(KERNEL, SIZE, positions).measure_density(torch.full((672,), 0.5), 2.0)
    assert density.shape == SIZE
    assert np.abs(density[6:-6, 6:-6] - 0.5 / 4).max() < 1e-3
