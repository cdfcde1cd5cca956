"""Pictures of indexed colors: their palette, which a result keeps if it has no other colors."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zssr.io.picture import Pixels


def read_palette(image: Image.Image) -> bytes:
    """Return the colors of an image of mode "P" as red, green, blue and opacity, 4 bytes each."""
    colors = Image.frombytes("P", (256, 1), bytes(range(256)))
    colors.putpalette(image.getpalette() or [])
    if "transparency" in image.info:
        colors.info["transparency"] = image.info["transparency"]
    count = len(image.getpalette() or []) // 3
    return colors.convert("RGBA").tobytes()[: 4 * count]


def find_indices(pixels: Pixels, palette: bytes) -> NDArray[np.uint8] | None:
    """Return pixels (H, W, 3 or 4) of uint8 as indices (H, W) of a palette; None if some have other colors."""
    if pixels.dtype != np.uint8 or pixels.shape[-1] not in (3, 4) or not palette:
        return None
    opaque = np.full((*pixels.shape[:2], 4), 255, np.uint8)
    opaque[..., : pixels.shape[-1]] = pixels
    wanted = opaque.view(np.uint32)[..., 0]
    known, first = np.unique(np.frombuffer(palette, np.uint32), return_index=True)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return first[at].astype(np.uint8) if np.array_equal(known[at], wanted) else None


def make_indexed(indices: NDArray[np.uint8], palette: bytes) -> Image.Image:
    """Return an image of mode "P" of indices (H, W)."""
    colors = np.frombuffer(palette, np.uint8).reshape(-1, 4)
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette(colors[:, :3].tobytes())
    if (colors[:, 3] < 255).any():
        image.info["transparency"] = colors[:, 3].tobytes()
    return image
