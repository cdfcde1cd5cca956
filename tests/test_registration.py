"""Registration of frames: motions that are known, noise, exposure, what moves by itself, strange frames."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage import data

from zssr.errors import ConfigError
from zssr.multiframe.registration import GENERATORS, build_pyramid, correlate_phases, register, scale_matrix
from zssr.multiframe.robust import measure_noise, median_deviation, solve_weighted, weigh_huber, weigh_tukey
from zssr.multiframe.warping import Spline, is_inside, make_grid, transform

SCENE = gaussian_filter(data.astronaut()[:200, 120:320].mean(-1) / 255, 1.0)
OTHER = gaussian_filter(data.coffee()[:200, 100:300].mean(-1) / 255, 1.0)
SIZE = (90, 80)
IDENTITY = np.eye(3)
MOTIONS = {
    "translation": [[1, 0, 3.37], [0, 1, -2.61], [0, 0, 1]],
    "rigid": [[0.9993908, -0.0348995, 1.3], [0.0348995, 0.9993908, -2.2], [0, 0, 1]],
    "affine": [[1.02, -0.01, 2.2], [0.03, 0.98, -1.7], [0, 0, 1]],
    "homography": [[1.01, -0.01, 1.2], [0.02, 0.99, 0.7], [1e-4, -5e-5, 1]],
}


def shoot(matrix=IDENTITY, scene=SCENE):
    """Photograph a scene at half its size, such that the frame's pixels lie at `matrix` times them."""
    return Spline(scene).sample(2 * transform(np.asarray(matrix, float), make_grid(SIZE)) + 20)


def error_of(found, matrix):
    """Return the mean distance of the positions from the true ones, in pixels."""
    true = transform(np.asarray(matrix, float), make_grid(SIZE))
    return np.linalg.norm(found.positions - true, axis=0).mean()


@pytest.mark.parametrize("motion", MOTIONS)
def test_motion_is_found_to_a_hundredth_of_a_pixel(motion):
    found = register(shoot(MOTIONS[motion]), shoot(), motion)
    assert error_of(found, MOTIONS[motion]) < 0.01
    assert found.score > 0.8
    assert found.gain == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("motion", MOTIONS)
def test_noise_costs_little(motion):
    noise = np.random.default_rng(0).normal(0, 10 / 255, (2, *SIZE))
    assert error_of(register(shoot(MOTIONS[motion]) + noise[0], shoot() + noise[1], motion), MOTIONS[motion]) < 0.1


def test_a_motion_keeps_to_its_group():
    turned = register(shoot(MOTIONS["affine"]), shoot(), "rigid").matrix
    assert np.allclose(turned[:2, :2] @ turned[:2, :2].T, np.eye(2), atol=1e-9)
    moved = register(shoot(MOTIONS["affine"]), shoot(), "translation").matrix
    assert np.allclose(moved - np.eye(3), [[0, 0, moved[0, 2]], [0, 0, moved[1, 2]], [0, 0, 0]])


def test_registrations_go_on_and_back():
    frames = [shoot(), 0.8 * shoot(MOTIONS["rigid"]) + 0.1, 0.9 * shoot(MOTIONS["affine"]) - 0.02]
    one, other = register(frames[1], frames[0], "affine"), register(frames[2], frames[0], "affine")
    between = other.then(one.inverse())
    expected = register(frames[2], frames[1], "affine")
    assert np.abs(between.matrix - expected.matrix).max() < 0.01
    assert (between.gain, between.bias) == pytest.approx((expected.gain, expected.bias), abs=0.01)


def test_exposure_is_found_along_with_the_motion():
    found = register(0.6 * shoot(MOTIONS["rigid"]) + 0.15, shoot(), "rigid")
    assert error_of(found, MOTIONS["rigid"]) < 0.01
    assert (found.gain, found.bias) == pytest.approx((0.6, 0.15), abs=5e-3)


def test_what_moves_by_itself_is_found_and_does_not_move_the_rest():
    frame = shoot(MOTIONS["translation"])
    frame[30:60, 20:48] = shoot(scene=OTHER)[30:60, 20:48]
    found = register(frame, shoot(), "rigid")
    assert error_of(found, MOTIONS["translation"]) < 0.02
    assert found.confidence[34:56, 24:44].mean() < 0.3
    outside = is_inside(found.positions, SIZE)
    outside[24:66, 14:54] = False
    assert found.confidence[outside].mean() > 0.85


def test_a_loud_object_that_moves_does_not_lead_astray():
    still, frame = (0.5 + 0.2 * (shoot(at) - 0.5) for at in (IDENTITY, MOTIONS["rigid"]))
    loud = np.kron(np.indices((5, 5)).sum(0) % 2, np.ones((6, 6)))
    still[20:50, 20:50], frame[34:64, 30:60] = loud, loud
    assert error_of(register(frame, still, "rigid"), MOTIONS["rigid"]) < 0.05


def test_a_strange_frame_scores_low():
    assert register(shoot(scene=OTHER), shoot(), "affine").score < 0.35


def test_flow_follows_what_moves_by_itself():
    frame, moved = shoot(), shoot([[1, 0, 0], [0, 1, 2.5], [0, 0, 1]])
    frame[20:70, 20:60] = moved[20:70, 20:60]
    still, flowing = (register(frame, shoot(), motion) for motion in ("affine", "flow"))
    inside = (slice(30, 60), slice(30, 50))
    assert flowing.score > still.score
    distance = flowing.positions[(slice(None), *inside)] - make_grid(SIZE)[(slice(None), *inside)] - [[[2.5]], [[0]]]
    assert np.median(np.linalg.norm(distance, axis=0)) < 0.3


@pytest.mark.parametrize("size", [(40, 40), (9, 70), (3, 3)])
def test_flat_frames_stay_where_they_are(size):
    found = register(np.full(size, 0.5), np.full(size, 0.25), "homography")
    assert np.allclose(found.matrix, np.eye(3))
    assert found.gain * 0.25 + found.bias == pytest.approx(0.5)


def test_frames_of_other_sizes_are_registered():
    found = register(shoot(MOTIONS["rigid"])[:70, :64], shoot(), "rigid")
    assert np.abs(found.matrix - MOTIONS["rigid"]).max() < 0.02


def test_a_start_saves_the_search():
    far = np.array([[1, 0, 30.2], [0, 1, 0], [0, 0, 1]])
    start = np.array([[1, 0, 29], [0, 1, 1], [0, 0, 1.0]])
    frame = Spline(SCENE).sample(2 * transform(far, make_grid((90, 50))) + 10)
    reference = Spline(SCENE).sample(2 * make_grid((90, 90)) + 10)
    assert np.abs(register(frame, reference, "translation", start).matrix - far).max() < 0.01


def test_phase_correlation_finds_whole_shifts_either_way():
    for down, right in ((3, -2), (-4, 1), (0, 0)):
        reference = SCENE[20:80, 20:90]
        frame = SCENE[20 + down : 80 + down, 20 + right : 90 + right]
        assert correlate_phases(frame, reference)[0] == (down, right)


def test_scaled_matrices_move_the_same_points():
    matrix = np.array(MOTIONS["homography"])
    here = make_grid((5, 4))
    assert np.allclose(transform(scale_matrix(matrix, 3.0), 3 * here), 3 * transform(matrix, here))
    assert np.allclose(scale_matrix(scale_matrix(matrix, 3.0), 1 / 3), matrix)


def test_generators_are_groups_that_contain_each_other():
    spans = [np.stack([generator.ravel() for generator in own]) for own in GENERATORS.values()]
    for smaller, larger in pairwise(spans):
        assert np.linalg.matrix_rank(np.vstack([smaller, larger])) == len(larger) > len(smaller)


def test_pyramid_halves_down_to_32_pixels():
    assert [level.shape for level in build_pyramid(np.zeros((200, 130)))] == [(200, 130), (100, 65), (50, 33)]


def test_spline_passes_through_the_pixels_and_is_exact_for_cubics():
    line = np.linspace(-1, 1, 60)
    cubic = np.add.outer(line**3, line**2)
    inner = make_grid((20, 20)) + 20.3
    fine = np.add.outer(((inner[0, :, 0] / 29.5) - 1) ** 3, ((inner[1, 0] / 29.5) - 1) ** 2)
    assert np.allclose(Spline(cubic).sample(inner), fine, atol=1e-6)
    assert np.allclose(Spline(SCENE).sample(make_grid((9, 9))), SCENE[:9, :9])


def test_noise_is_measured_beside_texture():
    noise = np.random.default_rng(1).normal(0, 0.05, (120, 120))
    assert median_deviation(noise) == pytest.approx(0.05, rel=0.05)
    assert measure_noise(OTHER[:120, :120] + noise) == pytest.approx(0.05, rel=0.1)


def test_weights_fall_with_the_residual():
    residuals = np.array([0.0, 0.5, 1, 2, 4, 100])
    assert list(weigh_tukey(residuals, 1.0)) == sorted(weigh_tukey(residuals, 1.0), reverse=True)
    assert weigh_tukey(residuals, 1.0)[[0, -1]].tolist() == [1, 0]
    assert weigh_huber(residuals, 1.0)[-1] * 100 == pytest.approx(1.345)


def test_weighted_least_squares_is_that_of_numpy():
    generator = np.random.default_rng(2)
    columns, target, weights = generator.normal(size=(30, 3)), generator.normal(size=30), generator.random(30)
    root = np.sqrt(weights)
    expected = np.linalg.lstsq(root[:, None] * columns, root * target, rcond=None)[0]
    assert np.allclose(solve_weighted(columns, target, weights), expected, atol=1e-6)


def test_flow_names_the_extra_that_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.registration", None)
    with pytest.raises(ConfigError, match=r"motion: flow needs skimage: pip install 'zssr\[methods\]'"):
        register(shoot(), shoot(), "flow")
