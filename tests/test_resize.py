"""The oracle is Pillow's resampling in float mode, which uses the same kernel, on a picture that is mirrored around."""

import numpy as np
import pytest
import torch
from PIL import Image

from zssr.degradation import resize
from zssr.degradation.resize import cubic, cubic_operator
from zssr.geometry import SYMMETRIES


def resize_pillow(picture, size, scale):
    margin = 40
    mirrored = Image.fromarray(np.pad(picture, margin, mode="symmetric").astype(np.float32))
    width, height = size[1] / scale[1], size[0] / scale[0]
    box = (margin, margin, margin + width, margin + height)
    return np.asarray(mirrored.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box))


@pytest.mark.parametrize(
    "scale", [(2, 2), (0.5, 0.5), (0.25, 0.25), (4, 4), (1.5, 1.5), (0.75, 0.375), (3, 0.625), (8, 1)]
)
def test_resize_equals_pillow(scale):
    picture = np.random.default_rng(0).random((24, 40)).astype(np.float32)
    size = (round(24 * scale[0]), round(40 * scale[1]))
    ours = resize(torch.from_numpy(picture).double(), size, scale).numpy()
    assert np.abs(ours - resize_pillow(picture, size, scale)).max() < 1e-6


def test_output_size_and_scale_are_independent():
    picture = np.random.default_rng(1).random((9, 11)).astype(np.float32)
    ours = resize(torch.from_numpy(picture).double(), (4, 6), (0.5, 0.5)).numpy()
    assert np.abs(ours[:, :5] - resize_pillow(picture, (4, 5), (0.5, 0.5))).max() < 1e-6
    assert ours.shape == (4, 6)


def test_weights_of_matlab_at_one_half():
    # imresize(eye(16), 0.5): each output row takes 8 samples with 0.5 * cubic(distance / 2)
    row = resize(torch.eye(16, dtype=torch.float64), (8, 16), (0.5, 1))[4]
    expected = torch.tensor([-3, -9, 29, 111, 111, 29, -9, -3], dtype=torch.float64) / 256
    assert torch.allclose(row[5:13], expected, atol=1e-12)
    assert row[:5].abs().max() == row[13:].abs().max() == 0


def test_cubic_is_keys_kernel():
    assert cubic(np.array([0.0, 1.0, -1.0, 2.0, 5.0])).tolist() == [1, 0, 0, 0, 0]
    assert cubic(np.array([0.5, -1.5])).tolist() == [0.5625, -0.0625]


@pytest.mark.parametrize("scale", [2.0, 0.5, 1.37, 0.3])
@pytest.mark.parametrize("top_left", [False, True])
def test_a_constant_stays_constant(scale, top_left):
    image = torch.full((1, 1, 17, 23), 0.3, dtype=torch.float64)
    out = resize(image, (round(17 * scale), round(23 * scale)), (scale, scale), top_left=top_left)
    assert (out - 0.3).abs().max() < 1e-12


@pytest.mark.parametrize(("scale", "top_left"), [(2.0, False), (1.6, False), (0.5, False), (2.0, True), (0.5, True)])
def test_a_ramp_is_sampled_at_the_right_coordinates(scale, top_left):
    ramp = torch.arange(64.0, dtype=torch.float64).expand(4, 64)
    out = resize(ramp, (4, round(64 * scale)), (1.0, scale), top_left=top_left)[0]
    index = torch.arange(len(out), dtype=torch.float64)
    at = index / scale if top_left else (index + 0.5) / scale - 0.5
    inner = slice(len(out) // 4, -len(out) // 4)
    assert (out - at)[inner].abs().max() < 1e-9


def test_commutes_with_rotations_and_flips():
    image = torch.rand(1, 2, 20, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for symmetry in SYMMETRIES:
        turned = symmetry(image)
        size = (turned.shape[-2] // 2, turned.shape[-1] // 2)
        assert torch.allclose(resize(turned, size), symmetry(resize(image, (10, 14))), atol=1e-12)


def test_borders_of_tiny_images_are_mirrored_repeatedly():
    for side in (1, 2, 3):
        image = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(side), dtype=torch.float64)
        out = resize(image, (4 * side, 4 * side))
        assert torch.isfinite(out).all()
        assert out.mean() == pytest.approx(image.mean().item(), abs=1e-9)


def test_blocks_equal_one_matrix():
    matrix = cubic_operator(300, 600, 2.0).resample_rows(torch.eye(300, dtype=torch.float64))
    image = torch.rand(2, 300, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(cubic_operator(300, 600, 2.0).resample_rows(image), matrix @ image, atol=1e-12)
    assert torch.allclose(cubic_operator(300, 600, 2.0).resample_columns(image.mT), (matrix @ image).mT, atol=1e-12)


def test_adjoint_is_the_transpose():
    generator = torch.Generator().manual_seed(0)
    operator = cubic_operator(150, 210, 1.4)
    x = torch.rand(150, 3, dtype=torch.float64, generator=generator)
    y = torch.rand(210, 3, dtype=torch.float64, generator=generator)
    assert (operator.resample_rows(x) * y).sum().item() == pytest.approx((x * operator.adjoint_rows(y)).sum().item())
    assert torch.allclose(operator.adjoint_columns(y.mT), operator.adjoint_rows(y).mT)


def test_keeps_dtype_and_input():
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    before = image.clone()
    assert resize(image, (16, 16)).dtype == torch.float32
    assert torch.equal(image, before)
