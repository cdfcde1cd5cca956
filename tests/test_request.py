"""What is asked for of an image: its size, and when two requests are the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zssr.errors import ConfigError, ImageError
from zssr.request import LARGEST_SCALE, Request

SIDES = st.integers(1, 5000)


@given(SIDES, SIDES, st.floats(1, LARGEST_SCALE))
def test_sizes_of_the_images_own_shape_are_exact(height, width, scale):
    _, size = Request(scale).output_size((height, width))
    assert Request(size=size, fit="exact").output_size((height, width))[1] == size


@given(SIDES, SIDES, st.floats(1, 10), st.sampled_from([0, 1]))
def test_one_side_gives_the_other(height, width, scale, axis):
    side = round(scale * (height, width)[axis])
    request = Request(size=(side, None) if axis == 0 else (None, side))
    (vertical, horizontal), size = request.output_size((height, width))
    assert vertical == horizontal
    assert size[axis] == side
    assert size == (round(height * vertical), round(width * vertical))


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_box_contains_the_largest_size_of_the_images_shape(height, width, box_height, box_width):
    request = Request(size=(box_height, box_width), fit="contain")
    if box_height < height or box_width < width:
        with pytest.raises(
            ImageError, match=f"{width}x{height} pixels are more than the size {box_width}x{box_height}"
        ):
            request.output_size((height, width))
        return
    _, size = request.output_size((height, width))
    assert size[0] <= box_height
    assert size[1] <= box_width
    assert size[0] == box_height or size[1] == box_width
    assert Request(size=size, fit="exact").output_size((height, width))[1] == size


@pytest.mark.parametrize(
    ("image", "size", "stretches"),
    [
        ((360, 640), (1080, 1920), False),
        ((768, 1366), (1080, 1920), False),  # 1366x768 is as near to 16:9 as it can be
        ((427, 640), (1280, 1920), False),  # 3:2
        ((480, 640), (1080, 1920), True),
        ((48, 64), (100, 150), True),
        ((1000, 1000), (2000, 2004), True),
        ((1000, 1000), (2000, 2001), False),
        ((1, 1), (3, 1), False),
        ((1, 1), (8, 1), True),
    ],
)
def test_other_shapes_are_refused_unless_they_are_to_be_stretched(image, size, stretches):
    exact = Request(size=size, fit="exact")
    if stretches:
        with pytest.raises(ImageError, match=f"{size[1]}x{size[0]} would stretch its {image[1]}x{image[0]} pixels"):
            exact.output_size(image)
    else:
        assert exact.output_size(image)[1] == size
    assert Request(size=size).output_size(image) == ((size[0] / image[0], size[1] / image[1]), size)


def test_unknown_fits_are_refused():
    with pytest.raises(ConfigError, match="fit: 'cover' is not one of stretch, exact, contain"):
        Request(fit="cover")


def test_requests_are_compared_by_what_they_ask():
    kernel = np.full((3, 3), 1 / 9)
    same = [kernel, kernel.copy(), torch.from_numpy(kernel).requires_grad_(), kernel.tolist()]
    assert len({Request(kernel=one) for one in same}) == 1
    others = ["auto", None, "a.npy", Path("b.npy"), 2 * kernel, kernel[:1], np.float64(2.0), [[1.0], [1.0, 2.0]]]
    requests = [Request(kernel=one) for one in [*others, kernel]]
    assert all((one == other) == (k == n) for k, one in enumerate(requests) for n, other in enumerate(requests))
    assert Request(2) == Request((2.0, 2.0))
    assert Request(2) != 2
    assert len({Request(), Request(seed=1), Request(3), Request(size=(9, 9)), Request(size=(9, 9), fit="exact")}) == 5
