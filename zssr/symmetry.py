"""The 8 rotations and flips of a square (the dihedral group D4), acting on the last two axes of an image."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Symmetry:
    """A left-right flip (or none), followed by a number of counter-clockwise quarter turns."""

    turns: int
    flip: bool

    def __call__(self, image: Tensor) -> Tensor:
        """Transform `image` (..., H, W); odd turns give (..., W, H)."""
        flipped = image.flip(-1) if self.flip else image
        return torch.rot90(flipped, self.turns, (-2, -1))

    def inverse(self, image: Tensor) -> Tensor:
        """Undo `__call__`."""
        turned = torch.rot90(image, -self.turns, (-2, -1))
        return turned.flip(-1) if self.flip else turned


SYMMETRIES = tuple(Symmetry(turns, flip) for flip in (False, True) for turns in range(4))
"""All 8, the identity first."""
