"""From a photo and what was learnt to the enlarged photo, region by region, so that memory stays bounded."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from zssr.degradation import Degradation, resize
from zssr.device import Arithmetic
from zssr.memory import Thrift
from zssr.network import Network
from zssr.photo import Photo
from zssr.reconstruction.apply import enlarge, tile_calls
from zssr.reconstruction.scales import ScaleStep, plan_scale_steps
from zssr.regions import Region
from zssr.texture import CONTRAST_REACH, Texture, contrast, noise

_TILES = 4  # along the sides of a block
_LONGEST = 4096  # side of an enlarged block
_AROUND = 2  # pixels
_CUBIC = 3  # how far interpolation reaches, in pixels

Networks = Sequence[Sequence[Network]]
"""For each gradual scale step those whose mean is its result."""

OnTile = Callable[[], None]


class Reconstruction:
    """How one photo is enlarged.

    Parameters
    ----------
    photo, steps, degradation
        What is enlarged, how gradually, and how it was made small.
    by_band
        Whether channels are enlarged one by one, as grey images.
    thrift
        The settings, with sizes that fit into memory.
    warn
        Told one sentence where a result is not what was asked for.
    """

    def __init__(
        self,
        photo: Photo,
        steps: list[ScaleStep],
        degradation: Degradation,
        arithmetic: Arithmetic,
        thrift: Thrift,
        *,
        by_band: bool,
        warn: Callable[[str], None],
    ) -> None:
        self.photo, self.steps, self.degradation, self.by_band = photo, steps, degradation, by_band
        self._arithmetic, self._thrift, self._warn = arithmetic, thrift, warn
        self._corner = degradation.origin == "corner"
        ways = [degradation] + [degradation.cleaned()] * len(steps)  # what the first step makes is clean
        self.degradations = [way.at((step.factor, step.factor)) for way, step in zip(ways, steps, strict=False)]
        self._whole = [degradation.at(step.reached) for step in steps]
        self._scales = [(1.0, 1.0)] + [step.reached for step in steps]
        self._sizes = [photo.size] + [step.size for step in steps]

    def of(self, photo: Photo) -> "Reconstruction":
        """Return how a smaller photo would be enlarged by the same scale, to the nearest size."""
        scale = self.degradation.scale
        target = (round(photo.size[0] * scale[0]), round(photo.size[1] * scale[1]))
        steps = plan_scale_steps(photo.size, target, scale, self._thrift.config)
        return self._like(photo, steps, self._thrift)

    def glimpse(self, networks: Networks, most: int) -> Tensor:
        """Return the middle of the photo, at most `most` pixels a side, as its own numbers (C', h, w).

        It is enlarged by as many steps as there are networks for, and once only: it shows how far they are.
        """
        quick = Thrift(self._thrift.config.replace(ensemble=False))
        brief = self._like(self.photo, self.steps[: len(networks)], quick)
        return brief.numbers(Region.middle(self.photo.size, most), networks)

    def _like(self, photo: Photo, steps: list[ScaleStep], thrift: Thrift) -> "Reconstruction":
        return Reconstruction(
            photo, steps, self.degradation, self._arithmetic, thrift, by_band=self.by_band, warn=self._warn
        )

    def images(self, region: Region) -> Tensor:
        """Return a region of the photo as images for a network (N, C, h, w), the last one its opacity, if it has any.

        The opacity is enlarged as an image of its own that has the same edges as the colours.
        """
        colours, opacity = self.photo.region(region)
        images = colours.transpose(0, 1) if self.by_band else colours
        if opacity is not None:
            images = torch.cat([images, opacity.expand(1, images.shape[1], -1, -1)])
        return images.to(self._arithmetic.device)

    def colours(self, images: Tensor) -> Tensor:
        """Return enlarged images (N, C, h, w) without the opacity."""
        return images[: self.photo.channels if self.by_band else 1]

    def size_after(self, count: int) -> tuple[int, int]:
        """Return the photo's size (H, W) after so many steps."""
        return self._sizes[count]

    def bands(
        self,
        networks: Networks,
        before: Tensor | None,
        on_tile: Callable[[int, int], None],
        texture: Texture | None = None,
    ) -> Iterator[Tensor]:
        """Enlarge the photo: yields bands of rows (C', h, W'), from top to bottom, as the photo's own numbers.

        Without networks it is interpolated. `before` is the last step but one's result for the whole photo, if it is
        known already. `texture` is added to what the networks make.
        """
        side = min(_TILES * self._thrift.config.patch_size, math.ceil(_LONGEST / max(self._scales[-1])))
        whole = Region.whole(self.photo.size)
        blocks = list(whole.cut(side)) if before is None else [whole]
        count = self.counter(on_tile, blocks, networks, 0 if before is None else len(self.steps) - 1)
        for rows in sorted({block.rows for block in blocks}, key=lambda span: span.start):
            row = [block for block in blocks if block.rows == rows]
            yield torch.cat([self.numbers(block, networks, before, count, texture) for block in row], dim=-1)

    def counter(
        self, on_tile: Callable[[int, int], None], regions: Sequence[Region], networks: Networks, start: int
    ) -> OnTile:
        """Return what to call after each tile: it tells (done, total), from the step `start` on."""
        done, total = 0, sum(self._calls(region, networks, start) for region in regions)

        def count() -> None:
            nonlocal done
            done = min(done + 1, total)
            on_tile(done, total)

        return count

    def numbers(
        self,
        region: Region,
        networks: Networks,
        before: Tensor | None = None,
        on_tile: OnTile = lambda: None,
        texture: Texture | None = None,
    ) -> Tensor:
        """Return an enlarged region as the photo's own numbers (C', h, w), on the CPU."""
        last = len(self.steps)
        outer = region.grown(self._texture_margin(texture)) if texture else region
        large = self.enlarged(outer, networks, before, on_tile)
        if texture:
            rows, columns = self._at(region, last).inside(self._at(outer, last))
            large = self._textured(large, outer, texture)[..., rows, columns]
        colours = self.colours(large).cpu()
        rest = large[len(colours) :].cpu()
        colours = colours.transpose(0, 1) if self.by_band else colours
        opacity = self._bounded(rest.mean(1, keepdim=True), region) if len(rest) else None
        return self.photo.numbers(colours, opacity)

    def enlarged(
        self, region: Region, networks: Networks, before: Tensor | None = None, on_tile: OnTile = lambda: None
    ) -> Tensor:
        """Enlarge a region (N, C, h, w) by all steps; without networks, or where they fail, interpolate."""
        if networks:
            large = self.region(region, networks, on_tile, before)
            if bool(torch.isfinite(large).all()):
                return large
            self._warn("the network's result was not finite at places: interpolated there instead")
        return self._interpolated(region)

    def contrast(self, region: Region) -> Tensor:
        """Return the photo's contrast in a region (N, 1, h, w), for texture at the large size."""
        last = len(self.steps)
        scale = self._scales[last]
        outer = region.grown(CONTRAST_REACH + _CUBIC)
        now = self._at(region, last)
        small = contrast(self.colours(self.images(outer)))
        offset = _offset(now, (1 / scale[0], 1 / scale[1]), outer, (1, 1))
        return resize(small, now.size, scale, corner=self._corner, offset=offset).clamp(min=0)

    def _textured(self, large: Tensor, region: Region, texture: Texture) -> Tensor:
        """Add texture to the colours of an enlarged region, and make it agree with the photo again."""
        last = len(self.steps)
        colours, rest = self.colours(large), large[len(self.colours(large)) :]
        random = noise(self._at(region, last), texture.seed).to(colours.device).expand(len(colours), -1, -1, -1)
        with torch.no_grad():
            added = texture.strength * self._thrift.config.texture * texture(colours, self.contrast(region), random)
        photo = self.colours(self.images(region))
        return torch.cat([self._back_projected(colours + added, photo, region, last - 1, often=True), rest])

    def _texture_margin(self, texture: Texture) -> int:
        """Return how far texture reaches, in pixels of the photo, with the back-projection after it."""
        return math.ceil(texture.margin / min(self._scales[-1])) + self._reach(self._whole[-1]) + 1

    def _bounded(self, opacity: Tensor, region: Region) -> Tensor:
        """Keep an enlarged opacity (1, 1, h, w) between those around it in the photo: what is clear stays clear."""
        outer = region.grown(_AROUND)
        small = self.images(outer)[-1:, :1].cpu()
        side = 2 * _AROUND + 1
        high, low = (sign * nn.functional.max_pool2d(sign * small, side, 1, _AROUND) for sign in (1, -1))
        large, scale = self._at(region, len(self.steps)), self._scales[-1]
        rows, columns = (
            ((torch.arange(now.start, now.stop) + 0.5) / by - was.start).long().clamp(0, len(was) - 1)
            for now, by, was in ((large.rows, scale[0], outer.rows), (large.columns, scale[1], outer.columns))
        )
        return opacity.clamp(low[..., rows[:, None], columns], high[..., rows[:, None], columns])

    def region(self, region: Region, networks: Networks, on_tile: OnTile, before: Tensor | None = None) -> Tensor:
        """Enlarge a region of the photo (N, C, h, w) by as many steps as there are networks for.

        It is read with a margin as wide as anything in it reaches, so that the result does not depend on the region.
        Where memory runs out, tiles are halved, and the region is enlarged in quarters.
        """
        try:
            return self._region(region, networks, on_tile, before)
        except (MemoryError, RuntimeError) as error:
            self._thrift.halve("patch_size", error)
        if min(region.size) < 2:
            return self.region(region, networks, on_tile, before)
        rows, columns = (span.cut(math.ceil(len(span) / 2)) for span in (region.rows, region.columns))
        quarters = [[self.region(Region(r, c), networks, on_tile) for c in columns] for r in rows]
        return torch.cat([torch.cat(row, dim=-1) for row in quarters], dim=-2)

    def _region(self, region: Region, networks: Networks, on_tile: OnTile, before: Tensor | None) -> Tensor:
        last = len(networks)
        outer = region.grown(self._margin(networks))
        photo = self.images(outer)
        large = photo if before is None else before
        for k in range(0 if before is None else last - 1, last):
            large = self._step(k, networks[k], large, photo, outer, on_tile)
        rows, columns = self._at(region, last).inside(self._at(outer, last))
        return large[..., rows, columns]

    def _step(
        self, k: int, networks: Sequence[Network], before: Tensor, photo: Tensor, region: Region, on_tile: OnTile
    ) -> Tensor:
        """Enlarge by the mean of networks, bring that to the step's exact size, and back-project it on the photo."""
        step, config = self.steps[k], self._thrift.config
        large = before
        for n, network in enumerate(networks):
            one = enlarge(network, before, self.degradations[k], config, self._arithmetic, on_tile)
            large = large.lerp(one, 1 / (n + 1)) if n else one
        was, now = self._at(region, k), self._at(region, k + 1)
        shrink = (step.scale[0] / step.factor, step.scale[1] / step.factor)
        offset = _offset(now, (1 / shrink[0], 1 / shrink[1]), was, (step.factor, step.factor))
        exact = resize(large, now.size, shrink, corner=self._corner, offset=offset)
        return self._back_projected(exact, photo, region, k)

    def _interpolated(self, region: Region) -> Tensor:
        """Return what can be had without learning: the interpolated region, back-projected."""
        last = len(self.steps)
        scale = self._scales[last]
        outer = region.grown(_CUBIC + 1 + self._reach(self._whole[-1]))
        photo, now = self.images(outer), self._at(outer, last)
        offset = _offset(now, (1 / scale[0], 1 / scale[1]), outer, (1, 1))
        large = resize(photo, now.size, scale, corner=self._corner, offset=offset)
        rows, columns = self._at(region, last).inside(now)
        return self._back_projected(large, photo, outer, last - 1)[..., rows, columns]

    def _back_projected(self, large: Tensor, photo: Tensor, region: Region, k: int, *, often: bool = False) -> Tensor:
        """Correct by the photo, and clip: at the end, or, where much is to be clipped, after each correction."""
        offset = _offset(region, self._scales[k + 1], self._at(region, k + 1), (1, 1))
        count = self._thrift.config.back_projection
        for each in [1] * count if often else [count]:
            large = self._whole[k].back_project(large, photo, each, offset).clamp(0, 1)
        return large

    def _at(self, region: Region, k: int) -> Region:
        """Return where a region of the photo lies in the result of `k` steps."""
        return region.at(self._scales[k], self._sizes[k])

    def _margin(self, networks: Networks) -> int:
        """Return how far a result of these networks reaches, in pixels of the photo."""
        reach = 0.0
        for k, (network, *_) in enumerate(networks):
            own = network.margin + 2 * _CUBIC + self._reach(self.degradations[k])
            reach += own / min(self._scales[k]) + self._reach(self._whole[k]) + 1
        return math.ceil(reach)

    def _reach(self, degradation: Degradation) -> int:
        """Return how far back-projection reaches, in pixels of the small image."""
        return degradation.reach * self._thrift.config.back_projection if degradation.is_clean else 0

    def _calls(self, region: Region, networks: Networks, start: int) -> int:
        """Return how many tiles it takes to enlarge a region, from the step `start` on."""
        outer = region.grown(self._margin(networks))
        return sum(
            len(networks[k]) * tile_calls(self._at(outer, k).size, self.degradations[k], self._thrift.config)
            for k in range(start, len(networks))
        )


def _offset(
    inner: Region, shrink: tuple[float, float], outer: Region, grow: tuple[float, float]
) -> tuple[float, float]:
    """Return where `inner`, times `shrink`, begins relative to `outer`, times `grow`."""
    vertical = inner.rows.start * shrink[0] - outer.rows.start * grow[0]
    horizontal = inner.columns.start * shrink[1] - outer.columns.start * grow[1]
    return round(vertical, 9), round(horizontal, 9)
