"""From a trained network and an image to the enlarged image: tiles, self-ensemble, back-projection."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.geometry import Symmetry
from zssr.inference.tiles import apply_in_tiles, tile_count
from zssr.networks.sr import Network
from zssr.runtime import ComputeType


@torch.no_grad()
def enlarge(
    network: Network,
    image: Tensor,
    degradation: Degradation,
    config: Config,
    compute: ComputeType,
    on_tile: Callable[[], None],
) -> Tensor:
    """Enlarge `image` (N, C, H, W) by the network's factor; `degradation` is the one at that scale.

    With `config.ensemble`, the network sees the rotations and flips that commute with the degradation (8 for bicubic);
    what it adds to each is turned back, and the mean is added (Timofte et al. 2016; Shocher et al. 2018 take the
    median, which measures worse). The sum is back-projected once: back-projection is linear, so this is the mean of
    the back-projected results.
    """
    symmetries = _symmetries(degradation, config)
    network = copy.deepcopy(network).to(compute.dtype)
    large = degradation.upsample(image, (network.factor * image.shape[-2], network.factor * image.shape[-1]))
    border: Tensor | None = None
    for symmetry in symmetries:
        turned = symmetry(image)
        upright = symmetry.inverse(
            apply_in_tiles(network, turned, network.factor, config.patch_size, network.margin, on_tile)
        )
        if degradation.sampling == "top_left":
            border = upright if border is None else border
            upright = _shifted(upright, symmetry, network.factor - 1, border)
        large.add_(upright, alpha=1 / len(symmetries))
    return degradation.back_project(large, image, config.back_projection)


def tile_calls(size: tuple[int, int], degradation: Degradation, config: Config) -> int:
    """Return how many tiles `enlarge` applies a network to for an image of `size` (H, W)."""
    return tile_count(size, config.patch_size) * len(_symmetries(degradation, config))


def _symmetries(degradation: Degradation, config: Config) -> tuple[Symmetry, ...]:
    return degradation.symmetries() if config.self_ensemble else degradation.symmetries()[:1]


def _shifted(large: Tensor, symmetry: Symmetry, by: int, border: Tensor) -> Tensor:
    """Move back by `by` pixels what was sampled at another corner of its blocks; the gap is filled from `border`."""
    top_left = int(symmetry(torch.tensor([[0, 1], [2, 3]]))[0, 0])  # which one became the first
    for axis, flipped in ((-2, top_left // 2), (-1, top_left % 2)):
        if flipped and by:
            length = large.shape[axis]
            large = torch.cat([large.narrow(axis, by, length - by), border.narrow(axis, length - by, by)], axis)
    return large
