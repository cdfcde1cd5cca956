"""`python -m benchmarks COMMAND`: prints Markdown tables for benchmarks/README.md."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from benchmarks import bands, blind, expect, large, page, quality, real, scenes, speed, texture
from benchmarks.protocol import machine
from benchmarks.quality import Protocol
from zssr.cli.main import parse_settings
from zssr.config import PRESETS, Config
from zssr.errors import ZssrError


def main() -> int:
    """Parse, run one benchmark, print."""
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, add_options, _) in COMMANDS.items():
        command = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        command.add_argument("--preset", default="default", choices=PRESETS, help="settings to start from")
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; repeatable")
        command.add_argument("--device", default="auto")
        if name not in ("bands", "large", "page"):
            command.add_argument("--data", type=Path, required=True, help="folder that holds one folder per set")
        add_options(command)
    options = parser.parse_args()
    print(f"Machine: {machine()}\n\nCommand: `python -m benchmarks {' '.join(sys.argv[1:])}`\n", flush=True)
    try:
        COMMANDS[options.command][2](options, Config.preset(options.preset).replace(**parse_settings(options.set)))
    except ZssrError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _quality_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--sets", default="Set5", help="names of folders, separated by commas")
    add("--scales", default="2,3,4", help="scales, separated by commas")
    add("--kernel", type=Path, metavar="FILE", help="blur kernel of the reduction, known to zssr")
    add("--noise", type=float, default=0.0, help="put noise of this sigma (0 to 255) on inputs")
    add("--jpeg", type=int, metavar="QUALITY", help="compress inputs, after the noise")
    add("--compare", nargs="+", default=[], choices=quality.RIVALS, help="start weights alone, or random ones, trained")
    add("--seed", type=int, default=0)


def _quality(options: Namespace, config: Config) -> None:
    protocol = Protocol(
        options.sets.split(","),
        _numbers(options.scales),
        options.kernel,
        options.noise,
        options.jpeg,
        options.compare,
        options.device,
        options.seed,
    )
    quality.run(options.data, protocol, config)


def _blind_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--sets", default="Set14_x2", help="names of folders, or of those in blind/, separated by commas")
    add("--scales", default="2", help="scales, separated by commas")
    add("--kernels", type=int, metavar="SEED", help="reduce by random Gaussians, not by bicubic")


def _blind(options: Namespace, config: Config) -> None:
    scales = [round(scale) for scale in _numbers(options.scales)]
    blind.run(options.data, options.sets.split(","), scales, options.kernels, config)


def _expect_options(command: ArgumentParser) -> None:
    command.add_argument("--sets", default="Set14,BSD100", help="names of folders, separated by commas")


def _real_options(command: ArgumentParser) -> None:
    command.add_argument("--out", type=Path, required=True, help="the sheet, .png")
    command.add_argument("--scale", type=int, default=2)


def _large_options(command: ArgumentParser) -> None:
    command.add_argument("--what", default="arrays", choices=large.WHAT, help="which photos")


def _page_options(command: ArgumentParser) -> None:
    command.add_argument("--browser", default="/usr/bin/chromium", help="path of a Chromium")


def _texture_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--sets", default="Set14,BSD100", help="names of folders, separated by commas")
    add("--scales", default="2,4", help="scales, separated by commas")
    add("--seed", type=int, default=0)
    add("--out", type=Path, help="a contact sheet of all pictures, .png")


def _texture(options: Namespace, config: Config) -> None:
    scales = [round(scale) for scale in _numbers(options.scales)]
    config = config if config.adversarial else config.replace(adversarial=1.0)
    texture.run(options.data, options.sets.split(","), scales, options.seed, options.out, config)


def _no_options(command: ArgumentParser) -> None:
    """Add none."""


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


COMMANDS = {
    "quality": (quality, _quality_options, _quality),
    "blind": (blind, _blind_options, _blind),
    "expect": (expect, _expect_options, lambda o, config: expect.run(o.data, o.sets.split(","), config)),
    "real": (real, _real_options, lambda o, config: real.run(o.data, o.out, o.scale, config.replace(expect=True))),
    "texture": (texture, _texture_options, _texture),
    "bands": (bands, _no_options, lambda o, config: bands.run(config, o.device)),
    "speed": (speed, _no_options, lambda o, config: speed.run(o.data, config, o.device)),
    "large": (large, _large_options, lambda o, config: large.run(config, o.device, o.what)),
    "scenes": (scenes, _no_options, lambda o, _: scenes.run(o.data)),
    "page": (page, _page_options, lambda o, _: page.run(o.browser)),
}


if __name__ == "__main__":
    sys.exit(main())
