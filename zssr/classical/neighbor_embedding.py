"""Neighbor embedding: patches as mixtures of their neighbors."""

import torch
from torch import Tensor

from zssr.classical.example_patches import Busy, Matrix, PatchNetwork, learn_patches
from zssr.classical.neighbors import NeighborTable
from zssr.method import Method


class EmbeddingNetwork(PatchNetwork):
    """Mixes residual patches with the weights by which features are mixed of their neighbors' (Chang et al. 2004)."""

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator, neighbors: int) -> None:
        del generator
        self.table, self.neighbors = NeighborTable(), neighbors
        super().__init__(channels, factor, self.table.fit)

    def predict_patches(self, features: Matrix, _busy: Busy, _size: tuple[int, int]) -> Tensor:
        """Mix the neighbors' patches."""
        _, numbers = self.table.search(features, self.neighbors)
        weights = solve_embedding(torch.from_numpy(features), torch.from_numpy(self.table.features[numbers]))
        mixed: Tensor = (weights[..., None] * torch.from_numpy(self.table.targets[numbers])).sum(1)
        return mixed


def solve_embedding(points: Tensor, neighbors: Tensor) -> Tensor:
    """Return the weights (n, k), summing to one, that best mix `neighbors` (n, k, d) to `points` (n, d).

    That is locally linear embedding (Roweis and Saul 2000), regularized by a hundredth of the trace.
    """
    offsets = neighbors - points[:, None]
    gram = offsets @ offsets.mT
    trace = gram.diagonal(dim1=1, dim2=2).sum(1)
    gram = gram + (0.01 * trace + 1e-9)[:, None, None] * torch.eye(gram.shape[1])
    weights = torch.linalg.solve(gram, torch.ones(gram.shape[:2], dtype=gram.dtype))
    normalized: Tensor = weights / weights.sum(1, keepdim=True)
    return normalized


METHOD = Method(
    name="neighbor-embedding",
    summary="examples: patches as mixtures of their nearest neighbors (LLE)",
    paper="Chang, Yeung and Xiong 2004",
    network=EmbeddingNetwork,
    on_interpolated=True,
    learn=learn_patches,
    settings={"self_ensemble": 1},
    options={"neighbors": 12},
    requires=("sklearn",),
)
