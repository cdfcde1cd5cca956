import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from skimage import data
from test_blur import covariance, gaussian

from zssr.degradation import Degradation
from zssr.errors import ImageError
from zssr.estimation.recurrence import _across, _distance, recurrence

BICUBIC = Degradation(None, (2.0, 2.0))


def blur(sigmas, angle=0.0):
    return Degradation(gaussian(22, sigmas, angle), (2.0, 2.0))


@pytest.fixture(scope="module")
def scene():
    """A photo of 256 x 256 pixels that the blurs shrink."""
    return torch.from_numpy(data.camera().astype(np.float32) / 255)[None, None, 128:384, 128:384]


def best(photo, candidates):
    scores = recurrence(photo, candidates, torch.Generator().manual_seed(0))
    return candidates[int(scores.argmin())]


@pytest.mark.parametrize("truth", [BICUBIC, blur((1.3, 1.3)), blur((2.0, 2.0)), blur((0.8, 2.0)), blur((2.0, 0.8))])
def test_what_made_the_photo_scores_best(scene, truth):
    photo = truth.shrink(scene, (128, 128))
    rivals = [BICUBIC, *(blur(s) for s in ((1.3, 1.3), (2.0, 2.0), (0.8, 2.0), (2.0, 0.8)))]
    chosen = best(photo, [truth, *rivals])
    assert chosen is truth


def test_direction_is_found(scene):
    photo = blur((2.0, 0.8), 0.8).shrink(scene, (128, 128))
    candidates = [blur((2.0, 0.8), angle) for angle in (0.8, 0.0, -0.8, 1.6)]
    assert best(photo, candidates) is candidates[0]


def test_score_follows_the_photo_when_it_turns(scene):
    photo = blur((2.0, 0.8), 0.5).shrink(scene, (128, 128))
    upright = recurrence(photo, [blur((1.0, 2.0)), blur((2.0, 1.0))], torch.Generator().manual_seed(0))
    turned = recurrence(photo.mT, [blur((2.0, 1.0)), blur((1.0, 2.0))], torch.Generator().manual_seed(0))
    assert turned == pytest.approx(upright, rel=0.03)


def test_score_does_not_depend_on_brightness_and_contrast(scene, generator):
    photo, candidates = BICUBIC.shrink(scene, (128, 128)), [BICUBIC, blur((1.0, 1.0))]
    one = recurrence(photo, candidates, generator)
    other = recurrence(photo * 0.5 + 0.2, candidates, generator.manual_seed(0))
    assert other == pytest.approx(one, rel=1e-3)


def test_same_seed_gives_same_scores_and_colours_of_one_kind_are_grey(photo, generator):
    grey = photo[:, 1:2]
    before = grey.clone()
    one = recurrence(grey, [BICUBIC], generator)
    other = recurrence(grey.expand(1, 3, -1, -1), [BICUBIC], generator.manual_seed(0))
    assert other == pytest.approx(one, rel=1e-4)
    assert torch.equal(grey, before)


def test_nearest_distance_is_that_of_scipy(generator):
    queries, answers = torch.randn(700, 9, generator=generator), torch.randn(900, 9, generator=generator)
    expected = cKDTree(answers.numpy()).query(queries.numpy())[0].mean()
    assert _distance(queries, answers) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_blur_from_photo_to_smaller_photo_leaves_the_same_blur(scale):
    kernel = gaussian(31, (1.5, 2.5), 0.6)
    between = _across(Degradation(kernel, (scale, scale))).kernel
    whole = covariance(kernel) + 0.16 * np.eye(2)  # of the photo, in pixels of the large image
    in_photo = whole / scale**2
    assert in_photo + covariance(between) == pytest.approx(in_photo * scale**2, rel=0.02, abs=0.02)
    assert _across(BICUBIC) is BICUBIC


def test_flat_picture_prefers_nothing(generator):
    scores = recurrence(torch.full((1, 3, 40, 40), 0.5), [BICUBIC, blur((1.0, 1.0))], generator)
    assert scores.tolist() == pytest.approx([0, 0], abs=0.01)


def test_photo_without_patches_is_refused(generator):
    with pytest.raises(ImageError, match="5 x 40"):
        recurrence(torch.rand(1, 3, 40, 5, generator=generator), [BICUBIC], generator)
