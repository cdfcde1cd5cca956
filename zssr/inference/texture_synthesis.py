"""Texture at the output's size: adding it to an upscaled region, and the examples that its generator is trained on."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zssr.degradation.noise import quantize
from zssr.degradation.resize import CUBIC_SUPPORT
from zssr.geometry import Region
from zssr.inference.regions import RegionUpsampler
from zssr.method import ResidualNetwork
from zssr.networks.texture import LOCAL_STD_RADIUS, TextureGenerator, hash_normal, local_std
from zssr.photo import photo_from
from zssr.training.patches import TextureExample


def texture_margin(upsampler: RegionUpsampler, texture: TextureGenerator) -> int:
    """Return how far texture, and the back-projection after it, reaches, in pixels of the photo."""
    cascade, iterations = upsampler.cascade, upsampler.config.back_projection
    own = math.ceil(texture.margin / min(cascade.scales[-1]))
    return own + cascade.back_projection_radius(-1, iterations) + 1


def add_texture(upsampler: RegionUpsampler, large: Tensor, region: Region, texture: TextureGenerator) -> Tensor:
    """Add texture to the colors of an upscaled region (N, C, h, w), and back-project the sum on the photo."""
    colors, opacity = upsampler.split_opacity(large)
    large_region, whole = (upsampler.cascade.scaled(one) for one in (region, upsampler.photo.whole))
    noise = hash_normal(large_region.shift((-whole.rows.start, -whole.columns.start)), texture.seed).to(colors.device)
    with torch.no_grad():
        strength = texture.strength * upsampler.config.texture
        added = strength * texture(colors, upscale_local_std(upsampler, region), noise.expand(len(colors), -1, -1, -1))
    photo, _ = upsampler.split_opacity(upsampler.to_images(region))
    last = len(upsampler.cascade.steps) - 1
    return torch.cat([upsampler.back_project(colors + added, photo, region, last, clip_each=True), opacity])


def upscale_local_std(upsampler: RegionUpsampler, region: Region) -> Tensor:
    """Return the local standard deviation of the photo's finest detail at the output's size (N, 1, h, w)."""
    cascade, outer = upsampler.cascade, region.expand(LOCAL_STD_RADIUS + CUBIC_SUPPORT)
    small = local_std(upsampler.split_opacity(upsampler.to_images(outer))[0])
    return upsampler.resize_to(cascade.scaled(region), small, outer, cascade.scales[-1]).clamp(min=0)


def make_texture_examples(
    upsampler: RegionUpsampler, region: Region, networks: Sequence[ResidualNetwork]
) -> list[TextureExample]:
    """Return a region of a clean photo as examples, one for each of the images that it is to the networks.

    In each the photo, and what its son is upscaled to, are seen beside the upscaled photo, at one scale.
    """
    photo, _ = upsampler.split_opacity(upsampler.to_images(region))
    large, _ = upsampler.split_opacity(upsampler.upscale(region, networks))
    degradation = upsampler.cascade.degradation
    vertical, horizontal = degradation.scale
    size = (int(region.size[0] / vertical), int(region.size[1] / horizontal))
    father = photo[..., : round(size[0] * vertical), : round(size[1] * horizontal)]
    sons = degradation.downsample(father, size)
    sons = quantize(sons) if degradation.quantized else sons
    smaller = upsampler.for_image(photo_from(sons.transpose(0, 1) if upsampler.by_band else sons))
    whole = Region.whole(size)
    son = smaller.upscale(whole, networks)
    stds = local_std(photo), upscale_local_std(upsampler, region), upscale_local_std(smaller, whole)
    parts = (photo, stds[0], large, stds[1], father, son, stds[2])
    return [TextureExample(*(part[k : k + 1] for part in parts)) for k in range(len(photo))]
