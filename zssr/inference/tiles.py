"""Applying a network tile by tile, with the result that it has on the whole image."""

from collections.abc import Callable, Iterator

from torch import Tensor


def apply_in_tiles(
    apply: Callable[[Tensor], Tensor], image: Tensor, factor: int, tile: int, margin: int, on_tile: Callable[[], None]
) -> Tensor:
    """Apply a shift-invariant map to `image` (N, C, H, W) in tiles, giving (N, C, factor * H, factor * W).

    Parameters
    ----------
    apply
        Takes (N, C, h, w) to (N, C, factor * h, factor * w); an output depends on inputs within `margin` pixels only.
    tile
        Side of a tile in pixels of `image`, without the margin. Each tile is read with its margin as far as the image
        reaches, so that the map sees the image's own border and no other.
    on_tile
        Called after each tile.
    """
    height, width = image.shape[-2:]
    out: Tensor | None = None
    for top, bottom, above, below in _cuts(height, tile, margin):
        for left, right, before, after in _cuts(width, tile, margin):
            part = apply(image[..., above:below, before:after])
            if out is None:
                out = part.new_empty(*part.shape[:-2], factor * height, factor * width)
            rows = slice(factor * (top - above), factor * (bottom - above))
            columns = slice(factor * (left - before), factor * (right - before))
            out[..., factor * top : factor * bottom, factor * left : factor * right] = part[..., rows, columns]
            on_tile()
    return image if out is None else out


def _cuts(length: int, tile: int, margin: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut an axis into tiles of nearly equal length: yields (start, stop) and the same with margins."""
    count = -(-length // tile)
    for k in range(count):
        start, stop = k * length // count, (k + 1) * length // count
        yield start, stop, max(start - margin, 0), min(stop + margin, length)


def tile_count(size: tuple[int, int], tile: int) -> int:
    """Return how many tiles an image of `size` (H, W) is cut into."""
    return -(-size[0] // tile) * -(-size[1] // tile)
