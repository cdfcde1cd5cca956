"""A photo: regions of floats, wherever its pixels are stored, and the way back to its own numbers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from zssr.content import GUARD, dilate, drop_small, erode, find_content
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import quantize
from zssr.filling import FILL_REACH, fill_holes
from zssr.geometry import Interval, Region
from zssr.no_data import NoData, find_nodata, restore_nodata
from zssr.rectangles import find_rectangles
from zssr.value_range import ValueRange

Kind = Literal["photo", "graphics", "labels"]

_SMALLEST = 24  # side in pixels of a region to learn from
_MOST_JUDGED = 2**20  # pixels in which content is looked for


@dataclass(frozen=True, eq=False)
class Photo:
    """One image, wherever its pixels are stored.

    Attributes
    ----------
    size
        (H, W) in pixels.
    channels
        Number of channels without the opacity.
    rows
        Returns the rows from `start` to `stop` as they are, (C, stop - start, W), the opacity last.
    value_range
        The meaning of the numbers.
    alpha
        "straight" or "premultiplied" if there is an opacity; "opaque" if it is full everywhere; None if there is none.
    jpeg
        How the pixels were compressed, if they come from a JPEG file.
    nodata
        The number that stands for no data, or the mask (C, H, W) of it; None if there is data everywhere.
    keeps_nodata
        Whether the number is put back into the result; otherwise what is filled stays.
    has_outliers
        Whether some numbers lie outside of the value range.
    kind
        "photo"; "graphics", which were not made small by a blur; or "labels", numbers without an order.
    keeps_hidden
        Whether colors under no opacity hold content and are enlarged; otherwise they are filled from around them.
    notes
        One sentence for each thing that the user should know.
    wraps, origin
        Whether top and bottom, and left and right, join; and the row and column at which it begins for what depends on
        that (see `zssr.seam`).
    window
        Returns the numbers of a region (C, h, w), if the image is read by regions: one of gigapixels; None by rows.
    """

    size: tuple[int, int]
    channels: int
    rows: Callable[[int, int], Tensor]
    value_range: ValueRange
    alpha: str | None = None
    jpeg: Jpeg | None = None
    nodata: NoData | None = None
    keeps_nodata: bool = True
    has_outliers: bool = False
    kind: Kind = "photo"
    keeps_hidden: bool = False
    notes: tuple[str, ...] = ()
    wraps: tuple[bool, bool] = (False, False)
    origin: tuple[int, int] = (0, 0)
    window: Callable[[Region], Tensor] | None = None

    @property
    def whole(self) -> Region:
        """Return all of it as a region, which begins at the origin."""
        return Region.whole(self.size, self.wraps).shift(self.origin)

    def region(self, region: Region) -> tuple[Tensor, Tensor | None]:
        """Return float32 colors (1, C, h, w) and the opacity (1, 1, h, w), None if it is full, in [0, 1].

        Holes are filled from around them: pixels without data, and fully transparent ones that hide no content.
        """
        has_holes = self.nodata is not None or (self.alpha not in (None, "opaque") and not self.keeps_hidden)
        outer = region.expand(FILL_REACH) if has_holes else region
        numbers = self.stored_numbers(outer)
        colors, opacity = self._to_colors(numbers)
        if has_holes:
            rows, columns = region.slices_within(outer)
            holes = self._find_holes(numbers, self.find_voids(numbers, outer))
            colors = fill_holes(colors, holes)[..., rows, columns].contiguous()
            colors = quantize(colors) if self.value_range.dtype == torch.uint8 else colors
            opacity = None if opacity is None else opacity[..., rows, columns].contiguous()
        return colors, opacity

    def find_voids(self, numbers: Tensor, region: Region) -> Tensor | None:
        """Find which numbers (C', h, w) of a region are no data, (C, h, w); None if all are data."""
        nodata = self.nodata
        if nodata is None:
            return None
        if isinstance(nodata, Tensor):
            return self._read(region, lambda start, stop: nodata[:, start:stop])
        return find_nodata(numbers[: self.channels], nodata)

    def content_in(self, region: Region) -> Tensor | None:
        """Return where a region is photo, (h, w): no margin, not transparent, not without data; None is everywhere."""
        if self._content is None:
            return None
        rows, columns = (
            torch.arange(one.start, one.stop) % one.length // self._stride for one in (region.rows, region.columns)
        )
        content = self._content[rows[:, None], columns]
        return None if content.all() else content

    @cached_property
    def content_box(self) -> Region:
        """The smallest region that has all content; the whole along axes that wrap."""
        if self._content is None:
            return self.whole
        inner = dilate(erode(self._content), GUARD) & self._content  # without specks
        inner = inner if inner.any() else self._content

        def bound(whole: Interval, is_used: Tensor) -> Interval:
            used = is_used.nonzero()[:, 0].tolist()
            start, stop = used[0] * self._stride, min((used[-1] + 1) * self._stride, whole.length)
            return whole if whole.wraps else replace(whole, start=start, stop=stop)

        return Region(bound(self.whole.rows, inner.any(1)), bound(self.whole.columns, inner.any(0)))

    @cached_property
    def content_regions(self) -> list[Region]:
        """Regions to learn from: the content's box, or parts without holes if there are any; the whole without parts.

        A ground within the box is learned from, too: results are better by some hundredths of a dB.
        """
        if self._holes is None:
            return [self.content_box]
        sides = (self.whole.rows, self.whole.columns)

        def cut(whole: Interval, part: slice) -> Interval:
            start, stop = part.start * self._stride, (part.stop - 1) * self._stride + 1
            return replace(whole, start=start, stop=stop)

        boxes = find_rectangles(~self._holes.numpy(), -(-_SMALLEST // self._stride))
        return [Region(cut(sides[0], rows), cut(sides[1], columns)) for rows, columns in boxes] or [self.whole]

    def center(self, longest: int = 2048) -> tuple[Tensor, Tensor | None]:
        """Return the center of the content, at most `longest` a side, on which estimates are made.

        That is its colors (1, C, h, w), and where they can be judged, (h, w), which is not at the content's borders;
        None is everywhere.
        """
        # it starts on a grid of 16 pixels from the origin, as the blocks of a JPEG do
        center = self.content_box.shift((-self.origin[0], -self.origin[1])).cut_center(longest, 16).shift(self.origin)
        content = self.content_in(center)
        return self.region(center)[0], None if content is None else erode(content)

    def stored_numbers(self, region: Region) -> Tensor:
        """Return the numbers (C', h, w) of a region as they are."""
        return self._read(region, self.rows) if self.window is None else self.window(region)

    def stored_center(self, longest: int) -> Tensor:
        """Return the colors (C, h, w) of the center, at most `longest` a side, without filling any."""
        numbers = self.stored_numbers(self.whole.cut_center(longest))
        return self._to_colors(numbers)[0][0].nan_to_num()

    def to_pixels(self, colors: Tensor, opacity: Tensor | None) -> Tensor:
        """Convert float colors (1, C, h, w) and opacity (1, 1, h, w) to the image's own numbers (C', h, w)."""
        if self.alpha is None:
            return self.value_range.from_floats(colors[0])
        if opacity is None:
            opacity = colors.new_ones(1, 1, *colors.shape[-2:])
        if self.alpha == "premultiplied":
            colors = colors * opacity
        return self.value_range.from_floats(torch.cat([colors, opacity], 1)[0])

    def restore_numbers(self, pixels: Tensor, region: Region, rows: Tensor, columns: Tensor) -> Tensor:
        """Put back into enlarged pixels (C', h, w) what no float in [0, 1] stands for: outliers and no data.

        `rows` and `columns` of the region are those that the pixels come from.
        """
        nodata = self.nodata if isinstance(self.nodata, float) and self.keeps_nodata else None
        if nodata is None and not self.has_outliers:
            return pixels
        numbers = self.stored_numbers(region)
        voids = self.find_voids(numbers, region)
        if self.has_outliers:
            wide = numbers.double() if voids is None else numbers.double().masked_fill(voids, self.value_range.low)
            excess = (wide - wide.clamp(self.value_range.low, self.value_range.high))[:, rows[:, None], columns]
            pixels = (pixels.double() + excess).to(pixels.dtype)
        if voids is None or nodata is None:
            return pixels
        colors = restore_nodata(pixels[: self.channels], voids[:, rows[:, None], columns], nodata)
        return torch.cat([colors, pixels[self.channels :]])

    @property
    def _stride(self) -> int:
        return 1 + int((self.size[0] * self.size[1] / _MOST_JUDGED) ** 0.5)

    @property
    def _content(self) -> Tensor | None:
        """Where there is content, at each `_stride`-th pixel; None is everywhere."""
        return self._masks[0]

    @property
    def _holes(self) -> Tensor | None:
        """Where there is nothing that could be seen, at each `_stride`-th pixel; None is nowhere."""
        return self._masks[1]

    @cached_property
    def _masks(self) -> tuple[Tensor | None, Tensor | None]:
        whole, stride = Region.whole(self.size), self._stride
        parts, holes = [], []
        for rows in whole.rows.split(max(1, 2**24 // (self.size[1] * self.channels) // stride) * stride):
            part = Region(rows, whole.columns)
            numbers = self.stored_numbers(part)
            first = -rows.start % stride
            parts.append(self._to_colors(numbers[:, first::stride, ::stride])[0])
            holes.append(self._find_holes(numbers, self.find_voids(numbers, part)).any(0)[first::stride, ::stride])
        hole = drop_small(torch.cat(holes))
        photo = find_content(torch.cat(parts, 2).nan_to_num(), self.wraps) if self.kind == "photo" else None
        content = ~hole if photo is None else photo & ~hole
        is_everywhere = bool(content.all()) or not content.any()
        return None if is_everywhere else content, hole if hole.any() and not hole.all() else None

    def _read(self, region: Region, rows: Callable[[int, int], Tensor]) -> Tensor:
        """Return a region of what `rows` has (C', h, w)."""
        stored = Region.whole(self.size, self.wraps)
        pieces = [rows(piece.start, piece.stop) for piece in region.rows.pieces_of(stored.rows)]
        joined = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)
        columns = [joined[..., piece] for piece in region.columns.pieces_of(stored.columns)]
        return columns[0] if len(columns) == 1 else torch.cat(columns, dim=-1)

    def _to_colors(self, numbers: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return numbers (C', h, w) as colors (1, C, h, w) and opacity (1, 1, h, w), without filling any."""
        values = self.value_range.to_floats(numbers)[None]
        colors = values[:, : self.channels].contiguous()
        if self.alpha in (None, "opaque"):
            return colors, None
        opacity = values[:, self.channels :].clamp(0, 1).contiguous()
        return (colors / opacity.clamp(min=1e-6)).clamp(0, 1) if self.alpha == "premultiplied" else colors, opacity

    def _find_holes(self, numbers: Tensor, voids: Tensor | None) -> Tensor:
        """Return which numbers (C', h, w) are to be filled: (C or 1, h, w)."""
        holes = torch.zeros(1, *numbers.shape[-2:], dtype=torch.bool) if voids is None else voids
        if self.alpha in (None, "opaque") or self.keeps_hidden:
            return holes
        return holes | (self.value_range.to_floats(numbers[self.channels :]) == 0)


def photo_from(image: Tensor) -> Photo:
    """Return an image (1, C, H, W) as a photo; values are clipped to [0, 1]."""
    pixels = image[0].clamp(0, 1).cpu()
    size = (pixels.shape[-2], pixels.shape[-1])
    return Photo(size, len(pixels), lambda start, stop: pixels[:, start:stop], ValueRange(torch.float32))
