"""Filling the holes of an image smoothly from around them, so that nothing rings into their neighbors."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

FILL_REACH = 64
"""How far what is filled depends on, in pixels."""

_NEAREST = 32  # pixels within which the nearest one is taken
_SMOOTHINGS, _BENDINGS = 8, 12  # iterations, which reach 1 and 2 pixels further


_STENCIL = (
    torch.tensor(
        [[0, 0, -1, 0, 0], [0, -2, 8, -2, 0], [-1, 8, 0, 8, -1], [0, -2, 8, -2, 0], [0, 0, -1, 0, 0]],
        dtype=torch.float64,
    ).view(1, 1, 5, 5)
    / 20
)
"""What a pixel is where the biharmonic equation holds."""


def fill_holes(colors: Tensor, holes: Tensor) -> Tensor:
    """Return `colors` (1, C, h, w) with what is in `holes` (C or 1, h, w) filled from around them.

    A pixel of a hole becomes the nearest one outside, and then the mean of its neighbors, some times. At last slopes
    are continued: the surface is bent less, by Jacobi's iteration of the biharmonic equation. What is far from all
    others becomes gray.
    """
    if not holes.any():
        return colors
    if holes.shape[0] > 1 and bool((holes == holes[:1]).all()):
        holes = holes[:1]
    parts = torch.split(colors, colors.shape[1] // len(holes), dim=1)
    filled = torch.cat([_fill(part, hole) for part, hole in zip(parts, holes, strict=True)], 1)
    return filled.to(colors.dtype)


def _fill(colors: Tensor, hole: Tensor) -> Tensor:
    from scipy.ndimage import distance_transform_edt  # other images do not wait for it

    if bool(hole.all()):
        return torch.full_like(colors, 0.5, dtype=torch.float64)
    distance, nearest = distance_transform_edt(hole.cpu().numpy(), return_indices=True)
    y, x = torch.from_numpy(np.asarray(nearest, np.int64)).to(colors.device)
    filled = colors.double()[..., y, x]
    filled = torch.where(torch.from_numpy(distance > _NEAREST).to(colors.device), 0.5, filled)
    for _ in range(_SMOOTHINGS):
        filled = torch.where(hole, avg_pool2d(pad(filled, (1, 1, 1, 1), mode="replicate"), 3, 1), filled)
    for _ in range(_BENDINGS):
        bent = conv2d(pad(filled, (2, 2, 2, 2), mode="replicate").transpose(0, 1), _STENCIL).transpose(0, 1)
        filled = torch.where(hole, filled + 0.55 * (bent - filled), filled)  # more than .62 would diverge
    return filled.clamp(0, 1)
