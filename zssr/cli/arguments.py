"""The options of `zssr INPUT...`, and the settings that they give."""

import argparse
import json
from collections.abc import Sequence

import zssr
from zssr.cli.video_command import add_video_options
from zssr.config import PRESETS, Config
from zssr.errors import ConfigError
from zssr.io.formats import FORMATS
from zssr.request import Fit, Request, Size

EPILOG = """\
other commands:
  kernel PHOTO          estimate a photo's blur kernel, save it and draw it
  serve                 serve a web page on which photos are upscaled
  methods               list the methods that --method takes
  compare PHOTO...      run methods side by side: a table, a contact sheet, a page
  burst IMG...          fuse several frames of one scene into one larger image
  `zssr kernel --help` and `zssr serve --help` show their options.
  `python -m zssr.prior.train --help` is about training a prior, the weights
  from which the networks start.

exit codes:
  0 all done, 1 some picture failed (the others are done), 2 wrong usage,
  130 interrupted (Ctrl-C once ends cleanly, twice at once)
"""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of `zssr INPUT...`."""
    parser = argparse.ArgumentParser(
        prog="zssr",
        usage="zssr [options] INPUT...\n       zssr kernel [options] PHOTO\n       zssr serve [options]",
        description="Upscale photos, each by a network that is trained on this photo alone.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_file_options(parser)
    _add_upscaling_options(parser)
    _add_batch_options(parser)
    add_video_options(parser)
    _add_output_options(parser)
    return parser


def build_config(options: argparse.Namespace) -> Config:
    """Build the settings from preset, file and options, each above the one before. Raises `ConfigError`."""
    config = Config.from_json(options.config, options.preset) if options.config else Config.preset(options.preset)
    config = config.replace(**parse_settings(options.set))
    if options.prior:
        config = config.replace(init="prior", prior=options.prior)
    if options.adversarial is not None:
        config = config.replace(adversarial=options.adversarial)
    if options.wrap:
        config = config.replace(wrap=options.wrap)
    if options.method:
        config = config.replace(method=options.method)
    if options.examples:
        config = config.replace(examples=options.examples)
    if options.content or options.labels:
        config = config.replace(content="labels" if options.labels else options.content)
    if options.palette:
        config = config.replace(palette=True)
    return config.replace(measure_gain=True) if options.measure_gain else config


def build_request(options: argparse.Namespace, config: Config) -> Request:
    """Build the request; the scale that is not given is the settings' own, or 2. Raises `ConfigError`."""
    if sum(map(bool, (options.scale, options.size, options.fit))) > 1:
        raise ConfigError("--scale, --size and --fit exclude each other")
    if options.stretch and not (options.size and all(options.size)):
        raise ConfigError("--stretch: is for --size WxH")
    planned = config.scale_factor**config.scale_times if config.scale_factor else 2.0
    fit: Fit = "contain" if options.fit else "stretch" if options.stretch else "exact"
    size = options.fit or options.size
    return Request(options.scale or planned, size, options.kernel, options.device, options.seed, fit, options.nodata)


def parse_settings(texts: Sequence[str]) -> dict[str, object]:
    """Parse KEY=VALUE texts; a value that is not JSON is taken as text. Raises `ConfigError`."""
    settings: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f'--set: "{text}" is not of the form KEY=VALUE')
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def _add_file_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files")
    add = group.add_argument
    formats = ", ".join(known.name for known in FORMATS)
    add(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help=f"photos ({formats}), videos, folders of photos, - for stdin; default: the configuration's",
    )
    add(
        "-o",
        "--output",
        metavar="OUT",
        help="file, folder (a / at its end makes a new one), or - for stdout; default: photo_x4.png beside photo.png",
    )
    suffixes = [known.suffixes[0][1:] for known in FORMATS if known.is_written]
    add("--format", choices=suffixes, help="format of outputs that are not named; default: the input's")
    add("-r", "--recursive", action="store_true", help="look into folders in folders, too; -o keeps the tree")
    add(
        "--pages",
        type=_pages,
        default="first",
        metavar="all|N|first",
        help="pages or frames to upscale; default: first",
    )
    existing = group.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace output files that exist")
    existing.add_argument("--skip-existing", action="store_true", help="skip photos whose output file exists")
    add("--strip", action="store_true", help="drop metadata: profile, EXIF, XMP, resolution, texts")
    add("--quality", type=_quality, metavar="N", help="of lossy outputs, 1 to 100, which is lossless where it can be")
    add("--allow-loss", action="store_true", help="drop what the output's format cannot hold: 16 bits, transparency")


def _add_upscaling_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("upscaling").add_argument
    add(
        "-s",
        "--scale",
        type=parse_scale,
        metavar="SCALE",
        help="2, 1.5, ... or HORIZONTALxVERTICAL such as 2x3; default 2",
    )
    add("--size", type=_size, metavar="WxH", help="output size in pixels, instead of a scale; Wx or xH gives one side")
    add("--fit", type=_box, metavar="WxH", help="the largest output that fits into a box of this size")
    add("--stretch", action="store_true", help="let --size WxH change the photo's shape, which is refused otherwise")
    add("--preset", default="default", choices=PRESETS, help="quick, as usual, or as good as it gets")
    add("--method", metavar="NAME", help="zssr (default), or one of those that `zssr methods` lists")
    add("--examples", metavar="DIR", help="photos of your own that methods by examples learn from, too")
    add("--config", metavar="FILE", help="a JSON file of settings; config.json in the repository shows all of them")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, above --config; repeatable")
    made = (
        "what made it small: auto (default), bicubic, box, lanczos, disc:2, ... or a kernel's file (.npy, .mat, .png)"
    )
    add("--kernel", default="auto", metavar="KERNEL", help=made)
    add("--wrap", choices=("x", "y", "xy"), help="sides that join: left and right (x), top and bottom (y) or all (xy)")
    add("--content", choices=("auto", "photo", "graphics"), help="what the image is; default: auto")
    add("--labels", action="store_true", help="the image holds labels, whose values are kept")
    add("--palette", action="store_true", help="graphics keep to the colors that they have")
    add(
        "--nodata",
        type=float,
        metavar="NUMBER",
        help="pixels of this number have no data; default: as a TIFF file says",
    )
    add("--prior", metavar="FILE", help="start from these weights (python -m zssr.prior.train makes them)")
    add(
        "--adversarial",
        type=_weight,
        nargs="?",
        const=1.0,
        metavar="WEIGHT",
        help="add texture like the photo's own by adversarial training: sharper, less exact; 1 if no weight is given",
    )
    add("--measure-gain", action="store_true", help="measure the gain to be expected on the photo itself, too")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default: the best there is")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same pixels on a CPU; default 0")


def _add_batch_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("several photos").add_argument
    add("--jobs", type=_count, default=1, metavar="N", help="photos at a time, each in a process of its own; default 1")
    add(
        "--threads",
        type=_count,
        metavar="N",
        help="threads per photo; any number gives the same bytes. Default: the cores divided by the jobs",
    )
    add(
        "--share-weights",
        nargs="?",
        const="first",
        choices=("first", "all"),
        help="train once, on the first photo (or on all), and apply the networks to all: for frames, tiles, scans",
    )
    add("--scheduler", metavar="ADDRESS", help="the workers of this Dask scheduler do the work (tcp://HOST:8786)")
    add("--workers", type=_count, metavar="N", help="N workers of a Dask cluster on this machine do the work")
    add("--send", action="store_true", help="send files to workers as bytes, where they share no file system")
    add("--region", type=_region, metavar="X,Y,W,H", help="upscale this box of a slide alone, to a picture, to try it")
    add("--block", type=_count, metavar="N", help="side of a slide's blocks, in pixels of the output")
    add("--adaptive", action="store_true", help="learn anew for large regions of a slide that differ from the whole")
    add("--dry-run", action="store_true", help="show sizes, kernel and expected time, and write nothing")


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("messages").add_argument
    add("-q", "--quiet", action="store_true", help="no progress bar, no summary, no warnings")
    add("-v", "--verbose", action="store_true", help="log more about the work")
    add("--json", action="store_true", help="one JSON object per photo on stdout")
    add("--version", action="version", version=f"zssr {zssr.__version__}")


def parse_scale(text: str) -> tuple[float, float]:
    """Parse 2 or 2x3 (horizontal x vertical, like --size) into (vertical, horizontal)."""
    try:
        factors = [float(part) for part in text.lower().split("x")]
    except ValueError:
        factors = []
    if len(factors) not in (1, 2):
        raise argparse.ArgumentTypeError(f'"{text}" is neither a number nor of the form HORIZONTALxVERTICAL')
    return factors[-1], factors[0]


def _size(text: str) -> Size:
    """Parse WIDTHxHEIGHT, WIDTHx or xHEIGHT into (height, width), None where it is not given."""
    sides = [part.strip() for part in text.lower().split("x")]
    if len(sides) != 2 or not any(sides) or not all(side == "" or (side.isdecimal() and int(side)) for side in sides):
        raise argparse.ArgumentTypeError(f'"{text}" is not of the form WIDTHxHEIGHT, WIDTHx or xHEIGHT')
    width, height = (int(side) if side else None for side in sides)
    return height, width


def _box(text: str) -> Size:
    size = _size(text)
    if None in size:
        raise argparse.ArgumentTypeError(f'"{text}" is not of the form WIDTHxHEIGHT')
    return size


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is no weight; photos go before it: PHOTO --adversarial') from None


def _pages(text: str) -> str | int:
    if text in ("all", "first"):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not all, first, or a whole number, 1 or more')
    return int(text)


def _region(text: str) -> tuple[int, int, int, int]:
    parts = text.split(",")
    if len(parts) != 4 or not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f'"{text}" is not of the form LEFT,TOP,WIDTH,HEIGHT, in pixels')
    left, top, width, height = map(int, parts)
    return left, top, width, height


def _quality(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number from 1 to 100')
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number, 1 or more')
    return int(text)
