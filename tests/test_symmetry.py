import torch

from zssr.geometry import SYMMETRIES

IMAGE = torch.arange(2 * 3 * 4.0).reshape(1, 2, 3, 4)


def test_inverse_undoes_each():
    for symmetry in SYMMETRIES:
        assert torch.equal(symmetry.inverse(symmetry(IMAGE)), IMAGE)


def test_they_are_eight_different_ones_and_the_identity_is_first():
    square = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert len({tuple(symmetry(square).flatten().tolist()) for symmetry in SYMMETRIES}) == 8
    assert torch.equal(SYMMETRIES[0](square), square)


def test_they_are_a_group():
    square = torch.arange(9.0).reshape(1, 1, 3, 3)
    images = {tuple(symmetry(square).flatten().tolist()) for symmetry in SYMMETRIES}
    products = {tuple(a(b(square)).flatten().tolist()) for a in SYMMETRIES for b in SYMMETRIES}
    assert products == images
