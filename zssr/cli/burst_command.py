"""The command `python -m zssr burst`: several frames of one scene become one larger image."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from zssr.cli.arguments import parse_scale, parse_settings
from zssr.cli.imports import importing_torch
from zssr.cli.plan import Task, find_write_error
from zssr.cli.progress_bars import ProgressBars
from zssr.config import PRESETS, Config
from zssr.errors import ConfigError, ImageError
from zssr.io.formats import READABLE_SUFFIXES, writable_suffix
from zssr.io.metadata import Keep
from zssr.progress import ProgressEvent
from zssr.request import Request

_MOTIONS = ("translation", "rigid", "affine", "homography", "flow")
_RECONSTRUCTIONS = ("map", "ibp", "pocs")


def run_burst_command(arguments: Sequence[str], check: Callable[[], None]) -> str:
    """Parse, fuse and write; return the line to be printed, which may be empty.

    `check` is called at times, and may stop the run by raising. Raises `ZssrError`.
    """
    options = _build_parser().parse_args(arguments)
    logging.basicConfig(format="zssr: %(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("zssr").setLevel(logging.ERROR if options.quiet else logging.WARNING)
    config = Config.preset(options.preset).replace(**parse_settings(options.set))
    config = config.replace(method=options.method) if options.method else config
    request = Request(options.scale, None, options.kernel, options.device, options.seed)
    frames = [frame for given in options.frames for frame in _find_frames(Path(given))]
    output = Path(options.output) if options.output else _name_output(frames[0], request)
    _check_output(output, frames, overwrite=options.overwrite)
    start = time.perf_counter()
    facts = _fuse(frames, output, request, config, options, check)
    return _describe(output, facts | {"seconds": round(time.perf_counter() - start, 3)}, options)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zssr burst",
        description="Fuse several frames of one scene, moved a little, into one larger image.",
    )
    add = parser.add_argument
    add("frames", nargs="+", metavar="IMG", help="photos, folders of photos, TIFF stacks, animations: all their frames")
    add("-o", "--output", metavar="OUT", help="file; default: photo_burst_x2.png beside the first, photo.png")
    add("-s", "--scale", type=parse_scale, default=2.0, metavar="SCALE", help="2, 1.5, ... or HORIZONTALxVERTICAL")
    add("--reference", type=int, metavar="N", help="the frame that the result looks like; default: the sharpest")
    add("--motion", choices=_MOTIONS, default="homography", help="how the frames moved; flow: the scene does, too")
    add("--reconstruction", choices=_RECONSTRUCTIONS, default="map", help="how the frames are fused; default: map")
    add("--kernel", default="auto", metavar="KERNEL", help="what made the frames small; default: auto, from all frames")
    add("--method", help="how the reference is upscaled by itself (python -m zssr methods)")
    add("--preset", default="default", choices=PRESETS, help="settings to start from")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; repeatable")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default: the best there is")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same pixels on a CPU; default 0")
    add("--quality", type=int, metavar="N", help="of a lossy output, 1 to 100")
    add("--allow-loss", action="store_true", help="drop what the output's format cannot hold: 16 bits, transparency")
    add("--strip", action="store_true", help="drop the metadata, which are those of the reference")
    add("--overwrite", action="store_true", help="replace an output file that exists")
    add("--json", action="store_true", help="print a JSON object")
    add("-q", "--quiet", action="store_true", help="no progress bar, no warnings, no line")
    return parser


def _find_frames(given: Path) -> list[Path]:
    """Return a file, or the pictures in a folder by name."""
    if not given.exists():
        raise ImageError(f"{given}: no such file")
    if not given.is_dir():
        return [given]
    found = sorted(path for path in given.iterdir() if path.suffix.lower() in READABLE_SUFFIXES and path.is_file())
    if not found:
        raise ImageError(f"{given}: holds no pictures ({' '.join(READABLE_SUFFIXES)})")
    return found


def _name_output(first: Path, request: Request) -> Path:
    return first.with_name(f"{first.stem}_burst_{request.suffix}{writable_suffix(first.suffix)}")


def _check_output(output: Path, frames: Sequence[Path], *, overwrite: bool) -> None:
    if output.exists() and any(output.samefile(frame) for frame in frames):
        raise ConfigError(f"--output: {output} is one of the frames; another name is needed")
    if output.exists() and not overwrite:
        raise ImageError(f"{output}: exists already; --overwrite replaces it")
    if error := find_write_error(output):
        raise ImageError(error)


def _fuse(
    frames: Sequence[Path],
    output: Path,
    request: Request,
    config: Config,
    options: argparse.Namespace,
    check: Callable[[], None],
) -> dict[str, object]:
    with importing_torch():
        from zssr.multiframe.burst import run_burst_files
        from zssr.multiframe.burst_options import BurstOptions

    chosen = BurstOptions(options.reference, options.motion, options.reconstruction)
    bars, task = ProgressBars(1, hidden=options.quiet), Task(str(output), None, output)

    def show(event: ProgressEvent) -> None:
        check()
        bars.show(0, task.name, event)

    keep: Keep = "nothing" if options.strip else "all"
    how = {"allow_loss": options.allow_loss, "quality": options.quality}
    with bars:
        result = run_burst_files(frames, output, request, config, chosen, progress=show, keep=keep, **how)
        bars.finish(task)
    return result.to_dict()


def _describe(output: Path, facts: dict[str, object], options: argparse.Namespace) -> str:
    if options.json:
        return json.dumps({"output": str(output), **facts})
    if options.quiet:
        return ""
    size = f"{facts['width']}x{facts['height']} px, {facts['assumed']}"
    frames = f"{facts['frames_used']} of {facts['frames_given']} frames, {facts['reference']} is the reference"
    return f"{output}: {size}, {frames}, {facts['seconds']:.1f} s on {facts['device']}"
