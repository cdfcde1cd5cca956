import numpy as np
import pytest
import torch

from zssr.degradation import Degradation
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import is_quantized
from zssr.geometry import SYMMETRIES
from zssr.training.pairs import (
    FATHER_SIZES,
    VALIDATION_SIZE,
    Pair,
    Pairs,
    is_large_enough,
    make_pair,
    make_training_pairs,
)

SLANTED = np.eye(3) / 3
BICUBIC = Degradation(None, (2, 2))


def father_of(pair, degradation):
    size = (pair.residual.shape[-2], pair.residual.shape[-1])
    return pair.residual[None] + degradation.upsample(pair.son[None], size)


@pytest.mark.parametrize(
    "degradation", [BICUBIC, Degradation(SLANTED, (2, 2)), Degradation(SLANTED, (2, 2), "top_left")]
)
def test_every_son_is_its_degraded_father(photo, generator, degradation):
    pairs, validation = make_training_pairs([[photo]], degradation, 2, 32, generator)
    for pair in [*pairs.pairs, *validation.pairs]:
        son = degradation.downsample(father_of(pair, degradation), pair.son.shape[-2:])
        assert torch.allclose(son[0], pair.son, atol=1e-5)


def test_fathers_are_the_photo_in_all_symmetries_at_all_sizes(photo, generator):
    slanted = Degradation(SLANTED, (2, 2))
    pairs, _ = make_training_pairs([[photo]], slanted, 2, 32, generator)
    assert len(pairs.symmetries) == 1
    fathers = [father_of(pair, slanted) for pair in pairs.pairs]
    for symmetry in SYMMETRIES:
        image = symmetry(photo)
        assert any(f.shape == image.shape and torch.allclose(f, image, atol=1e-6) for f in fathers)
    assert {max(father.shape) for father in fathers} == {round(64 * size) // 2 * 2 for size in FATHER_SIZES}


def test_fathers_of_a_blurred_photo_are_downsampled_until_sharp(generator):
    photo = torch.rand(1, 3, 100, 120, generator=generator)
    blur = Degradation(np.ones((5, 5)) / 25, (2, 2))
    pairs, validation = make_training_pairs([[photo]], blur, 2, 32, generator)
    sizes = [max(father_of(pair, blur).shape) / 120 for pair in [*pairs.pairs, *validation.pairs]]
    blurs = [size * blur.blur_sigma / 2 for size in sizes]  # the photo's pixels are two of those that the kernel is in
    assert 0.40 < max(blurs) < 0.44
    assert min(sizes) == pytest.approx(max(sizes) / 2, abs=0.02)


def test_blurred_photo_too_small_for_that_is_used_as_it_is(photo, generator):
    blur = Degradation(np.ones((15, 15)) / 225, (2, 2))
    pairs, validation = make_training_pairs([[photo]], blur, 2, 32, generator)
    for pair in [*pairs.pairs, *validation.pairs]:
        assert sorted(father_of(pair, blur).shape[-2:]) == [48, 64]


def test_sons_of_8_bit_photos_are_quantized(photo, generator):
    pairs, _ = make_training_pairs([[photo]], Degradation(None, (2, 2), quantized=True), 2, 32, generator)
    assert all(is_quantized(pair.son) for pair in pairs.pairs)
    assert not any(
        is_quantized(pair.son) for pair in make_training_pairs([[photo]], BICUBIC, 2, 32, generator)[0].pairs
    )


def test_symmetries_are_applied_to_crops_where_the_degradation_commutes(photo, generator):
    pairs, _ = make_training_pairs([[photo]], BICUBIC, 2, 32, generator)
    assert pairs.symmetries == SYMMETRIES
    sizes = [father_of(pair, BICUBIC).shape[-1] for pair in pairs.pairs]
    assert sizes == [round(64 * size) // 2 * 2 for size in FATHER_SIZES]
    son = torch.arange(16.0).reshape(1, 4, 4)
    whole = Pairs([Pair(son, son.repeat_interleave(2, 1).repeat_interleave(2, 2))], 2, 8, symmetries=SYMMETRIES)
    seen = set()
    for _ in range(200):
        sons, residuals = whole.draw(generator)
        if sons.min() < 0:
            sons, residuals = 1 - sons, -residuals
        assert torch.equal(residuals[..., ::2, ::2], sons)
        seen.add(tuple(sons.flatten().tolist()))
    assert seen == {tuple(symmetry(son).flatten().tolist()) for symmetry in SYMMETRIES}


def test_validation_size_is_never_trained_on(photo, generator):
    pairs, validation = make_training_pairs([[photo]], BICUBIC, 2, 32, generator)
    sizes = {pair.son.shape for pair in pairs.pairs}
    assert VALIDATION_SIZE not in FATHER_SIZES
    assert all(pair.son.shape not in sizes for pair in validation.pairs)


def test_crops_lie_inside_and_sons_belong_to_their_residuals(generator):
    # A father whose pixels are their own coordinates, beginning with 1: a border would show as a zero.
    rows, columns = torch.meshgrid(torch.arange(1.0, 31), torch.arange(1.0, 41), indexing="ij")
    son = torch.stack([rows, 100 + columns])
    pairs = Pairs([Pair(son, son.repeat_interleave(3, 1).repeat_interleave(3, 2))], 3, 36)
    seen, shuffled, negatives = set(), 0, 0
    for _ in range(400):
        sons, residuals = pairs.draw(generator)
        assert sons.shape == (1, 2, 12, 12)
        assert residuals.shape == (1, 2, 36, 36)
        if sons.min() < 0:
            negatives += 1
            sons, residuals = 1 - sons, -residuals
        assert torch.equal(residuals[..., ::3, ::3], sons)
        first, second = sons[0, :, 0, 0].tolist()
        shuffled += first > second
        seen.add((min(first, second), max(first, second) - 100))
    assert {row for row, _ in seen} == set(range(1, 20))
    assert {column for _, column in seen} == set(range(1, 30))
    assert 0.4 < shuffled / 400 < 0.6
    assert 0.2 < negatives / 400 < 0.3


def test_crops_are_drawn_in_proportion_to_area(generator):
    small, large = (Pair(torch.full((1, n, n), float(n)), torch.zeros(1, 2 * n, 2 * n)) for n in (10, 20))
    pairs = Pairs([small, large], 2, 16)
    drawn = torch.cat([pairs.draw(generator)[0][:, 0, 0, 0] for _ in range(2000)])
    assert ((drawn == 20) | (drawn == -19)).float().mean().item() == pytest.approx(0.8, abs=0.03)


def test_small_fathers_give_more_crops_of_the_same_area(photo, generator):
    pairs, _ = make_training_pairs([[photo]], BICUBIC, 2, 128, generator)
    assert pairs.side == min(side for pair in pairs.pairs for side in pair.son.shape[-2:])
    assert pairs.count * pairs.side**2 == pytest.approx(64**2, rel=0.15)


def test_draws_follow_the_generator(photo):
    def crop(seed):
        generator = torch.Generator().manual_seed(seed)
        pairs, _ = make_training_pairs([[photo]], Degradation(None, (2, 2), noise=5.0), 2, 32, generator)
        return torch.cat([part.flatten() for part in pairs.draw(generator)])

    assert torch.equal(crop(1), crop(1))
    assert not torch.equal(crop(1), crop(2))


def test_noise_is_on_the_sons_and_in_the_residuals(generator):
    fathers = torch.full((1, 1, 80, 80), 0.5)
    noisy = Degradation(noise=25.5)
    (sons, residuals), (others, _) = (make_pair(fathers, noisy, 2, generator) for _ in range(2))
    assert sons.std().item() == pytest.approx(0.1, rel=0.1)
    assert not torch.equal(sons, others)
    assert torch.allclose(noisy.upsample(sons, (80, 80)) + residuals, fathers, atol=1e-6)


def test_sons_of_a_jpeg_photo_are_compressed_after_the_noise(photo):
    jpeg = Jpeg.from_quality(30)
    sons, residuals = make_pair(photo, Degradation(noise=9.0, jpeg=jpeg), 2, torch.Generator().manual_seed(3))
    noisy, _ = make_pair(photo, Degradation(noise=9.0), 2, torch.Generator().manual_seed(3))
    assert torch.equal(sons, jpeg.compress(noisy))
    assert torch.allclose(BICUBIC.upsample(sons, photo.shape[-2:]) + residuals, photo, atol=1e-6)


@pytest.mark.parametrize("quality", [None, 50])
def test_channels_are_shuffled_except_after_jpeg(quality, generator):
    photo = torch.tensor([0.2, 0.3, 0.4]).reshape(1, 3, 1, 1).expand(1, 3, 48, 48)  # their negatives keep apart too
    degradation = Degradation(None, (2, 2), jpeg=quality and Jpeg.from_quality(quality, "4:4:4"))
    pairs, _ = make_training_pairs([[photo]], degradation, 2, 32, generator)
    orders = set()
    for _ in range(60):
        means = pairs.draw(generator)[0][0].mean((1, 2))
        orders.add(tuple((means if means.max() < 0.5 else 1 - means).argsort().tolist()))
    assert (orders == {(0, 1, 2)}) == (quality is not None)


def test_windows_are_drawn_of_images_of_many_pixels(generator):
    image = torch.zeros(1, 1, 1100, 1300)
    pairs, _ = make_training_pairs([[image]], BICUBIC, 2, 128, generator)
    pixels = sum(pair.residual[0].numel() for pair in pairs.pairs) / sum(size**2 for size in FATHER_SIZES)
    assert pixels == pytest.approx(2**20, rel=0.05)


def test_smallest_size_of_fathers():
    assert is_large_enough((24, 24), BICUBIC, 2)
    assert not is_large_enough((23, 500), BICUBIC, 2)
    assert not is_large_enough((26, 26), BICUBIC, 9)  # cut to whole sons, 18 are left
    assert not is_large_enough((30, 30), Degradation(np.ones((31, 31)) / 961, (2, 2)), 2)
