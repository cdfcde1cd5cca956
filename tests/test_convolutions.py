"""Deterministic convolutions: the gradients of automatic differentiation, the same for any number of threads."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

import zssr
from zssr.networks.convolutions import conv2d_deterministic, conv_chain, residual_blocks

THREADS = (1, 2, 3, 4, 8)


@pytest.fixture
def threads():
    """Yield the function that sets the number of threads; restore the number afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def chain(widths, side, dtype, generator):
    weights = [torch.randn(b, a, side, side, generator=generator) / (a * side**2) ** 0.5 for a, b in pairwise(widths)]
    weights = [weight.to(dtype, memory_format=torch.channels_last).requires_grad_() for weight in weights]
    biases = [(0.1 * torch.randn(b, generator=generator)).to(dtype).requires_grad_() for b in widths[1:]]
    return weights, biases


def gradients(weights, biases, image, target, form=conv_chain):
    out = form(image, weights, biases)
    return torch.autograd.grad((out * target).sum(), [*weights, *biases])


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("widths", "side"), [((3, 7, 7, 12), 3), ((1, 4, 4), 5), ((2, 5), 1), ((16, 16, 16), 3)])
def test_gradients_match_finite_differences(widths, side, count):
    generator = torch.Generator().manual_seed(0)
    weights, biases = chain(widths, side, torch.float64, generator)
    image = torch.randn(count, widths[0], 6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    half = len(weights)
    assert torch.autograd.gradcheck(
        lambda image, *both: conv_chain(image, both[:half], both[half:]), (image, *weights, *biases)
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("size", [(1, 32, 32), (4, 9, 11), (1, 70, 65), (1, 3, 1100)])
def test_gradients_match_torch(size, dtype, tolerance):
    generator = torch.Generator().manual_seed(1)
    weights, biases = chain((3, 64, 64, 12), 3, dtype, generator)
    image = torch.randn(size[0], 3, *size[1:], generator=generator).to(dtype, memory_format=torch.channels_last)
    target = torch.randn(size[0], 12, *size[1:], generator=generator).to(dtype)
    ours = gradients(weights, biases, image, target)
    features = image
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        features = nn.functional.conv2d(features if k == 0 else features.relu(), weight, bias, padding=1)
    theirs = torch.autograd.grad((features * target).sum(), [*weights, *biases])
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        assert float((one - other).float().norm() / other.float().norm()) < tolerance


@pytest.mark.parametrize("form", [conv_chain, residual_blocks])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.bfloat16, 2e-2)])
def test_own_gradients_are_those_of_torch(form, dtype, tolerance):
    generator = torch.Generator().manual_seed(1)
    weights, biases = chain((3, 16, 16, 16, 12), 3, dtype, generator)
    image = torch.randn(2, 3, 20, 20, generator=generator).to(dtype, memory_format=torch.channels_last)
    target = torch.randn(2, 12, 20, 20, generator=generator).to(dtype)
    ours = gradients(weights, biases, image, target, form)
    theirs = gradients(weights, biases, image, target, partial(form, deterministic=False))
    for one, other in zip(ours, theirs, strict=True):
        assert float((one - other).double().norm() / other.double().norm()) < tolerance


@pytest.mark.parametrize(("side", "stride", "padding"), [(3, 1, 1), (3, 1, 0), (4, 2, 0), (4, 2, 1), (1, 1, 0)])
def test_gradients_of_one_layer_match_finite_differences(side, stride, padding):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 9, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    weights, biases = chain((3, 5), side, torch.float64, generator)
    assert torch.autograd.gradcheck(
        lambda image, weight, bias: conv2d_deterministic(image, weight, bias, stride, padding),
        (image, weights[0], biases[0]),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("widths", [(3, 64, 64, 12), (1, 64, 64, 4), (3, 16, 16, 12)], ids=str)
@pytest.mark.parametrize("size", [(1, 32, 32), (1, 21, 21), (4, 16, 16), (1, 64, 64)], ids=str)
@pytest.mark.parametrize("form", [conv_chain, residual_blocks])
def test_gradients_are_the_same_for_any_number_of_threads(form, widths, size, dtype, threads):
    generator = torch.Generator().manual_seed(2)
    widths = (*widths[:2], *widths[1:]) if form is residual_blocks else widths
    weights, biases = chain(widths, 3, dtype, generator)
    image = torch.randn(size[0], widths[0], *size[1:], generator=generator).to(dtype, memory_format=torch.channels_last)
    target = torch.randn(size[0], widths[-1], *size[1:], generator=generator).to(dtype)
    found = []
    for count in THREADS:
        threads(count)
        found.append(gradients(weights, biases, image, target, form))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize(
    "settings", [{}, {"precision": "fp32"}, {"precision": "bf16", "init": "random"}, {"adversarial": 1.0}], ids=str
)
@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.slow
def test_pixels_are_the_same_for_any_number_of_threads(settings, scale, threads):
    image = torch.rand(1, 3, 65, 57, generator=torch.Generator().manual_seed(3))
    image = nn.functional.avg_pool2d(image, 5, 1)
    found = []
    for count in THREADS[::2]:
        threads(count)
        found.append(zssr.upscale(image, scale, num_epochs=20, lr_schedule="cosine", device="cpu", **settings))
    assert all(torch.equal(found[0], other) for other in found[1:])
