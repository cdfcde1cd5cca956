"""Photos whose sides join, such as seamless textures and panoramas: they are the same wherever they were cut open."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from zssr.config import Config
from zssr.geometry import Region
from zssr.photo import Photo


def join_sides(photo: Photo, config: Config) -> Photo:
    """Join the sides that the setting `wrap` names: all regions are read with their margins from across the seam."""
    joined = replace(photo, wraps=("y" in config.wrap, "x" in config.wrap))
    return replace(joined, origin=find_origin(joined)) if any(joined.wraps) else joined


def find_origin(photo: Photo) -> tuple[int, int]:
    """Find a row and a column that are the same places of a photo wherever it was cut open; 0 where no sides join.

    What depends on where a photo begins, estimation and training, begins there. So a photo that is rolled gives a
    result that is rolled alike. They are the beginnings of the least rotations of the sums of rows and of columns.
    """
    whole, rows = Region.whole(photo.size, photo.wraps), []
    columns = torch.zeros(photo.size[1], dtype=torch.int64)
    for part in whole.rows.split(256):
        colors, opacity = photo.region(Region(part, whole.columns))
        numbers = (2**24 * (colors if opacity is None else colors * opacity)).long()  # their sums have no rounding
        rows.append(numbers.sum((0, 1, 3)))
        columns += numbers.sum((0, 1, 2))
    sums = zip((torch.cat(rows), columns), photo.wraps, strict=True)
    row, column = (find_least_rotation(one.tolist()) if wraps else 0 for one, wraps in sums)
    return row, column


def find_least_rotation(numbers: Sequence[int]) -> int:
    """Return where the lexicographically least rotation of a sequence begins, in linear time (Booth 1980)."""
    first, second, same, count = 0, 1, 0, len(numbers)
    while max(first, second, same) < count:
        a, b = numbers[(first + same) % count], numbers[(second + same) % count]
        if a == b:
            same += 1
            continue
        first, second = (first + same + 1, second) if a > b else (first, second + same + 1)
        second += first == second
        same = 0
    return min(first, second)
