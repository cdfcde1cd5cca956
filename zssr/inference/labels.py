"""Enlarging labels: numbers without an order, of which none may be made up."""

from collections.abc import Iterator

import torch
from torch import Tensor

from zssr.photo import Photo

_ROWS = 256  # of the output that are made at once


def enlarge_labels(photo: Photo, size: tuple[int, int]) -> Iterator[Tensor]:
    """Yield strips of rows (C, h, W) of an image enlarged by nearest neighbor to `size` (H, W), in its own numbers."""
    rows, columns = (
        ((2 * torch.arange(large) + 1) * small // (2 * large)) for large, small in zip(size, photo.size, strict=True)
    )
    for part in torch.split(rows, _ROWS):
        first, last = int(part[0]), int(part[-1])
        stored = photo.rows(first, last + 1)
        yield torch.stack([plane[(part - first)[:, None], columns] for plane in stored])
