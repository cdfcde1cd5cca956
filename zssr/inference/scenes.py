"""What the adversarial head learns from: parts of a photo, their enlargements, and those of their sons."""

from collections.abc import Sequence

from zssr.degradation.noise import quantize
from zssr.geometry import Region
from zssr.images import photo_from
from zssr.inference.blockwise import Reconstruction
from zssr.networks.sr import Network
from zssr.networks.texture import contrast
from zssr.training.patches import Scene


def scenes_of(work: Reconstruction, region: Region, networks: Sequence[Network]) -> list[Scene]:
    """Return a region of a clean photo as scenes, one for each of the images that it is to the networks."""
    photo = work.colors(work.images(region))
    large = work.colors(work.enlarged(region, networks))
    vertical, horizontal = work.degradation.scale
    size = (int(region.size[0] / vertical), int(region.size[1] / horizontal))
    father = photo[..., : round(size[0] * vertical), : round(size[1] * horizontal)]
    sons = work.degradation.downsample(father, size)
    sons = quantize(sons) if work.degradation.quantized else sons
    smaller = work.of(photo_from(sons.transpose(0, 1) if work.by_band else sons))
    whole = Region.whole(size)
    son = smaller.enlarged(whole, networks)
    parts = (photo, contrast(photo), large, work.contrast(region), father, son, smaller.contrast(whole))
    return [Scene(*(part[k : k + 1] for part in parts)) for k in range(len(photo))]
