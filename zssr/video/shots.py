"""A first pass over a video: the timestamps of its frames, and the cuts between its shots."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import av
import numpy as np
from numpy.typing import NDArray

from zssr.errors import ImageError
from zssr.video.planes import PlaneLayout, read_planes
from zssr.video.source import VideoSource, VideoTraits

SHORTEST_SHOT = 8
"""Frames of a shot, at least: a cut that follows another sooner is none, such as that of a flash."""

_CUT = 0.08  # mean absolute difference, in [0, 1]; FFmpeg's scdet has 0.08 to 0.14
_THUMBNAIL = 48  # sides in pixels, about
_SLACK = 1.0  # seconds that a header may promise too much


@dataclass(frozen=True)
class Timeline:
    """When the frames of a video are shown, and which of them belong together.

    Attributes
    ----------
    times
        The timestamp of each frame, in the stream's time base.
    last_duration
        That of the last frame, in the same unit; 0 if it is not said.
    cuts
        The first frame of each shot but the first.
    """

    times: list[int]
    last_duration: int
    cuts: list[int]

    @property
    def shots(self) -> list[range]:
        """The frames of each shot."""
        edges = [0, *self.cuts, len(self.times)]
        return [range(*pair) for pair in pairwise(edges)]

    @property
    def durations(self) -> list[int]:
        """How long each frame is shown, in the stream's time base."""
        gaps = [after - before for before, after in pairwise(self.times)]
        return [*gaps, self.last_duration or (gaps[-1] if gaps else 1)]


def scan(source: VideoSource, traits: VideoTraits, on_frame: Callable[[int, int], None] = lambda *_: None) -> Timeline:
    """Decode all frames once, and find the cuts. Raises `ImageError` for a video that cannot be upscaled as a whole.

    A cut is where the picture differs more from the one before than that did from its own (FFmpeg's `scdet`).
    `on_frame` gets the number of frames so far, and about how many there will be.
    """
    check_complete(source)
    times: list[int] = []
    cuts: list[int] = []
    duration, detector = 0, CutDetector(traits.layout)
    for k, frame in enumerate(source.frames()):
        _check_frame(source, traits, frame, k)
        if detector.is_cut(frame) and k - (cuts[-1] if cuts else 0) >= SHORTEST_SHOT:
            cuts.append(k)
        times.append(frame.pts or 0)
        duration = frame.duration or 0
        on_frame(k + 1, max(k + 1, traits.frame_count))
    if not times:
        part = "" if not source.is_part else " in the part that is asked for"
        raise ImageError(f"{source.path}: holds no frames{part}")
    return Timeline(times, duration, cuts)


class CutDetector:
    """Tells whether a frame begins a new shot, from the frames before it."""

    def __init__(self, layout: PlaneLayout) -> None:
        self._layout = layout
        self._before: NDArray[np.float64] | None = None
        self._change = 0.0

    def is_cut(self, frame: av.VideoFrame) -> bool:
        """Look at the next frame."""
        thumbnail = _shrink(read_planes(frame, self._layout)[0] / (2**self._layout.bits - 1))
        before, self._before = self._before, thumbnail
        change = 0.0 if before is None else float(np.abs(thumbnail - before).mean())
        last, self._change = self._change, change
        return min(change, abs(change - last)) > _CUT


def check_complete(source: VideoSource) -> None:
    """Raise `ImageError` for a file that ends before its header says so, or has damaged packets."""
    with source.open() as (container, stream):
        is_broadcast = container.format.name == "mpegts"  # some of whose packets are always lost
        promised = None if container.duration is None else container.duration / av.time_base
        start = 0.0 if container.start_time is None else container.start_time / av.time_base
        end = -math.inf
        for packet in container.demux():
            if packet.is_corrupt and packet.stream.index == stream.index and not is_broadcast:
                raise ImageError(f"{source.path}: is truncated or damaged")
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - start)
        if promised is not None and end < promised - max(_SLACK, 0.05 * promised) and math.isfinite(end):
            there = f"ends after {max(end, 0):.1f} s, where its header says {promised:.1f} s"
            raise ImageError(f"{source.path}: {there}: it is truncated")


def _check_frame(source: VideoSource, traits: VideoTraits, frame: av.VideoFrame, k: int) -> None:
    if (frame.height, frame.width) != traits.size:
        was, now = f"{traits.size[1]}x{traits.size[0]}", f"{frame.width}x{frame.height}"
        raise ImageError(f"{source.path}: its size changes from {was} to {now} at frame {k + 1}; one size is needed")
    if (traits.is_interlaced or frame.interlaced_frame) and not source.deinterlaces:
        raise ImageError(f"{source.path}: is interlaced; --deinterlace (deinterlace=True) makes it progressive")


def _shrink(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of blocks of a plane."""
    height, width = (max(1, side // _THUMBNAIL) for side in plane.shape)
    rows, columns = plane.shape[0] // height, plane.shape[1] // width
    blocks = plane[: rows * height, : columns * width].reshape(rows, height, columns, width)
    means: NDArray[np.float64] = blocks.mean((1, 3))
    return means
