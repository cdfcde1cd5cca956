"""One gradual way from a photo to the enlarged photo, region by region, so that memory stays bounded."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zssr.degradation import Degradation, resize
from zssr.geometry import Region
from zssr.images import Photo
from zssr.inference.ensemble import enlarge, tile_calls
from zssr.inference.scales import ScaleStep
from zssr.networks.sr import Network
from zssr.runtime import ComputeType, MemoryBackoff

CUBIC = 3
"""How far interpolation reaches, in pixels."""

OnTile = Callable[[], None]


class Way:
    """How one photo is enlarged by a chain of networks, one for each gradual scale step.

    Parameters
    ----------
    photo, steps, degradation
        What is enlarged, how gradually, and how it was made small.
    by_band
        Whether channels are enlarged one by one, as gray images.
    thrift
        The settings, with sizes that fit into memory.
    """

    def __init__(
        self,
        photo: Photo,
        steps: list[ScaleStep],
        degradation: Degradation,
        compute: ComputeType,
        thrift: MemoryBackoff,
        *,
        by_band: bool,
    ) -> None:
        self.photo, self.steps, self.degradation, self.by_band = photo, steps, degradation, by_band
        self.thrift, self._arithmetic = thrift, compute
        self._top_left = degradation.sampling == "top_left"
        ways = [degradation] + [degradation.without_noise()] * len(steps)  # what the first step makes is clean
        self.degradations = [way.at_scale((step.factor, step.factor)) for way, step in zip(ways, steps, strict=False)]
        self._whole = [degradation.at_scale(step.reached) for step in steps]
        self.scales = [(1.0, 1.0)] + [step.reached for step in steps]
        self._sizes = [photo.size] + [step.size for step in steps]

    def like(self, photo: Photo, steps: list[ScaleStep], thrift: MemoryBackoff) -> "Way":
        """Return how a photo that was made small alike is enlarged by other steps."""
        return Way(photo, steps, self.degradation, self._arithmetic, thrift, by_band=self.by_band)

    def images(self, region: Region) -> Tensor:
        """Return a region of the photo as images for a network (N, C, h, w), the last one its opacity, if it has any.

        The opacity is enlarged as an image of its own that has the same edges as the colors.
        """
        colors, opacity = self.photo.region(region)
        images = colors.transpose(0, 1) if self.by_band else colors
        if opacity is not None:
            images = torch.cat([images, opacity.expand(1, images.shape[1], -1, -1)])
        return images.to(self._arithmetic.device)

    def colors(self, images: Tensor) -> Tensor:
        """Return enlarged images (N, C, h, w) without the opacity."""
        return images[: self.photo.channels if self.by_band else 1]

    def size_after(self, count: int) -> tuple[int, int]:
        """Return the photo's size (H, W) after so many steps."""
        return self._sizes[count]

    def at(self, region: Region, k: int = -1) -> Region:
        """Return where a region of the photo lies in the result of `k` steps, or of all."""
        return region.at(self.scales[k], self._sizes[k])

    def calls(self, region: Region, networks: Sequence[Network], start: int) -> int:
        """Return how many tiles it takes to enlarge a region, from the step `start` on."""
        outer = region.grown(self._margin(networks))
        return sum(
            tile_calls(self.at(outer, k).size, self.degradations[k], self.thrift.config)
            for k in range(start, len(networks))
        )

    def enlarged(
        self, region: Region, networks: Sequence[Network], on_tile: OnTile, before: Tensor | None = None
    ) -> Tensor:
        """Enlarge a region of the photo (N, C, h, w) by as many steps as there are networks for.

        It is read with a margin as wide as anything in it reaches, so that the result does not depend on the region.
        `before` is the last step but one's result for the whole photo, if that is known and asked for. Where memory
        runs out, tiles are halved, and the region is enlarged in quarters.
        """
        try:
            return self._enlarged(region, networks, on_tile, before)
        except (MemoryError, RuntimeError) as error:
            self.thrift.halve("patch_size", error)
        if min(region.size) < 2:
            return self.enlarged(region, networks, on_tile, before)
        rows, columns = (span.cut(math.ceil(len(span) / 2)) for span in (region.rows, region.columns))
        quarters = [[self.enlarged(Region(r, c), networks, on_tile) for c in columns] for r in rows]
        return torch.cat([torch.cat(row, dim=-1) for row in quarters], dim=-2)

    def _enlarged(self, region: Region, networks: Sequence[Network], on_tile: OnTile, before: Tensor | None) -> Tensor:
        last = len(networks)
        outer = region.grown(self._margin(networks))
        photo = self.images(outer)
        large = photo if before is None else before
        for k in range(0 if before is None else last - 1, last):
            large = self._step(k, networks[k], large, photo, outer, on_tile)
        rows, columns = self.at(region, last).inside(self.at(outer, last))
        return large[..., rows, columns]

    def _step(self, k: int, network: Network, before: Tensor, photo: Tensor, region: Region, on_tile: OnTile) -> Tensor:
        """Enlarge by a network, bring that to the step's exact size, and back-project it on the photo."""
        step = self.steps[k]
        large = enlarge(network, before, self.degradations[k], self.thrift.config, self._arithmetic, on_tile)
        was, now = self.at(region, k), self.at(region, k + 1)
        shrink = (step.scale[0] / step.factor, step.scale[1] / step.factor)
        offset = offset_of(now, (1 / shrink[0], 1 / shrink[1]), was, (step.factor, step.factor))
        exact = resize(large, now.size, shrink, top_left=self._top_left, offset=offset)
        return self.back_projected(exact, photo, region, k)

    def interpolated(self, region: Region) -> Tensor:
        """Return what can be had without learning: the interpolated region, back-projected."""
        last = len(self.steps)
        scale = self.scales[last]
        outer = region.grown(CUBIC + 1 + self.reach(last - 1))
        photo, now = self.images(outer), self.at(outer)
        offset = offset_of(now, (1 / scale[0], 1 / scale[1]), outer, (1, 1))
        large = resize(photo, now.size, scale, top_left=self._top_left, offset=offset)
        rows, columns = self.at(region).inside(now)
        return self.back_projected(large, photo, outer, last - 1)[..., rows, columns]

    def back_projected(self, large: Tensor, photo: Tensor, region: Region, k: int, *, often: bool = False) -> Tensor:
        """Correct by the photo, and clip: at the end, or, where much is to be clipped, after each correction."""
        offset = offset_of(region, self.scales[k + 1], self.at(region, k + 1), (1, 1))
        count = self.thrift.config.back_projection
        for each in [1] * count if often else [count]:
            large = self._whole[k].back_project(large, photo, each, offset).clamp(0, 1)
        return large

    def reach(self, k: int) -> int:
        """Return how far the back-projection after the step `k` reaches, in pixels of the photo."""
        return self._reach(self._whole[k])

    def _reach(self, degradation: Degradation) -> int:
        return degradation.back_projection_radius * self.thrift.config.back_projection if degradation.is_clean else 0

    def _margin(self, networks: Sequence[Network]) -> int:
        """Return how far a result of these networks reaches, in pixels of the photo."""
        reach = 0.0
        for k, network in enumerate(networks):
            own = network.margin + 2 * CUBIC + self._reach(self.degradations[k])
            reach += own / min(self.scales[k]) + self.reach(k) + 1
        return math.ceil(reach)


def offset_of(
    inner: Region, shrink: tuple[float, float], outer: Region, grow: tuple[float, float]
) -> tuple[float, float]:
    """Return where `inner`, times `shrink`, begins relative to `outer`, times `grow`."""
    vertical = inner.rows.start * shrink[0] - outer.rows.start * grow[0]
    horizontal = inner.columns.start * shrink[1] - outer.columns.start * grow[1]
    return round(vertical, 9), round(horizontal, 9)


def counted(on_tile: Callable[[int, int], None], total: int) -> OnTile:
    """Return what to call after each of `total` tiles: it tells (done, total)."""
    done = 0

    def count() -> None:
        nonlocal done
        done = min(done + 1, total)
        on_tile(done, total)

    return count
