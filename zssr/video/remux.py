"""Writing the whole file: the coded frames, with sound, subtitles, chapters and all else as they were in the source."""

import heapq
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import av
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Disposition, Stream
from av.video.stream import VideoStream

from zssr.errors import ImageError
from zssr.io.atomic import atomic_write
from zssr.video.encoders import CONTAINERS, EncoderSettings, ordinary_priority
from zssr.video.segment_store import SegmentStore, decoding_times
from zssr.video.shots import Timeline
from zssr.video.source import VideoSource

_OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder")  # metadata that the muxer writes
_OF_THE_CODING = ("ENCODER", "encoder", "BPS", "DURATION", "NUMBER_OF_", "_STATISTICS_")
_EXTENSIONS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}

_MOST_REFUSED = 20  # packets, and 5 %, of a damaged file
_NO_TEXT = b"\0\0"  # in MP4: where no subtitle is shown

AnyPacket: TypeAlias = "av.Packet[Any]"


def find_losses(source: VideoSource, output: Path, *, allow_loss: bool) -> list[str]:
    """Return a sentence for each stream that a file cannot hold. Raises `ImageError` if that is not allowed."""
    name = CONTAINERS[output.suffix.lower()].name
    with source.open() as (container, video), av.open(io.BytesIO(), "w", format=name) as trial:
        others = [one for one in container.streams if one.index != video.index]
        kept = {one.index for one in others if _add_copy(trial, one) is not None}
        _try_header(trial, source)
        lost = [one for one in others if one.index not in kept and not _is_made_anew(one, container)]
        serious = [one for one in lost if one.type != "data"]
        if serious and not allow_loss:
            what = f"{output.suffix} cannot hold its stream {serious[0].index} ({_describe(serious[0])})"
            raise ImageError(f"{source.path}: {what}; .mkv may, and --allow-loss leaves it out")
        return [f"its stream {one.index} ({_describe(one)}) is left out" for one in lost]


@dataclass(frozen=True)
class Remux:
    """What a file is made of: coded frames, and the other streams of a source.

    Attributes
    ----------
    source
        Where the other streams are.
    settings, timeline
        What the frames are encoded by, and when they are shown.
    """

    source: VideoSource
    settings: EncoderSettings
    timeline: Timeline

    def write(self, path: Path, segments: SegmentStore) -> int:
        """Write the file of all segments, whole or not at all; return how many damaged packets are left out."""
        kind = CONTAINERS[path.suffix.lower()]
        options = {"fflags": "+bitexact", **kind.options}
        with self.source.open() as (container, video), atomic_write(path) as file, _translate_write_errors(path):
            if kind.options and any(key.startswith("com.") for key in container.metadata):  # Apple's keys
                options["movflags"] += "+use_metadata_tags"
            with av.open(file.name, "w", format=kind.name, container_options=options) as output:
                streams = self._add_streams(output, container, video)
                self._copy_facts(output, container)
                pictures = self._make_packets(segments, streams[video.index])
                copies = [self._copy_packets(group, streams) for group in _group_copies(video, streams)]
                with ordinary_priority():
                    output.start_encoding()
                return _mux(output, heapq.merge(pictures, *copies, key=lambda pair: pair[0]))

    def _add_streams(self, output: OutputContainer, container: InputContainer, video: VideoStream) -> dict[int, Stream]:
        """Add all streams in the order of the source; return them by their index in it."""
        streams: dict[int, Stream] = {}
        for stream in container.streams:
            added = self._add_video(output, video) if stream.index == video.index else _add_copy(output, stream)
            if added is not None:
                added.disposition = stream.disposition
                streams[stream.index] = added
        return streams

    def _add_video(self, output: OutputContainer, video: VideoStream) -> Stream:
        traits, kind = self.settings.traits, self.settings.kind
        added = cast(VideoStream, output.add_stream(kind.encoder, rate=traits.rate))
        self.settings.set_up(added.codec_context)  # which is opened for its header alone
        added.time_base = traits.time_base
        if kind.tag and output.format.name in ("mp4", "mov"):
            added.codec_context.codec_tag = kind.tag
        added.set_display_matrix(traits.matrix)
        kept = {key: text for key, text in video.metadata.items() if not key.startswith(_OF_THE_CODING)}
        added.metadata.update(kept)
        return added

    def _copy_facts(self, output: OutputContainer, container: InputContainer) -> None:
        """Copy metadata, and the chapters of a whole."""
        output.metadata.update({key: text for key, text in container.metadata.items() if key not in _OF_THE_FILE})
        if not self.source.is_part:
            output.set_chapters(container.chapters())

    def _make_packets(self, segments: SegmentStore, stream: Stream) -> Iterator[tuple[float, AnyPacket]]:
        times, base = self.timeline.times, self.settings.traits.time_base
        durations = dict(zip(times, self.timeline.durations, strict=True))
        shift = times[0] if self.source.is_part else 0
        decoding = decoding_times([frame.pts for frame in segments.read()], self.timeline.durations[0])
        for frame, dts in zip(segments.read(), decoding, strict=True):
            packet = av.Packet(frame.content)
            packet.stream, packet.time_base, packet.is_keyframe = stream, base, frame.is_key
            packet.pts, packet.dts, packet.duration = frame.pts - shift, dts - shift, durations[frame.pts]
            yield float(packet.dts * base), packet

    def _copy_packets(self, group: list[int], streams: dict[int, Stream]) -> Iterator[tuple[float, AnyPacket]]:
        """Yield the packets of some streams, with their times in seconds; those of a part from its start on."""
        with self.source.open() as (container, video):
            origin = float(self.source.origin(video)) if self.source.is_part else 0.0
            for packet in container.demux([container.streams[index] for index in group]):
                time = packet.dts if packet.dts is not None else packet.pts
                if time is None or bytes(packet) == _NO_TEXT:
                    continue  # the end of a stream; what the muxer of MP4 writes by itself
                seconds = float(time * packet.time_base) - origin
                if self.source.is_part:
                    if seconds < 0 or (self.source.duration is not None and seconds >= self.source.duration):
                        continue
                    _shift(packet, -round(origin / packet.time_base))
                packet.stream = streams[packet.stream.index]
                yield seconds, packet


def _mux(output: OutputContainer, packets: Iterator[tuple[float, AnyPacket]]) -> int:
    """Write packets; return how many are left out since the muxer refuses them. A few may be; more are an error."""
    refused = 0
    for count, (_, packet) in enumerate(packets, 1):
        try:
            output.mux(packet)
        except (av.InvalidDataError, av.ArgumentError):
            refused += 1
            if refused > _MOST_REFUSED + 0.05 * count:
                raise
    return refused


def _group_copies(video: VideoStream, streams: dict[int, Stream]) -> list[list[int]]:
    """Return the streams whose packets are copied, in groups that are read together.

    Texts are read by themselves: in some files they stand far from what they are shown with.
    """
    copied = {k: one for k, one in streams.items() if k != video.index and not isinstance(one, AttachmentStream)}
    texts = [k for k, one in copied.items() if one.type == "subtitle"]
    others = [k for k in copied if k not in texts]
    return [*([k] for k in texts), *([others] if others else [])]


def _add_copy(output: OutputContainer, stream: Stream) -> Stream | None:
    """Add a stream whose packets are copied; None if the output cannot hold it."""
    if stream.disposition & Disposition.attached_pic and output.format.name in ("matroska", "webm"):
        return _attach_picture(output, stream)
    if stream.type == "data" or (isinstance(stream, AttachmentStream) and output.format.name != "matroska"):
        return None
    try:
        added = output.add_stream_from_template(stream, opaque=True)
    except ValueError:
        return None
    added.metadata.update(stream.metadata)
    return added


def _attach_picture(output: OutputContainer, stream: Stream) -> Stream | None:
    """Attach a cover, which Matroska holds as a file."""
    if output.format.name != "matroska" or stream.codec_context.name not in _EXTENSIONS:
        return None
    name, kind = _EXTENSIONS[stream.codec_context.name]
    with av.open(stream.container.name) as container:
        picture = next(container.demux(container.streams[stream.index]))
        return output.add_attachment(stream.metadata.get("filename", name), kind, bytes(picture))


def _try_header(trial: OutputContainer, source: VideoSource) -> None:
    """Raise `ImageError` if the header of the copied streams cannot be written, since they are damaged."""
    try:
        if trial.streams:
            trial.start_encoding()
    except av.FFmpegError as error:
        raise ImageError(f"{source.path}: its sound or subtitles are damaged ({error.strerror})") from error


def _is_made_anew(stream: Stream, container: InputContainer) -> bool:
    """Tell whether the muxer makes a data stream of what it is told besides: chapters and the time code."""
    return stream.type == "data" and (bool(container.chapters()) or "timecode" in stream.metadata)


def _describe(stream: Stream) -> str:
    codec = stream.codec_context.name if stream.codec_context else ""
    return f"{stream.type} {codec}".strip()


def _shift(packet: AnyPacket, by: int) -> None:
    packet.pts = None if packet.pts is None else packet.pts + by
    packet.dts = None if packet.dts is None else packet.dts + by


@contextmanager
def _translate_write_errors(path: Path) -> Iterator[None]:
    """Make one sentence of FFmpeg's errors while a file is written."""
    try:
        yield
    except av.FFmpegError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror})") from error
