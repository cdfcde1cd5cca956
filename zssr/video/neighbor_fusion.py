"""What the neighbors of a frame know of it: their samples, where the motion took them, as far as they match."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from zssr.classical.data_term import DataTerm
from zssr.classical.ibp import descend
from zssr.degradation import Degradation
from zssr.degradation.resize import Floats
from zssr.multiframe.registration import Registration, register
from zssr.multiframe.warping import is_inside, make_grid

FUSED = 2
"""Neighbors on each side that are used."""

_LEAST_SCORE = 0.5  # of a neighbor that is used
_LIKE = (0.75, 1.3)  # area and contrast of a neighbor beside those of the frame
_ITERATIONS = 10
_STEP = 1.5  # times what is safe if all frames say the same; twice is the limit


def fuse_neighbors(frames: Sequence[Tensor], large: Tensor, degradation: Degradation) -> Tensor:
    """Correct an upscaled frame until it gives its neighbors, too, once it is moved and made small.

    It is back-projection on all of them at once, in which each pixel of a neighbor counts as far as it matches. One
    that does not match at all is left out.

    Parameters
    ----------
    frames
        The frame in the middle of its neighbors, each (C, h, w) in [0, 1]; those that are the same object count once.
    large
        The frame in the middle, upscaled (C, H, W).
    degradation
        That of the frames, at the scale.
    """
    size, pieces = (large.shape[-2], large.shape[-1]), list(locate(frames, degradation))
    positions = np.concatenate([where.reshape(2, -1) for _, where, _ in pieces], 1)
    samples = torch.cat([values.flatten(1) for values, *_ in pieces], 1)[None]
    inside = is_inside(positions, size)
    weights = torch.from_numpy(np.concatenate([trust.ravel() for *_, trust in pieces]) * inside).float()
    step = _STEP * degradation.step_size / len(pieces)
    term = DataTerm(samples, degradation.operator_at(size, positions), degradation.noise / 255, weights, step)
    return descend(large[None], term, _ITERATIONS)[0].clamp(0, 1)


def locate(frames: Sequence[Tensor], degradation: Degradation) -> Iterator[tuple[Tensor, Floats, Floats]]:
    """Yield frames that match the middle one, where their pixels lie in the large image, and how well they match."""
    reference = frames[len(frames) // 2]
    height, width = reference.shape[-2:]
    yield reference, to_large_image(make_grid((height, width)), degradation), np.ones((height, width))
    for frame in {id(one): one for one in frames if one is not reference}.values():
        found = register(measure_brightness(frame), measure_brightness(reference))
        if is_plausible(found):
            yield undo_exposure(frame, found), to_large_image(found.positions, degradation), found.confidence


def is_plausible(found: Registration) -> bool:
    """Tell whether a neighbor matches, and has about the size and contrast of the frame."""
    low, high = _LIKE
    area = float(np.linalg.det(found.matrix[:2, :2]))
    return found.score >= _LEAST_SCORE and low <= area <= high and low <= found.gain <= high


def measure_brightness(frame: Tensor) -> Floats:
    """Return the mean of a frame's channels (H, W)."""
    return np.asarray(frame.double().mean(0).numpy())


def undo_exposure(frame: Tensor, found: Registration) -> Tensor:
    """Return a frame as the reference's exposure would have it."""
    return (frame - found.bias) / found.gain


def to_large_image(positions: Floats, degradation: Degradation) -> Floats:
    """Return positions (2, H, W) in a frame as those in its upscaled image."""
    scale = np.array(degradation.scale)[:, None, None]
    return np.asarray(positions * scale if degradation.sampling == "top_left" else (positions + 0.5) * scale - 0.5)
