"""Examples from the photo's own scales, which agree where they overlap."""

import torch
from torch import Tensor
from torch.nn.functional import unfold

from zssr.classical.example_patches import SIDE, Busy, Matrix, PatchNetwork, average_patches, learn_patches
from zssr.classical.neighbors import NeighborTable
from zssr.method import Method

_CANDIDATES, _SWEEPS, _AGREEMENT = 6, 3, 4.0


class ExampleNetwork(PatchNetwork):
    """Takes for each patch one of its nearest examples, such that neighbors agree (Freeman et al. 2002).

    The examples are patches of the photo's own smaller sizes (Glasner et al. 2009). The Markov network of patches is
    minimized by iterated conditional modes (Besag 1986): each patch takes the candidate that is nearest to its features
    and to what the patches around it say.
    """

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator) -> None:
        del generator
        self.table = NeighborTable()
        super().__init__(channels, factor, self.table.fit, reach=_SWEEPS * (SIDE - 1))

    def predict_patches(self, features: Matrix, busy: Busy, size: tuple[int, int]) -> Tensor:
        """Choose candidates in turn until neighbors agree."""
        distances, numbers = self.table.search(features, _CANDIDATES)
        candidates = torch.from_numpy(self.table.targets[numbers])  # (n, k, 25)
        costs = torch.from_numpy(distances**2)
        chosen = candidates[:, 0]
        whole = torch.zeros(len(busy), SIDE**2)
        at = torch.from_numpy(busy)
        for _ in range(_SWEEPS):
            whole[at] = chosen
            around = unfold(average_patches(whole, size), SIDE)[0].T[at]
            disagreement = (candidates - around[:, None]).square().sum(-1)
            best = (costs + _AGREEMENT * disagreement).argmin(1)
            chosen = candidates[torch.arange(len(best)), best]
        return chosen


METHOD = Method(
    name="example",
    summary="examples: the nearest patches of the photo's own scales, which agree where they overlap",
    paper="Freeman, Jones and Pasztor 2002; Glasner, Bagon and Irani 2009",
    network=ExampleNetwork,
    on_interpolated=True,
    learn=learn_patches,
    settings={"self_ensemble": 1},
    requires=("sklearn",),
)
