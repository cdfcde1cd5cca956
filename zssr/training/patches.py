"""What a game for texture is played with: parts of a photo, and patches of them."""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from zssr.geometry import SYMMETRIES
from zssr.training.pairs import randint

_FLAT = 0.25  # of the mean contrast: how often crops without any are drawn


@dataclass(frozen=True)
class TextureExample:
    """A part of a photo, and what was made of it; each (1, C, H, W), the contrasts (1, 1, H, W).

    Attributes
    ----------
    photo, photo_contrast
        The photo itself, at its own finest scale.
    large, large_contrast
        Its enlargement, and the photo's contrast at that size.
    father, son, son_contrast
        The photo again, what its son was enlarged to, and the son's contrast at that size.
    """

    photo: Tensor
    photo_contrast: Tensor
    large: Tensor
    large_contrast: Tensor
    father: Tensor
    son: Tensor
    son_contrast: Tensor


class PatchSampler:
    """Images (1, C, H, W) that patches are drawn from, more often where there is contrast."""

    def __init__(self, images: Sequence[Tensor], contrasts: Sequence[Tensor], side: int) -> None:
        self._images, self._side = images, side
        means = [avg_pool2d(contrast.cpu(), side, 1)[0, 0] for contrast in contrasts]
        least = _FLAT * sum(float(mean.mean()) for mean in means) / len(means) + 1e-9
        self._columns = [mean.shape[1] for mean in means]
        self._places = [(mean + least).flatten().double().cumsum(0) for mean in means]
        self._sums = list(accumulate(float(places[-1]) for places in self._places))

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return a patch (1, C, side, side), turned at random."""
        chance, where = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        k = min(bisect(self._sums, chance * self._sums[-1]), len(self._sums) - 1)
        places = self._places[k]
        found = min(int(torch.searchsorted(places, where * float(places[-1]))), len(places) - 1)
        row, column = divmod(found, self._columns[k])
        patch = self._images[k][..., row : row + self._side, column : column + self._side]
        return SYMMETRIES[randint(len(SYMMETRIES), generator)](patch)
