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
from zssr.degradation.blur import Separable
from zssr.geometry import Factors

ROUNDING = 0.29 / 255
"""Standard deviation of the error that rounding to 8 bits makes."""

USUAL_ERROR = 2 / 255
"""Standard deviation of what a photo without noise is off, by all that the degradation leaves out."""

REACH = 24
"""How far a reconstruction is taken to reach, in pixels of the small image: beyond it there is less than a level."""


@dataclass(frozen=True)
class DataTerm:
    """The photo (N, C, h, w), and the operator that makes it of an image of `size` (H, W)."""

    small: Tensor
    size: tuple[int, int]
    degradation: Degradation
    offset: Factors

    @cached_property
    def operator(self) -> Separable:
        """Downsampling without noise."""
        return self.degradation.operator(self.size, (self.small.shape[-2], self.small.shape[-1]), self.offset)

    @property
    def noise(self) -> float:
        """Standard deviation of what the photo is off: its noise, or at least the rounding, in [0, 1]."""
        return max(self.degradation.noise / 255, ROUNDING)

    @property
    def noise_ratio(self) -> float:
        """The error of the data beside its usual one, of which rounding is the smaller part."""
        return math.hypot(1, self.degradation.noise / 255 / USUAL_ERROR)

    def error(self, large: Tensor) -> Tensor:
        """Return what the photo has more than the downsampled `large` (N, C, h, w)."""
        return self.small - self.operator(large)

    def solve(self, penalty: Callable[[Tensor], Tensor], target: Tensor, start: Tensor, iterations: int) -> Tensor:
        """Minimize |downsampled x - photo|^2 + <x, penalty(x)> - 2 <x, target> by conjugate gradients.

        `penalty` is linear, symmetric and positive. It ends when the residual has fallen to a thousandth, or after so
        many iterations.
        """
        shape, size = start.shape, start.numel()

        def multiply(vector: NDArray[np.float32]) -> NDArray[np.float32]:
            image = torch.from_numpy(vector).view(shape)
            return (self.operator.adjoint(self.operator(image)) + penalty(image)).flatten().numpy()

        right = self.operator.adjoint(self.small) + target
        from scipy.sparse.linalg import LinearOperator, cg  # other methods do not wait for it

        matrix = LinearOperator((size, size), matvec=multiply, dtype=np.float32)
        solved, _ = cg(matrix, right.flatten().numpy(), start.flatten().numpy(), rtol=3e-4, maxiter=iterations)
        return torch.from_numpy(solved.astype(np.float32)).view(shape)
