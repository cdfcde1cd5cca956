"""A video file: which of its streams are the pictures, what they are like, and its frames."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from struct import unpack
from typing import cast

import av
from av.container import InputContainer
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.stream import Disposition
from av.video.stream import VideoStream

from zssr.errors import ImageError
from zssr.io.limits import Limits
from zssr.video.hdr_metadata import HdrMetadata
from zssr.video.planes import PlaneLayout, find_layout

_PROGRESSIVE = (0, 1)  # field orders: unknown, progressive
_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,mxf,ivf,h264,hevc,obu,yuv4mpegpipe,gif,apng"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}  # no playlists, which open other files


@dataclass(frozen=True)
class VideoSource:
    """A video file, the part of it that is wanted, and whether interlaced frames are made progressive.

    Attributes
    ----------
    path
        The file.
    start, duration
        In seconds; None is to its end.
    deinterlaces
        Whether interlaced frames are made progressive, with the timestamps that they have.
    """

    path: Path
    start: float = 0.0
    duration: float | None = None
    deinterlaces: bool = False

    @property
    def is_part(self) -> bool:
        """Whether only a part is wanted."""
        return self.start > 0 or self.duration is not None

    @contextmanager
    def open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """Open the file and find its pictures. Raises `ImageError` for what is no video, here and inside."""
        with translate_media_errors(self.path), _open(self.path) as container:
            pictures = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
            if not pictures:
                raise ImageError(f"{self.path}: holds no video")
            if pictures[0].codec_context is None or pictures[0].format is None:
                raise ImageError(f"{self.path}: its video is of a kind that cannot be decoded")
            pictures[0].thread_type = "AUTO"
            yield container, pictures[0]

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yield the frames that are wanted, each with a later timestamp (`pts`, in the stream's time base) than before.

        Raises `ImageError` for a file that is damaged.
        """
        with self.open() as (container, stream):
            base = stream.time_base or Fraction(1, 90000)
            if self.start > 0:
                container.seek(int(self.origin(stream) / base), stream=stream)
            frames = _increasing(_deinterlaced(container, stream) if self.deinterlaces else _decoded(container, stream))
            for frame in frames:
                time = (frame.pts or 0) * base - self.origin(stream)
                if self.duration is not None and time >= self.duration:
                    return
                if time >= 0 or self.start == 0:
                    yield frame

    def origin(self, stream: VideoStream) -> Fraction:
        """Return the time in seconds, on the file's own clock, of what becomes the first frame."""
        first = (stream.start_time or 0) * (stream.time_base or Fraction(1))
        return first + Fraction(self.start).limit_denominator(10**6) if self.start else first


@dataclass(frozen=True)
class VideoTraits:
    """What the frames of a video have in common.

    Attributes
    ----------
    size
        (H, W) in pixels, as they are stored.
    layout
        The planar format that holds them.
    codec, is_lossless
        The codec's name, and whether it has no loss.
    time_base, rate
        Seconds in a unit of timestamps; the average number of frames in a second.
    pixel_aspect
        Width of a pixel over its height; None if it is not said.
    matrix
        How a player turns the frames: FFmpeg's display matrix; None if it does not.
    colors
        FFmpeg's numbers of primaries, transfer, matrix and range.
    hdr
        The static metadata of HDR.
    is_interlaced
        Whether the frames are.
    frame_count
        About how many frames there are; 0 if that is not known.
    """

    size: tuple[int, int]
    layout: PlaneLayout
    codec: str
    is_lossless: bool
    time_base: Fraction
    rate: Fraction
    pixel_aspect: Fraction | None
    matrix: tuple[int, ...] | None
    colors: tuple[int, int, int, int]
    hdr: HdrMetadata
    is_interlaced: bool
    frame_count: int

    @property
    def is_turned(self) -> bool:
        """Whether the frames are shown with their rows as columns."""
        return self.matrix is not None and abs(self.matrix[0]) < abs(self.matrix[1])


def read_traits(source: VideoSource, limits: Limits) -> VideoTraits:
    """Read what the frames of a video have in common, by its header and first frame.

    Raises `ImageError` for a file that is no video, or whose frames are larger than the limits, before any is decoded.
    """
    with source.open() as (container, stream):
        limits.check_size(str(source.path), (stream.height, stream.width))
        frame = next(_decoded(container, stream), None)
        if frame is None:
            raise ImageError(f"{source.path}: holds no frames")
        coding = stream.codec_context.codec
        traits = VideoTraits(
            size=(frame.height, frame.width),
            layout=find_layout(frame.format.name),
            codec=coding.canonical_name,
            is_lossless=coding.lossless and not coding.lossy,
            time_base=stream.time_base or Fraction(1, 90000),
            rate=stream.average_rate or stream.guessed_rate or Fraction(25),
            pixel_aspect=stream.sample_aspect_ratio or None,
            matrix=_read_matrix(frame),
            colors=(frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range),
            hdr=HdrMetadata.read(frame),
            is_interlaced=stream.codec_context.field_order not in _PROGRESSIVE or frame.interlaced_frame,
            frame_count=_guess_count(source, container, stream),
        )
    if frame.format.name.startswith("yuvj"):
        traits = replace(traits, colors=(*traits.colors[:3], 2))
    return traits


@contextmanager
def translate_media_errors(path: Path) -> Iterator[None]:
    """Make one sentence of FFmpeg's errors while a file is read."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ImageError(f"{path}: no such file" if not path.exists() else f"{path}: is a folder") from error
    except (av.InvalidDataError, av.ArgumentError, av.EOFError, IndexError, UnicodeDecodeError) as error:
        raise ImageError(f"{path}: is damaged, or not a video") from error
    except av.FFmpegError as error:
        raise ImageError(f"{path}: cannot be read as a video ({error.strerror})") from error


def _read_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """Read the display matrix that comes with a frame."""
    side_data = cast(SideDataContainer, frame.side_data)
    return unpack("=9i", bytes(side_data[Type.DISPLAYMATRIX])) if Type.DISPLAYMATRIX in side_data else None


def _guess_count(source: VideoSource, container: InputContainer, stream: VideoStream) -> int:
    """Guess how many frames are wanted."""
    seconds = (container.duration or 0) / av.time_base
    wanted = min(seconds - source.start, source.duration or seconds)
    return stream.frames if stream.frames and not source.is_part else int(wanted * (stream.average_rate or 0))


def _open(path: Path) -> InputContainer:
    return av.open(path, metadata_errors="replace", container_options=_OPTIONS)


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    yield from container.decode(stream)


def _deinterlaced(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Yield a progressive frame for each interlaced one, by FFmpeg's `bwdif`."""
    graph = Graph()
    nodes = (graph.add_buffer(template=stream), graph.add("bwdif", "mode=send_frame:deint=interlaced"))
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    for frame in chain(_decoded(container, stream), (None,)):
        graph.vpush(frame)
        while True:
            try:
                made = graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                break
            made.pts = round((made.pts or 0) * (made.time_base or 1) / (stream.time_base or 1))
            yield made


def _increasing(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Yield frames whose timestamps are there and increase: some files lack a few, or have one twice."""
    last, step = None, 1
    for frame in frames:
        pts = frame.pts if frame.pts is not None else frame.dts
        if pts is None:
            pts = 0 if last is None else last + step
        frame.pts = pts if last is None else max(pts, last + 1)
        step, last = frame.duration or step, frame.pts
        yield frame
