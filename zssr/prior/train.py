"""Train a prior, on drawn pictures or on one's own: `python -m zssr.prior.train --out FOLDER`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from zssr.config import Config, NetworkShape
from zssr.errors import ConfigError, ZssrError
from zssr.methods import find_method
from zssr.networks.film import DEGRADATION_KINDS, DegradationKind
from zssr.prior.checkpoint import PRIOR_FILE, Prior, write_prior
from zssr.prior.network_training import NetworkTrainingPlan, train_network_prior
from zssr.prior.prior_training import TrainingPlan, choose_start, train_prior
from zssr.prior.training_pictures import draw_pictures, load_pictures
from zssr.runtime import resolve_device, resolve_precision

logger = logging.getLogger("zssr.prior.train")  # __name__ is "__main__" when this is run as a command


def run_training(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 wrong usage, 130 interrupted."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("zssr").setLevel(logging.INFO)
    try:
        if options.method:
            _check_options(parser, options)
            _train_method(options)
        else:
            _train_networks(options)
    except ZssrError as error:
        logger.error("%s", error)
        return 2
    except KeyboardInterrupt:
        kept = f"{PRIOR_FILE} has the weights of the last thousand steps"
        logger.error("interrupted; %s", kept if options.method else "the same command goes on where this one stopped")
        return 130
    logger.info("%s", options.out / PRIOR_FILE)
    return 0


def _train_networks(options: argparse.Namespace) -> None:
    """Train networks for each kind in turn; write them all to one file."""
    start = Prior.read(options.start) if options.start else None
    shape = _choose_shape(options, start)
    compute = resolve_precision(resolve_device(options.device), "auto")
    _make_folder(options.out)
    plans = [_make_plan(options, kind, shape) for kind in options.kinds]
    networks = dict(start.networks) if start else {}
    pictures = _make_pictures(options, compute.device)
    for plan in plans:
        checkpoint = options.out / f"{plan.kind}.pt"
        networks[plan.kind] = train_prior(pictures, plan, compute, checkpoint, choose_start(networks, plan))
        write_prior(options.out / PRIOR_FILE, networks)


def _train_method(options: argparse.Namespace) -> None:
    """Train the networks of another method."""
    method = find_method(options.method)
    plan = NetworkTrainingPlan(tuple(options.scales), options.steps, options.crops, options.crop_size, options.seed)
    compute = resolve_precision(resolve_device(options.device), "auto")
    _make_folder(options.out)
    pictures = _make_pictures(options, compute.device)
    train_network_prior(pictures, method, plan, compute, options.out / PRIOR_FILE)


def _check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Raise `ConfigError` for a method that has no network, and for options of those of zssr alone."""
    method = find_method(options.method)
    if method.network is None or method.learn or method.has_prior or method.takes_frames:
        raise ConfigError(f"--method: {options.method} has no network that this trains; vdsr has one, say")
    for name in ("kinds", "rate", "adam_rate", "start", "width", "depth", "blocks"):
        if getattr(options, name) != parser.get_default(name):
            raise ConfigError(f"--{name.replace('_', '-')}: is for the networks of zssr, not for {options.method}")


def _make_pictures(options: argparse.Namespace, device: torch.device) -> list[Tensor]:
    if options.photos:
        return load_pictures(options.photos, options.crop_size * max(options.scales))
    return draw_pictures(options.pictures, options.seed, options.out, device, options.paintings)


def _make_plan(options: argparse.Namespace, kind: DegradationKind, shape: NetworkShape) -> TrainingPlan:
    return TrainingPlan(
        kind,
        shape,
        tuple(options.scales),
        options.steps,
        options.crops,
        options.crop_size,
        options.rate,
        options.adam_rate,
        options.seed,
        degradations=2000 if kind == "noisy" else 400,
    )


def _choose_shape(options: argparse.Namespace, start: Prior | None) -> NetworkShape:
    """Return the shape to train: as asked, and else that of the start; raise `ConfigError` if the start has another."""
    asked = Config(model_width=options.width, model_depth=options.depth, model_blocks=options.blocks)
    shape = asked.fill_shape(start.shape if start else TrainingPlan().shape).shape
    if start and start.shape != shape:
        raise ConfigError(f"{options.start}: this prior has {start.shape}, but {shape} is to be trained")
    return shape


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made a folder ({error.strerror})") from error


def _make_parser() -> argparse.ArgumentParser:
    plan = TrainingPlan()
    parser = argparse.ArgumentParser(prog="python -m zssr.prior.train", description=__doc__)
    add, default = parser.add_argument, "(default: %(default)s)"
    add("--out", type=Path, required=True, help=f"folder for {PRIOR_FILE}, checkpoints and pictures")
    add("--photos", type=Path, metavar="DIR", help="learn from the pictures in DIR, not from drawn ones")
    add("--pictures", type=int, default=2000, metavar="N", help=f"pictures to draw {default}")
    add("--paintings", type=int, default=1, metavar="N", help=f"pictures painted on each drawn map of shapes {default}")
    add("--method", metavar="NAME", help="train the networks of another method, by its own loss and rate")
    kinds = DEGRADATION_KINDS
    add("--kinds", nargs="+", default=kinds, choices=kinds, help="degradations to train for (default: all)")
    add("--scales", type=int, nargs="+", default=[2], help="factors to train for, all in one (default: 2)")
    add("--steps", type=int, default=plan.steps, help=f"steps for each kind {default}")
    add("--rate", type=float, default=plan.rate, help=f"learning rate of Muon {default}")
    add("--adam-rate", type=float, default=plan.adam_rate, help=f"learning rate of Adam {default}")
    add(
        "--start",
        type=Path,
        metavar="FILE",
        help="a prior of the same shape to start from and to add to; a new kind starts as blurred or bicubic",
    )
    add("--crops", type=int, default=plan.crops, help=f"crops in a step {default}")
    add("--crop-size", type=int, default=plan.crop_size, help=f"side of a crop of the small image {default}")
    add("--width", type=int, help=f"model_width (default: the start's, or {plan.shape.width})")
    add("--depth", type=int, help=f"model_depth (default: the start's, or {plan.shape.depth})")
    blocks = "model_blocks (default: the start's, or true)"
    add("--blocks", action=argparse.BooleanOptionalAction, help=blocks)
    add("--seed", type=int, default=plan.seed, help=f"source of all randomness {default}")
    add("--device", default="auto", help=f"auto, cpu, cuda or mps {default}")
    return parser


if __name__ == "__main__":
    sys.exit(run_training())
