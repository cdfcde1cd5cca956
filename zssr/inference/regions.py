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
from zssr.inference.tiles import OnTile, add_residual
from zssr.method import Interpolator, Method, Reconstructor, ResidualNetwork
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

    @property
    def reconstruct(self) -> Reconstructor | None:
        """Return how the photo is reconstructed without a network; None if it is not.

        It is if the method has no network, or if the blur takes whole frequencies away, since its inverse reaches
        farther than networks see. Images that wrap are always learned: a reconstruction depends a little on where they
        begin.
        """
        degradation = self.cascade.degradation
        needs_none = degradation.is_clean and degradation.has_zeros and not any(self.photo.wraps)
        return self.method.reconstruct if self.method.network is None or needs_none else None

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
        if self.reconstruct:
            reach = method.reach(cascade.photo_degradations[last])
        outer = region.expand(method.support + 1 + reach)
        photo, outer_large = self.to_images(outer), cascade.scaled(outer)
        large = self.resize_to(outer_large, photo, outer, cascade.scales[-1], method.interpolate)
        rows, columns = cascade.scaled(region).slices_within(outer_large)
        if not self.reconstruct:
            return self.back_project(large, photo, outer, last)[..., rows, columns]
        offset, degradation = self._offset_in_output(outer, last), cascade.photo_degradations[last]
        improved = self.reconstruct(large.cpu(), photo.cpu(), degradation, offset, **method.values)
        return improved.to(large.device).clamp(0, 1)[..., rows, columns]

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
        degradation, iterations = self.cascade.photo_degradations[k], self.config.back_projection
        offset = self._offset_in_output(region, k)
        return degradation.back_project(large, photo, iterations, offset, clip=clip_each).clamp(0, 1)

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
        cascade, last = self.cascade, len(networks)
        margins = cascade.margins(networks, self.config.back_projection)
        regions = [(region.expand(read), region.expand(made)) for read, made in margins]
        outer, first = regions[0][0], 0 if previous is None else last - 1
        photo = self.to_images(outer)
        large, at = (photo, outer) if previous is None else (previous, self.photo.whole)
        for k, (read, made) in list(enumerate(regions))[first:]:
            image = cascade.scaled(read, k).take(large, cascade.scaled(at, k))
            large, at = self._apply_step(k, networks[k], image, read, made.take(photo, outer), made, on_tile), made
        return cascade.scaled(region, last).take(large, cascade.scaled(at, last))

    def _apply_step(
        self,
        k: int,
        network: ResidualNetwork,
        image: Tensor,
        read: Region,
        photo: Tensor,
        made: Region,
        on_tile: OnTile,
    ) -> Tensor:
        """Upscale by a network, resize that to the step's exact size, and back-project it on the photo.

        `image` is the region `read` of the step's input; the result is the region `made`, and so is the `photo`.
        """
        cascade, factor, scale = self.cascade, network.factor, self.cascade.steps[k].scale
        seen, inner, after = cascade.scaled(read, k), cascade.scaled(made, k), cascade.scaled(made, k + 1)
        if factor == 1:
            interpolated = cascade.scaled(read, k + 1)
            image, seen, inner, enlarged = self.resize_to(interpolated, image, seen, scale), interpolated, after, after
            large = inner.take(image, seen).clone()
        else:
            enlarged = inner.scaled((factor, factor), (factor * cascade.sizes[k][0], factor * cascade.sizes[k][1]))
            large = self.resize_to(enlarged, image, seen, (factor, factor))
        add_residual(
            network,
            image,
            large,
            cascade.step_degradations[k],
            self.runtime,
            on_tile,
            self_ensemble=cascade.self_ensemble,
            inner=inner.slices_within(seen),
        )
        if factor > 1:
            large = self.resize_to(after, large, enlarged, (scale[0] / factor, scale[1] / factor))
        return self.back_project(large, photo, made, k)
