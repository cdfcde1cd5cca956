"""`python -m benchmarks COMMAND`: prints the tables of benchmarks/README.md and docs/, and README's pictures."""

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from benchmarks import (
    apply,
    bands,
    blind,
    burst,
    burst_picture,
    cluster,
    constants,
    cuda,
    curve,
    formats,
    gain,
    gallery,
    grain,
    jpeg_history,
    kernelgan,
    large,
    methods,
    page,
    quality,
    real,
    reliability,
    resamplers,
    settings,
    snapshots,
    speed,
    texture,
    truth,
    video,
)
from benchmarks.clips import SCENES
from benchmarks.protocol import describe_machine
from zssr.cli.arguments import parse_settings
from zssr.config import PRESETS, Config
from zssr.errors import ZssrError

DOCUMENTS = {"settings": settings, "formats": formats}
"""The commands that print a part of docs/, and need nothing for it."""


@dataclass(frozen=True)
class Command:
    """A benchmark: its module, how it is run, its own options, and whether it needs `--data`."""

    module: ModuleType
    run: Callable[[Namespace, Config], None]
    add_options: Callable[[ArgumentParser], None] = lambda _: None
    needs_data: bool = True


def main() -> int:
    """Parse, run one command, print."""
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, document in DOCUMENTS.items():
        commands.add_parser(name, help=document.__doc__, description=document.__doc__)
    for name, command in COMMANDS.items():
        doc = command.module.__doc__
        options = commands.add_parser(name, help=doc, description=doc)
        options.add_argument("--preset", default="default", choices=PRESETS, help="settings to start from")
        options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; repeatable")
        options.add_argument("--device", default="auto")
        if command.needs_data:
            options.add_argument("--data", type=Path, required=True, help="folder that holds one folder per set")
        command.add_options(options)
    given = parser.parse_args()
    if given.command in DOCUMENTS:
        DOCUMENTS[given.command].run()
        return 0
    print(f"Machine: {describe_machine()}\n\nCommand: `python -m benchmarks {' '.join(sys.argv[1:])}`\n", flush=True)
    try:
        COMMANDS[given.command].run(given, Config.preset(given.preset).replace(**parse_settings(given.set)))
    except ZssrError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _add_quality_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--sets", default="Set5", help="names of folders, separated by commas")
    add("--scales", default="2,3,4", help="scales, separated by commas")
    add("--kernel", type=Path, metavar="FILE", help="blur kernel of the downsampling, which zssr is given")
    add("--noise", type=float, default=0.0, help="add noise of this sigma (0 to 255) to the inputs")
    add("--jpeg", type=int, metavar="QUALITY", help="compress the inputs, after the noise")
    add(
        "--compare",
        nargs="+",
        default=[],
        choices=quality.BASELINES,
        help="start weights alone, or random ones, trained",
    )
    add("--seed", type=int, default=0)


def _run_quality(options: Namespace, config: Config) -> None:
    protocol = quality.Protocol(
        options.sets.split(","),
        _parse_numbers(options.scales),
        options.kernel,
        options.noise,
        options.jpeg,
        options.compare,
        options.device,
        options.seed,
    )
    quality.run(options.data, protocol, config)


def _add_blind_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--sets", default="Set14_x2", help="names of folders, or of those in blind/, separated by commas")
    add("--scales", default="2", help="scales, separated by commas")
    add("--kernels", type=int, metavar="SEED", help="downsample by random Gaussians, not by bicubic")
    add(
        "--noisy", action="store_true", help="random Gaussians with noise, as in KernelGAN's benchmark (with --kernels)"
    )
    names = "downsample by resamplers, or by other kernels with a name, separated by commas"
    add("--resamplers", nargs="?", const=",".join(resamplers.NAMES), metavar="NAMES", help=names)
    add("--limit", type=int, metavar="N", help="only the first photos of each set (with --resamplers)")


def _run_blind(options: Namespace, config: Config) -> None:
    scales = [round(scale) for scale in _parse_numbers(options.scales)]
    sets = options.sets.split(",")
    if options.resamplers:
        resamplers.run(options.data, sets, scales, re.split(",(?=[a-z])", options.resamplers), config, options.limit)
    else:
        draw = blind.draw_noisy_gaussian if options.noisy else blind.draw_gaussian
        blind.run(options.data, sets, scales, options.kernels, config, draw)


def _add_reliability_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--sets", default="Set14", help="names of folders, separated by commas")
    add("--scales", default="2", help="scales, separated by commas")
    add("--limit", type=int, metavar="N", help="only the first photos of each set")
    add("--plot", type=Path, metavar="FILE", help="draw it: .png, .svg")


def _run_reliability(options: Namespace, _: Config) -> None:
    scales = [round(scale) for scale in _parse_numbers(options.scales)]
    reliability.run(options.data, options.sets.split(","), scales, options.limit, options.plot)


def _add_truth_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--what", required=True, choices=truth.WHAT, help="which group")
    add("--sets", default="BSD100", help="names of folders, separated by commas")
    add("--limit", type=int, default=3, help="how many photos")


def _add_video_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--what", default="shots", choices=video.WHAT, help="which table")
    add("--clips", default=",".join(SCENES), help="kinds of clips, separated by commas")
    add("--limit", type=int, default=3, help="how many pictures clips are made of")
    add("--frames", type=int, default=12, help="frames of a clip")


def _run_video(options: Namespace, config: Config) -> None:
    video.run(options.data, options.what, options.clips.split(","), options.limit, options.frames, config)


def _add_constants_options(command: ArgumentParser) -> None:
    command.add_argument("--what", required=True, choices=constants.WHAT, help="which group of constants")
    command.add_argument("--limit", type=int, help="use fewer photos or samples")


def _add_grain_options(command: ArgumentParser) -> None:
    command.add_argument("--limit", type=int, help="upscale fewer photos")
    command.add_argument("--side", type=int, help="judge parts of photos with this side in pixels, and upscale none")


def _add_history_options(command: ArgumentParser) -> None:
    command.add_argument("--what", default="found", choices=jpeg_history.WHAT, help="which table")
    command.add_argument("--limit", type=int, help="use fewer photos")


def _add_kernelgan_options(command: ArgumentParser) -> None:
    command.add_argument("--sets", default="Set14_x2", help="names of folders, or of those in blind/, by commas")


def _add_gain_options(command: ArgumentParser) -> None:
    command.add_argument("--sets", default="Set14,BSD100", help="names of folders, separated by commas")


def _add_real_options(command: ArgumentParser) -> None:
    command.add_argument("--out", type=Path, required=True, help="the sheet, .png")
    command.add_argument("--scale", type=int, default=2)


def _add_gallery_options(command: ArgumentParser) -> None:
    command.add_argument("--out", type=Path, default=Path("docs/images"), help="folder for the pictures")


def _add_curve_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--sets", default="Set5", help="names of folders, separated by commas")
    add("--out", type=Path, default=Path("benchmarks/images/curve.png"), help="the picture")


def _add_snapshots_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--folder", type=Path, required=True, help="what `python -m zssr.prior.train --out` was given")
    add("--sets", default="Set5", help="names of folders, separated by commas")
    add("--out", type=Path, default=Path("benchmarks/images/training.png"), help="the picture")


def _run_snapshots(options: Namespace, _: Config) -> None:
    snapshots.run(options.data, options.folder, options.sets.split(","), options.device, options.out)


def _add_methods_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--sets", default="Set5,Set14", help="names of folders, separated by commas")
    add("--scales", default="2,3,4", help="scales, separated by commas")
    add("--methods", default="all", help="names, separated by commas; default: all")


def _run_methods(options: Namespace, config: Config) -> None:
    scales = _parse_numbers(options.scales)
    methods.run(options.data, options.sets.split(","), scales, options.methods, config, options.device)


def _add_large_options(command: ArgumentParser) -> None:
    command.add_argument("--what", default="phone", choices=large.WHAT, help="which photos")


def _add_cluster_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--what", default="photos", choices=cluster.WHAT, help="which table")
    add("--side", type=int, default=20000, help="side of the slide in pixels")
    add("--seconds", type=float, default=4.0, help="how long a photo of simulated workers takes")


def _add_cuda_options(command: ArgumentParser) -> None:
    command.add_argument("--out", type=Path, help="file for the tables, .md")


def _add_page_options(command: ArgumentParser) -> None:
    command.add_argument("--browser", default="/usr/bin/chromium", help="path of a Chromium")


def _add_texture_options(command: ArgumentParser) -> None:
    add = command.add_argument
    add("--sets", default="Set14,BSD100", help="names of folders, separated by commas")
    add("--scales", default="2,4", help="scales, separated by commas")
    add("--seed", type=int, default=0)
    add("--out", type=Path, help="a contact sheet of all pictures, .png")


def _run_texture(options: Namespace, config: Config) -> None:
    scales = [round(scale) for scale in _parse_numbers(options.scales)]
    config = config if config.adversarial else config.replace(adversarial=1.0)
    texture.run(options.data, options.sets.split(","), scales, options.seed, options.out, config)


def _run_real(options: Namespace, config: Config) -> None:
    real.run(options.data, options.out, options.scale, config.replace(measure_gain=True))


def _parse_numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


COMMANDS = {
    "quality": Command(quality, _run_quality, _add_quality_options),
    "blind": Command(blind, _run_blind, _add_blind_options),
    "gain": Command(gain, lambda o, config: gain.run(o.data, o.sets.split(","), config), _add_gain_options),
    "reliability": Command(reliability, _run_reliability, _add_reliability_options),
    "real": Command(real, _run_real, _add_real_options),
    "texture": Command(texture, _run_texture, _add_texture_options),
    "truth": Command(
        truth, lambda o, config: truth.run(o.data, o.what, o.sets.split(","), o.limit, config), _add_truth_options
    ),
    "speed": Command(speed, lambda o, config: speed.run(o.data, config, o.device)),
    "constants": Command(
        constants, lambda o, config: constants.run(o.data, o.what, config, o.limit), _add_constants_options
    ),
    "grain": Command(grain, lambda o, config: grain.run(o.data, config, o.limit, o.side), _add_grain_options),
    "jpeg-history": Command(
        jpeg_history, lambda o, config: jpeg_history.run(o.data, o.what, config, o.limit), _add_history_options
    ),
    "kernelgan": Command(
        kernelgan, lambda o, config: kernelgan.run(o.data, o.sets.split(","), config), _add_kernelgan_options
    ),
    "burst": Command(burst, burst.run_command, burst.add_options),
    "burst-picture": Command(burst_picture, burst_picture.run_picture, _add_gallery_options, needs_data=False),
    "bands": Command(bands, lambda o, config: bands.run(config, o.device), needs_data=False),
    "apply": Command(apply, lambda o, config: apply.run(config, o.device), needs_data=False),
    "curve": Command(
        curve, lambda o, config: curve.run(o.data, o.sets.split(","), config, o.device, o.out), _add_curve_options
    ),
    "large": Command(
        large, lambda o, config: large.run(config, o.device, o.what), _add_large_options, needs_data=False
    ),
    "snapshots": Command(snapshots, _run_snapshots, _add_snapshots_options),
    "methods": Command(methods, _run_methods, _add_methods_options),
    "video": Command(video, _run_video, _add_video_options),
    "cluster": Command(
        cluster,
        lambda o, config: cluster.run(config, o.what, o.side, o.seconds),
        _add_cluster_options,
        needs_data=False,
    ),
    "cuda": Command(cuda, lambda o, _: cuda.run(o.device, o.out), _add_cuda_options, needs_data=False),
    "gallery": Command(gallery, lambda o, _: gallery.run(o.out), _add_gallery_options, needs_data=False),
    "page": Command(page, lambda o, _: page.run(o.browser), _add_page_options, needs_data=False),
}


if __name__ == "__main__":
    sys.exit(main())
