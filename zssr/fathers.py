"""What networks learn from: regions of the photos, and photos of the user's own."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from zssr.geometry import Region
from zssr.inference.regions import RegionUpsampler
from zssr.networks.film import CHANNELS
from zssr.training.pairs import SMALLEST_FATHER, is_large_enough, sample_windows


def find_fathers(upsampler: RegionUpsampler) -> list[Region]:
    """Return the regions of a photo's content that are large enough to learn from; the whole if there are none."""
    factor = upsampler.cascade.steps[0].factor
    degradation = upsampler.cascade.degradation.at_scale((factor, factor))
    regions = upsampler.photo.content_regions
    return [one for one in regions if is_large_enough(one.size, degradation, factor)] or [upsampler.photo.whole]


def sample_content(
    upsamplers: Sequence[RegionUpsampler], most: int, generator: torch.Generator
) -> list[tuple[RegionUpsampler, Region]]:
    """Choose regions of the photos' content, about `most` pixels in total, as `sample_windows` does."""
    regions = [(upsampler, region) for upsampler in upsamplers for region in find_fathers(upsampler)]
    chosen = sample_windows([region for _, region in regions], most, generator)
    return [(regions[k][0], region) for k, region in chosen]


def load_examples(folder: str, channels: int) -> list[Tensor]:
    """Return photos of the user's own as fathers (1, C, H, W); gray ones if they do not have the channels."""
    from zssr.prior.training_pictures import load_pictures  # others do not wait for what draws pictures

    images = [picture[None].float() / 255 for picture in load_pictures(Path(folder), SMALLEST_FATHER)]
    return images if channels == CHANNELS else [one.mean(1, True).expand(-1, channels, -1, -1) for one in images]
