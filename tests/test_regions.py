import pytest

from zssr.geometry import Interval, Region

SIZES = [(1, 1), (7, 30), (64, 64), (100, 33)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("most", [1, 8, 33, 1000])
def test_cuts_cover_everything_once(size, most):
    seen = [[0] * size[1] for _ in range(size[0])]
    for region in Region.whole(size).cut(most):
        assert max(region.size) <= most
        rows, columns = region.inside(Region.whole(size))
        for y in range(size[0])[rows]:
            for x in range(size[1])[columns]:
                seen[y][x] += 1
    assert all(count == 1 for row in seen for count in row)


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0, 2.7])
def test_neighbors_stay_neighbors_at_any_scale(scale):
    length = 101
    spans = Interval(0, length, length).cut(13)
    large = [span.at(scale, round(scale * length)) for span in spans]
    assert large[0].start == 0
    assert large[-1].stop == round(scale * length)
    assert [span.stop for span in large[:-1]] == [span.start for span in large[1:]]


def test_margins_end_at_the_image():
    region = Region(Interval(2, 10, 12), Interval(5, 6, 40)).grown(4)
    assert region == Region(Interval(0, 12, 12), Interval(1, 10, 40))
    assert region.grown(99) == Region.whole((12, 40))


@pytest.mark.parametrize("size", SIZES)
def test_the_middle_begins_on_the_grid(size):
    middle = Region.middle(size, 40, 8)
    assert middle.size == (min(40, size[0]), min(40, size[1]))
    assert middle.rows.start % 8 == middle.columns.start % 8 == 0
