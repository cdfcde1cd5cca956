"""Support vector regression of pixels from the patches around them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from zssr.classical.example_patches import SIDE, Busy, Matrix, PatchNetwork, learn_patches
from zssr.method import Method

_SAMPLES = 3000
_CHUNK = 8192


class RegressionNetwork(PatchNetwork):
    """Predicts the middle of each patch by a support vector machine with a Gaussian kernel (Ni and Nguyen 2007)."""

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator) -> None:
        del generator
        self.machine: Any = None
        super().__init__(channels, factor, self.fit_machine)

    def fit_machine(self, features: Matrix, targets: Matrix, seed: int) -> None:
        """Fit the machine to the middles of some patches."""
        from sklearn.svm import SVR  # type: ignore[import-untyped]  # an extra

        chosen = np.random.default_rng(seed).permutation(len(features))[:_SAMPLES]
        middles = targets[chosen, SIDE**2 // 2]
        scale = float(middles.std()) + 1e-6
        width = 1 / (features.shape[1] * float(features.var()) + 1e-9)
        self.machine = SVR(C=4 * scale, epsilon=0.2 * scale, gamma=width)
        self.machine.random_state = seed  # else the global generator is drawn from
        self.machine.fit(features[chosen], middles)

    def predict_patches(self, features: Matrix, _busy: Busy, _size: tuple[int, int]) -> Tensor:
        """Predict the middles; the rest of each patch is not said."""
        patches = torch.full((len(features), SIDE**2), torch.nan)
        patches[:, SIDE**2 // 2] = self.predict_middles(torch.from_numpy(features))
        return patches

    def predict_middles(self, features: Tensor) -> Tensor:
        """Return what the machine's own `predict` does, in larger pieces."""
        vectors = torch.from_numpy(self.machine.support_vectors_).float()
        weights = torch.from_numpy(self.machine.dual_coef_[0]).float()
        parts = [
            torch.exp(-self.machine._gamma * torch.cdist(part, vectors).square()) @ weights
            for part in torch.split(features, _CHUNK)
        ]
        return torch.cat(parts) + float(self.machine.intercept_[0])


METHOD = Method(
    name="svr",
    summary="examples: support vector regression of each pixel from the patch around it",
    paper="Ni and Nguyen 2007",
    network=RegressionNetwork,
    on_interpolated=True,
    learn=learn_patches,
    settings={"self_ensemble": 1},
    requires=("sklearn",),
)
