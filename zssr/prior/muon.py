"""Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon)."""

from collections.abc import Sequence

import torch
from torch import Tensor

_MOMENTUM = 0.95
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon:
    """Updates matrices of one shape, all of them with a few operations.

    `torch.optim.Muon` computes the same, matrix by matrix: hundreds of operations, for which a GPU waits.

    Attributes
    ----------
    momentum
        The running mean of the gradients, (matrices, rows, columns).
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._weights = list(weights)
        self.momentum = torch.zeros_like(_join(weights))

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Update the weights, whose gradients these are; convolutions are matrices with a row for each output."""
        joined = _join(gradients)
        self.momentum.lerp_(joined, 1 - _MOMENTUM)
        update = orthogonalize(joined.lerp(self.momentum, _MOMENTUM)).to(self.momentum.dtype)  # Nesterov's
        shape = self._weights[0].movedim(1, -1).shape
        torch._foreach_add_(self._weights, [one.view(shape).movedim(-1, 1) for one in update], alpha=-rate)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices (N, rows, columns) near 1, by five Newton-Schulz iterations in bf16."""
    a, b, c = _COEFFICIENTS
    x = matrices.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _join(weights: Sequence[Tensor]) -> Tensor:
    """Stack the weights (O, C, K, K) of convolutions, whose channels are last in memory, as matrices."""
    return torch.stack([weight.movedim(1, -1).flatten(1) for weight in weights])
