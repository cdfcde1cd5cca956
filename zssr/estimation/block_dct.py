"""The cosine transform of 8x8 blocks, which shows both noise and JPEG compression."""

import math
from functools import cache

import torch
from torch import Tensor

SIDE = 8
"""Of a block, in pixels."""


def block_dct(images: Tensor, stride: int, most_clipped: float, content: Tensor | None = None) -> Tensor:
    """Transform the blocks of all channels of `images` (N, C, H, W) in [0, 1]: coefficients (K, 8, 8), in 0 to 255.

    A block begins every `stride` pixels. Blocks with a larger share of black or white values than `most_clipped` are
    left out, and those that are not wholly in the `content` (H, W), if it is given.
    """
    if min(images.shape[-2:]) < SIDE:
        return torch.empty(0, SIDE, SIDE)
    blocks = (255 * images.cpu()).unfold(2, SIDE, stride).unfold(3, SIDE, stride)  # (N, C, rows, columns, 8, 8)
    if content is not None and not content.all():
        blocks = blocks[:, :, content.unfold(0, SIDE, stride).unfold(1, SIDE, stride).all(-1).all(-1)]
    blocks = blocks.reshape(-1, SIDE, SIDE)
    return transform_blocks(blocks[((blocks <= 0) | (blocks >= 255)).float().mean((1, 2)) <= most_clipped])


def transform_blocks(blocks: Tensor) -> Tensor:
    """Return the coefficients of blocks (..., 8, 8): one large product of matrices, and not many small ones."""
    both = torch.kron(dct_matrix(), dct_matrix())
    return (blocks.flatten(-2) @ both.T).reshape(blocks.shape)


@cache
def dct_matrix() -> Tensor:
    """Return the orthonormal cosine transform (type II) as a matrix, the mean first."""
    k = torch.arange(SIDE)
    matrix = torch.cos(math.pi / SIDE * k[:, None] * (k + 0.5)) * math.sqrt(2 / SIDE)
    matrix[0] /= math.sqrt(2)
    return matrix
