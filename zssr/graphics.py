"""Telling graphics from photos: by flat grounds, hard edges, and few colors."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

_LARGEST_BLOCK = 8


def is_graphics(colors: Tensor) -> bool:
    """Tell whether `colors` (C, h, w) in [0, 1] are graphics: pixel art, text, charts, labels, codes.

    Neighbors of a photo are seldom equal, and mostly differ by little. In graphics neighbors are equal (`equal` is
    their share), and at edges most have the color of some neighbor (`joined`); steps are large (`small` is the share of
    the others), and there are flat grounds (`flat` is the share of 3x3 squares of one color), or few colors. The limits
    were chosen by reductions of photos, and by graphics and posterized photos of all kinds.
    """
    if min(colors.shape[-2:]) < 3 or _share_equal(colors) < 0.2:
        return False
    colors = _undo_enlargement(colors)
    down, right = (255 * colors.diff(dim=axis).abs().amax(0) for axis in (1, 2))
    steps = torch.cat([down.flatten(), right.flatten()])
    equal = float((steps == 0).float().mean())
    if min(colors.shape[-2:]) < 3 or equal < 0.2 or equal == 1:
        return False
    joined = _share_joined(down == 0, right == 0)
    shades = (255 * colors[:4]).round().long()
    count = len(np.unique((shades * 256 ** torch.arange(len(shades)).view(-1, 1, 1)).sum(0).numpy()))
    if (count <= 8 and joined >= 0.6) or (count <= 64 and joined >= 0.9 and equal >= 0.5):
        return True
    small = float((steps[steps > 0] <= 8).float().mean())
    highest, lowest = (sign * max_pool2d(sign * colors[None], 3, 1) for sign in (1, -1))
    flat = float((highest == lowest).all(1).float().mean())
    return equal >= 0.5 and joined >= 0.5 and small <= 0.12 and flat >= 0.4


def _share_equal(colors: Tensor) -> float:
    """Return the share of the pixels that are equal to their right neighbor."""
    return float((colors[:, :, 1:] == colors[:, :, :-1]).all(0).float().mean())


def _undo_enlargement(colors: Tensor) -> Tensor:
    """Return one pixel for each block, where all blocks of some size have one color, as after nearest neighbor."""
    for side in range(_LARGEST_BLOCK, 1, -1):
        rows, columns = (torch.arange(length) // side * side for length in colors.shape[-2:])
        if torch.equal(colors[:, rows][..., columns], colors):
            return colors[:, ::side, ::side]
    return colors


def _share_joined(down: Tensor, right: Tensor) -> float:
    """Return the share of the pixels with some other neighbor that have an equal one, by which neighbors are equal."""
    size = (down.shape[0] + 1, right.shape[1] + 1)
    has_equal, has_other = (torch.zeros(size, dtype=torch.bool) for _ in range(2))
    for has, rows, columns in ((has_equal, down, right), (has_other, ~down, ~right)):
        has[1:] |= rows
        has[:-1] |= rows
        has[:, 1:] |= columns
        has[:, :-1] |= columns
    return float((has_equal & has_other).sum() / has_other.sum().clamp(min=1))
