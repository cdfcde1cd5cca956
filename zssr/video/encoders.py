"""Which encoder a video gets, and how it is set."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import av
import torch
from av.codec import Codec
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from zssr.errors import ConfigError, ImageError
from zssr.video.hdr_metadata import HdrOptions
from zssr.video.planes import PlaneLayout, find_lossless
from zssr.video.source import VideoTraits
from zssr.video.video_request import VideoOptions

_GLOBAL_HEADER = 1 << 22  # the containers that are written have the codec's header apart from the frames


@dataclass(frozen=True)
class EncoderKind:
    """An encoder of FFmpeg.

    Attributes
    ----------
    encoder
        Its name.
    crf, highest_crf
        The quality unless one is given, and the worst that there is; None for encoders without.
    options
        Settings of its own.
    smallest
        The shortest side in pixels of frames that it takes; libx265 ends the process on those of 32.
    hdr
        How it is told the static metadata of HDR.
    tag
        The codec's name in MP4 and MOV, where FFmpeg's usual one is not played everywhere.
    """

    encoder: str
    crf: int | None = None
    highest_crf: int = 51
    options: Mapping[str, str] = field(default_factory=dict)
    smallest: int = 2
    hdr: HdrOptions | None = None
    tag: str | None = None


_HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
_X264_OPTIONS = {"x264-params": "asm=avx2"} if _HAS_AVX512 else {}  # its AVX-512 reads memory that nobody has written

KINDS: Mapping[str, EncoderKind] = {
    "h264": EncoderKind(
        "libx264", 17, options=_X264_OPTIONS, hdr=HdrOptions("x264-params", "mastering-display", "cll")
    ),
    "hevc": EncoderKind(
        "libx265",
        19,
        options={"x265-params": "log-level=error"},
        smallest=64,
        hdr=HdrOptions("x265-params", "master-display", "max-cll"),
        tag="hvc1",
    ),
    "av1": EncoderKind(
        "libsvtav1",
        22,
        63,
        {"preset": "6"},
        smallest=64,
        hdr=HdrOptions("svtav1-params", "mastering-display", "content-light", is_whole=False),
    ),
    "vp9": EncoderKind("libvpx-vp9", 22, 63, {"b": "0", "row-mt": "1", "cpu-used": "3"}),
    "vp8": EncoderKind("libvpx", 8, 63, {"b": "100M", "cpu-used": "3"}),
    "prores": EncoderKind("prores_ks"),
    "mjpeg": EncoderKind("mjpeg", options={"q:v": "2"}),
    "ffv1": EncoderKind("ffv1"),
    "qtrle": EncoderKind("qtrle"),
    "png": EncoderKind("png"),
}
"""Codecs that are written. Videos in others become FFV1 if they have no loss, or H.264, as far as the container has."""


@dataclass(frozen=True)
class ContainerKind:
    """A format of files: FFmpeg's name, the codecs that are written, the usual ones first, and its muxer's options."""

    name: str
    codecs: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


_MP4 = ContainerKind("mp4", ("h264", "hevc", "av1", "vp9"), {"movflags": "+faststart"})
CONTAINERS: Mapping[str, ContainerKind] = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": ContainerKind("mov", ("h264", "hevc", "prores", "png", "qtrle", "mjpeg"), {"movflags": "+faststart"}),
    ".mkv": ContainerKind("matroska", ("h264", "hevc", "av1", "ffv1", "vp9", "vp8", "prores", "mjpeg")),
    ".webm": ContainerKind("webm", ("vp9", "av1", "vp8")),
}
"""Files that are written, by suffix."""


@dataclass(frozen=True)
class EncoderSettings:
    """All that an encoder is told.

    Attributes
    ----------
    codec, kind
        The codec's name, and its encoder.
    size
        (H, W) of the frames.
    layout, pixel_format
        Of the planes, and of the frames that the encoder takes.
    traits
        Those of the source: timing, pixel aspect, colors.
    crf
        The quality: lower is better and larger.
    notes
        Sentences that the user should know.
    """

    codec: str
    kind: EncoderKind
    size: tuple[int, int]
    layout: PlaneLayout
    pixel_format: str
    traits: VideoTraits
    crf: float | None
    notes: Sequence[str] = ()

    def make_encoder(self) -> VideoCodecContext:
        """Make an encoder that stands alone."""
        context = Codec(self.kind.encoder, "w").create("video")
        self.set_up(context)
        context.flags |= _GLOBAL_HEADER
        with ordinary_priority():
            context.open(strict=False)
        return context

    def set_up(self, context: VideoCodecContext) -> None:
        """Tell an encoder its settings, before it is opened."""
        traits = self.traits
        context.height, context.width = self.size
        context.pix_fmt = self.pixel_format
        context.time_base, context.framerate = traits.time_base, traits.rate
        if traits.pixel_aspect:
            context.sample_aspect_ratio = traits.pixel_aspect
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = self.colors
        context.options = self.options

    @property
    def options(self) -> dict[str, str]:
        """What the encoder is told by name."""
        options = dict(self.kind.options) | ({} if self.crf is None else {"crf": f"{self.crf:g}"})
        told = self.traits.hdr.to_options(self.kind.hdr) if self.kind.hdr else ""
        if self.kind.hdr and told:
            options[self.kind.hdr.option] = ":".join(filter(None, (options.get(self.kind.hdr.option), told)))
        return options

    @property
    def colors(self) -> tuple[int, int, int, int]:
        """What is said of colors: primaries, transfer, matrix and range."""
        return self.traits.colors


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """Take back the real-time priority that libsvtav1 gives itself, and the thread that opens it, if it may (root).

    It would keep all other processes from running.
    """
    before = _read_policies()
    try:
        yield
    finally:
        for thread, policy in _read_policies().items():
            if policy in (os.SCHED_FIFO, os.SCHED_RR) and before.get(thread) != policy:
                with suppress(ProcessLookupError):  # it has ended
                    os.sched_setscheduler(thread, before.get(thread, os.SCHED_OTHER), os.sched_param(0))


def _read_policies() -> dict[int, int]:
    """Return the scheduling policy of each thread of this process; on Linux."""
    tasks, policies = Path("/proc/self/task"), {}
    for thread in [int(one.name) for one in tasks.iterdir()] if tasks.exists() else []:
        with suppress(ProcessLookupError):
            policies[thread] = os.sched_getscheduler(thread)
    return policies


def choose_encoder(traits: VideoTraits, size: tuple[int, int], suffix: str, options: VideoOptions) -> EncoderSettings:
    """Choose the encoder for a file of a suffix: that of the codec asked for, or of the source's own if it is written.

    If the latter does not hold the source's bits and colors, it is the first that does. Raises `ConfigError` for a
    codec or crf that there is not, and `ImageError` if bits would be lost and that is not allowed.
    """
    codecs = CONTAINERS[suffix].codecs
    if options.codec is not None and options.codec not in codecs:
        raise ConfigError(f'codec: "{options.codec}" is not one of those of {suffix}: {", ".join(codecs)}')
    usual = "ffv1" if traits.is_lossless and "ffv1" in codecs else codecs[0]
    own = options.codec or (traits.codec if traits.codec in codecs else usual)
    candidates = [own] if options.codec else [own, *(name for name in codecs if name != own)]
    fits = [(name, pixels) for name in candidates if (pixels := _fit_format(KINDS[name], traits.layout, size))]
    if not fits and not options.allow_loss:
        what = f"{size[1]}x{size[0]} px of {traits.layout.name}"
        raise ImageError(f"image: {own} does not hold {what}; another codec may, and --allow-loss rounds them")
    codec, pixel_format = fits[0] if fits else (own, "yuv420p")
    layout = traits.layout if fits else PlaneLayout("yuv420p")
    kind, notes = KINDS[codec], []
    if codec != traits.codec and options.codec is None:
        reason = f"{traits.codec} is not written, or not with its bits and colors"
        notes = [f"its frames are coded as {codec}, as {reason}"]
    return EncoderSettings(codec, kind, size, layout, pixel_format, traits, _check_crf(kind, options.crf), notes)


def _fit_format(kind: EncoderKind, layout: PlaneLayout, size: tuple[int, int]) -> str | None:
    """Return the pixel format in which an encoder loses nothing of a layout; None if there is none."""
    formats = Codec(kind.encoder, "w").video_formats or []
    if min(size) < kind.smallest:
        return None
    return find_lossless([one.name for one in formats], layout)


def _check_crf(kind: EncoderKind, crf: float | None) -> float | None:
    if crf is None:
        return kind.crf
    if kind.crf is None:
        raise ConfigError(f"crf: {kind.encoder} has none")
    if not 0 <= crf <= kind.highest_crf:
        raise ConfigError(f"crf: {crf:g} is not a number from 0 (best) to {kind.highest_crf}")
    return crf


def encode_frame(
    encoder: VideoCodecContext, settings: EncoderSettings, frame: av.VideoFrame, pts: int
) -> "list[av.Packet[VideoStream]]":
    """Encode a frame of the settings' layout, shown at `pts`; return the packets that are ready."""
    if frame.format.name != settings.pixel_format:
        frame = frame.reformat(format=settings.pixel_format)
    frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = settings.colors
    frame.pts, frame.time_base = pts, settings.traits.time_base
    return list(encoder.encode(frame))


def round_size(size: tuple[int, int], layout: PlaneLayout) -> tuple[int, int]:
    """Round a size (H, W) to whole numbers of colors, which encoders need."""
    height, width = (max(1, round(side / block)) * block for side, block in zip(size, layout.subsampling, strict=True))
    return height, width
