import numpy as np
import pytest
import torch

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.degradation.named_kernels import parse_kernel
from zssr.errors import ConfigError
from zssr.inference.cascade import Cascade


def plan(scale, size=(50, 70), **settings):
    pair = scale if isinstance(scale, tuple) else (float(scale), float(scale))
    target = (round(size[0] * pair[0]), round(size[1] * pair[1]))
    return Cascade.plan(size, pair, target, Degradation(None, pair), Config(**settings)).steps, pair, target


@pytest.mark.parametrize("scale", [1.01, 1.5, 2, 2.0001, 2.7, 3, 4, 5.3, 8, (1, 4), (3, 1.2), (2, 3)])
def test_steps_multiply_to_the_scale_and_end_at_the_size(scale):
    steps, pair, target = plan(scale)
    product = (1.0, 1.0)
    for step in steps:
        product = (product[0] * step.scale[0], product[1] * step.scale[1])
        assert step.reached == pytest.approx(product)
        assert step.factor >= max(step.scale) - 1e-6
    assert steps[-1].reached == pair
    assert steps[-1].size == target


@pytest.mark.parametrize(
    ("scale", "factors"), [(1.5, [2]), (2, [2]), (3, [2, 2]), (4, [2, 2]), (8, [2, 2, 2]), ((1, 4), [2, 2])]
)
def test_steps_double(scale, factors):
    assert [step.factor for step in plan(scale)[0]] == factors


def test_images_that_are_like_a_photo_are_averaged_like_it():
    cascade = Cascade.plan((300, 400), (2.0, 2.0), (600, 800), Degradation(None, (2.0, 2.0)), Config.preset("fast"))
    smaller = cascade.for_image((30, 40), Config.preset("fast"))
    assert (cascade.self_ensemble, smaller.self_ensemble) == (1, 1)
    assert smaller.sizes[-1] == (60, 80)


def plan_blurred(kernel, scale):
    degradation = Degradation(kernel, (scale, scale))
    size = (round(100 * scale), round(100 * scale))
    return Cascade.plan((100, 100), (scale, scale), size, degradation, Config())


@pytest.mark.parametrize("scale", [3.0, 4.0])
def test_a_wide_blur_is_undone_by_the_first_step(scale):
    kernel = parse_kernel(f"gaussian:{0.6 * scale}", (scale, scale))
    cascade = plan_blurred(kernel, scale)
    first, second = cascade.step_degradations
    assert first.blur_sigma == pytest.approx(1.2, rel=0.05)
    assert (first.scale, second.kernel, second.scale) == ((2.0, 2.0), None, (2.0, 2.0))
    assert cascade.photo_degradations[0].blur_sigma == pytest.approx(1.2, rel=0.05)
    assert np.allclose(cascade.photo_degradations[1].kernel, kernel)


def test_a_wide_blur_in_steps_is_that_at_once():
    cascade = plan_blurred(parse_kernel("line:12,50", (4.0, 4.0)), 4.0)
    noise = torch.rand(1, 1, 80, 80, generator=torch.Generator().manual_seed(0))
    large = Degradation(None, (4.0, 4.0)).upsample(noise, (320, 320))
    first, second = cascade.step_degradations
    steps = first.downsample(second.downsample(large, (160, 160)), (80, 80))
    at_once = cascade.degradation.downsample(large, (80, 80))
    assert float((steps - at_once).std()) < 0.04 * float(noise.std())  # 0.05 if the steps share it


@pytest.mark.parametrize("kernel", ["gaussian:1.2", "box"])
def test_the_steps_share_other_blurs(kernel):
    first, second = plan_blurred(parse_kernel(kernel, (4.0, 4.0)), 4.0).step_degradations
    assert first.blur_sigma == second.blur_sigma > 0


def test_scale_one_needs_no_step():
    assert plan(1)[0] == ()


def test_plan_by_hand():
    steps = plan(4, scale_factor=1.6, scale_times=3)[0]
    assert [step.reached[0] for step in steps] == pytest.approx([1.6, 2.56, 4])
    assert [step.size for step in steps] == [(80, 112), (128, 179), (200, 280)]
    assert [step.factor for step in plan(9, scale_factor=3, scale_times=2)[0]] == [3, 3]


def test_plan_by_hand_that_ends_short_of_the_scale_is_refused():
    with pytest.raises(ConfigError, match="short of the scale x4"):
        plan(4, scale_factor=1.5, scale_times=2)
