"""Random crops of training pairs on a GPU: those of many steps are gathered at once, and the GPU is not waited for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from zssr.geometry import Symmetry


class CropGatherer:
    """Draws crops as `Pairs` does, all with a few operations on the device of the images.

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
        self._factor, self._side, self._shuffles = residuals[0].shape[-1] // sons[0].shape[-1], side, shuffles
        self._sizes = torch.tensor([son.shape[-2:] for son in sons])  # (pairs, 2)
        self._ends = self._sizes.prod(1).cumsum(0)
        self._sons, self._residuals = (
            torch.cat([image.flatten(1) for image in group], 1) for group in (sons, residuals)
        )
        self._grids = [
            _turned_grids(symmetries, length).to(self._sons.device) for length in (side, self._factor * side)
        ]
        self._symmetry_count = len(symmetries)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw sons (count, C, side, side) and their residuals, `factor` times larger."""
        drawn = self._draw_places(count, generator)
        if self._sons.device.type == "cuda":
            drawn = drawn.pin_memory()  # only from such memory copies are asynchronous
        drawn = drawn.to(self._sons.device, non_blocking=True)
        places, order, is_inverted = drawn[:, :5], drawn[:, 5:-1, None, None], drawn[:, -1:, None, None].bool()
        sons = _gather(self._sons, self._grids[0], places, order, 1)
        residuals = _gather(self._residuals, self._grids[1], places, order, self._factor)
        return torch.where(is_inverted, 1 - sons, sons), torch.where(is_inverted, -residuals, residuals)

    def _draw_places(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw rows of integers (count, 6 + C).

        They are the pixels before the son's, its width, the crop's top and left, its symmetry, the order of its
        channels, and whether it is inverted.
        """
        channels = len(self._sons)
        random = torch.rand(count, 5, dtype=torch.float64, generator=generator)
        order = torch.rand(count, channels, generator=generator).argsort() if self._shuffles else torch.arange(channels)
        k = torch.searchsorted(self._ends, (random[:, 0] * self._ends[-1]).long(), right=True)
        symmetries = torch.full((count, 1), self._symmetry_count)
        limits = torch.cat([self._sizes[k] - self._side + 1, symmetries], 1)
        before, width = (self._ends - self._sizes.prod(1))[k, None], self._sizes[k, 1:]
        chosen = (random[:, 1:4] * limits).long()
        return torch.cat([before, width, chosen, order.expand(count, -1), random[:, 4:] < 0.25], 1)


def _gather(images: Tensor, grids: Tensor, places: Tensor, order: Tensor, factor: int) -> Tensor:
    """Gather crops (count, C, side, side) from joined images (C, pixels) that are `factor` times as large as sons."""
    before, width, top, left, symmetry = places[..., None, None].unbind(1)
    rows, columns = grids[:, symmetry[:, 0, 0]]
    within = (factor * top + rows) * (factor * width) + factor * left + columns
    return images.flatten()[order * images.shape[1] + (factor**2 * before + within)[:, None]]


def _turned_grids(symmetries: Sequence[Symmetry], side: int) -> Tensor:
    """Return the row and column that each pixel of a square comes from, by symmetry: (2, symmetries, side, side)."""
    grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    return torch.stack([symmetry(grid) for symmetry in symmetries], 1)
