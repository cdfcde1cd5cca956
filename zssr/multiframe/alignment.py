"""Frames with their motion and their exposure beside those of the reference."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zssr.degradation.resize import Floats
from zssr.geometry import Factors
from zssr.multiframe.frames_of_burst import Frame
from zssr.multiframe.registration import Motion, Registration, register
from zssr.multiframe.robust import median_deviation, solve_weighted, weigh_tukey
from zssr.multiframe.warping import Positions, Spline, transform

LEAST_SCORE = 0.3
"""What a frame must score, or it shows something else."""

_SMOOTH = 2.0  # pixels of the blur under which exposures are compared, so that noise does not matter
_OTHER_EXPOSURE = 0.03  # difference of a gain from 1
_ROUNDS = 4  # of reweighing


@dataclass(frozen=True)
class AlignedFrame:
    """A frame of a burst in terms of the reference.

    Attributes
    ----------
    name
        What to call it.
    samples
        Its colors (C, H, W) as the reference would have them.
    weights
        From 0 to 1, how far each is trusted (H, W).
    registration
        Where its pixels lie in the reference; None for the reference itself.
    """

    name: str
    samples: Tensor
    weights: Tensor
    registration: Registration | None = None

    @property
    def score(self) -> float:
        """How much of the frame matches the reference."""
        return 1.0 if self.registration is None else self.registration.score

    @property
    def is_used(self) -> bool:
        """Whether the frame shows what the reference does."""
        return self.score >= LEAST_SCORE

    def find_rectangle(self, start: Floats, stop: Floats) -> tuple[slice, slice]:
        """Return the rows and columns that have all pixels which lie between two positions in the reference."""
        found, low, high = self.registration, np.asarray(start), np.asarray(stop)
        if found is not None:
            corners = np.array([[start[0], start[0], stop[0], stop[0]], [start[1], stop[1], start[1], stop[1]]])
            there = transform(np.asarray(np.linalg.inv(found.matrix), np.float64), corners)
            reach = 0.0 if found.flow is None else float(np.abs(found.flow).max())
            low, high = there.min(1) - reach, there.max(1) + reach
        ends = [
            np.clip([a - 1, b + 2], 0, n).astype(int) for a, b, n in zip(low, high, self.weights.shape, strict=True)
        ]
        return slice(*map(int, ends[0])), slice(*map(int, ends[1]))

    def positions(self, rows: slice, columns: slice) -> Positions:
        """Return where a rectangle of its pixels lies in the reference, (2, h, w)."""
        if self.registration is None:
            return np.mgrid[rows, columns].astype(np.float64)
        return self.registration.positions_of(rows, columns)


def align_frames(frames: Sequence[Frame], reference: int, motion: Motion) -> Iterator[AlignedFrame]:
    """Yield the frames, each registered with the reference, its exposure undone."""
    target = frames[reference]
    for k, frame in enumerate(frames):
        yield AlignedFrame(frame.name, frame.colors, frame.weights) if k == reference else align(frame, target, motion)


def align(frame: Frame, reference: Frame, motion: Motion) -> AlignedFrame:
    """Register a frame with the reference, and give it the reference's exposure, channel by channel."""
    found = register(frame.luma, reference.luma, motion)
    weights = frame.weights * torch.from_numpy(found.confidence).float()
    planes = zip(frame.colors, reference.colors, strict=True)
    exposures = [match_exposure(_to_floats(one), _to_floats(two), found, weights) for one, two in planes]
    gains, biases = torch.tensor(exposures, dtype=torch.float32).T[:, :, None, None]
    if float((gains - 1).abs().max()) > _OTHER_EXPOSURE:
        weights = weights * ((frame.colors > 0) & (frame.colors < 1)).all(0)  # what is clipped says little
    return AlignedFrame(frame.name, (frame.colors - biases) / gains, weights * gains.mean().clamp_max(1) ** 2, found)


def match_exposure(frame: Floats, reference: Floats, found: Registration, weights: Tensor) -> tuple[float, float]:
    """Return by which gain and bias a channel (H, W) of the reference becomes that of the frame.

    Both are blurred before they are compared, and only where nothing strange is near. Where they hardly vary it is a
    gain of 1.
    """
    from scipy.ndimage import gaussian_filter  # other commands do not wait for it

    values = Spline(np.asarray(gaussian_filter(reference, _SMOOTH))).sample(found.positions).ravel()
    mean, target = float(values.mean()), np.asarray(gaussian_filter(frame, _SMOOTH)).ravel()
    columns = np.stack([values - mean, np.ones_like(values)], 1)
    near = np.asarray(gaussian_filter(_to_floats(weights), _SMOOTH, mode="constant"))
    trusted = np.clip(2 * near - 1, 1e-6, 1).ravel()
    exposure, robust = np.array([1.0, 0.0]), trusted
    for _ in range(_ROUNDS):
        exposure = solve_weighted(columns, target, robust)
        residuals = target - columns @ exposure
        robust = trusted * weigh_tukey(residuals, median_deviation(residuals) + 1e-4)
    if not 0.1 < exposure[0] < 10:
        return 1.0, float(robust @ (target - values) / robust.sum())
    return float(exposure[0]), float(exposure[1] - exposure[0] * mean)


def to_large(positions: Positions, scale: Factors, *, top_left: bool) -> Positions:
    """Return positions in the reference as those in an image that is larger by `scale`."""
    factors = np.array(scale).reshape(2, *[1] * (positions.ndim - 1))
    return np.asarray(positions * factors if top_left else (positions + 0.5) * factors - 0.5)


def _to_floats(plane: Tensor) -> Floats:
    return np.asarray(plane.double().numpy())
