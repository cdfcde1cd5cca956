"""Pictures and crops to train a prior on: synthetic ones, or those in a folder."""

import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zssr.degradation.noise import quantize
from zssr.errors import ConfigError, ImageError
from zssr.geometry import SYMMETRIES, Region
from zssr.images import load
from zssr.io.atomic import atomic_write
from zssr.io.limits import Limits
from zssr.networks.film import CHANNELS
from zssr.prior.dead_leaves import draw_picture
from zssr.training.pairs import randint

logger = logging.getLogger(__name__)


def draw_pictures(count: int, seed: int, cache: Path) -> list[Tensor]:
    """Draw `count` pictures (3, 256, 256) in uint8 on all cores, or load them from the folder `cache`.

    They are stored there. Raises `ConfigError` if `count` is not within 1 to a million.
    """
    check_range("pictures", count, 1, 10**6)
    path = cache / f"leaves_{seed}_{count}.npy"
    if not path.exists():
        logger.info("drawing %d pictures", count)
        with ProcessPoolExecutor(
            mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            drawn = np.stack(list(pool.map(draw_picture, range(seed * count, (seed + 1) * count), chunksize=8)))
        with atomic_write(path) as file:
            np.save(file, drawn.transpose(0, 3, 1, 2))
    return list(torch.from_numpy(np.load(path)))


def load_pictures(folder: Path, min_side: int) -> list[Tensor]:
    """Load the pictures in `folder`, each as (3, H, W) in uint8; gray becomes three equal channels.

    Skips those with a side below `min_side`, and those that are neither gray nor RGB. Raises `ImageError` if none is
    left.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: is not a folder of pictures")
    photos = [load(path, Limits()).photos[0] for path in sorted(folder.iterdir()) if path.is_file()]
    colors = [photo.region(Region.whole(photo.size))[0][0] for photo in photos if photo.channels in (1, CHANNELS)]
    pictures = [(255 * one.expand(CHANNELS, -1, -1)).round().to(torch.uint8) for one in colors]
    pictures = [picture for picture in pictures if min(picture.shape[-2:]) >= min_side]
    if not pictures:
        raise ImageError(f"{folder}: no picture in gray or RGB with sides of {min_side} pixels or more is in it")
    return pictures


def draw_fathers(
    pictures: Sequence[Tensor], count: int, side: int, generator: torch.Generator, *, grain: bool
) -> Tensor:
    """Draw `count` augmented square crops of random pictures, quantized to 8 bits: (N, 3, side, side) in [0, 1].

    With `grain`, half of them have noise of up to 16 of 255, so that a network leaves the grain of photos as it is.
    """
    crops = torch.stack([_draw_crop(pictures, side, generator) for _ in range(count)]).float() / 255
    if not grain:
        return crops
    strength = torch.rand(len(crops), 2, 1, 1, generator=generator)
    sigma = (strength[:, :1] < 0.5) * strength[:, 1:] ** 2 * (16 / 255)
    noise = torch.randn(crops.shape, generator=generator)
    return quantize(crops + sigma * (0.5 * noise + 1.5 * noise.mean(1, keepdim=True)))  # mostly equal in all channels


def check_range(key: str, value: int, low: int, high: int) -> None:
    """Raise `ConfigError`, which names `key`, if `value` is not within `low` to `high`."""
    if not low <= value <= high:
        raise ConfigError(f"{key}: {value} is not a whole number, {low} to {high}")


def _draw_crop(pictures: Sequence[Tensor], side: int, generator: torch.Generator) -> Tensor:
    """Draw a crop (3, side, side) in uint8 with random channel order, symmetry and, half of the time, inversion."""
    picture = pictures[randint(len(pictures), generator)]
    top, left = (randint(length - side + 1, generator) for length in picture.shape[-2:])
    crop = picture[torch.randperm(len(picture), generator=generator), top : top + side, left : left + side]
    crop = SYMMETRIES[randint(len(SYMMETRIES), generator)](crop)
    return 255 - crop if randint(2, generator) else crop
