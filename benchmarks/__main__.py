"""`python -m benchmarks quality|blind|expect|bands|speed|large`: prints Markdown tables for benchmarks/README.md."""

import argparse
import sys
from pathlib import Path

from benchmarks import bands, blind, expect, large, quality, speed
from benchmarks.protocol import machine
from benchmarks.quality import Protocol
from zssr.cli import parse_settings
from zssr.config import PRESETS, Config
from zssr.errors import ZssrError


def main() -> int:
    """Parse, run one benchmark, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in (
        ("quality", quality),
        ("blind", blind),
        ("expect", expect),
        ("bands", bands),
        ("speed", speed),
        ("large", large),
    ):
        command = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        command.add_argument("--preset", default="default", choices=PRESETS, help="settings to start from")
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; repeatable")
        command.add_argument("--device", default="auto")
        if module in (quality, blind, expect, speed):
            command.add_argument("--data", type=Path, required=True, help="folder that holds one folder per set")
        if module is blind:
            command.add_argument("--sets", default="Set14_x2", help="names of folders, or of those in blind/")
            command.add_argument("--scales", default="2", help="scales, separated by commas")
            command.add_argument(
                "--kernels", type=int, metavar="SEED", help="reduce by random Gaussians, not by bicubic"
            )
        if module is expect:
            command.add_argument("--sets", default="Set14,BSD100", help="names of folders, separated by commas")
        if module is quality:
            command.add_argument("--sets", default="Set5", help="names of folders, separated by commas")
            command.add_argument("--scales", default="2,3,4", help="scales, separated by commas")
            command.add_argument(
                "--kernel", type=Path, metavar="FILE", help="blur kernel of the reduction, known to zssr"
            )
            command.add_argument(
                "--noise", type=float, default=0.0, help="put noise of this sigma (0 to 255) on inputs"
            )
            command.add_argument("--jpeg", type=int, metavar="QUALITY", help="compress inputs, after the noise")
            command.add_argument(
                "--compare",
                action="store_true",
                help="the start weights alone, and random ones after as many steps, too",
            )
            command.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"Machine: {machine()}\n\nCommand: `python -m benchmarks {' '.join(sys.argv[1:])}`\n", flush=True)
    try:
        config = Config.preset(options.preset).replace(**parse_settings(options.set))
        if options.command == "quality":
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
        elif options.command == "blind":
            scales = [round(scale) for scale in _numbers(options.scales)]
            blind.run(options.data, options.sets.split(","), scales, options.kernels, config)
        elif options.command == "expect":
            expect.run(options.data, options.sets.split(","), config)
        elif options.command == "speed":
            speed.run(options.data, config, options.device)
        elif options.command == "bands":
            bands.run(config, options.device)
        else:
            large.run(config, options.device)
    except ZssrError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
