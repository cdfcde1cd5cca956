"""From a photo and what was learnt to the enlarged photo, region by region, so that memory stays bounded."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from zssr.degradation import resize
from zssr.geometry import Region
from zssr.images import Photo
from zssr.inference.cascade import CUBIC, OnTile, Way, counted, offset_of
from zssr.inference.scales import plan_scale_steps
from zssr.networks.sr import Network
from zssr.networks.texture import CONTRAST_REACH, TextureGenerator, contrast, noise
from zssr.runtime import MemoryBackoff

_TILES = 4  # along the sides of a block
_LONGEST = 4096  # side of an enlarged block
_AROUND = 2  # pixels


class Reconstruction:
    """How one photo is enlarged, with its opacity, and with texture if there is any.

    Parameters
    ----------
    way
        How images of it are enlarged by networks.
    warn
        Told one sentence where a result is not what was asked for.
    """

    def __init__(self, way: Way, warn: Callable[[str], None]) -> None:
        self.way, self._warn = way, warn
        self.photo, self.degradation, self.by_band = way.photo, way.degradation, way.by_band
        self.images, self.colors = way.images, way.colors
        self._thrift, self._large, self._scale = way.thrift, way.at, way.scales[-1]

    def of(self, photo: Photo) -> "Reconstruction":
        """Return how a smaller photo would be enlarged by the same scale, to the nearest size."""
        scale = self.degradation.scale
        size = (round(photo.size[0] * scale[0]), round(photo.size[1] * scale[1]))
        steps = plan_scale_steps(photo.size, size, scale, self._thrift.config)
        return Reconstruction(self.way.like(photo, steps, self._thrift), self._warn)

    def bands(
        self,
        networks: Sequence[Network],
        before: Tensor | None,
        on_tile: Callable[[int, int], None],
        texture: TextureGenerator | None = None,
    ) -> Iterator[Tensor]:
        """Enlarge the photo: yields bands of rows (C', h, W'), from top to bottom, as the photo's own numbers.

        Without networks it is interpolated. `before` is the last step but one's result for the whole photo, if it is
        known already. `texture` is added to what the networks make.
        """
        side = min(_TILES * self._thrift.config.patch_size, math.ceil(_LONGEST / max(self._scale)))
        whole = Region.whole(self.photo.size)
        blocks = list(whole.cut(side)) if before is None else [whole]
        start = 0 if before is None else len(networks) - 1
        total = sum(self.way.calls(block, networks, start) for block in blocks) if networks else 0
        count = counted(on_tile, total)
        for rows in sorted({block.rows for block in blocks}, key=lambda span: span.start):
            row = [block for block in blocks if block.rows == rows]
            yield torch.cat([self.numbers(block, networks, before, count, texture) for block in row], dim=-1)

    def numbers(
        self,
        region: Region,
        networks: Sequence[Network],
        before: Tensor | None = None,
        on_tile: OnTile = lambda: None,
        texture: TextureGenerator | None = None,
    ) -> Tensor:
        """Return an enlarged region as the photo's own numbers (C', h, w), on the CPU."""
        outer = region.grown(self._texture_margin(texture)) if texture else region
        large = self.enlarged(outer, networks, before, on_tile)
        if texture:
            rows, columns = self._large(region).inside(self._large(outer))
            large = self._textured(large, outer, texture)[..., rows, columns]
        colors = self.colors(large).cpu()
        rest = large[len(colors) :].cpu()
        colors = colors.transpose(0, 1) if self.by_band else colors
        opacity = self._bounded(rest.mean(1, keepdim=True), region) if len(rest) else None
        return self.photo.numbers(colors, opacity)

    def enlarged(
        self,
        region: Region,
        networks: Sequence[Network],
        before: Tensor | None = None,
        on_tile: OnTile = lambda: None,
    ) -> Tensor:
        """Enlarge a region (N, C, h, w); without networks, or where they fail, interpolate."""
        if networks:
            large = self.way.enlarged(region, networks, on_tile, before)
            if bool(torch.isfinite(large).all()):
                return large
            self._warn("the network's result was not finite at places: interpolated there instead")
        return self.way.interpolated(region)

    def contrast(self, region: Region) -> Tensor:
        """Return the photo's contrast in a region (N, 1, h, w), for texture at the large size."""
        outer, now = region.grown(CONTRAST_REACH + CUBIC), self._large(region)
        small = contrast(self.colors(self.images(outer)))
        offset = offset_of(now, (1 / self._scale[0], 1 / self._scale[1]), outer, (1, 1))
        top_left = self.degradation.sampling == "top_left"
        return resize(small, now.size, self._scale, top_left=top_left, offset=offset).clamp(min=0)

    def _textured(self, large: Tensor, region: Region, texture: TextureGenerator) -> Tensor:
        """Add texture to the colors of an enlarged region, and make it agree with the photo again."""
        way = self.way
        colors, rest = self.colors(large), large[len(self.colors(large)) :]
        random = noise(self._large(region), texture.seed).to(colors.device).expand(len(colors), -1, -1, -1)
        with torch.no_grad():
            added = texture.strength * self._thrift.config.texture * texture(colors, self.contrast(region), random)
        photo = self.colors(self.images(region))
        return torch.cat([way.back_projected(colors + added, photo, region, len(way.steps) - 1, often=True), rest])

    def _texture_margin(self, texture: TextureGenerator) -> int:
        """Return how far texture reaches, in pixels of the photo, with the back-projection after it."""
        return math.ceil(texture.margin / min(self._scale)) + self.way.reach(-1) + 1

    def _bounded(self, opacity: Tensor, region: Region) -> Tensor:
        """Keep an enlarged opacity (1, 1, h, w) between those around it in the photo: what is clear stays clear."""
        outer = region.grown(_AROUND)
        small = self.images(outer)[-1:, :1].cpu()
        side = 2 * _AROUND + 1
        high, low = (sign * nn.functional.max_pool2d(sign * small, side, 1, _AROUND) for sign in (1, -1))
        large, scale = self._large(region), self._scale
        rows, columns = (
            ((torch.arange(now.start, now.stop) + 0.5) / by - was.start).long().clamp(0, len(was) - 1)
            for now, by, was in ((large.rows, scale[0], outer.rows), (large.columns, scale[1], outer.columns))
        )
        return opacity.clamp(low[..., rows[:, None], columns], high[..., rows[:, None], columns])


def glimpse(way: Way, networks: Sequence[Network], most: int) -> Tensor:
    """Return the middle of the photo, at most `most` pixels a side, as its own numbers (C', h, w).

    It is enlarged by as many steps as there are networks for, and once only: it shows how far they are.
    """
    quick = MemoryBackoff(way.thrift.config.replace(self_ensemble=False))
    brief = Reconstruction(way.like(way.photo, way.steps[: len(networks)], quick), lambda _: None)
    return brief.numbers(Region.middle(way.photo.size, most), networks)
