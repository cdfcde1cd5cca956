"""Train a prior, on drawn pictures or on one's own: `python -m zssr.prior.train --out FOLDER`."""

import argparse
import io
import logging
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.degradation.noise import quantize
from zssr.errors import ConfigError, ImageError, ZssrError
from zssr.geometry import SYMMETRIES, Region
from zssr.images import load
from zssr.io.atomic import atomic_write
from zssr.io.limits import Limits
from zssr.networks.film import CHANNELS, KINDS, ConditionedNetwork, Kind, degradation_embedding
from zssr.prior.checkpoint import PRIOR_FILE, Prior, Role, write_prior
from zssr.prior.dead_leaves import SIZE, picture
from zssr.prior.random_degradations import draw_degradations
from zssr.runtime import ComputeType, resolve_device, resolve_precision
from zssr.training.pairs import make_pair, randint
from zssr.training.trainer import Step

logger = logging.getLogger("zssr.prior.train")  # its name is another when it is the command

_BETAS = (0.9, 0.99)
_WARM_UP = 200
_AVERAGE = 1e-3  # share of the newest weights in their running average, which is what is kept
_GRAIN = 16 / 255  # the strongest noise on fathers: what is grain in a photo is not to be sharpened
_DEGRADATIONS: dict[Kind, int] = {"blurred": 400, "noisy": 2000}
_LOG_STEPS = 500
_SAVED = {"weights", "averages", "average", "steps", "generator", "plan"}


def _within(key: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{key}: {value} is not a whole number, {low} to {high}")


@dataclass(frozen=True)
class TrainingPlan:
    """How a prior is trained.

    Attributes
    ----------
    kind
        Of degradations: "bicubic", "blurred" for all that a kernel can do, or "noisy" for noise and JPEG too.
    scale
        The factor that the network enlarges by.
    steps, crops, crop_size
        Optimizer steps; crops in each; side of a crop in pixels of the picture.
    rate
        Adam's learning rate at the start; it falls along half a cosine wave to a thousandth.
    seed
        All randomness comes from it.
    """

    kind: Kind = "bicubic"
    scale: int = 2
    steps: int = 32_000
    crops: int = 8
    crop_size: int = 96
    rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {"scale": (2, 9), "steps": (1, 10**9), "crops": (1, 4096), "crop_size": (32, SIZE), "seed": (0, 2**32)}
        for key, (low, high) in limits.items():
            _within(key, getattr(self, key), low, high)

    def rate_at(self, step: int) -> float:
        """Return the learning rate of the step number `step`, the first being 0."""
        wave = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.rate * (1e-3 + (1 - 1e-3) * wave) * min(1.0, (step + 1) / _WARM_UP)


def train_prior(
    pictures: Sequence[Tensor],
    plan: TrainingPlan,
    config: Config,
    compute: ComputeType,
    checkpoint: Path,
    start: ConditionedNetwork | None = None,
) -> ConditionedNetwork:
    """Train a network of `config`'s shape on `pictures`, each (3, H, W) in uint8, for all degradations.

    Begins with the weights of `start`, or with random ones. Goes on from `checkpoint` if that is there, with the result
    of a training that was never interrupted.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    network = ConditionedNetwork(plan.scale, config.shape, generator)
    if start:
        network.load_state_dict(start.state_dict())
    network = network.to(compute.device)
    step = Step(network, compute, _BETAS)
    average, first = step.weights(), 0
    if checkpoint.exists():
        saved = _saved(checkpoint, compute.device)
        if saved["plan"] != asdict(plan) or len(saved["weights"]) != len(average):
            raise ConfigError(f"{checkpoint}: belongs to a training with other settings; remove it to start anew")
        step.resume(saved["weights"], saved["averages"])
        average, first = saved["average"], saved["steps"]
        generator.set_state(saved["generator"].cpu())
    degradations = [Degradation(None, (plan.scale, plan.scale), quantized=True)]
    if plan.kind != "bicubic":
        degradations = draw_degradations(_DEGRADATIONS[plan.kind], plan.seed, plan.scale, noisy=plan.kind == "noisy")
    described = cache(lambda which: degradation_embedding(degradations[which]))
    losses: list[Tensor] = []
    began = time.perf_counter()
    for done in range(first, plan.steps):
        fathers = draw_fathers(pictures, plan, generator)
        which = randint(len(degradations), generator)
        sons, residuals = make_pair(fathers, degradations[which], plan.scale, generator)
        step.network.tell(described(which))
        losses.append(step(sons.to(compute.device), residuals.to(compute.device), plan.rate_at(done)))
        average.lerp_(step.weights(), max(_AVERAGE, min(1.0, 10 / (done + 1))))
        if (done + 1) % _LOG_STEPS == 0 or done + 1 == plan.steps:
            loss, seconds = float(torch.stack(losses).mean()), time.perf_counter() - began
            logger.info(
                "%s x%d step %d of %d: loss %.5f, %.0f s", plan.kind, plan.scale, done + 1, plan.steps, loss, seconds
            )
            losses.clear()
            saved = {"weights": step.weights(), "averages": step.averages(), "average": average}
            _save({**saved, "steps": done + 1, "generator": generator.get_state(), "plan": asdict(plan)}, checkpoint)
    step.go_back(average)
    return network.cpu()


def _saved(checkpoint: Path, device: torch.device) -> dict[str, Any]:
    try:
        saved: dict[str, Any] = torch.load(checkpoint, weights_only=True, map_location=device)
        if set(saved) != _SAVED:
            raise KeyError
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, UnpicklingError) as error:
        raise ConfigError(f"{checkpoint}: is not a checkpoint of such a training; remove it to start anew") from error
    return saved


def _save(saved: dict[str, object], checkpoint: Path) -> None:
    content = io.BytesIO()
    torch.save(saved, content)
    with atomic_write(checkpoint) as file:
        file.write(content.getvalue())


def draw_fathers(pictures: Sequence[Tensor], plan: TrainingPlan, generator: torch.Generator) -> Tensor:
    """Draw crops of random pictures, in 8 bits like photos, half of them with noise: (N, 3, H, W) in [0, 1].

    None have noise where it is to be removed.
    """
    crops = torch.stack([_crop(pictures, plan, generator) for _ in range(plan.crops)]).float() / 255
    if plan.kind == "noisy":
        return crops
    strength = torch.rand(len(crops), 2, 1, 1, generator=generator)
    sigma = (strength[:, :1] < 0.5) * strength[:, 1:] ** 2 * _GRAIN
    noise = torch.randn(crops.shape, generator=generator)
    grain = sigma * (0.5 * noise + 1.5 * noise.mean(1, keepdim=True))  # mostly the same in all channels
    return quantize(crops + grain)


def _crop(pictures: Sequence[Tensor], plan: TrainingPlan, generator: torch.Generator) -> Tensor:
    side = plan.crop_size // plan.scale * plan.scale
    whole = pictures[randint(len(pictures), generator)]
    top, left = (randint(length - side + 1, generator) for length in whole.shape[-2:])
    crop = whole[torch.randperm(len(whole), generator=generator), top : top + side, left : left + side]
    crop = SYMMETRIES[randint(len(SYMMETRIES), generator)](crop)
    return 255 - crop if randint(2, generator) else crop


def draw_pictures(count: int, seed: int, cache: Path) -> list[Tensor]:
    """Draw `count` pictures (3, 256, 256) in uint8 on all cores; they are kept in the folder `cache`."""
    _within("pictures", count, 1, 10**6)
    path = cache / f"leaves_{seed}_{count}.npy"
    if not path.exists():
        logger.info("drawing %d pictures", count)
        with ProcessPoolExecutor(
            mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            drawn = np.stack(list(pool.map(picture, range(seed * count, (seed + 1) * count), chunksize=8)))
        content = io.BytesIO()
        np.save(content, drawn.transpose(0, 3, 1, 2))
        with atomic_write(path) as file:
            file.write(content.getvalue())
    return list(torch.from_numpy(np.load(path)))


def own_pictures(folder: Path, smallest: int) -> list[Tensor]:
    """Load the pictures in `folder`, each as (3, H, W) in uint8; gray becomes three equal channels."""
    if not folder.is_dir():
        raise ImageError(f"{folder}: is not a folder of pictures")
    photos = [load(path, Limits()).photos[0] for path in sorted(folder.iterdir()) if path.is_file()]
    colors = [photo.region(Region.whole(photo.size))[0][0] for photo in photos if photo.channels in (1, CHANNELS)]
    pictures = [(255 * one.expand(CHANNELS, -1, -1)).round().to(torch.uint8) for one in colors]
    pictures = [picture for picture in pictures if min(picture.shape[-2:]) >= smallest]
    if not pictures:
        raise ImageError(f"{folder}: no picture in gray or RGB with sides of {smallest} pixels or more is in it")
    return pictures


def _grown(prior: Prior, config: Config) -> dict[Role, ConditionedNetwork]:
    """Return a prior's networks, deepened to what the settings say."""
    (width, depth, side), (_, wanted, _) = prior.shape, config.shape
    if (width, side) != (config.model_width, config.model_kernel_size) or depth > wanted:
        has, says = (f"width {one[0]} and depth {one[1]}" for one in (prior.shape, config.shape))
        raise ConfigError(f"{prior.name}: this prior has {has}, from which none of {says} can be grown")
    return {role: network.grown(wanted) for role, network in prior.networks.items()}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made a folder ({error.strerror})") from error


def _parser() -> argparse.ArgumentParser:
    plan = TrainingPlan()
    parser = argparse.ArgumentParser(prog="python -m zssr.prior.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help=f"folder for {PRIOR_FILE}, checkpoints and pictures")
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="learn from the pictures in DIR, not from drawn ones"
    )
    parser.add_argument(
        "--pictures", type=int, default=2000, metavar="N", help="pictures to draw (default: %(default)s)"
    )
    parser.add_argument(
        "--kinds", nargs="+", default=KINDS, choices=KINDS, help="degradations to train for (default: all)"
    )
    parser.add_argument("--scales", type=int, nargs="+", default=[2], help="factors to train for (default: 2)")
    parser.add_argument("--steps", type=int, default=plan.steps, help="steps for each scale (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=plan.rate, help="first learning rate (default: %(default)s)")
    parser.add_argument(
        "--start",
        type=Path,
        metavar="FILE",
        help="a prior to start from and to add to, with as many layers or fewer; a new kind starts as blurred",
    )
    parser.add_argument("--crops", type=int, default=plan.crops, help="crops in a step (default: %(default)s)")
    parser.add_argument("--crop-size", type=int, default=plan.crop_size, help="side of a crop (default: %(default)s)")
    parser.add_argument("--width", type=int, default=Config().model_width, help="model_width (default: %(default)s)")
    parser.add_argument("--depth", type=int, default=Config().model_depth, help="model_depth (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="source of all randomness (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("zssr").setLevel(logging.INFO)
    try:
        config = Config(model_width=options.width, model_depth=options.depth)
        compute = resolve_precision(resolve_device(options.device), config.precision)
        _make_folder(options.out)
        plans = [
            TrainingPlan(kind, scale, options.steps, options.crops, options.crop_size, options.rate, options.seed)
            for scale in options.scales
            for kind in options.kinds
        ]
        networks = _grown(Prior.read(options.start), config) if options.start else {}
        if options.photos:
            pictures = own_pictures(options.photos, options.crop_size)
        else:
            pictures = draw_pictures(options.pictures, options.seed, options.out)
        for plan in plans:
            role, checkpoint = (plan.kind, plan.scale), options.out / f"{plan.kind}_x{plan.scale}.pt"
            start = networks.get(role, networks.get(("blurred", plan.scale)))
            networks[role] = train_prior(pictures, plan, config, compute, checkpoint, start)
        write_prior(options.out / PRIOR_FILE, networks)
    except ZssrError as error:
        logger.error("%s", error)
        return 2
    except KeyboardInterrupt:
        logger.error("interrupted; the same command goes on where this one stopped")
        return 130
    logger.info("%s", options.out / PRIOR_FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
