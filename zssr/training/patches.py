"""Examples of a photo's texture, and random patches of them for adversarial training."""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from zssr.geometry import SYMMETRIES
from zssr.training.pairs import randint


@dataclass(frozen=True)
class TextureExample:
    """A part of a photo beside its upscaled versions: images (1, C, H, W), local standard deviations (1, 1, H, W).

    Attributes
    ----------
    photo, photo_std
        The photo at its own size, and its local standard deviation.
    upscaled, upscaled_std
        The upscaled photo, and `photo_std` at its size.
    father, upscaled_son, son_std
        The photo again, its upscaled son, and the son's local standard deviation at that size.
    """

    photo: Tensor
    photo_std: Tensor
    upscaled: Tensor
    upscaled_std: Tensor
    father: Tensor
    upscaled_son: Tensor
    son_std: Tensor


@dataclass(frozen=True)
class PatchBatch:
    """Patches of one size: of a photo, of an upscaled one, and of a father with its upscaled son at the same place."""

    photo: Tensor
    upscaled: Tensor
    upscaled_std: Tensor
    father: Tensor
    upscaled_son: Tensor
    son_std: Tensor


class PatchBatchSampler:
    """Draws patches for both networks of the adversarial training.

    Parameters
    ----------
    examples
        At least one; all have the same number of channels.
    side
        Of the patches, in pixels.
    """

    def __init__(self, examples: Sequence[TextureExample], side: int) -> None:
        channels = examples[0].photo.shape[1]
        self._upscaled_channels, self._son_channels = [channels, 1], [channels, 1, channels]
        upscaled = [torch.cat([one.upscaled, one.upscaled_std], 1) for one in examples]
        sons = [torch.cat([one.upscaled_son, one.son_std, one.father], 1) for one in examples]
        self._photos = PatchSampler([one.photo for one in examples], [one.photo_std for one in examples], side)
        self._upscaled = PatchSampler(upscaled, [one.upscaled_std for one in examples], side)
        self._sons = PatchSampler(sons, [one.son_std for one in examples], side)

    def draw(self, generator: torch.Generator) -> PatchBatch:
        """Draw one patch of each kind."""
        upscaled, upscaled_std = torch.split(self._upscaled.draw(generator), self._upscaled_channels, dim=1)
        son, son_std, father = torch.split(self._sons.draw(generator), self._son_channels, dim=1)
        return PatchBatch(self._photos.draw(generator), upscaled, upscaled_std, father, son, son_std)


class PatchSampler:
    """Draws patches of images (1, C, H, W), more often where the local standard deviation is high."""

    def __init__(self, images: Sequence[Tensor], stds: Sequence[Tensor], side: int) -> None:
        self._images, self._side = images, side
        means = [avg_pool2d(std.cpu(), side, 1)[0, 0] for std in stds]
        # flat places get a quarter of the mean weight
        least = 0.25 * sum(float(mean.mean()) for mean in means) / len(means) + 1e-9
        self._columns = [mean.shape[1] for mean in means]
        self._places = [(mean + least).flatten().double().cumsum(0) for mean in means]
        self._sums = list(accumulate(float(places[-1]) for places in self._places))

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draw a patch (1, C, side, side), randomly rotated and flipped."""
        which, where = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        k = min(bisect(self._sums, which * self._sums[-1]), len(self._sums) - 1)
        places = self._places[k]
        found = min(int(torch.searchsorted(places, where * float(places[-1]))), len(places) - 1)
        row, column = divmod(found, self._columns[k])
        patch = self._images[k][..., row : row + self._side, column : column + self._side]
        return SYMMETRIES[randint(len(SYMMETRIES), generator)](patch)
