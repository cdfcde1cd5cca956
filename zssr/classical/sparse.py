"""Sparse coding with coupled dictionaries."""

import warnings

import numpy as np
import torch
from torch import Tensor

from zssr.classical.example_patches import Busy, Matrix, PatchNetwork, learn_patches
from zssr.method import Method

_ATOMS, _NONZERO, _SAMPLES = 128, 3, 1000


class SparseNetwork(PatchNetwork):
    """Codes features with few atoms, and takes the residual patches that belong to these atoms.

    The dictionary of features is learned (Yang et al. 2010), and that of residual patches follows by least squares from
    the same codes (Zeyde et al. 2012).

    Attributes
    ----------
    atoms, patches
        The dictionaries (128, d) and (128, 25).
    """

    def __init__(self, *, channels: int, factor: int, generator: torch.Generator) -> None:
        del generator
        self.atoms, self.patches = np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32)
        super().__init__(channels, factor, self.fit_dictionaries)

    def fit_dictionaries(self, features: Matrix, targets: Matrix, seed: int) -> None:
        """Learn both dictionaries."""
        from sklearn.decomposition import MiniBatchDictionaryLearning  # type: ignore[import-untyped]  # an extra

        count = min(_ATOMS, len(features))
        usual = {"alpha": 0.2, "max_iter": 3, "batch_size": 200, "n_jobs": 1}
        learner = MiniBatchDictionaryLearning(count, random_state=seed, **usual)
        scale = np.linalg.norm(features, axis=1).mean()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of atoms that are nearly equal, one of which is dropped
            self.atoms = learner.fit(features[:_SAMPLES] / scale).components_.astype(np.float32)
        codes = encode(features, self.atoms)
        gram = codes.T @ codes + 1e-4 * np.trace(codes.T @ codes) / count * np.eye(count, dtype=np.float32)
        self.patches = np.linalg.solve(gram, codes.T @ targets).astype(np.float32)

    def predict_patches(self, features: Matrix, _busy: Busy, _size: tuple[int, int]) -> Tensor:
        """Code, and decode by the other dictionary."""
        return torch.from_numpy(encode(features, self.atoms) @ self.patches)


def encode(features: Matrix, atoms: Matrix) -> Matrix:
    """Return codes (n, atoms) of at most three atoms each, by orthogonal matching pursuit (Pati et al. 1993).

    All rows at once; scikit-learn's takes them one by one.
    """
    rows, dictionary = torch.from_numpy(features), torch.from_numpy(atoms)
    numbers = torch.empty(len(rows), 0, dtype=torch.long)
    weights, rest = torch.zeros(len(rows), 0), rows
    for _ in range(min(_NONZERO, len(atoms))):
        similar = (rest @ dictionary.T).abs().scatter(1, numbers, -1.0)
        numbers = torch.cat([numbers, similar.argmax(1, keepdim=True)], 1)
        chosen = dictionary[numbers]  # (n, k, d)
        gram = chosen @ chosen.mT + 1e-6 * torch.eye(chosen.shape[1])
        weights = torch.linalg.solve(gram, (chosen @ rows[..., None])[..., 0])
        rest = rows - (weights[:, None] @ chosen)[:, 0]
    return np.asarray(torch.zeros(len(rows), len(atoms)).scatter(1, numbers, weights).numpy(), np.float32)


METHOD = Method(
    name="sparse",
    summary="examples: sparse codes with coupled dictionaries",
    paper="Yang et al. 2010; Zeyde, Elad and Protter 2012",
    network=SparseNetwork,
    on_interpolated=True,
    learn=learn_patches,
    settings={"self_ensemble": 1},
    requires=("sklearn",),
)
