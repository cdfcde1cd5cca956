"""Pictures and crops to train a prior on: synthetic ones, or those in a folder."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zssr.degradation.noise import quantize
from zssr.errors import ConfigError, ImageError
from zssr.geometry import SYMMETRIES, Region
from zssr.images import load
from zssr.io.atomic import atomic_write
from zssr.io.limits import Limits
from zssr.networks.film import CHANNELS
from zssr.prior.dead_leaves import PICTURE_SIZE, draw_labels, paint
from zssr.training.crops import gather_crops, turn_grids
from zssr.training.pairs import randint

logger = logging.getLogger(__name__)


def draw_pictures(count: int, seed: int, cache: Path, device: torch.device, paintings: int = 1) -> list[Tensor]:
    """Draw `count` pictures (3, 256, 256) in uint8, or load them from the folder `cache`, where they are stored.

    Label maps are drawn on all cores. Each is painted `paintings` times, there too or on a GPU. Raises `ConfigError` if
    a number is not within 1 to a million.
    """
    check_range("pictures", count, 1, 10**6)
    check_range("paintings", paintings, 1, 10**6)
    path = cache / f"leaves_{seed}_{count}_{paintings}.npy"
    if not path.exists():
        logger.info("drawing %d pictures", count)
        drawn = torch.empty(count, CHANNELS, PICTURE_SIZE, PICTURE_SIZE, dtype=torch.uint8, device=device)
        for k, picture in enumerate(_paint_pictures(range(seed * count, (seed + 1) * count), device, paintings)):
            drawn[k] = picture
        with atomic_write(path) as file:
            np.save(file, drawn.cpu().numpy())
    return list(torch.from_numpy(np.load(path)))


def _paint_pictures(seeds: range, device: torch.device, paintings: int) -> Iterator[Tensor]:
    """Paint a picture for each seed; so many that follow each other share the label map of the first one's seed."""
    groups = [seeds[k : k + paintings] for k in range(0, len(seeds), paintings)]
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        if device.type == "cpu":
            for pictures in pool.map(_draw_and_paint, groups, chunksize=8):
                yield from torch.from_numpy(pictures)
        else:
            label_maps = pool.map(draw_labels, [group[0] for group in groups], chunksize=8)
            for label_map, group in zip(label_maps, groups, strict=True):
                yield from (paint(label_map, one, device) for one in group)


def _draw_and_paint(seeds: range) -> NDArray[np.uint8]:
    """Draw one label map, and paint it on the CPU for each seed: (N, 3, 256, 256)."""
    label_map = draw_labels(seeds[0])
    return np.stack([paint(label_map, seed, torch.device("cpu")).numpy() for seed in seeds])


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


class TrainingPictures:
    """Pictures on a device, from which random crops are gathered.

    Parameters
    ----------
    pictures
        Each (3, H, W) in uint8.
    device
        Where they are, and where crops are made; which ones depends on the generator alone.
    """

    def __init__(self, pictures: Sequence[Tensor], device: torch.device) -> None:
        self._sizes = torch.tensor([picture.shape[-2:] for picture in pictures])
        self._ends = self._sizes.prod(1).cumsum(0)
        self._pixels = torch.cat([picture.flatten(1) for picture in pictures], 1).to(device)
        self._make_grids = cache(lambda side: turn_grids(SYMMETRIES, side).to(device))

    def draw_fathers(self, count: int, side: int, generator: torch.Generator, *, grain: bool) -> Tensor:
        """Draw `count` augmented square crops of random pictures, quantized to 8 bits: (N, 3, side, side) in [0, 1].

        Symmetries and the order of channels are random, and half of the crops are inverted. With `grain`, half have
        noise of up to 16 of 255, so that a network leaves the grain of photos as it is.
        """
        places = self._draw_places(count, side, generator).to(self._pixels.device)
        crops = gather_crops(self._pixels, self._make_grids(side), places[:, :5], places[:, 6:, None, None])
        crops = torch.where(places[:, 5, None, None, None].bool(), 255 - crops, crops).float() / 255
        return add_grain(crops, generator) if grain else crops

    def _draw_places(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """Draw rows for `gather_crops` (count, 9), with inversion and the order of the channels at the end."""
        random = torch.rand(count, 5, dtype=torch.float64, generator=generator)
        k = (random[:, 0] * len(self._sizes)).long()
        limits = torch.cat([self._sizes[k] - side + 1, torch.tensor([[len(SYMMETRIES), 2]]).expand(count, 2)], 1)
        before, width = (self._ends - self._sizes.prod(1))[k], self._sizes[k, 1]
        order = torch.rand(count, CHANNELS, generator=generator).argsort()
        return torch.cat([before[:, None], width[:, None], (random[:, 1:] * limits).long(), order], 1)


def add_grain(images: Tensor, generator: torch.Generator) -> Tensor:
    """Add noise of up to 16 of 255 to half of the images (N, 3, H, W), mostly equal in all channels; quantize them."""
    strength = torch.rand(len(images), 2, 1, 1, generator=generator)
    sigma = ((strength[:, :1] < 0.5) * strength[:, 1:] ** 2 * (16 / 255)).to(images.device)
    local = fork_generator(generator, images.device)
    noise = torch.randn(images.shape, generator=local, device=local.device).to(images.device)
    return quantize(images + sigma * (0.5 * noise + 1.5 * noise.mean(1, keepdim=True)))


def fork_generator(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Return a generator on `device` whose seed `generator` draws: what is large is drawn where it is needed."""
    return torch.Generator(device).manual_seed(randint(2**31, generator))


def check_range(key: str, value: int, low: int, high: int) -> None:
    """Raise `ConfigError`, which names `key`, if `value` is not within `low` to `high`."""
    if not low <= value <= high:
        raise ConfigError(f"{key}: {value} is not a whole number, {low} to {high}")
