"""Bursts of a picture: what a camera that moves a little sees of it, with blur, sampling and noise."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.protocol import Picture
from zssr.degradation.resize import Floats, cubic
from zssr.multiframe.alignment import AlignedFrame, to_large
from zssr.multiframe.warping import make_grid, transform

SCALE = 2


@dataclass(frozen=True)
class Lens:
    """The weight of a picture's pixels over their distance from a sample, along each axis, and how far it reaches."""

    weigh: Callable[[Floats], Floats]
    reach: int


def gaussian_lens(sigma: float) -> Lens:
    """Return a Gaussian blur of `sigma` pixels of the picture."""
    return Lens(lambda distance: np.exp(-0.5 * (distance / sigma) ** 2), int(4 * sigma) + 1)


BICUBIC = Lens(lambda distance: cubic(distance / SCALE), 2 * SCALE)
"""The anti-aliased bicubic of MATLAB's `imresize`."""


@dataclass(frozen=True)
class Shake:
    """How far hands move: shifts of up to so many pixels of the frames, rotations of up to so many degrees."""

    shift: float = 2.0
    degrees: float = 1.0
    shear: float = 0.0

    def draw(self, size: tuple[int, int], generator: np.random.Generator) -> Floats:
        """Draw a matrix (3, 3) around the middle of frames of `size` (H, W)."""
        turn = np.deg2rad(generator.uniform(-self.degrees, self.degrees))
        linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        linear = linear @ (np.eye(2) + generator.uniform(-self.shear, self.shear, (2, 2)))
        center = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
        matrix = np.eye(3)
        matrix[:2, :2] = linear
        matrix[:2, 2] = center - linear @ center + generator.uniform(-self.shift, self.shift, 2)
        return matrix


def shoot(picture: Picture, matrix: Floats, lens: Lens, noise: float, generator: np.random.Generator) -> Picture:
    """Return a frame (h, w, 3) of a picture (H, W, 3): blurred and sampled at once, with noise, in 8 bits."""
    size = (picture.shape[0] // SCALE, picture.shape[1] // SCALE)
    rows, columns = to_large(transform(matrix, make_grid(size)), (SCALE, SCALE), top_left=False).reshape(2, -1)
    (y, down), (x, right) = (_weigh(at, lens, n) for at, n in zip((rows, columns), picture.shape, strict=False))
    total = np.zeros((len(rows), 3))
    for k in range(down.shape[1]):
        line = picture[y[:, k, None], x].astype(np.float64)  # (n, taps, 3)
        total += down[:, k, None] * np.einsum("nt,ntc->nc", right, line)
    frame = total.reshape(*size, 3)
    frame = frame + generator.normal(0, noise, frame.shape) if noise else frame
    return np.asarray(frame.round().clip(0, 255).astype(np.uint8))


def shoot_burst(
    picture: Picture,
    count: int,
    lens: Lens,
    noise: float,
    generator: np.random.Generator,
    scene: Callable[[int], Picture] | None = None,
) -> Iterator[Picture]:
    """Yield frames of a picture, the first of them still; `scene` says what the picture is at each."""
    size = (picture.shape[0] // SCALE, picture.shape[1] // SCALE)
    for k in range(count):
        matrix = Shake().draw(size, generator) if k else np.eye(3)
        yield shoot(scene(k) if scene else picture, matrix, lens, noise, generator)


def shift_and_add(frames: list[AlignedFrame]) -> Picture:
    """Add up all samples where they lie in an image of twice the size, each spread over the pixels around it."""
    height, width = frames[0].weights.shape
    size = (SCALE * height, SCALE * width)
    total, weight = np.zeros((*size, 3)), np.zeros(size)
    for frame in frames:
        inner = frame.positions(slice(0, height), slice(0, width))
        rows, columns = to_large(inner, (SCALE, SCALE), top_left=False).reshape(2, -1)
        samples = frame.samples.flatten(1).T.double().numpy()
        for top in (np.floor(rows), np.floor(rows) + 1):
            for left in (np.floor(columns), np.floor(columns) + 1):
                share = (1 - np.abs(rows - top)) * (1 - np.abs(columns - left))
                share = share * ((top >= 0) & (top < size[0]) & (left >= 0) & (left < size[1]))
                at = (np.clip(top, 0, size[0] - 1).astype(int), np.clip(left, 0, size[1] - 1).astype(int))
                np.add.at(weight, at, share)
                np.add.at(total, at, share[:, None] * samples)
    spread = [gaussian_filter(one, (0.4, 0.4, 0)[: one.ndim]) for one in (total, weight)]
    return np.asarray((255 * spread[0] / (spread[1][..., None] + 1e-9)).round().clip(0, 255).astype(np.uint8))


def _weigh(at: Floats, lens: Lens, n: int) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], Floats]:
    """Return the pixels (samples, taps) of an axis of n around each sample, mirrored at its ends, and their weights."""
    indices = np.floor(at).astype(np.int64)[:, None] + np.arange(1 - lens.reach, lens.reach + 1)
    weights = lens.weigh(at[:, None] - indices)
    mirrored = np.mod(indices, 2 * n)
    return np.where(mirrored < n, mirrored, 2 * n - 1 - mirrored), weights / weights.sum(1, keepdims=True)
