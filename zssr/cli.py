"""The command: parses, calls the library, and tells what came of it."""

import argparse
import base64
import io
import json
import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zssr
from zssr.config import PRESETS, Config
from zssr.errors import ConfigError, ImageError, ZssrError

if TYPE_CHECKING:
    from tqdm import tqdm

    from zssr.result import Result  # at run time only once there is work to do: it brings torch, which takes seconds

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 1 some image failed, 2 wrong usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show stops nothing
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["kernel"]:
        return _kernel(arguments[1:])
    options = _parser().parse_args(arguments)
    verbosity = logging.ERROR if options.quiet else logging.DEBUG if options.verbose else logging.WARNING
    logging.basicConfig(format="zssr: %(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("zssr").setLevel(verbosity)
    try:
        config = Config.from_json(options.config, options.preset) if options.config else Config.preset(options.preset)
        config = config.replace(**parse_settings(options.set))
        if options.prior:
            config = config.replace(init="prior", prior=options.prior)
        config = config.replace(expect=True) if options.expect else config
        jobs = _jobs(options, config)
        results = [_attempt(job, options, config) for job in jobs]
    except ConfigError as error:
        _complain(error)
        return WRONG_USAGE
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads on; what was written is whole
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return DONE if all(results) else FAILED


def _kernel(arguments: Sequence[str]) -> int:
    from zssr import kernel_command

    try:
        print(kernel_command.run(arguments))
    except ConfigError as error:
        _complain(error)
        return WRONG_USAGE
    except (ZssrError, OSError) as error:
        _complain(error)
        return FAILED
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zssr",
        description="Enlarge photos by a network that is trained on each photo alone. `zssr kernel PHOTO` estimates a "
        "photo's blur kernel; `zssr kernel --help` tells more.",
        epilog="Exit codes: 0 all done, 1 some image failed (the others are done), 2 wrong usage, 130 interrupted.",
    )
    add = parser.add_argument
    add("inputs", nargs="*", metavar="INPUT", help="photos (PNG, JPEG, WebP, TIFF, BMP); default: the configuration's")
    add("-o", "--output", metavar="OUT", help="output file or folder; default: photo_x4.png beside photo.png")
    add("-s", "--scale", type=_scale, metavar="SCALE", help="2, 1.5, ... or HORIZONTALxVERTICAL such as 2x3; default 2")
    add("--size", type=_size, metavar="WxH", help="output size in pixels, instead of a scale")
    add("--preset", default="default", choices=PRESETS, help="quick, as usual, or as good as it gets")
    add("--config", metavar="FILE", help="a JSON file of settings; config.json in the repository shows all of them")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, above --config; repeatable")
    add(
        "--kernel", default="auto", metavar="FILE", help="blur kernel (.npy, .mat, .png), bicubic, or auto, the default"
    )
    add("--prior", metavar="FILE", help="start from these weights (python -m zssr.prior.train makes them)")
    add("--expect", action="store_true", help="measure the gain to be expected on the photo itself, too")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default: the best there is")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same pixels on a CPU; default 0")
    add("--overwrite", action="store_true", help="replace output files that exist")
    add("-q", "--quiet", action="store_true", help="no progress bar, no summary, no warnings")
    add("-v", "--verbose", action="store_true", help="tell more about the work")
    add("--json", action="store_true", help="one JSON object per image on stdout")
    add("--version", action="version", version=f"zssr {zssr.__version__}")
    return parser


def _scale(text: str) -> tuple[float, float]:
    """Parse 2 or 2x3 (horizontal x vertical, like --size) into (vertical, horizontal)."""
    try:
        factors = [float(part) for part in text.lower().split("x")]
    except ValueError:
        factors = []
    if len(factors) not in (1, 2):
        raise argparse.ArgumentTypeError(f'"{text}" is neither a number nor of the form HORIZONTALxVERTICAL')
    return factors[-1], factors[0]


def _size(text: str) -> tuple[int, int]:
    """Parse WIDTHxHEIGHT into (height, width)."""
    try:
        width, height = text.lower().split("x")
        return int(height), int(width)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'"{text}" is not of the form WIDTHxHEIGHT') from error


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Parse KEY=VALUE texts; a value that is not JSON is taken as text."""
    settings: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f'--set: "{text}" is not of the form KEY=VALUE')
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


@dataclass(frozen=True)
class _Task:
    """One image to be done, and where it goes; no output means base64 text on stdout only."""

    source: Path
    output: Path
    writes: bool
    scale: tuple[float, float]


def _jobs(options: argparse.Namespace, config: Config) -> list[_Task]:
    """Pair inputs with outputs; raises `ConfigError` where two inputs would be written to one file."""
    inputs = [Path(text) for text in options.inputs or ([config.image] if config.image else [])]
    if not inputs:
        raise ConfigError("no INPUT is given, and the configuration names no image; --help shows the usage")
    if options.scale and options.size:
        raise ConfigError("--scale and --size exclude each other")
    planned = config.scale_factor**config.scale_times if config.scale_factor else 2.0
    scale = options.scale or (planned, planned)
    mark = f"{options.size[1]}x{options.size[0]}" if options.size else _mark(scale)
    target = options.output or config.output
    into = Path(target) if target else None
    if into and len(inputs) > 1 and not into.is_dir():
        raise ConfigError(f"--output: {into} is not a folder, but there are {len(inputs)} inputs")
    tasks = []
    for source in inputs:
        named = source.parent / f"{source.stem}_{mark}{source.suffix or '.png'}"
        output = named if into is None else into / named.name if into.is_dir() else into
        tasks.append(_Task(source, output, into is not None or not config.base64, scale))
    _check_clashes(tasks)
    return tasks


def _check_clashes(tasks: list[_Task]) -> None:
    outputs = [task.output.resolve() for task in tasks]
    for task, output in zip(tasks, outputs, strict=True):
        if outputs.count(output) > 1:
            raise ConfigError(f"{task.output}: several inputs would be written to this one file")
        if any(other is not task and other.source.resolve() == output for other in tasks):
            raise ConfigError(f"{task.output}: is an input and would be overwritten by another's output")


def _mark(scale: tuple[float, float]) -> str:
    """Return x4 or x2x3 (horizontal, vertical) for the name of the output."""
    vertical, horizontal = scale
    return f"x{horizontal:g}" if vertical == horizontal else f"x{horizontal:g}x{vertical:g}"


def _attempt(task: _Task, options: argparse.Namespace, config: Config) -> bool:
    """Do one image and report on it; return whether that went well."""
    start = time.perf_counter()
    try:
        result, content = _do(task, options, config)
    except ConfigError:
        raise
    except (ZssrError, OSError) as error:
        sentence = re.sub("^image:", f"{task.source}:", str(error))
        _complain(sentence)
        if options.json:
            print(json.dumps({"input": str(task.source), "ok": False, "error": sentence}))
        return False
    text = base64.b64encode(content).decode("ascii") if config.base64 else None
    seconds = time.perf_counter() - start
    if options.json:
        print(json.dumps(_report(task, result, seconds, text)))
        return True
    if text:
        print(text)
    if not options.quiet:
        where = task.output if task.writes else "base64"
        width, height = result.image.size
        work = f"{result.steps} steps, {seconds:.1f} s on {result.device}"
        gain = "" if result.expected_gain is None else f", expected gain {result.expected_gain:+.1f} dB"
        print(
            f"{task.source} -> {where}: {width}x{height} px, {result.assumed}, {work}{gain}",
            file=sys.stderr if text else sys.stdout,
        )
    return True


def _do(task: _Task, options: argparse.Namespace, config: Config) -> "tuple[Result, bytes]":
    """Check the output, enlarge, write; return the result and the bytes of the output file."""
    from zssr import image_io
    from zssr.api import Upscaler
    from zssr.arguments import output_size

    if task.writes:
        if task.output.exists() and not options.overwrite:
            raise ImageError(f"{task.output}: exists already; --overwrite replaces it")
        image_io.check_writable(task.output)
    picture = image_io.read_picture(task.source, config.max_MB)
    _, target = output_size(picture.size[::-1], task.scale, options.size)
    image_io.check_format(task.output, picture.mode, target)
    bar = _Bar(task.source.name, hidden=options.quiet)
    try:
        result = Upscaler(config).run(
            picture,
            task.scale,
            size=options.size,
            kernel=options.kernel,
            device=options.device,
            seed=options.seed,
            progress=bar,
        )
    finally:
        bar.close()
    content = image_io.encode(result.image, task.output.suffix)
    if task.writes:
        image_io.write_whole(task.output, content)
    return result, content


def _report(task: _Task, result: "Result", seconds: float, text: str | None) -> dict[str, Any]:
    return {
        "input": str(task.source),
        "ok": True,
        "output": str(task.output) if task.writes else None,
        "width": result.image.width,
        "height": result.image.height,
        "scale": result.scale[::-1],
        "noise": round(result.noise, 2),
        "jpeg": str(result.jpeg) if result.jpeg else None,
        "steps": result.steps,
        "seconds": round(seconds, 3),
        "stages": {stage: round(spent, 3) for stage, spent in result.seconds.items()},
        "device": result.device,
        "precision": result.precision,
        "seed": result.seed,
        "assumed": result.assumed,
        "expected_gain": result.expected_gain,
        "warnings": result.warnings,
    } | ({"base64": text} if text else {})


class _Bar:
    """A progress bar with the time left on stderr, where that is a terminal; one after the other for each stage."""

    def __init__(self, name: str, *, hidden: bool) -> None:
        self._name = name
        self._hidden = hidden
        self._what = ""
        self._bar: tqdm[Any] | None = None

    def __call__(self, done: int, total: int, what: str) -> None:
        from tqdm import tqdm

        if what != self._what:
            self.close()
            self._what = what
            self._bar = tqdm(
                total=total,
                desc=f"{self._name}: {what}",
                disable=True if self._hidden else None,
                leave=False,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} < {remaining}",
            )
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _complain(what: object) -> None:
    print(f"zssr: {what}", file=sys.stderr)
