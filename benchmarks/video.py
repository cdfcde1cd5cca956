"""Videos: a network for each shot beside one for each frame, flicker, several frames at once, seconds and memory."""

import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from skimage import data

from benchmarks.clips import Gray, Scene, read_clip, write_clip
from benchmarks.gallery import draw_row, to_rgb
from benchmarks.protocol import load_ground_truths, to_y_channel
from zssr.config import Config
from zssr.progress import ProgressEvent, Stage
from zssr.video.upscale_video import upscale_video
from zssr.video.video_request import VideoOptions

WHAT = ("shots", "vespcn", "speed", "picture")
"""The tables."""

PICTURE = Path("docs/images/video.png")

_SHAVE = 4  # pixels at the border that are not compared
_LOSSLESS = VideoOptions(codec="ffv1", fuse=False)


@dataclass(frozen=True)
class Numbers:
    """PSNR in dB, and how much more the frames differ from the next, after the true motion, than the true ones do."""

    psnr: float
    flicker: float


def run(folder: Path, what: str, kinds: Sequence[str], limit: int, count: int, config: Config) -> None:
    """Print one of the tables."""
    if what in ("speed", "picture"):
        measure_speed(config) if what == "speed" else draw_picture(config)
        return
    pictures = [to_y_channel(picture) for _, picture in load_ground_truths(folder / "Set14")]
    pictures = [picture for picture in pictures if min(picture.shape) >= 320][: limit + 1]
    columns = make_columns(what, config, count)
    print(f"| clip | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    table = []
    for kind in kinds:
        rows = [list(compare(Scene(kind, (one, pictures[-1]), (176, 256), count), columns)) for one in pictures[:-1]]
        table.append(np.mean(rows, 0))
        print(f"| {kind} | {' | '.join(map(format_numbers, table[-1]))} |", flush=True)
    print(f"| mean | {' | '.join(map(format_numbers, np.mean(table, 0)))} |")


def format_numbers(numbers: Gray) -> str:
    """Format PSNR and flicker."""
    return f"{numbers[0]:.2f} dB, {100 * (numbers[1] - 1):+.1f} %"


def make_columns(what: str, config: Config, count: int) -> dict[str, tuple[Config, VideoOptions, bool]]:
    """Return what is compared: settings, options, and whether each frame is upscaled by itself."""
    bicubic = {"bicubic": (Config(method="bicubic"), _LOSSLESS, False)}
    if what == "vespcn":
        names = {"one frame (ESPCN)": "frames=1", "three frames": "frames=3"}
        return bicubic | {
            name: (config.replace(method=f"vespcn:{option}"), _LOSSLESS, False) for name, option in names.items()
        }
    steps = config.num_epochs or 150
    alone = config.replace(num_epochs=max(1, steps // count))
    return bicubic | {
        f"each frame by itself, {alone.num_epochs} steps each": (alone, _LOSSLESS, True),
        f"shot, {steps} steps": (config, _LOSSLESS, False),
        "shot, fused": (config, replace(_LOSSLESS, fuse=True), False),
    }


def compare(scene: Scene, columns: dict[str, tuple[Config, VideoOptions, bool]]) -> Iterator[tuple[float, float]]:
    """Yield PSNR and relative flicker of each way to upscale a scene."""
    for config, options, is_alone in columns.values():
        groups = [[frame] for frame in scene.small] if is_alone else [scene.small]
        large = [frame for group in groups for frame in upscale_frames(group, config, options, scene.kind == "h264")]
        yield measure_psnr(large, scene.truth), measure_flicker(scene, large) / measure_flicker(scene, scene.truth)


def upscale_frames(frames: Sequence[Gray], config: Config, options: VideoOptions, is_lossy: bool) -> list[Gray]:
    """Upscale frames as a clip."""
    with TemporaryDirectory() as folder:
        source, output = (Path(folder) / name for name in ("small.mkv", "large.mkv"))
        write_clip(source, frames, is_lossy=is_lossy)
        upscale_video(source, output, 2, config=config, options=options)
        return read_clip(output)


def measure_psnr(frames: Sequence[Gray], truth: Sequence[Gray]) -> float:
    """Return the mean PSNR of frames without their borders."""
    inner = (slice(_SHAVE, -_SHAVE),) * 2
    errors = [np.mean(np.square(a[inner] - b[inner])) for a, b in zip(frames, truth, strict=True)]
    return float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-6))))


def measure_flicker(scene: Scene, frames: Sequence[Gray]) -> float:
    """Return the mean absolute difference between frames and those after them, moved by the true motion."""
    inner = (slice(12, -12),) * 2
    pairs = [k for k in range(scene.count - 1) if scene.kind != "cut" or k + 1 != scene.count // 2]
    return float(np.mean([np.abs(frames[k] - scene.follow(frames, k))[inner].mean() for k in pairs]))


def draw_picture(config: Config) -> None:
    """Draw a part of a frame of an aliased clip, by all ways, into docs/images."""
    picture = to_y_channel(data.astronaut())  # type: ignore[no-untyped-call]
    scene = Scene("aliased", (picture, picture), (300, 300), 7)
    ways = {"bicubic": (Config(method="bicubic"), _LOSSLESS), "by itself": (config, _LOSSLESS)}
    ways["fused"] = (config, replace(_LOSSLESS, fuse=True))
    panels = {}
    for name, (settings, options) in ways.items():
        large = upscale_frames(scene.small, settings, options, False)[3]
        panels[f"{name}, {measure_psnr([large], [scene.truth[3]]):.2f} dB"] = large
    panels["original"] = scene.truth[3]
    gray = {label: to_rgb(np.asarray(frame, np.uint8)) for label, frame in panels.items()}
    draw_row(gray, (20, 40, 210, 200)).save(PICTURE, optimize=True)


def measure_speed(config: Config) -> None:
    """Print the time that 300 frames of 320x180 take, and the memory after the first and the last 50."""
    picture = to_y_channel(data.astronaut())  # type: ignore[no-untyped-call]
    scene = Scene("pan", (picture, picture), (360, 640), 300)
    memory: dict[int, float] = {}

    def watch(event: ProgressEvent) -> None:
        if event.stage == Stage.FRAMES:
            memory[event.done] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    with TemporaryDirectory() as folder:
        source = Path(folder) / "small.mp4"
        write_clip(source, scene.small, is_lossy=True)
        start = time.perf_counter()
        result = upscale_video(source, Path(folder) / "large.mp4", 2, config=config, progress=watch)
        seconds = time.perf_counter() - start
    print(f"{result.frames} frames of 320x180 at x2: {seconds:.0f} s, {result.frames / seconds:.2f} frames/s")
    print(
        f"most memory so far after 50, 250 and 300 frames: {memory[50]:.0f}, {memory[250]:.0f}, {memory[300]:.0f} MiB"
    )
