"""A table of examples and the search for the nearest ones, by scikit-learn."""

from typing import Any

import numpy as np

from zssr.classical.example_patches import Matrix

_CHUNK = 8192


class NeighborTable:
    """Features (n, d) with the residual patches (n, 25) that belong to them."""

    def __init__(self) -> None:
        self.targets = np.zeros((0, 0), np.float32)
        self.features = np.zeros((0, 0), np.float32)
        self._index: Any = None

    def fit(self, features: Matrix, targets: Matrix, _seed: int) -> None:
        """Keep examples."""
        from sklearn.neighbors import NearestNeighbors  # type: ignore[import-untyped]  # an extra

        self.features, self.targets = features, targets
        self._index = NearestNeighbors(algorithm="brute", n_jobs=1).fit(features)

    def search(self, features: Matrix, count: int) -> tuple[Matrix, "np.ndarray[Any, np.dtype[np.int64]]"]:
        """Return distances and numbers of the `count` nearest examples of each row: two arrays (n, count)."""
        count = min(count, len(self.targets))
        parts = [features[k : k + _CHUNK] for k in range(0, len(features), _CHUNK)]
        found = [self._index.kneighbors(part, count) for part in parts]
        distances, numbers = (np.concatenate([one[k] for one in found]) for k in range(2))
        return distances.astype(np.float32), numbers
