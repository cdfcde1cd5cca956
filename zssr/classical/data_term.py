"""What the reconstruction methods share: how far an image is from giving the photo, and a solver for quadratics."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zssr.degradation import Degradation
from zssr.degradation.scattered import LinearMap
from zssr.geometry import Factors

ROUNDING = 0.29 / 255
"""Standard deviation of the error that rounding to 8 bits makes."""

USUAL_ERROR = 2 / 255
"""Standard deviation of what a photo without noise is off, by all that the degradation leaves out."""

REACH = 24
"""How far a reconstruction is taken to reach, in pixels of the small image: beyond it there is less than a level."""


@dataclass(frozen=True)
class DataTerm:
    """What is known of an image: the samples that an operator makes of it.

    Attributes
    ----------
    small
        The samples: a photo (N, C, h, w), or those of several frames (N, C, n).
    operator
        What makes them of an image (N, C, H, W).
    sigma
        Standard deviation of the noise on them, in [0, 1].
    weights
        From 0 to 1, how far they are trusted, in the shape of the samples or one that is broadcast to it.
    known_step
        One over the largest eigenvalue of the operator after its transpose, if it is known.
    """

    small: Tensor
    operator: LinearMap
    sigma: float = 0.0
    weights: Tensor | float = 1.0
    known_step: float | None = None

    @classmethod
    def of_photo(cls, small: Tensor, size: tuple[int, int], degradation: Degradation, offset: Factors) -> "DataTerm":
        """Return the term of one photo (N, C, h, w) of an image of `size` (H, W), in which it begins at `offset`."""
        operator = degradation.operator(size, (small.shape[-2], small.shape[-1]), offset)
        return cls(small, operator, degradation.noise / 255, known_step=degradation.step_size)

    @property
    def noise(self) -> float:
        """Standard deviation of what the samples are off: their noise, or at least the rounding, in [0, 1]."""
        return max(self.sigma, ROUNDING)

    @property
    def noise_ratio(self) -> float:
        """The error of the data beside its usual one, of which rounding is the smaller part."""
        return math.hypot(1, self.sigma / USUAL_ERROR)

    @cached_property
    def step_size(self) -> float:
        """One over the largest eigenvalue of the operator after its transpose, by power iteration."""
        if self.known_step is not None:
            return self.known_step
        samples = torch.rand(self.small[:1, :1].shape, generator=torch.Generator().manual_seed(0))
        for _ in range(20):
            samples = self.operator(self.operator.adjoint(samples / samples.norm()))
        return 1 / float(samples.norm())

    def error(self, large: Tensor) -> Tensor:
        """Return what the samples have more than those of `large` (N, C, H, W)."""
        return self.small - self.operator(large)

    def measure(self, error: Tensor) -> float:
        """Return the standard deviation of an error of the samples, each as far as it is trusted."""
        weights = torch.as_tensor(self.weights).expand(error.shape)
        return float(((weights * error.square()).sum() / weights.sum()).sqrt())

    def correct(self, error: Tensor) -> Tensor:
        """Return the step (N, C, H, W) of a descent that an error of the samples calls for."""
        return self.step_size * self.operator.adjoint(self.weights * error)

    def solve(self, penalty: Callable[[Tensor], Tensor], target: Tensor, start: Tensor, iterations: int) -> Tensor:
        """Minimize the weighted squares of the error of x, plus <x, penalty(x)> - 2 <x, target>.

        Conjugate gradients do it.
        `penalty` is linear, symmetric and positive. It ends when the residual has fallen to a thousandth, or after so
        many iterations.
        """
        shape, size = start.shape, start.numel()

        def multiply(vector: NDArray[np.float32]) -> NDArray[np.float32]:
            image = torch.from_numpy(vector).view(shape)
            return (self.operator.adjoint(self.weights * self.operator(image)) + penalty(image)).flatten().numpy()

        right = self.operator.adjoint(self.weights * self.small) + target
        from scipy.sparse.linalg import LinearOperator, cg  # other methods do not wait for it

        matrix = LinearOperator((size, size), matvec=multiply, dtype=np.float32)
        solved, _ = cg(matrix, right.flatten().numpy(), start.flatten().numpy(), rtol=3e-4, maxiter=iterations)
        return torch.from_numpy(solved.astype(np.float32)).view(shape)
