import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zssr.geometry import SYMMETRIES, Interval, Margins, Region

IMAGE = torch.arange(2 * 3 * 4.0).reshape(1, 2, 3, 4)
SIZES = [(1, 1), (7, 30), (64, 64), (100, 33)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("longest", [1, 8, 33, 1000])
def test_split_covers_every_pixel_once(size, longest):
    seen = [[0] * size[1] for _ in range(size[0])]
    for region in Region.whole(size).split(longest):
        assert max(region.size) <= longest
        rows, columns = region.slices_within(Region.whole(size))
        for y in range(size[0])[rows]:
            for x in range(size[1])[columns]:
                seen[y][x] += 1
    assert all(count == 1 for row in seen for count in row)


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0, 2.7])
def test_neighbors_stay_neighbors_at_any_scale(scale):
    length = 101
    intervals = Interval(0, length, length).split(13)
    large = [interval.scaled(scale, round(scale * length)) for interval in intervals]
    assert large[0].start == 0
    assert large[-1].stop == round(scale * length)
    assert [interval.stop for interval in large[:-1]] == [interval.start for interval in large[1:]]


def test_margins_end_at_the_image():
    region = Region(Interval(2, 10, 12), Interval(5, 6, 40)).expand(4)
    assert region == Region(Interval(0, 12, 12), Interval(1, 10, 40))
    assert region.expand(99) == Region.whole((12, 40))


@pytest.mark.parametrize("size", SIZES)
def test_center_starts_on_the_grid(size):
    center = Region.center(size, 40, 8)
    assert center.size == (min(40, size[0]), min(40, size[1]))
    assert center.rows.start % 8 == center.columns.start % 8 == 0


def test_inverse_undoes_each_symmetry():
    for symmetry in SYMMETRIES:
        assert torch.equal(symmetry.inverse(symmetry(IMAGE)), IMAGE)


def test_symmetries_are_eight_and_the_identity_is_first():
    square = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert len({tuple(symmetry(square).flatten().tolist()) for symmetry in SYMMETRIES}) == 8
    assert torch.equal(SYMMETRIES[0](square), square)


def test_symmetries_form_a_group():
    square = torch.arange(9.0).reshape(1, 1, 3, 3)
    images = {tuple(symmetry(square).flatten().tolist()) for symmetry in SYMMETRIES}
    products = {tuple(a(b(square)).flatten().tolist()) for a in SYMMETRIES for b in SYMMETRIES}
    assert products == images


@given(st.integers(1, 50), st.integers(1, 8), st.integers(-120, 120), st.integers(1, 130))
def test_parts_of_a_circle_are_those_of_a_repeated_axis(length, factor, start, count):
    axis = Interval(0, length, length, wraps=True)
    part = Interval(start, start + count, length, wraps=True)
    samples = torch.arange(length)
    taken = torch.cat([samples[piece] for piece in part.pieces_of(axis)])
    assert taken.tolist() == [k % length for k in range(start, start + count)]
    assert part.expand(3) == Interval(start - 3, start + count + 3, length, wraps=True)
    for now in (factor * length, length + factor):  # any whole number of samples
        large = part.scaled(now / length, now)
        turned = Interval(start + length, start + count + length, length, wraps=True).scaled(now / length, now)
        assert (turned.start, turned.stop) == (large.start + now, large.stop + now)
    assert sum(map(len, part.split(7))) == count
    assert all(piece.wraps for piece in part.split(7))


def test_regions_go_on_beyond_sides_that_join():
    image = torch.arange(12).reshape(3, 4)
    whole = Region.whole((3, 4), (False, True))
    assert whole.overlap(2).take(image, whole).tolist() == [
        [0, 1, 2, 3, 0, 1],
        [4, 5, 6, 7, 4, 5],
        [8, 9, 10, 11, 8, 9],
    ]
    assert whole.overlap(9).size == (3, 8)
    assert whole.expand(5).size == (3, 14)
    assert whole.shift((0, 3)).take(image, whole).tolist()[0] == [3, 0, 1, 2]
    assert whole.take(image.roll(-3, -1), whole.shift((0, 3))).tolist() == image.tolist()
    plain = Region.whole((3, 4))
    assert plain.overlap(2) == plain
    assert plain.take(image, plain).data_ptr() == image.data_ptr()


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_margins_turn_with_their_image(symmetry):
    image, margins = torch.arange(63.0).reshape(7, 9), Margins(0, 1, 2, 3)
    assert torch.equal(symmetry.turn_margins(margins).crop(symmetry(image)), symmetry(margins.crop(image)))
