"""From a trained network and an image to the enlarged image: tiles, self-ensemble, back-projection."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.device import Arithmetic
from zssr.network import Network
from zssr.reconstruction.tiles import apply_in_tiles, tile_count
from zssr.symmetry import Symmetry

_CHUNK = 2**16


@torch.no_grad()
def enlarge(
    network: Network,
    image: Tensor,
    degradation: Degradation,
    config: Config,
    arithmetic: Arithmetic,
    on_tile: Callable[[int, int], None],
) -> Tensor:
    """Enlarge `image` (1, C, H, W) by the network's factor; `degradation` is the one at that scale.

    With `config.ensemble`, the rotations and flips that commute with the degradation (8 for bicubic) are enlarged each,
    turned back and back-projected, and the median of them is taken (Timofte et al. 2016, Shocher et al. 2018), which is
    back-projected once more.
    """
    symmetries = degradation.symmetries() if config.ensemble else degradation.symmetries()[:1]
    tiles = tile_count((image.shape[-2], image.shape[-1]), config.patch_size) * len(symmetries)
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        on_tile(done, tiles)

    network = copy.deepcopy(network).to(arithmetic.dtype)
    results: list[Tensor] = []
    for symmetry in symmetries:
        turned = symmetry(image)
        detail = apply_in_tiles(network, turned, network.factor, config.patch_size, network.margin, count)
        detail += degradation.enlarge(turned, (detail.shape[-2], detail.shape[-1]))
        upright = symmetry.inverse(detail).contiguous()
        del detail  # at megapixels each copy counts
        if degradation.origin == "corner" and results:
            upright = _shifted(upright, symmetry, network.factor - 1, results[0])
        results.append(degradation.back_project(upright, image, config.back_projection))
    if len(results) == 1:
        return results[0]
    return degradation.back_project(median(results), image, config.back_projection)


def _shifted(large: Tensor, symmetry: Symmetry, by: int, border: Tensor) -> Tensor:
    """Move back by `by` pixels what was sampled at another corner of its blocks; the gap is filled from `border`."""
    corner = int(symmetry(torch.tensor([[0, 1], [2, 3]]))[0, 0])  # which one became the first
    for axis, flipped in ((-2, corner // 2), (-1, corner % 2)):
        if flipped and by:
            length = large.shape[axis]
            large = torch.cat([large.narrow(axis, by, length - by), border.narrow(axis, length - by, by)], axis)
    return large


def median(images: list[Tensor]) -> Tensor:
    """Return the pixelwise median of equally large images; of an even number, the mean of the middle two."""
    out = torch.empty_like(images[0], memory_format=torch.contiguous_format)
    flat = [image.reshape(-1) for image in images]
    low, high = (len(images) - 1) // 2, len(images) // 2
    for start in range(0, out.numel(), _CHUNK):  # a chunk at a time stays in the processor's cache
        ordered = torch.stack([image[start : start + _CHUNK] for image in flat]).sort(0).values
        torch.lerp(ordered[low], ordered[high], 0.5, out=out.view(-1)[start : start + _CHUNK])
    return out
