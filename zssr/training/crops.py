"""Random crops of training pairs, the same on every device; those of many steps are gathered at once on a GPU."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from zssr.geometry import Symmetry


class CropCutter:
    """Draws crops as `Pairs` does, one by one.

    Parameters
    ----------
    sons, residuals
        Images (C, h, w), and (C, factor * h, factor * w).
    side
        Side in pixels of a son's crop.
    symmetries
        Rotations and flips that are applied to crops.
    shuffles
        Whether channels are shuffled.
    """

    def __init__(
        self,
        sons: Sequence[Tensor],
        residuals: Sequence[Tensor],
        side: int,
        symmetries: Sequence[Symmetry],
        *,
        shuffles: bool,
    ) -> None:
        self._sons, self._residuals, self._symmetries = sons, residuals, symmetries
        self._factor, self._side, self._shuffles = residuals[0].shape[-1] // sons[0].shape[-1], side, shuffles
        self._sizes = torch.tensor([son.shape[-2:] for son in sons])  # (pairs, 2)
        self._ends = self._sizes.prod(1).cumsum(0)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw sons (count, C, side, side) and their residuals, `factor` times larger."""
        return self._cut_pairs(self._draw_places(count, generator))

    def draw_steps(self, steps: int, count: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the crops of several steps, all drawn now; those of a step are cut when it comes."""
        for places in torch.split(self._draw_places(steps * count, generator), count):
            yield self._cut_pairs(places)

    def _cut_pairs(self, places: Tensor) -> tuple[Tensor, Tensor]:
        is_inverted = places[:, 4, None, None, None].bool()
        sons, residuals = self._cut(self._sons, places, 1), self._cut(self._residuals, places, self._factor)
        return torch.where(is_inverted, 1 - sons, sons), torch.where(is_inverted, -residuals, residuals)

    def _draw_places(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw rows of integers (count, 5 + C).

        They are the pair, the crop's top and left, its symmetry, whether it is inverted, and the order of its channels.
        """
        channels = len(self._sons[0])
        random = torch.rand(count, 5, dtype=torch.float64, generator=generator)
        order = torch.rand(count, channels, generator=generator).argsort() if self._shuffles else torch.arange(channels)
        k = torch.searchsorted(self._ends, (random[:, 0] * self._ends[-1]).long(), right=True)
        symmetries = torch.full((count, 1), len(self._symmetries))
        limits = torch.cat([self._sizes[k] - self._side + 1, symmetries], 1)
        chosen = (random[:, 1:4] * limits).long()
        return torch.cat([k[:, None], chosen, random[:, 4:] < 0.25, order.expand(count, -1)], 1)

    def _cut(self, images: Sequence[Tensor], places: Tensor, factor: int) -> Tensor:
        """Cut crops (count, C, side, side) out of images that are `factor` times as large as sons."""
        crops = []
        for k, top, left, symmetry, _, *order in places.tolist():
            rows, columns = (slice(factor * start, factor * (start + self._side)) for start in (top, left))
            crops.append(self._symmetries[symmetry](images[k][:, rows, columns])[order])
        return torch.stack(crops)


class CropGatherer(CropCutter):
    """Draws the same crops with a few operations on the device of the images."""

    @cached_property
    def _joined(self) -> list[Tensor]:
        """All sons, and all residuals, (C, pixels)."""
        return [torch.cat([image.flatten(1) for image in group], 1) for group in (self._sons, self._residuals)]

    @cached_property
    def _grids(self) -> list[Tensor]:
        """The pixels of the crops of sons, and of residuals, under each symmetry."""
        sides, device = (self._side, self._factor * self._side), self._sons[0].device
        return [turn_grids(self._symmetries, side).to(device) for side in sides]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw as many crops as `CropCutter.draw` does."""
        drawn = self._draw_places(count, generator)
        before, width = (self._ends - self._sizes.prod(1))[drawn[:, :1]], self._sizes[drawn[:, 0], 1:]
        drawn = torch.cat([before, width, drawn[:, 1:]], 1)
        device = self._sons[0].device
        if device.type == "cuda":
            drawn = drawn.pin_memory()  # only from such memory copies are asynchronous
        drawn = drawn.to(device, non_blocking=True)
        places, is_inverted, order = drawn[:, :5], drawn[:, 5:6, None, None].bool(), drawn[:, 6:, None, None]
        sons, residuals = (
            gather_crops(joined, grids, places, order, factor)
            for joined, grids, factor in zip(self._joined, self._grids, (1, self._factor), strict=True)
        )
        return torch.where(is_inverted, 1 - sons, sons), torch.where(is_inverted, -residuals, residuals)

    def draw_steps(self, steps: int, count: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the crops of several steps, all gathered now."""
        drawn = self.draw(steps * count, generator)
        yield from zip(*(torch.split(crops, count) for crops in drawn), strict=True)


def gather_crops(images: Tensor, grids: Tensor, places: Tensor, order: Tensor, factor: int = 1) -> Tensor:
    """Gather crops (count, C, side, side) from joined images (C, pixels) that are `factor` times as large as sons.

    `grids` are those of `turn_grids`. A row of `places` holds the pixels before the image, its width, the crop's top
    and left, all at the size of sons, and its symmetry; one of `order` (count, C, 1, 1) the channels.
    """
    before, width, top, left, symmetry = places[..., None, None].unbind(1)
    rows, columns = grids[:, symmetry[:, 0, 0]]
    within = (factor * top + rows) * (factor * width) + factor * left + columns
    return images.flatten()[order * images.shape[1] + (factor**2 * before + within)[:, None]]


def turn_grids(symmetries: Sequence[Symmetry], side: int) -> Tensor:
    """Return the row and column that each pixel of a square comes from, by symmetry: (2, symmetries, side, side)."""
    grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    return torch.stack([symmetry(grid) for symmetry in symmetries], 1)
