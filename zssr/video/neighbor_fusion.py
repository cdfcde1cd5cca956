"""What the neighbors of a frame know of it: their samples, where the motion took them, as far as they match.

The upscaled neighbors are moved onto the frame and averaged with it, which takes noise. Then the average is corrected
until it gives all of the frames, once it is moved and made small as they were. The neighbors, which were corrected in
the same way, are averaged with it once more, which takes flicker.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zssr.classical.data_term import DataTerm
from zssr.degradation import Degradation
from zssr.degradation.resize import Floats
from zssr.multiframe.alignment import to_large
from zssr.multiframe.registration import Registration, judge, register
from zssr.multiframe.warping import Positions, Spline, is_inside, make_grid, transform
from zssr.video.windows import split_range

FUSED = 2
"""Neighbors on each side that are used."""

_LEAST_SCORE = 0.5  # of a neighbor that is used
_LIKE = (0.75, 1.3)  # area and contrast of a neighbor beside those of the frame
_ITERATIONS = 10
_DEGREE = 2  # of the splines that are sampled: half as much work as by cubic ones, and as exact on what is blurred
_STEP = 1.5  # times what is safe if all frames say the same; twice is the limit
_LEAST_FALL = 0.02  # of the error in an iteration, or the rest of it is noise
_BAND_PIXELS = 2**21  # of a large image, that are fused at once
_MARGIN = 16  # rows of the small image that a band is fused with on either side


@dataclass(eq=False)
class SeenFrame:
    """A frame of a video (C, h, w), what became of it by itself (C, H, W), both in [0, 1], and its motion to the next.

    The motion is looked for once.
    """

    small: Tensor
    large: Tensor
    _step: "tuple[SeenFrame, Registration] | None" = field(default=None, init=False, repr=False)

    @cached_property
    def brightness(self) -> Spline:
        """The mean of its channels (h, w)."""
        return Spline(np.asarray(self.small.double().mean(0).numpy()))

    def register_with(self, after: "SeenFrame") -> Registration:
        """Register it with the frame after it."""
        if self._step is None or self._step[0] is not after:
            self._step = after, register(self.brightness.image, after.brightness.image)
        return self._step[1]


class FusedFrame(NamedTuple):
    """A frame, the neighbors that match it, and its upscaled image (C, H, W), corrected until it gives them all."""

    frame: SeenFrame
    neighbors: Sequence[tuple[SeenFrame, Registration]]
    image: Tensor


class Samples(NamedTuple):
    """Values (C, n) of several frames, where they lie in the large image (2, n), and how well they match (n,)."""

    values: Tensor
    positions: Positions
    weights: Floats


def fuse_neighbors(frames: Sequence[SeenFrame], degradation: Degradation) -> FusedFrame:
    """Fuse the frame in the middle of its neighbors with them.

    Each pixel of a neighbor counts as far as it matches. One that does not match at all is left out, and those that are
    the same object count once. `degradation` is that of the frames, at the scale.

    Large frames are fused in bands. The one in the middle says how many iterations they get.
    """
    middle = frames[len(frames) // 2]
    neighbors = [(frame, found) for frame, found in register_neighbors(frames) if is_plausible(found)]
    by_themselves = [(frame.large, found) for frame, found in neighbors]
    samples = collect_samples(middle, neighbors, degradation)
    step_size = _STEP * degradation.step_size / (1 + len(neighbors))
    height, width = middle.large.shape[-2:]
    margin = round(_MARGIN * degradation.scale[0])
    fused, iterations = torch.empty_like(middle.large), None
    for band in sorted(split_rows(middle.large), key=lambda band: abs(band[0] + band[-1] - height)):
        top, bottom = max(0, band[0] - margin), min(height, band[-1] + 1 + margin)
        start = average_rows(middle.large, by_themselves, slice(top, bottom), degradation)
        term = make_term(samples, top, (bottom - top, width), degradation, step_size)
        image, iterations = back_project_samples(start[None], term, iterations)
        fused[:, band[0] : band[-1] + 1] = image[0, :, band[0] - top :][:, : len(band)]
    return FusedFrame(middle, neighbors, fused.clamp(0, 1))


def average_neighbors(frames: Sequence[FusedFrame], degradation: Degradation) -> Tensor:
    """Return the mean (C, H, W) of the frame in the middle of its neighbors and of them, moved onto it."""
    middle, images = frames[len(frames) // 2], {id(one.frame): one.image for one in frames}
    neighbors = [(images[id(frame)], found) for frame, found in middle.neighbors]
    bands = [slice(band[0], band[-1] + 1) for band in split_rows(middle.image)]
    return torch.cat([average_rows(middle.image, neighbors, rows, degradation) for rows in bands], 1)


def split_rows(image: Tensor) -> list[range]:
    """Split the rows of a large image (C, H, W) into bands."""
    height, width = image.shape[-2:]
    return split_range(range(height), max(1, _BAND_PIXELS // width))


def register_neighbors(frames: Sequence[SeenFrame]) -> Iterator[tuple[SeenFrame, Registration]]:
    """Yield the neighbors of the frame in the middle, registered with it."""
    middle = len(frames) // 2
    yield from follow_motion(frames[middle::-1], is_back=True)
    yield from follow_motion(frames[middle:], is_back=False)


def follow_motion(frames: Sequence[SeenFrame], *, is_back: bool) -> Iterator[tuple[SeenFrame, Registration]]:
    """Yield the frames after the first, or before it, registered with it: by way of those in between.

    It ends before one that shows something else.
    """
    reference, found = frames[0], None
    for nearer, frame in pairwise(frames):
        before, after = (frame, nearer) if is_back else (nearer, frame)
        if frame is nearer or not is_plausible(step := before.register_with(after)):
            return
        step = step if is_back else step.inverse()
        found = step.then(found) if found else step
        yield frame, replace(found, confidence=judge(frame.brightness, reference.brightness, found))


def is_plausible(found: Registration) -> bool:
    """Tell whether a neighbor matches, and has about the size and contrast of the frame."""
    low, high = _LIKE
    area = float(np.linalg.det(found.matrix[:2, :2]))
    return found.score >= _LEAST_SCORE and low <= area <= high and low <= found.gain <= high


def average_rows(
    middle: Tensor, neighbors: Sequence[tuple[Tensor, Registration]], rows: slice, degradation: Degradation
) -> Tensor:
    """Return the mean of some rows of a large image (C, H, W) and of its neighbors, moved onto it."""
    here = to_small_image(make_grid((middle.shape[-2], middle.shape[-1]), rows), degradation)
    total, weights = middle[:, rows].clone(), torch.ones(here.shape[1:])
    for image, found in neighbors:
        there = transform(np.asarray(np.linalg.inv(found.matrix)), here)
        weight = interpolate(torch.from_numpy(found.confidence).float()[None], there, "bilinear")[0]
        weight *= torch.from_numpy(is_inside(there, (found.confidence.shape[0], found.confidence.shape[1])))
        moved = interpolate(image, to_large_image(there, degradation), "bicubic")
        total += weight * undo_exposure(moved, found)
        weights += weight
    return total / weights


def collect_samples(
    middle: SeenFrame, neighbors: Sequence[tuple[SeenFrame, Registration]], degradation: Degradation
) -> Samples:
    """Collect the samples of a frame and its neighbors."""
    size = (middle.small.shape[-2], middle.small.shape[-1])
    places = [make_grid(size), *(found.positions for _, found in neighbors)]
    values = [middle.small, *(undo_exposure(frame.small, found) for frame, found in neighbors)]
    return Samples(
        torch.cat([one.flatten(1) for one in values], 1),
        np.concatenate([to_large_image(place, degradation).reshape(2, -1) for place in places], 1),
        np.concatenate([np.ones(size).ravel(), *(found.confidence.ravel() for _, found in neighbors)]),
    )


def make_term(
    samples: Samples, top: int, size: tuple[int, int], degradation: Degradation, step_size: float
) -> DataTerm:
    """Return what is known of a band of `size` (H, W) that begins in the row `top`: the samples that lie in it."""
    positions = samples.positions - np.array([[top], [0]])
    used = np.flatnonzero(samples.weights * is_inside(positions, size))
    operator = degradation.operator_at(size, positions[:, used], _DEGREE)
    weights = torch.from_numpy(samples.weights[used]).float()
    return DataTerm(samples.values[None, :, used], operator, weights=weights, known_step=step_size)


def back_project_samples(start: Tensor, term: DataTerm, iterations: int | None) -> tuple[Tensor, int]:
    """Correct an image (1, C, H, W) until it gives the samples, by Nesterov's accelerated descent (1983).

    It ends after so many iterations; None is until the error hardly falls, as what is left of it is noise. Returns how
    many there were, too.
    """
    image, ahead, last = start, start, math.inf
    for k in range(_ITERATIONS if iterations is None else iterations):
        error = term.error(ahead)
        size_of_error = term.measure(error)
        if iterations is None and size_of_error > (1 - _LEAST_FALL) * last:
            return image, k
        before, image, last = image, ahead + term.correct(error), size_of_error
        ahead = image + k / (k + 3) * (image - before)
    return image, _ITERATIONS if iterations is None else iterations


def undo_exposure(frame: Tensor, found: Registration) -> Tensor:
    """Return a frame as the reference's exposure would have it."""
    return (frame - found.bias) / found.gain


def interpolate(image: Tensor, positions: Positions, mode: str) -> Tensor:
    """Interpolate an image (C, H, W) at positions (2, h, w)."""
    sides = np.array(image.shape[-2:])[:, None, None]
    places = torch.from_numpy((positions + 0.5) * 2 / sides - 1).flip(0).permute(1, 2, 0).float()
    return functional.grid_sample(image[None], places[None], mode, "reflection", align_corners=False)[0]


def to_large_image(positions: Positions, degradation: Degradation) -> Positions:
    """Return positions (2, ...) in a frame as those in its upscaled image."""
    return to_large(positions, degradation.scale, top_left=degradation.sampling == "top_left")


def to_small_image(positions: Positions, degradation: Degradation) -> Positions:
    """Return positions (2, H, W) in an upscaled image as those in the frame."""
    scale = np.array(degradation.scale)[:, None, None]
    return np.asarray(positions / scale if degradation.sampling == "top_left" else (positions + 0.5) / scale - 0.5)
