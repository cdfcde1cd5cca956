"""Small clips, made when they are needed, and what is read back of them."""

from fractions import Fraction

import av
import numpy as np

from zssr.video.encoders import ordinary_priority

SIZE = (32, 48)
MILLISECONDS = Fraction(1, 1000)


def draw_frame(k, pixel_format, size):
    """Draw the k-th frame of a pattern that moves."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin((x + k) / 3) * np.cos(y / 4), np.sin((x - y + k) / 5), np.cos((x + y) / 6)], -1)
    pixels = (128 + 90 * waves).astype(np.uint8)
    return av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format)


def make_clip(
    path,
    count=6,
    codec="libx264",
    pixel_format="yuv420p",
    times=None,
    base=Fraction(1, 12800),
    rate=25,
    options=None,
    rotation=None,
    aspect=None,
    colors=None,
    sound=None,
    subtitles=None,
    extras=False,
    size=SIZE,
    draw=draw_frame,
    file_options=None,
):
    """Write a clip; `times` are the timestamps of its frames, in the time base."""
    times = times or [512 * k for k in range(count)]
    with ordinary_priority(), av.open(str(path), "w", container_options=file_options or {}) as out:
        video = out.add_stream(codec, rate=rate, options=options or {})
        video.height, video.width, video.pix_fmt = *size, pixel_format
        video.codec_context.time_base = base
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if colors:
            video.color_primaries, video.color_trc, video.colorspace, video.color_range = colors
        if rotation is not None:
            video.set_display_rotation(rotation)
        audio = out.add_stream(sound, rate=48000) if sound else None
        texts = out.add_mux_stream(subtitles, time_base=Fraction(1, 1000)) if subtitles else None
        out.metadata["title"] = "a clip"
        if extras:
            out.set_chapters([{"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000), "metadata": {}}])
            out.chapters()
        if extras and path.suffix == ".mkv":
            out.add_attachment("font.ttf", "application/x-truetype-font", b"not a font")
        for k, time in enumerate(times):
            frame = draw(k, pixel_format, size)
            frame.pts, frame.time_base = time, base
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if audio:
            write_sound(out, audio)
        if texts:
            write_subtitles(out, texts)
    return path


def write_sound(out, audio):
    """Write a fifth of a second of noise."""
    generator = np.random.default_rng(0)
    samples = generator.normal(0, 0.1, (2, 9600)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = 48000, 0
    sampler = av.AudioResampler(audio.format, "stereo", 48000, frame_size=audio.frame_size or None)
    for part in (*sampler.resample(frame), *sampler.resample(None)):
        out.mux(audio.encode(part))
    out.mux(audio.encode())


def write_subtitles(out, texts):
    """Write two lines of text."""
    for k, line in enumerate((b"one", b"two")):
        packet = av.Packet(len(line).to_bytes(2, "big") + line if out.format.name in ("mp4", "mov") else line)
        packet.stream, packet.time_base = texts, Fraction(1, 1000)
        packet.pts = packet.dts = 100 * k
        packet.duration = 80
        out.mux(packet)


def read_facts(path):
    """Read all that is kept of a clip: timing, tags, and the packets of its other streams."""
    with av.open(str(path)) as clip:
        video = clip.streams.video[0]
        frames = list(clip.decode(video))
        first = frames[0]
        return {
            "times": [float(frame.pts * video.time_base) for frame in frames],
            "format": first.format.name,
            "rotation": first.rotation,
            "aspect": video.sample_aspect_ratio,
            "colors": (first.color_primaries, first.color_trc, first.colorspace, first.color_range),
            "title": clip.metadata.get("title"),
            "chapters": [(float(one["start"] * one["time_base"]), one["metadata"]) for one in clip.chapters()],
            "attachments": [(one.mimetype, one.data) for one in clip.streams if one.type == "attachment"],
            "packets": read_packets(path),
        }


def read_packets(path):
    """Read the packets of all streams but the pictures: kind, codec, time in seconds and bytes."""
    with av.open(str(path)) as clip:
        others = [one for one in clip.streams if one.type in ("audio", "subtitle")]
        packets = [packet for packet in clip.demux(others) if packet.size] if others else []
        return [(one.stream.type, one.stream.name, float(one.pts * one.time_base), bytes(one)) for one in packets]


def read_size(path):
    """Return the size (H, W) of a clip's frames."""
    with av.open(str(path)) as clip:
        frame = next(clip.decode(video=0))
        return frame.height, frame.width
