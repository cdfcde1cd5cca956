"""Upscaling and encoding the frames of all shots, segment by segment.

Decoding, network, fusion with neighbors, and encoding overlap.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, groupby, islice
from operator import attrgetter
from typing import NamedTuple

from zssr.model import Model
from zssr.progress import Stage
from zssr.runtime import torch_modes
from zssr.video.encoders import EncoderSettings, encode_frame
from zssr.video.frame_upsampler import SAMPLES, FrameUpsampler, Planes
from zssr.video.neighbor_fusion import FusedFrame
from zssr.video.planes import make_frame, read_planes
from zssr.video.prefetch import prefetch
from zssr.video.segment_store import CodedFrame, SegmentStore
from zssr.video.shots import Timeline
from zssr.video.source import VideoSource
from zssr.video.windows import pick, slide, split_range, spread

SEGMENT_FRAMES = 96
"""Frames in a segment, at most: what a run loses that is killed."""


class UpscaledFrame(NamedTuple):
    """A frame that is upscaled.

    `number` is its number, and `run` that of the first of those without a gap that it belongs to. `reach` is how many
    neighbors on each side it is fused with; `is_wanted` is not set for frames that only their neighbors need. `source`
    and `planes` are the frame before and after, and `model` is what it was upscaled by.
    """

    number: int
    run: int
    reach: int
    is_wanted: bool
    source: Planes
    planes: Planes
    model: Model


@dataclass(frozen=True)
class ShotUpscaling:
    """All that is to be done to the frames of a video.

    Attributes
    ----------
    source, timeline
        The video, and its shots.
    upsampler, settings
        How frames are upscaled, and encoded.
    segments
        Where they are put.
    """

    source: VideoSource
    timeline: Timeline
    upsampler: FrameUpsampler
    settings: EncoderSettings
    segments: SegmentStore

    def run(self, notify: Callable[[int, int], None]) -> Model | None:
        """Upscale and encode the frames that are not there yet; return the last shot's model, if one was needed.

        `notify` gets the frames that are done and those that there are, after each.
        """
        progress, count, model = self.upsampler.context.progress, len(self.timeline.times), None
        with progress.timed(Stage.FRAMES), closing(prefetch(self.fuse())) as frames:
            for segment in chain.from_iterable(self.split_shots()):
                if not self.segments.has(segment[0]):
                    coded, model = self.encode(segment, frames, lambda done: notify(done, count))
                    self.segments.write(segment[0], coded)
                notify(segment[-1] + 1, count)
        return model

    def split_shots(self) -> list[list[range]]:
        """Return the segments of each shot."""
        return [split_range(shot, SEGMENT_FRAMES) for shot in self.timeline.shots]

    def encode(
        self, segment: range, frames: Iterator[UpscaledFrame], on_frame: Callable[[int], None]
    ) -> tuple[list[CodedFrame], Model]:
        """Encode the frames of a segment by an encoder of its own; return them with their model."""
        encoder, packets = self.settings.make_encoder(), []
        for _ in segment:
            frame = next(frames)
            made = make_frame(frame.planes, self.settings.layout)
            packets += encode_frame(encoder, self.settings, made, self.timeline.times[frame.number])
            on_frame(frame.number + 1)
        packets += encoder.encode(None)
        return [CodedFrame(packet.pts or 0, packet.is_keyframe, bytes(packet)) for packet in packets], frame.model

    def fuse(self) -> Generator[UpscaledFrame, None, None]:
        """Yield the frames of the segments that are not there yet; this runs in a thread of its own."""
        with torch_modes(str(self.source.path)), closing(prefetch(self.upscale())) as frames:
            for (_, reach), run in groupby(frames, key=attrgetter("run", "reach")):
                for window in slide(self.fuse_run(run, reach), reach):
                    frame = window[reach][0]
                    if frame.is_wanted:
                        fused = [one for _, one in window]
                        yield frame._replace(planes=self.upsampler.average(fused, frame.planes, frame.model))

    def fuse_run(self, run: Iterator[UpscaledFrame], reach: int) -> Iterator[tuple[UpscaledFrame, FusedFrame]]:
        """Yield frames without a gap with what they become by their neighbors."""
        for window in slide(((frame, self.upsampler.see(frame.source, frame.planes)) for frame in run), reach):
            yield window[reach][0], self.upsampler.fuse([seen for _, seen in window], window[reach][0].model)

    def upscale(self) -> Generator[UpscaledFrame, None, None]:
        """Yield the frames of the segments that are not there yet, each by itself, and those beside them to be fused.

        This runs in a thread of its own.
        """
        taken = self.upsampler.taken
        with torch_modes(str(self.source.path)), closing(prefetch(self.read())) as frames, closing(self.read()) as more:
            for shot, segments in zip(self.timeline.shots, self.split_shots(), strict=True):
                wanted = {k for segment in segments if not self.segments.has(segment[0]) for k in segment}
                samples = pick(slide(islice(more, len(shot)), taken), spread(len(shot), SAMPLES) if wanted else set())
                model, run = self.upsampler.fit(samples) if wanted else None, shot[0]
                reach = self.upsampler.reach(model) if model else 0
                far = 2 * reach  # neighbors are fused with theirs
                needed = {k for one in wanted for k in range(one - far, one + far + 1)}
                for k, window in zip(shot, slide(islice(frames, len(shot)), taken), strict=True):
                    if model and k in needed:
                        run = run if k - 1 in needed else k
                        large = self.upsampler.upscale(window, model)
                        yield UpscaledFrame(k, run, reach, k in wanted, window[taken], large, model)

    def read(self) -> Generator[Planes, None, None]:
        """Yield the planes of all frames."""
        for frame in self.source.frames():
            yield read_planes(frame, self.upsampler.traits.layout)
