"""Projections onto convex sets (Stark and Oskoui 1989)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from zssr.classical.data_term import REACH, DataTerm
from zssr.degradation import Degradation
from zssr.geometry import Factors
from zssr.method import Method

_BACK_PROJECTIONS = 10


@dataclass(frozen=True)
class ConvexSets:
    """The images that give the photo, up to its noise, whose values lie in [0, 1] and near those of their neighbors.

    Attributes
    ----------
    term, tolerance
        The photo, and how far off a pixel of the downsampled image may be.
    low, high
        Bounds (N, C, H, W) of the values: local smoothness and amplitude.
    """

    term: DataTerm
    tolerance: float
    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, large: Tensor, term: DataTerm) -> "ConvexSets":
        """Return the sets whose bounds are the range of the 3x3 pixels around each, and half of it more.

        The range is that of `large` after some back-projections, which sharpen it if the photo is blurred.
        """
        for _ in range(_BACK_PROJECTIONS):
            large = large + term.correct(term.error(large))
        high, low = (sign * max_pool2d(sign * large, 3, 1, 1) for sign in (1, -1))
        slack = 0.5 * (high - low) + 2 * term.noise
        return cls(term, 2 * term.noise, (low - slack).clamp(0, 1), (high + slack).clamp(0, 1))

    def project(self, large: Tensor) -> Tensor:
        """Project onto the sets, one after the other: a relaxed projection onto that of the photo, exact ones then."""
        return torch.clamp(large + self._correction(large), self.low, self.high)

    def distance(self, large: Tensor) -> float:
        """Return by how much the downsampled image is off more than it may, at the worst pixel."""
        return max(0.0, float((self.term.weights * self.term.error(large)).abs().max()) - self.tolerance)

    def _correction(self, large: Tensor) -> Tensor:
        error = self.term.error(large)
        excess = error - error.clamp(-self.tolerance, self.tolerance)
        return 1.9 * self.term.correct(excess)


def project_onto_sets(
    large: Tensor, small: Tensor, degradation: Degradation, offset: Factors, *, iterations: int
) -> Tensor:
    """Project in turn until the image lies in all sets, to a tenth of a level."""
    term = DataTerm.of_photo(small, (large.shape[-2], large.shape[-1]), degradation, offset)
    return project_in_turn(large, term, iterations)


def project_in_turn(large: Tensor, term: DataTerm, iterations: int) -> Tensor:
    """Project onto the sets around `large` until the image lies in all of them, to a tenth of a level."""
    sets = ConvexSets.around(large, term)
    for _ in range(iterations):
        if sets.distance(large) <= 0.1 / 255:
            break
        large = sets.project(large)
    return large


METHOD = Method(
    name="pocs",
    summary="reconstruction: projections onto the images that give the photo and are smooth around each pixel",
    paper="Stark and Oskoui 1989",
    reconstruct=project_onto_sets,
    reach=lambda _: REACH,
    options={"iterations": 300},
)
