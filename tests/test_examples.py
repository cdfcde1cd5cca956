"""Methods by examples: search, locally linear embedding, support vectors, sparse codes."""

from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from sklearn.linear_model import orthogonal_mp
from torch.nn.functional import unfold

from zssr import Config, ConfigError, ImageError, Upscaler, upscale
from zssr.classical.example_patches import SIDE, average_patches
from zssr.classical.neighbor_embedding import solve_embedding
from zssr.classical.neighbors import NeighborTable
from zssr.classical.sparse import SparseNetwork, encode
from zssr.classical.svr import RegressionNetwork
from zssr.cli.main import main

NAMES = ("example", "neighbor-embedding", "svr", "sparse")
TRUTH = data.astronaut()[20:84, 180:244]
PHOTO = np.asarray(Image.fromarray(TRUTH).resize((32, 32), Image.Resampling.BICUBIC))
USUAL = {"kernel": "bicubic", "noise": 0}


@cache
def upscale_photo(name):
    return upscale(PHOTO, 2, method=name, **USUAL)


def test_embedding_weights_are_those_of_a_direct_solve():
    rng = np.random.default_rng(0)
    points, neighbors = rng.normal(size=(5, 7)), rng.normal(size=(5, 4, 7))
    ours = solve_embedding(torch.from_numpy(points), torch.from_numpy(neighbors)).numpy()
    for point, own, weights in zip(points, neighbors, ours, strict=True):
        gram = (own - point) @ (own - point).T
        gram += (0.01 * np.trace(gram) + 1e-9) * np.eye(4)
        # minimize w G w with sum(w) = 1, by its Lagrangian
        system = np.block([[gram, np.ones((4, 1))], [np.ones((1, 4)), np.zeros((1, 1))]])
        assert np.allclose(weights, np.linalg.solve(system, [0, 0, 0, 0, 1])[:4], atol=1e-10)


def test_a_point_that_is_a_mixture_is_found():
    neighbors = torch.eye(3, dtype=torch.float64)[None]
    mixed = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    assert torch.allclose(solve_embedding(mixed, neighbors), mixed, atol=0.02)


def test_patches_average_to_the_image_that_they_are_of():
    image = torch.rand(1, 1, 9, 11, generator=torch.Generator().manual_seed(0))
    patches = unfold(image, SIDE)[0].T
    assert torch.allclose(average_patches(patches, (9, 11)), image, atol=1e-6)
    patches = torch.where(
        torch.rand(patches.shape, generator=torch.Generator().manual_seed(1)) < 0.3, torch.nan, patches
    )
    assert torch.allclose(average_patches(patches, (9, 11))[..., 4:-4, 4:-4], image[..., 4:-4, 4:-4], atol=1e-6)


def test_search_finds_the_nearest():
    rng = np.random.default_rng(1)
    features, targets = rng.normal(size=(50, 6)).astype(np.float32), rng.normal(size=(50, 25)).astype(np.float32)
    table = NeighborTable()
    table.fit(features, targets, 0)
    distances, numbers = table.search(features[:4] + np.float32(1e-3), 3)
    assert numbers[:, 0].tolist() == [0, 1, 2, 3]
    expected = np.sort(np.linalg.norm(features[:4, None] + 1e-3 - features, axis=2), axis=1)[:, :3]
    assert np.allclose(distances, expected, atol=1e-3)


def make_dictionary():
    atoms = np.random.default_rng(2).normal(size=(12, 20))
    return (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).astype(np.float32)


def test_codes_are_those_of_scikit_learn():
    atoms, features = make_dictionary(), np.random.default_rng(3).normal(size=(30, 20)).astype(np.float32)
    expected = orthogonal_mp(atoms.T.astype(float), features.T.astype(float), n_nonzero_coefs=3).T
    assert np.abs(encode(features, atoms) - expected).max() < 1e-3


def test_what_is_made_of_the_dictionary_is_found():
    """Features that are single atoms, and patches that belong to them: both are learned from examples."""
    rng = np.random.default_rng(4)
    atoms, patches = make_dictionary()[:6], rng.normal(size=(6, 25)).astype(np.float32)
    codes = np.zeros((3000, 6), np.float32)
    codes[np.arange(3000), rng.integers(0, 6, 3000)] = rng.uniform(0.5, 2, 3000) * rng.choice([-1, 1], 3000)
    network = SparseNetwork(channels=1, factor=1, generator=torch.Generator())
    network.fit_dictionaries(codes @ atoms, codes @ patches, 0)
    found = np.abs(network.atoms @ atoms.T / np.linalg.norm(network.atoms, axis=1, keepdims=True).clip(1e-9))
    assert found.max(0).min() > 0.99
    predicted = network.predict_patches(codes[:100] @ atoms, np.ones(100, bool), (0, 0)).numpy()
    assert np.abs(predicted - codes[:100] @ patches).max() < 0.1 * np.abs(codes[:100] @ patches).max()


def test_pixels_are_those_that_the_machine_predicts():
    rng = np.random.default_rng(5)
    features, targets = rng.normal(size=(200, 5)).astype(np.float32), rng.normal(size=(200, 25)).astype(np.float32)
    targets[:, 12] = np.sin(features[:, 0])
    network = RegressionNetwork(channels=1, factor=1, generator=torch.Generator())
    network.fit_machine(features, targets, 0)
    ours = network.predict_middles(torch.from_numpy(features)).numpy()
    assert np.abs(ours - network.machine.predict(features)).max() < 1e-3
    assert np.corrcoef(ours, targets[:, 12])[0, 1] > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_examples_gain_over_reconstruction_of_nothing(name):
    plain, ours = (upscale_photo(one).astype(float) for one in ("bicubic", name))
    assert np.square(ours - TRUTH).mean() < np.square(plain - TRUTH).mean()


@pytest.mark.parametrize("name", NAMES)
def test_examples_of_all_kinds_of_photos(name):
    photo = PHOTO[:24, :24]
    for image in (photo[..., 0], np.dstack([photo, photo[..., :1]]).astype(np.uint16) * 257):
        large = upscale(image, (1.5, 2), method=name, **USUAL)
        assert large.dtype == image.dtype
        assert large.shape == (36, 48, *image.shape[2:])


@pytest.mark.parametrize("name", NAMES)
def test_tiles_equal_the_whole(name):
    many = upscale(PHOTO, 2, method=name, patch_size=24, **USUAL)
    difference = np.abs(upscale_photo(name).astype(int) - many)
    assert np.quantile(difference, 0.99) <= 1


@pytest.mark.parametrize("name", ["example", "sparse"])
def test_flat_and_small_photos_are_interpolated(name):
    flat = np.full((30, 30, 3), 90, np.uint8)
    assert np.array_equal(upscale(flat, 2, method=name, **USUAL), np.full((60, 60, 3), 90))
    result = Upscaler(Config(method=name, noise=0)).run(PHOTO[:10, :10])
    assert "too small to learn from" in result.warnings[0]


def test_photos_of_ones_own_are_learned_from(tmp_path):
    Image.fromarray(TRUTH).save(tmp_path / "truth.png")
    helped = upscale(PHOTO, 2, method="example", examples=str(tmp_path), **USUAL)
    errors = [np.square(one.astype(float) - TRUTH).mean() for one in (upscale_photo("example"), helped)]
    assert errors[1] < 0.8 * errors[0]
    gray = upscale(PHOTO[..., 0], 2, method="example", examples=str(tmp_path), **USUAL)
    assert gray.shape == (64, 64)


def test_examples_that_are_not_there_are_one_sentence(tmp_path, capsys):
    with pytest.raises((ImageError, ConfigError), match="absent: is not a folder of pictures"):
        upscale(PHOTO, 2, method="svr", examples="absent", **USUAL)
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    arguments = [str(tmp_path / "photo.png"), "--method", "svr", "--examples", "absent", "-q"]
    assert main(arguments) == 1
    assert "absent: is not a folder of pictures" in capsys.readouterr().err
