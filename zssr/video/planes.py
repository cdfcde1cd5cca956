"""The planes of a frame, as decoders and encoders hold them: brightness and colors apart, each of its own size."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import av
import numpy as np
from av.codec.codec import PixFmtLoss, find_best_pix_fmt_of_list
from numpy.typing import NDArray

Plane = NDArray[Any]
"""Numbers (h, w) of uint8 or uint16, of as many bits as the format has."""

_DEPTHS = {
    ("yuv420p", "yuv422p", "yuv444p"): ("", "9le", "10le", "12le", "14le", "16le"),
    ("yuva420p", "yuva422p", "yuva444p"): ("", "9le", "10le", "16le"),
    ("yuv440p", "yuv411p", "yuv410p"): ("",),
    ("gray",): ("", "10le", "12le", "16le"),
    ("gbrp",): ("", "10le", "12le", "14le", "16le"),
    ("gbrap",): ("", "10le", "12le", "16le"),
}
PLANAR = [name + depth for names, depths in _DEPTHS.items() for name in names for depth in depths]
"""Pixel formats that are worked on; others are converted to the nearest of these."""


@dataclass(frozen=True)
class PlaneLayout:
    """A planar pixel format, by its name in FFmpeg, such as "yuv420p10le"."""

    name: str

    @cached_property
    def bits(self) -> int:
        """Bits of a number."""
        return self._format.components[0].bits

    @cached_property
    def is_rgb(self) -> bool:
        """Whether the components are red, green and blue; otherwise they are brightness and two colors, or gray."""
        return self._format.is_rgb

    @cached_property
    def order(self) -> list[int]:
        """Which plane holds each component; an opacity is the last."""
        return [component.plane for component in self._format.components]

    @cached_property
    def subsampling(self) -> tuple[int, int]:
        """How many rows and columns of pixels share a color."""
        height, width = self.plane_size(1, (64, 64))
        return 64 // height, 64 // width

    def plane_size(self, component: int, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size (h, w) of a component's plane for a frame of `size` (H, W)."""
        if self.is_rgb or len(self.order) < 3 or component not in (1, 2):
            return size
        return self._format.chroma_height(size[0]), self._format.chroma_width(size[1])

    def view(self, frame: av.VideoFrame, component: int) -> Plane:
        """Return the numbers of a frame's component, without the padding of its rows; writing to them writes to it."""
        plane = frame.planes[self.order[component]]
        rows: Plane = np.frombuffer(plane, np.uint8 if self.bits == 8 else np.uint16)  # type: ignore[call-overload]
        return rows.reshape(plane.height, -1)[:, : plane.width]

    @cached_property
    def _format(self) -> av.VideoFormat:
        return av.VideoFormat(self.name)


def find_layout(pixel_format: str) -> PlaneLayout:
    """Return the planar format that holds what `pixel_format` does."""
    name = _plain_name(pixel_format)
    if name not in PLANAR:
        best, _ = find_best_pix_fmt_of_list(PLANAR, name, has_alpha=True)
        name = best.name if best else "gbrap"
    return PlaneLayout(name)


def find_lossless(pixel_formats: Sequence[str], layout: PlaneLayout) -> str | None:
    """Return which of the pixel formats holds all that a layout does; None if none does."""
    if layout.name in pixel_formats:
        return layout.name
    best, loss = find_best_pix_fmt_of_list(pixel_formats, layout.name, has_alpha=True)
    return best.name if best and loss == PixFmtLoss.NONE else None


def read_planes(frame: av.VideoFrame, layout: PlaneLayout) -> list[Plane]:
    """Return the numbers of a frame by component; they are copies."""
    if _plain_name(frame.format.name) != layout.name:
        frame = frame.reformat(format=layout.name)
    return [layout.view(frame, component).copy() for component in range(len(layout.order))]


def make_frame(planes: Sequence[Plane], layout: PlaneLayout) -> av.VideoFrame:
    """Return a frame of numbers by component: the inverse of `read_planes`."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, layout.name)
    for component, plane in enumerate(planes):
        layout.view(frame, component)[:] = plane
    return frame


def _plain_name(pixel_format: str) -> str:
    """Return a format's name without the full range that FFmpeg's older names have in them; frames tell that, too."""
    return pixel_format.replace("yuvj", "yuv")
