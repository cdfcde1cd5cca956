"""Pairs of a father and his son: the photo itself is the truth, and what the degradation makes of it is the input."""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from zssr.degradation import Degradation, resize
from zssr.degradation.noise import add_noise, quantize
from zssr.geometry import SYMMETRIES, Interval, Region, Symmetry

FATHER_SIZES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)
"""Of a sharp photo; of one that is blurred all are smaller."""

VALIDATION_SIZE = 0.725
"""Size of the father whose crops measure progress: near those that are learned from, and never learned from itself."""

SMALLEST_FATHER = 24
"""Shortest side in pixels of an image that something can be learned from."""

_SHARP = 0.43  # pixels: the standard deviation of a blur that fathers may have
_NEGATIVES = 4  # one crop in so many
MOST_PIXELS = {True: 2**20, False: 2**19}
"""That are learned from at each size of the photo, by whether one copy of a father does for all 8."""

_WINDOW = 256


@dataclass(frozen=True)
class Pair:
    """A son (C, h, w) and what its enlargement lacks to be the father: the residual (C, factor * h, factor * w)."""

    son: Tensor
    residual: Tensor


class Pairs:
    """Pairs that crops of one size are drawn from, each pair in proportion to its area.

    Each crop is turned by one of `symmetries`, its channels are shuffled, and a quarter of the crops are negatives: the
    degradation is linear and treats all channels alike, so what comes out are pairs as good as the first, and a network
    that cannot rely on colors and on light and dark learns less by heart (worth 0.3 dB at x4, where there is little to
    learn from).

    Parameters
    ----------
    pairs
        At least one pair.
    factor
        How many times larger than sons the fathers are.
    crop_size
        Side in pixels of a father's crop; where a father is smaller, several crops of its size make up for it.
    symmetries
        Rotations and flips that take a pair to a pair.
    shuffles
        Whether channels are shuffled; not after JPEG, which treats light and colors unlike.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        factor: int,
        crop_size: int,
        symmetries: Sequence[Symmetry] = SYMMETRIES[:1],
        *,
        shuffles: bool = True,
    ) -> None:
        self.pairs = pairs
        self.factor = factor
        self.symmetries = symmetries
        self.shuffles = shuffles
        wanted = max(crop_size // factor, 1)
        self.side = min(wanted, *(side for pair in pairs for side in pair.son.shape[-2:]))
        self.count = max(1, round((wanted / self.side) ** 2))
        self._areas = list(accumulate(pair.son[0].numel() for pair in pairs))

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw sons (`count`, C, `side`, `side`) and their residuals, `factor` times larger."""
        crops = [self._crop(generator) for _ in range(self.count)]
        return torch.stack([son for son, _ in crops]), torch.stack([residual for _, residual in crops])

    def _crop(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        pair = self.pairs[bisect(self._areas, randint(self._areas[-1], generator))]
        top, left = (randint(length - self.side + 1, generator) for length in pair.son.shape[-2:])
        rows, columns = slice(top, top + self.side), slice(left, left + self.side)
        son = pair.son[:, rows, columns]
        residual = pair.residual[:, _times(self.factor, rows), _times(self.factor, columns)]
        if self.shuffles:
            order = torch.randperm(len(son), generator=generator).to(son.device)
            son, residual = son[order], residual[order]
        symmetry = self.symmetries[randint(len(self.symmetries), generator)]
        son, residual = symmetry(son), symmetry(residual)
        return (1 - son, -residual) if randint(_NEGATIVES, generator) == 0 else (son, residual)


def randint(limit: int, generator: torch.Generator) -> int:
    """Draw a whole number from 0 to `limit` - 1."""
    return int(torch.randint(limit, (), generator=generator))


def _times(factor: int, part: slice) -> slice:
    return slice(factor * part.start, factor * part.stop)


def is_large_enough(size: tuple[int, int], degradation: Degradation, factor: int) -> bool:
    """Tell whether an image of `size` (H, W), cut to whole sons, is large enough to learn from."""
    kernel = 0 if degradation.kernel is None else max(degradation.kernel.shape)
    return min(size) // factor * factor >= max(SMALLEST_FATHER, kernel)


def make_training_pairs(
    images: Sequence[Sequence[Tensor]],
    degradation: Degradation,
    factor: int,
    crop_size: int,
    generator: torch.Generator,
) -> tuple[Pairs, Pairs]:
    """Make the pairs to train on, and held-back ones that measure progress.

    Fathers are `images`, lists of (N, C, H, W) in [0, 1] for each size of the photo, at the `FATHER_SIZES` and in the 8
    rotations and flips; of lists with many pixels, random windows are taken. What the kernel has blurred would teach
    softness as a father: it is shrunk until it is sharp. `degradation` must be the one at scale `factor`. If it
    commutes with all rotations and flips, crops of the pairs are turned when they are drawn; otherwise the fathers are
    turned before they are degraded, so that a kernel keeps its direction.
    """
    commutes = degradation.sampling == "center" and len(degradation.symmetries()) == len(SYMMETRIES)
    single = [[one for image in alike for one in torch.split(image, 1)] for alike in images]
    cut = [window for alike in single for window in _windows(alike, MOST_PIXELS[commutes], generator)]
    sharp = min(1.0, _SHARP * factor / degradation.blur_sigma) if degradation.blur_sigma else 1.0
    sizes = [sharp * size for size in FATHER_SIZES]
    fathers = _fathers(cut, sizes, degradation, factor) or _fathers(cut, [1.0], degradation, factor)
    validation = _fathers(cut, [sharp * VALIDATION_SIZE], degradation, factor) or fathers[:1]
    before, after = (SYMMETRIES[:1], SYMMETRIES) if commutes else (SYMMETRIES, SYMMETRIES[:1])

    def pairs(fathers: list[Tensor]) -> Pairs:
        made = [make_pair(father, degradation, factor, generator) for father in fathers]
        pairs = [Pair(sons[0], residuals[0]) for sons, residuals in made]
        return Pairs(pairs, factor, crop_size, after, shuffles=degradation.jpeg is None)

    return pairs([symmetry(father) for father in fathers for symmetry in before]), pairs(validation)


def sample_windows(sizes: Sequence[tuple[int, int]], most: int, generator: torch.Generator) -> list[tuple[int, Region]]:
    """Return regions of images of `sizes` (H, W), each with its image's number, that have about `most` pixels together.

    All of each image if that is no more; otherwise random windows, of each image in proportion to its area.
    """
    areas = list(accumulate(height * width for height, width in sizes))
    if areas[-1] <= most:
        return [(k, Region.whole(size)) for k, size in enumerate(sizes)]
    chosen: list[tuple[int, Region]] = []
    while sum(region.size[0] * region.size[1] for _, region in chosen) < most:
        k = bisect(areas, randint(areas[-1], generator)) if len(sizes) > 1 else 0
        starts = [randint(max(length - _WINDOW, 0) + 1, generator) for length in sizes[k]]
        spans = [Interval(start, min(start + _WINDOW, n), n) for start, n in zip(starts, sizes[k], strict=True)]
        chosen.append((k, Region(spans[0], spans[1])))
    return chosen


def _windows(images: Sequence[Tensor], most: int, generator: torch.Generator) -> list[Tensor]:
    chosen = sample_windows([(image.shape[-2], image.shape[-1]) for image in images], most, generator)
    whole = [Region.whole((image.shape[-2], image.shape[-1])) for image in images]
    return [images[k][(..., *region.slices_within(whole[k]))] for k, region in chosen]


def _fathers(images: Sequence[Tensor], sizes: Sequence[float], degradation: Degradation, factor: int) -> list[Tensor]:
    fathers = [_father(image, size, factor) for image in images for size in sizes]
    return [father for father in fathers if is_large_enough((father.shape[-2], father.shape[-1]), degradation, factor)]


def _father(image: Tensor, size: float, factor: int) -> Tensor:
    """Return the image at `size` times its size, cut to whole sons."""
    height, width = (max(factor, round(size * length)) for length in image.shape[-2:])
    smaller = resize(image, (height, width), (size, size))
    return smaller[..., : height // factor * factor, : width // factor * factor]


def make_pair(
    fathers: Tensor, degradation: Degradation, factor: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the sons of `fathers` (N, C, H, W), spoilt as the photo was, and what their enlargements lack."""
    height, width = fathers.shape[-2:]
    sons = degradation.downsample(fathers, (height // factor, width // factor))
    if degradation.noise:
        sons = add_noise(sons, degradation.noise, generator)
    if degradation.jpeg:
        sons = degradation.jpeg.compress(sons)
    elif degradation.quantized:
        sons = quantize(sons)
    return sons, fathers - degradation.upsample(sons, (height, width))
