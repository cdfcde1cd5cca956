"""Training pairs of a father, a version of the photo itself, and its son: the father, degraded and downsampled."""

import itertools
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zssr.degradation import Degradation, resize
from zssr.degradation.noise import add_noise, quantize
from zssr.geometry import SYMMETRIES, Interval, Region, Symmetry
from zssr.training.crops import CropCutter, CropGatherer

FATHER_SIZES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)
"""Sizes of fathers relative to a sharp photo; those of a blurred one are smaller."""

VALIDATION_SIZE = 0.725
"""Relative size of the father whose crops are for validation: near the sizes that are trained on, and none of them."""

SMALLEST_FATHER = 24
"""Shortest side in pixels of an image that can be trained on."""

MOST_PIXELS = {True: 2**20, False: 2**19}
"""Pixels that are trained on per size of the photo, by whether one copy of a father serves for all 8 symmetries."""

_MOST_GATHERED = 2**20  # pixels of residuals that are gathered at once


WINDOW_SIZE = 256
"""Side in pixels of the windows that are taken of images with more pixels."""


@dataclass(frozen=True)
class Pair:
    """A son (C, h, w), and the residual (C, factor * h, factor * w): the father less the interpolated son."""

    son: Tensor
    residual: Tensor


class Pairs:
    """Draws random crops of one size from pairs, from each in proportion to its area.

    Each crop is rotated or flipped by one of `symmetries`, its channels are shuffled, and a quarter of the crops are
    inverted. The degradation is linear and treats all channels alike, so these are valid pairs. A network that cannot
    rely on colors and brightness overfits less (worth 0.3 dB at x4, where there is little data).

    Parameters
    ----------
    pairs
        At least one pair.
    factor
        Size of fathers relative to sons.
    crop_size
        Side in pixels of a father's crop. If a father is smaller, more crops of its size are drawn instead.
    symmetries
        Rotations and flips under which a pair stays a valid one.
    shuffles
        Whether channels are shuffled; not after JPEG, which treats luma and chroma differently.
    batch_size
        Crops per step.

    Attributes
    ----------
    side, count
        Side in pixels of a son's crop, and crops per step.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        factor: int,
        crop_size: int,
        symmetries: Sequence[Symmetry] = SYMMETRIES[:1],
        *,
        shuffles: bool = True,
        batch_size: int = 1,
    ) -> None:
        self.pairs = pairs
        self.batch_size = batch_size
        self.factor = factor
        self.symmetries = symmetries
        self.shuffles = shuffles
        son_size = max(crop_size // factor, 1)
        self.side = min(son_size, *(side for pair in pairs for side in pair.son.shape[-2:]))
        self.count = batch_size * max(1, round((son_size / self.side) ** 2))
        sons, residuals = [pair.son for pair in pairs], [pair.residual for pair in pairs]
        draws = CropCutter if sons[0].device.type == "cpu" else CropGatherer
        self._crops = draws(sons, residuals, self.side, symmetries, shuffles=shuffles)

    def draw_steps(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the crops of each step, without end, those of many drawn at once; they are the same on every device."""
        steps = max(1, _MOST_GATHERED // (self.count * (self.factor * self.side) ** 2))
        while True:
            yield from self._crops.draw_steps(steps, self.count, generator)

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw sons (`count`, C, `side`, `side`) and their residuals, `factor` times larger."""
        return self._crops.draw(self.count, generator)


class CompanionPairs(Pairs):
    """Pairs of which every tenth step is taken from those of other scales, in turn."""

    def __init__(self, main: Pairs, companions: Sequence[Pairs]) -> None:
        self.__dict__.update(main.__dict__)
        self._main, self._companions = main, companions

    def draw_steps(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the crops of each step, of one scale each, without end."""
        main = self._main.draw_steps(generator)
        for steps in itertools.cycle([one.draw_steps(generator) for one in self._companions]):
            yield from itertools.islice(main, 9)
            yield next(steps)


def randint(limit: int, generator: torch.Generator) -> int:
    """Draw an integer from 0 to `limit` - 1."""
    return int(torch.randint(limit, (), generator=generator))


def is_large_enough(size: tuple[int, int], degradation: Degradation, factor: int) -> bool:
    """Check whether an image of `size` (H, W), cropped to a multiple of `factor`, is large enough to train on."""
    return min(size) // factor * factor >= max(SMALLEST_FATHER, degradation.kernel_size)


def make_training_pairs(
    images: Sequence[Sequence[Tensor]],
    degradation: Degradation,
    factor: int,
    crop_size: int,
    generator: torch.Generator,
    batch_size: int = 1,
) -> tuple[Pairs, Pairs]:
    """Make the pairs to train on, and those for validation.

    Fathers are `images`, lists of (N, C, H, W) in [0, 1] for each size of the photo, at the `FATHER_SIZES` and in the 8
    rotations and flips; of lists with many pixels, random windows are taken. A blurred photo is downsampled until it is
    sharp, since networks trained on blurred fathers predict blur. If `degradation`
    commutes with all rotations and flips, these are applied to the crops when they are drawn; otherwise to the
    fathers before they are degraded, so that a kernel keeps its direction. A step has `batch_size` crops.

    `degradation` must be the one at scale `factor`; if that is 1, at any scale, and sons are interpolated.
    """
    commutes = degradation.sampling == "center" and len(degradation.symmetries()) == len(SYMMETRIES)
    single = [[one for image in group for one in torch.split(image, 1)] for group in images]
    windows = [window for group in single for window in _crop_windows(group, MOST_PIXELS[commutes], generator)]
    # fathers are sharp when the standard deviation of their blur is 0.43 pixels
    sharp = min(1.0, 0.43 * max(degradation.scale) / degradation.blur_sigma) if degradation.blur_sigma else 1.0
    sizes = [sharp * size for size in FATHER_SIZES]
    fathers = _make_fathers(windows, sizes, degradation, factor) or _make_fathers(windows, [1.0], degradation, factor)
    validation = _make_fathers(windows, [sharp * VALIDATION_SIZE], degradation, factor) or fathers[:1]
    before, after = (SYMMETRIES[:1], SYMMETRIES) if commutes else (SYMMETRIES, SYMMETRIES[:1])

    def make_pairs(fathers: list[Tensor], batch_size: int) -> Pairs:
        made = [make_pair(father, degradation, factor, generator) for father in fathers]
        pairs = [Pair(sons[0], residuals[0]) for sons, residuals in made]
        return Pairs(pairs, factor, crop_size, after, shuffles=degradation.jpeg is None, batch_size=batch_size)

    turned = [symmetry(father) for father in fathers for symmetry in before]
    return make_pairs(turned, batch_size), make_pairs(validation, 1)


def sample_windows(wholes: Sequence[Region], most: int, generator: torch.Generator) -> list[tuple[int, Region]]:
    """Choose regions of images, about `most` pixels in total: (index of the image, region).

    Images are chosen whole if they have no more pixels. Otherwise random windows are, in proportion to the areas.
    """
    areas = list(itertools.accumulate(whole.size[0] * whole.size[1] for whole in wholes))
    if areas[-1] <= most:
        return list(enumerate(wholes))
    chosen: list[tuple[int, Region]] = []
    while sum(region.size[0] * region.size[1] for _, region in chosen) < most:
        k = bisect(areas, randint(areas[-1], generator)) if len(wholes) > 1 else 0
        rows, columns = (_sample_interval(one, WINDOW_SIZE, generator) for one in (wholes[k].rows, wholes[k].columns))
        chosen.append((k, Region(rows, columns)))
    return chosen


def _sample_interval(whole: Interval, side: int, generator: torch.Generator) -> Interval:
    starts = len(whole) if whole.wraps and len(whole) == whole.length else max(len(whole) - side, 0) + 1
    start = whole.start + randint(starts, generator)
    return replace(whole, start=start, stop=start + min(side, len(whole)))


def _crop_windows(images: Sequence[Tensor], most: int, generator: torch.Generator) -> list[Tensor]:
    wholes = [Region.whole((image.shape[-2], image.shape[-1])) for image in images]
    return [region.take(images[k], wholes[k]) for k, region in sample_windows(wholes, most, generator)]


def _make_fathers(
    images: Sequence[Tensor], sizes: Sequence[float], degradation: Degradation, factor: int
) -> list[Tensor]:
    fathers = [_shrink(image, size, factor) for image in images for size in sizes]
    return [father for father in fathers if is_large_enough((father.shape[-2], father.shape[-1]), degradation, factor)]


def _shrink(image: Tensor, size: float, factor: int) -> Tensor:
    """Resize an image by the factor `size`, and crop it to a multiple of `factor`."""
    height, width = (max(factor, round(size * length)) for length in image.shape[-2:])
    smaller = resize(image, (height, width), (size, size))
    return smaller[..., : height // factor * factor, : width // factor * factor]


def make_pair(
    fathers: Tensor, degradation: Degradation, factor: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Degrade `fathers` (N, C, H, W) like the photo; return their sons and the residuals of the interpolated sons.

    The sons are interpolated to the fathers' size if `factor` is 1.
    """
    height, width = fathers.shape[-2:]
    vertical, horizontal = degradation.scale if factor == 1 else (factor, factor)
    sons = degrade(fathers, degradation, (int(height / vertical), int(width / horizontal)), generator)
    interpolated = degradation.upsample(sons, (height, width))
    return interpolated if factor == 1 else sons, fathers - interpolated


def degrade(fathers: Tensor, degradation: Degradation, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Degrade `fathers` (N, C, H, W) like the photo, to (N, C, *size): blur, sampling, noise, and JPEG or rounding."""
    sons = degradation.downsample(fathers, size)
    if degradation.noise:
        sons = add_noise(sons, degradation.noise, generator, degradation.grain)
    if degradation.jpeg:
        sons = degradation.jpeg.compress(sons)
    elif degradation.quantized:
        sons = quantize(sons)
    return sons
