"""What the adversarial head learns from: parts of a photo, their enlargements, and those of their sons."""

from collections.abc import Sequence

from torch import Tensor

from zssr.degradation.noise import rounded
from zssr.learning.adversarial import Scene
from zssr.photo import Levels, Photo
from zssr.reconstruction.reconstruct import Networks, Reconstruction
from zssr.regions import Region
from zssr.texture import gates


def scenes_of(work: Reconstruction, region: Region, runs: Sequence[Networks]) -> list[Scene]:
    """Return a region of a clean photo as scenes, one for each of the images that it is to the networks."""
    photo = work.colours(work.images(region))
    large = work.colours(work.mean(region, runs))
    vertical, horizontal = work.degradation.scale
    size = (int(region.size[0] / vertical), int(region.size[1] / horizontal))
    father = photo[..., : round(size[0] * vertical), : round(size[1] * horizontal)]
    sons = work.degradation.shrink(father, size)
    smaller = work.of(_photo(rounded(sons) if work.degradation.eight_bits else sons, by_band=work.by_band))
    whole = Region.whole(size)
    parts = (photo, gates(photo), large, work.gates(region), father, smaller.mean(whole, runs), smaller.gates(whole))
    return [Scene(*(part[k : k + 1] for part in parts)) for k in range(len(photo))]


def _photo(images: Tensor, *, by_band: bool) -> Photo:
    """Return images (N, C, H, W) for a network as one photo, of N bands if they are enlarged one by one."""
    pixels = (images[:, 0] if by_band else images[0]).clamp(0, 1).cpu()
    height, width = pixels.shape[-2:]
    return Photo((height, width), len(pixels), lambda start, stop: pixels[:, start:stop], Levels(pixels.dtype))
