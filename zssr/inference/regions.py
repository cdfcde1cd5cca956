"""Upscaling any region of one photo, with the result that it has in the whole photo."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zssr.config import Config
from zssr.degradation import resize
from zssr.geometry import Region, relative_offset
from zssr.inference.cascade import Cascade
from zssr.inference.tiles import OnTile, add_residual, apply_network
from zssr.method import Interpolator, Method, ResidualNetwork
from zssr.photo import Photo
from zssr.runtime import Runtime


@dataclass(frozen=True)
class RegionUpsampler:
    """Upscales regions of one photo by the networks of a cascade, so that memory stays bounded.

    Attributes
    ----------
    photo, cascade
        What is upscaled, and by which scale steps.
    by_band
        Whether channels are upscaled one by one, as gray images.
    config, runtime
        Settings; device, precision and tile size.
    warn
        Called with one sentence where a result is not what was asked for.
    method
        How the photo is upscaled.
    """

    photo: Photo
    cascade: Cascade
    by_band: bool
    config: Config
    runtime: Runtime
    warn: Callable[[str], None]
    method: Method

    def for_image(self, photo: Photo) -> "RegionUpsampler":
        """Return the upsampler of another photo that was degraded alike, by the same scale."""
        cascade = self.cascade.for_image(photo.size, self.config, on_interpolated=self.method.on_interpolated)
        return replace(self, photo=photo, cascade=cascade)

    def to_images(self, region: Region) -> Tensor:
        """Return a region of the photo as images for a network (N, C, h, w); an opacity is the last image.

        The opacity is upscaled as an image of its own that has the same edges as the colors.
        """
        colors, opacity = self.photo.region(region)
        images = colors.transpose(0, 1) if self.by_band else colors
        if opacity is not None:
            images = torch.cat([images, opacity.expand(1, images.shape[1], -1, -1)])
        return images.to(self.runtime.compute.device)

    def split_opacity(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Split images (N, C, h, w) into those of colors and that of the opacity, of which there may be none."""
        count = self.photo.channels if self.by_band else 1
        return images[:count], images[count:]

    def upscale(
        self,
        region: Region,
        networks: Sequence[ResidualNetwork],
        on_tile: OnTile = lambda: None,
        previous: Tensor | None = None,
    ) -> Tensor:
        """Upscale a region (N, C, h, w) by as many steps as there are networks.

        The region is read with the networks' receptive radius as margin, so that the result does not depend on where
        regions begin. `previous` is the last step's input for the whole photo, if it is known and the whole is asked
        for. Where memory runs out, tiles are halved, and the region is upscaled in quarters. Where the result is not
        finite, or without networks, the region is interpolated.
        """
        if networks:
            large = self.apply_networks(region, networks, on_tile, previous)
            weights = [weight for network in networks for weight in network.parameters()]  # a ReLU may hide theirs
            if all(bool(torch.isfinite(values).all()) for values in (large, *weights)):
                return large
            self.warn("the network's result was not finite at places: interpolated there instead")
        return self.interpolate(region)

    def apply_networks(
        self, region: Region, networks: Sequence[ResidualNetwork], on_tile: OnTile, previous: Tensor | None = None
    ) -> Tensor:
        """Upscale a region as `upscale` does, but return what the networks make of it, finite or not."""
        try:
            return self._apply_steps(region, networks, on_tile, previous)
        except (MemoryError, RuntimeError) as error:
            self.runtime.shrink("tile_size", error)
        if min(region.size) < 2:
            return self.apply_networks(region, networks, on_tile, previous)
        rows, columns = (interval.split(math.ceil(len(interval) / 2)) for interval in (region.rows, region.columns))
        quarters = [[self.apply_networks(Region(r, c), networks, on_tile) for c in columns] for r in rows]
        return torch.cat([torch.cat(row, dim=-1) for row in quarters], dim=-2)

    def interpolate(self, region: Region) -> Tensor:
        """Interpolate a region (N, C, h, w) and reconstruct it, as the method does: the result without learning."""
        method, cascade, last = self.method, self.cascade, len(self.cascade.steps) - 1
        reach = cascade.back_projection_radius(last, self.config.back_projection)
        if method.reconstruct:
            reach = method.reach(cascade.photo_degradations[last])
        outer = region.expand(method.support + 1 + reach)
        photo, outer_large = self.to_images(outer), cascade.scaled(outer)
        large = self.resize_to(outer_large, photo, outer, cascade.scales[-1], method.interpolate)
        rows, columns = cascade.scaled(region).slices_within(outer_large)
        if not method.reconstruct:
            return self.back_project(large, photo, outer, last)[..., rows, columns]
        offset = self._offset_in_output(outer, last)
        large = method.reconstruct(large, photo, cascade.photo_degradations[last], offset, **method.values)
        return large.clamp(0, 1)[..., rows, columns]

    def resize_to(
        self,
        large: Region,
        image: Tensor,
        region: Region,
        scale: tuple[float, float],
        interpolate: Interpolator = resize,
    ) -> Tensor:
        """Resize `image` (..., h, w), of a region of the photo, by `scale` to the region `large` of the output."""
        offset = relative_offset(large, (1 / scale[0], 1 / scale[1]), region, (1, 1))
        return interpolate(image, large.size, scale, top_left=self._top_left, offset=offset)

    def back_project(self, large: Tensor, photo: Tensor, region: Region, k: int, *, clip_each: bool = False) -> Tensor:
        """Back-project the result of step `k` on a region of the photo, and clip it to [0, 1].

        It is clipped at the end, or, where much is to be clipped, after each iteration.
        """
        cascade, count, offset = self.cascade, self.config.back_projection, self._offset_in_output(region, k)
        for iterations in [1] * count if clip_each else [count]:
            large = cascade.photo_degradations[k].back_project(large, photo, iterations, offset).clamp(0, 1)
        return large

    def _offset_in_output(self, region: Region, k: int) -> tuple[float, float]:
        """Return where a region of the photo begins in what step `k` makes of it, in pixels (down, right)."""
        scale = self.cascade.scales[k + 1]
        return relative_offset(region, scale, self.cascade.scaled(region, k + 1), (1, 1))

    @property
    def _top_left(self) -> bool:
        return self.cascade.degradation.sampling == "top_left"

    def _apply_steps(
        self, region: Region, networks: Sequence[ResidualNetwork], on_tile: OnTile, previous: Tensor | None
    ) -> Tensor:
        last = len(networks)
        outer = region.expand(self.cascade.receptive_radius(networks, self.config.back_projection))
        photo = self.to_images(outer)
        reached = (self.cascade.scaled(one, last - 1) for one in (outer, self.photo.whole))
        large = photo if previous is None else next(reached).take(previous, next(reached))
        for k in range(0 if previous is None else last - 1, last):
            large = self._apply_step(k, networks[k], large, photo, outer, on_tile)
        rows, columns = self.cascade.scaled(region, last).slices_within(self.cascade.scaled(outer, last))
        return large[..., rows, columns]

    def _apply_step(
        self, k: int, network: ResidualNetwork, image: Tensor, photo: Tensor, region: Region, on_tile: OnTile
    ) -> Tensor:
        """Upscale by a network, resize that to the step's exact size, and back-project it on the photo."""
        cascade, config, step = self.cascade, self.config, self.cascade.steps[k]
        before, after = cascade.scaled(region, k), cascade.scaled(region, k + 1)
        if network.factor == 1:
            large = self.resize_to(after, image, before, step.scale)
            degradation, ensemble = cascade.step_degradations[k], config.self_ensemble
            add_residual(network, large.clone(), large, degradation, self.runtime, on_tile, self_ensemble=ensemble)
            return self.back_project(large, photo, region, k)
        large = apply_network(
            network,
            image,
            cascade.step_degradations[k],
            self.runtime,
            on_tile,
            self_ensemble=config.self_ensemble,
            back_projection=config.back_projection,
        )
        rest = (step.scale[0] / step.factor, step.scale[1] / step.factor)
        offset = relative_offset(after, (1 / rest[0], 1 / rest[1]), before, (step.factor, step.factor))
        exact = resize(large, after.size, rest, top_left=self._top_left, offset=offset)
        return self.back_project(exact, photo, region, k)
