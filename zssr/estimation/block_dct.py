"""Blocks of 8x8 pixels as sums of waves, in which both noise and JPEG show."""

import math

import torch
from torch import Tensor

SIDE = 8


def block_dct(images: Tensor, stride: int, clipped: float) -> Tensor:
    """Return the cosine transforms (K, 8, 8), in 0 to 255, of the blocks of all bands of `images` (N, C, H, W).

    A block begins every `stride` pixels. Those with more than a share `clipped` of black or white values are left out.
    """
    if min(images.shape[-2:]) < SIDE:
        return torch.empty(0, SIDE, SIDE)
    blocks = (255 * images.cpu()).unfold(2, SIDE, stride).unfold(3, SIDE, stride).reshape(-1, SIDE, SIDE)
    blocks = blocks[((blocks <= 0) | (blocks >= 255)).float().mean((1, 2)) <= clipped]
    return _COSINES @ blocks @ _COSINES.mT


def _cosines() -> Tensor:
    """Return the orthonormal cosine transform as a matrix, the mean first."""
    k = torch.arange(SIDE)
    matrix = torch.cos(math.pi / SIDE * k[:, None] * (k + 0.5)) * math.sqrt(2 / SIDE)
    matrix[0] /= math.sqrt(2)
    return matrix


_COSINES = _cosines()
