"""Register frames of one scene to fractions of a pixel: from coarse to fine, robustly, by a motion that has a name.

The shift by phase correlation (Kuglin and Hines 1975) is where Gauss-Newton starts, on a pyramid (Lucas and Kanade
1981). Its inverse compositional form (Baker and Matthews 2004) takes the derivatives of one image only, once; a step is
the exponential of the motion's generators. Differences in exposure are fitted along with it (Bartoli 2008).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
import torch

from zssr.degradation.resize import Floats
from zssr.errors import ConfigError
from zssr.multiframe.robust import median_deviation, solve_weighted, weigh_tukey
from zssr.multiframe.warping import Positions, Spline, is_inside, make_grid, transform

Motion = Literal["translation", "rigid", "affine", "homography", "flow"]
"""How frames move; "flow" is a homography, and a motion of its own for each pixel where the scene moves."""


def _unit(row: int, column: int) -> Floats:
    matrix = np.zeros((3, 3))
    matrix[row, column] = 1
    return matrix


_SHIFTS = [_unit(0, 2), _unit(1, 2)]
_LINEAR = [_unit(0, 0), _unit(0, 1), _unit(1, 0), _unit(1, 1)]

GENERATORS: dict[str, list[Floats]] = {
    "translation": _SHIFTS,
    "rigid": [*_SHIFTS, _unit(1, 0) - _unit(0, 1)],
    "affine": [*_SHIFTS, *_LINEAR],
    "homography": [*_SHIFTS, *_LINEAR, _unit(2, 0), _unit(2, 1)],
}
"""Generators of the groups of matrices (3, 3), which act on (x, y, 1)."""

_COARSEST = 32  # least pixels of a side of the pyramid
_PEAKS = 4  # of phase correlation, that are tried
_CERTAIN = 0.9  # the score of a shift after which no other is tried
_MOST_PIXELS = 2**18  # of a level, that are compared
_STEPS = 30  # of Gauss-Newton on each level, at most
_STILL = 1e-3  # pixels that the corners move by in a last step
_NEARLY_STILL = 2e-2  # those of images whose registration goes on with larger ones
_CONTRAST = 0.5  # of the contrast around a pixel: what aliasing and small errors of the motion may make there


@dataclass(frozen=True)
class Registration:
    """Where the pixels of a frame lie in the reference.

    Attributes
    ----------
    matrix
        Takes the frame's pixels (x, y, 1) to the reference: (3, 3).
    gain, bias
        The frame is `gain` times the reference, plus `bias`.
    confidence
        From 0 to 1, how well each pixel of the frame matches (H, W).
    flow
        What the frame's pixels move by before the matrix does, rows and columns (2, H, W); None if that is nothing.
    """

    matrix: Floats
    gain: float
    bias: float
    confidence: Floats
    flow: Floats | None = None

    @property
    def positions(self) -> Positions:
        """Row and column in the reference of each pixel of the frame (2, H, W)."""
        return self.positions_of(slice(0, self.confidence.shape[0]), slice(0, self.confidence.shape[1]))

    def positions_of(self, rows: slice, columns: slice) -> Positions:
        """Return the positions of a rectangle of the frame's pixels."""
        here = np.mgrid[rows, columns].astype(np.float64)
        return transform(self.matrix, here if self.flow is None else here + self.flow[:, rows, columns])

    def inverse(self) -> "Registration":
        """Return that of the reference with the frame, by what they have in common: the matrix and the exposure."""
        inverse = np.asarray(np.linalg.inv(self.matrix))
        return Registration(inverse, 1 / self.gain, -self.bias / self.gain, np.ones_like(self.confidence))

    def then(self, after: "Registration") -> "Registration":
        """Return that of the frame with what its reference is registered with."""
        gain, bias = self.gain * after.gain, self.gain * after.bias + self.bias
        return Registration(after.matrix @ self.matrix, gain, bias, self.confidence)

    @property
    def score(self) -> float:
        """How much of the frame matches, from 0 to 1."""
        return float(self.confidence.mean())


def register(frame: Floats, reference: Floats, motion: Motion = "affine", start: Floats | None = None) -> Registration:
    """Register a frame (H, W) with the reference (h, w), both in [0, 1], by a motion.

    `start` is a matrix (3, 3) that is right to a pixel or so; without one the shift is searched for on smaller images.
    """
    name = "homography" if motion == "flow" else motion
    levels = zip(build_pyramid(frame), build_pyramid(reference), strict=False)
    pyramid = list(levels if start is None else islice(levels, 1))
    start = find_start(*pyramid[-1], GENERATORS[name], 2.0 ** (len(pyramid) - 1)) if start is None else start
    found = Registration(start, 1.0, 0.0, np.ones(frame.shape))
    for level in reversed(range(len(pyramid))):
        found = refine(*pyramid[level], found, GENERATORS[name], 2.0**level)
    found = replace(found, confidence=judge(Spline(frame), Spline(reference), found))
    return follow(frame, reference, found) if motion == "flow" else found


def build_pyramid(image: Floats) -> Iterator[Floats]:
    """Yield the image, blurred a little against noise and aliasing, and its halves down to some 32 pixels a side."""
    from scipy.ndimage import gaussian_filter  # other commands do not wait for it

    level = np.asarray(gaussian_filter(image, 0.7))
    yield level
    while min(level.shape) >= 2 * _COARSEST:
        level = np.asarray(gaussian_filter(level, 1.0))[::2, ::2]
        yield level


def find_start(frame: Floats, reference: Floats, generators: Sequence[Floats], stride: float) -> Floats:
    """Return a matrix (3, 3) from images that have every so manyth pixel: by the shift after which most matches.

    What moves by itself may have a higher peak of phase correlation than all the rest, so no shift is tried, too.
    """
    found: list[Registration] = []
    for shift in dict.fromkeys([(0, 0), *correlate_phases(frame, reference)]):
        one = refine(frame, reference, Registration(_shift(shift), 1.0, 0.0, np.ones(frame.shape)), generators)
        found.append(replace(one, confidence=judge(Spline(frame), Spline(reference), one)))
        if found[-1].score >= _CERTAIN:
            break
    return scale_matrix(max(found, key=lambda one: one.score).matrix, stride)


def correlate_phases(frame: Floats, reference: Floats) -> list[tuple[int, int]]:
    """Return the likeliest shifts (down, right) in whole pixels that take the frame's pixels to the reference."""
    height, width = (max(pair) for pair in zip(frame.shape, reference.shape, strict=True))
    one, other = (np.fft.rfft2(_taper(image), (height, width)) for image in (frame, reference))
    cross = other * one.conj()
    peaks = np.fft.irfft2(cross / (np.abs(cross) + 1e-3 * np.abs(cross).mean() + 1e-20), (height, width))
    highest = np.unravel_index(np.argsort(peaks, axis=None)[: -_PEAKS - 1 : -1], peaks.shape)
    pairs = zip(*(axis.tolist() for axis in highest), strict=True)
    return [((y + height // 2) % height - height // 2, (x + width // 2) % width - width // 2) for y, x in pairs]


def refine(
    frame: Floats, reference: Floats, start: Registration, generators: Sequence[Floats], stride: float = 1.0
) -> Registration:
    """Improve a registration by Gauss-Newton on images that have every so manyth pixel of those it is of."""
    still = _STILL if stride == 1 else _NEARLY_STILL
    every = 1 + int((frame.size / _MOST_PIXELS) ** 0.5)
    spline, thinned = Spline(reference), (slice(None, None, every),) * 2
    here, target = make_grid((frame.shape[0], frame.shape[1]))[:, *thinned], frame[thinned].ravel()
    generators = _center(generators, frame.shape)
    slopes = _differentiate(frame, here, thinned, generators)
    columns = np.stack([np.ones_like(target), np.ones_like(target), *slopes])
    matrix, exposure = scale_matrix(start.matrix, 1 / stride), np.array([start.gain, start.bias])
    corners = here[:, :: max(1, here.shape[1] - 1), :: max(1, here.shape[2] - 1)]
    for step in range(_STEPS):
        there = transform(matrix, here)
        inside = is_inside(there, (reference.shape[0], reference.shape[1])).ravel()
        columns[0] = spline.sample(there).ravel()
        residuals = target - exposure[0] * columns[0] - exposure[1]
        residuals = residuals - (np.median(residuals[inside]) if inside.any() and step == 0 else 0)
        weights = inside * weigh_tukey(residuals, median_deviation(residuals[inside]) + 1e-4)
        exposure, change = np.split(solve_weighted(columns.T, target, weights), [2])
        moved = _exponentiate(np.tensordot(change, generators, 1))
        matrix = matrix @ moved
        if np.abs(transform(moved, corners) - corners).max() < still:
            break
    gain, bias = map(float, exposure)
    return replace(start, matrix=scale_matrix(matrix, stride), gain=gain, bias=bias)


def scale_matrix(matrix: Floats, factor: float) -> Floats:
    """Return a matrix (3, 3) for images of which the first pixels coincide, and the others are so much nearer."""
    scale = np.diag([factor, factor, 1.0])
    scaled = scale @ matrix @ np.linalg.inv(scale)
    return np.asarray(scaled / scaled[2, 2])


def judge(frame: Spline, reference: Spline, found: Registration) -> Floats:
    """Return from 0 to 1 how well the pixels (H, W) of a frame match where they lie in the reference.

    What they may be off is the noise of both, and a share of the contrast around them.
    """
    from scipy.ndimage import gaussian_filter

    there = found.positions
    values = found.gain * reference.sample(there) + found.bias

    def average(image: Floats) -> Floats:
        return np.asarray(gaussian_filter(image, 1.5))

    off = np.sqrt(average(np.square(frame.image - values)))
    mean = average(values)
    contrast = np.sqrt(np.clip(average(np.square(values - mean)), 0, None))
    noise = np.hypot(frame.noise, found.gain * reference.noise)
    weights = weigh_tukey(off, noise + _CONTRAST / 4.685 * contrast + 2 / 255 / 4.685)
    return np.where(is_inside(there, (reference.image.shape[0], reference.image.shape[1])), weights, 0.0)


def follow(frame: Floats, reference: Floats, found: Registration) -> Registration:
    """Add the flow of what moves by itself, where it makes the frame match better.

    It is that of Zach, Pock and Bischof 2007 (TV-L1), by scikit-image. Raises `ConfigError` if that is not installed.
    """
    try:
        from skimage.registration import optical_flow_tvl1
    except ImportError as error:
        raise ConfigError("motion: flow needs skimage: pip install 'zssr[methods]'") from error
    still = found.gain * Spline(reference).sample(found.positions) + found.bias
    flow = np.asarray(optical_flow_tvl1(frame, still, attachment=30), np.float64)  # type: ignore[no-untyped-call]
    moving = replace(found, flow=flow)
    confidence = judge(Spline(frame), Spline(reference), moving)
    is_better = confidence > found.confidence + 0.1
    return replace(
        found,
        flow=np.where(is_better, flow, 0.0),
        confidence=np.where(is_better, confidence, found.confidence),
    )


def _taper(image: Floats) -> Floats:
    """Return an image without its mean that fades out to its borders."""
    return np.asarray((image - image.mean()) * np.outer(*map(np.hanning, image.shape)))


def _shift(shift: tuple[float, float]) -> Floats:
    return np.array([[1, 0, shift[1]], [0, 1, shift[0]], [0, 0, 1]], np.float64)


def _center(generators: Sequence[Floats], shape: tuple[int, ...]) -> list[Floats]:
    """Return the generators of the same group around the image's middle, with its longer side as the unit."""
    unit = max(shape) / 2
    move = np.array([[unit, 0, (shape[1] - 1) / 2], [0, unit, (shape[0] - 1) / 2], [0, 0, 1]])
    return [move @ generator @ np.linalg.inv(move) for generator in generators]


def _differentiate(
    image: Floats, here: Positions, thinned: tuple[slice, slice], generators: Sequence[Floats]
) -> list[Floats]:
    """Return the derivatives (n,) of an image, at the pixels `here`, by the motions that the generators begin."""
    down, right = (np.asarray(np.gradient(image, axis=axis))[thinned] for axis in (0, 1))
    rows, columns = here
    slopes = []
    for generator in generators:
        x, y, z = (a * columns + b * rows + c for a, b, c in generator)
        slopes.append(((x - columns * z) * right + (y - rows * z) * down).ravel())
    return slopes


def _exponentiate(generator: Floats) -> Floats:
    return np.asarray(torch.linalg.matrix_exp(torch.from_numpy(generator)).numpy())
