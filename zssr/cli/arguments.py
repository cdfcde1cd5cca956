"""The options of the command."""

import argparse

import zssr
from zssr.config import PRESETS
from zssr.io.formats import FORMATS


def parser() -> argparse.ArgumentParser:
    """Return the parser of `zssr INPUT...`."""
    whole = argparse.ArgumentParser(
        prog="zssr",
        description="Enlarge photos by a network that is trained on each photo alone. `zssr kernel PHOTO` estimates a "
        "photo's blur kernel; `zssr kernel --help` tells more.",
        epilog="Exit codes: 0 all done, 1 some picture failed (the others are done), 2 wrong usage, 130 interrupted "
        "(Ctrl-C once ends cleanly, twice at once).",
    )
    _add_files(whole)
    _add_work(whole)
    _add_many(whole)
    _add_telling(whole)
    return whole


def _add_files(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument
    known = ", ".join(one.name for one in FORMATS)
    add(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help=f"photos ({known}), folders of photos, - for stdin; default: the configuration's",
    )
    add(
        "-o",
        "--output",
        metavar="OUT",
        help="file, folder (a / at its end makes a new one), or - for stdout; default: photo_x4.png beside photo.png",
    )
    formats = [one.suffixes[0][1:] for one in FORMATS if one.is_written]
    add("--format", choices=formats, help="format of outputs that are not named; default: the input's")
    add("-r", "--recursive", action="store_true", help="look into folders in folders, too; -o keeps the tree")
    existing = whole.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace output files that exist")
    existing.add_argument("--skip-existing", action="store_true", help="skip photos whose output file exists")


def _add_work(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument
    add("-s", "--scale", type=_scale, metavar="SCALE", help="2, 1.5, ... or HORIZONTALxVERTICAL such as 2x3; default 2")
    add("--size", type=_size, metavar="WxH", help="output size in pixels, instead of a scale")
    add("--preset", default="default", choices=PRESETS, help="quick, as usual, or as good as it gets")
    add("--config", metavar="FILE", help="a JSON file of settings; config.json in the repository shows all of them")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, above --config; repeatable")
    add(
        "--kernel", default="auto", metavar="FILE", help="blur kernel (.npy, .mat, .png), bicubic, or auto, the default"
    )
    add("--prior", metavar="FILE", help="start from these weights (python -m zssr.prior.train makes them)")
    add(
        "--adversarial",
        type=_weight,
        nargs="?",
        const=1.0,
        metavar="WEIGHT",
        help="add texture like the photo's own, learnt by a game: sharper, but less exact; 1 if no weight is given",
    )
    add("--measure-gain", action="store_true", help="measure the gain to be expected on the photo itself, too")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default: the best there is")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same pixels on a CPU; default 0")
    add("--strip", action="store_true", help="drop metadata: profile, EXIF, XMP, resolution, texts")
    add("--allow-loss", action="store_true", help="drop what the output's format cannot hold: 16 bits, transparency")


def _add_many(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument
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
        help="learn once, from the first photo (or from all), and apply it to all: for frames, tiles, scans",
    )
    add("--dry-run", action="store_true", help="tell sizes, kernel and expected time, and write nothing")


def _add_telling(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument
    add("-q", "--quiet", action="store_true", help="no progress bar, no summary, no warnings")
    add("-v", "--verbose", action="store_true", help="tell more about the work")
    add("--json", action="store_true", help="one JSON object per photo on stdout")
    add("--version", action="version", version=f"zssr {zssr.__version__}")


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


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is no weight; photos go before it: PHOTO --adversarial') from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number, 1 or more')
    return int(text)
