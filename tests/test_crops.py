"""Crops that are cut one by one, and those that are gathered on a GPU."""

import pytest
import torch

from zssr.geometry import SYMMETRIES
from zssr.training.crops import CropCutter, CropGatherer
from zssr.training.pairs import Pair, Pairs


def number_images(sizes, channels, factor):
    """Return images in which each pixel has a number of its own, and the same enlarged, with negative numbers."""
    sons, first = [], 1.0
    for height, width in sizes:
        count = channels * height * width
        sons.append(torch.arange(first, first + count).view(channels, height, width))
        first += count
    return sons, [-son.repeat_interleave(factor, 1).repeat_interleave(factor, 2) for son in sons]


def cut_all(sons, side, symmetries):
    """Return every crop of the first channel of `sons`, as tuples, with the number of its image."""
    found = {}
    for k, son in enumerate(sons):
        for top in range(son.shape[1] - side + 1):
            for left in range(son.shape[2] - side + 1):
                for symmetry in symmetries:
                    crop = symmetry(son[:, top : top + side, left : left + side])
                    found.update({tuple(channel.flatten().tolist()): k for channel in crop})
    return found


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("symmetries", [SYMMETRIES[:1], SYMMETRIES], ids=["upright", "turned"])
@pytest.mark.parametrize("shuffles", [True, False])
def test_gathered_crops_are_those_that_are_cut(factor, symmetries, shuffles):
    images = number_images([(5, 7), (9, 6), (4, 4)], 3, factor)
    cut, gathered = (
        kind(*images, 4, symmetries, shuffles=shuffles).draw(200, torch.Generator().manual_seed(5))
        for kind in (CropCutter, CropGatherer)
    )
    for kind in (CropCutter, CropGatherer):
        steps = kind(*images, 4, symmetries, shuffles=shuffles).draw_steps(40, 5, torch.Generator().manual_seed(5))
        for whole, *others in zip(cut, gathered, map(torch.cat, zip(*steps, strict=True)), strict=True):
            assert all(torch.equal(other, whole) for other in others)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("symmetries", [SYMMETRIES[:1], SYMMETRIES], ids=["upright", "turned"])
def test_crops_are_those_of_the_images(factor, symmetries, generator):
    sons, residuals = number_images([(5, 7), (9, 6)], 2, factor)
    crops = CropCutter(sons, residuals, 4, symmetries, shuffles=True).draw(4000, generator)
    possible, seen, inverted, shuffled, second = cut_all(sons, 4, symmetries), set(), 0, 0, 0
    for son, residual in zip(*crops, strict=True):
        if residual.max() > 0:
            son, residual, inverted = 1 - son, -residual, inverted + 1
        assert torch.equal(-residual[:, ::factor, ::factor], son)
        assert torch.equal(-residual, son.repeat_interleave(factor, 1).repeat_interleave(factor, 2))
        images = {possible[tuple(channel.flatten().tolist())] for channel in son}
        assert len(images) == 1
        second += images == {1}
        shuffled += bool(son[0, 0, 0] > son[1, 0, 0])
        seen.add(tuple(son.sort(0).values[0].flatten().tolist()))
    assert len(seen) == len(possible) // 2  # all places and symmetries
    assert inverted / 4000 == pytest.approx(0.25, abs=0.03)
    assert shuffled / 4000 == pytest.approx(0.5, abs=0.03)
    assert second / 4000 == pytest.approx(54 / 89, abs=0.03)  # by area


def test_channels_keep_their_order_if_they_are_not_shuffled(generator):
    sons, residuals = number_images([(8, 8)], 3, 2)
    drawn, drawn_residuals = CropCutter(sons, residuals, 3, SYMMETRIES, shuffles=False).draw(300, generator)
    upright = torch.where((drawn_residuals.amax((1, 2, 3)) > 0)[:, None, None, None], 1 - drawn, drawn)
    assert bool((upright[:, 1:] - upright[:, :-1] == 64).all())


def test_steps_have_as_many_crops_as_the_batch(generator):
    sons, residuals = number_images([(12, 12)], 1, 2)
    pairs = Pairs([Pair(sons[0], residuals[0])], 2, 8, batch_size=5)
    drawn = next(pairs.draw_steps(generator))
    assert [crops.shape for crops in drawn] == [(5, 1, 4, 4), (5, 1, 8, 8)]
