"""The blur of the frames of a burst, from what they show together: more than any single one does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zssr.classical.data_term import DataTerm
from zssr.classical.map import PRIORS, minimize_posterior
from zssr.color import luma
from zssr.degradation import Degradation, resize
from zssr.degradation.resamplers import BICUBIC
from zssr.degradation.resize import Floats
from zssr.estimation.edges import round_blur_log_likelihoods
from zssr.estimation.parametric_kernels import SCALE, Gaussian
from zssr.estimation.periodogram import Mask, measure_spectrum
from zssr.estimation.spectrum import blur_distances
from zssr.geometry import Factors, Region
from zssr.multiframe.alignment import AlignedFrame
from zssr.multiframe.fusion import cut

LEAST_FRAMES = 4
"""How many frames it takes to see twice as many frequencies along each axis."""

SIGMAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.4, 2.8)
"""Standard deviations of the Gaussians that are compared, in pixels of an image of twice the size."""

BICUBIC_SIGMA = 0.72
"""That of the Gaussian that is nearest to bicubic."""

_COVERED = 0.6  # share of the frames that have to match
_LOOKED_AT = 256  # side in pixels of the reference's center
_PRIOR = replace(PRIORS["gaussian"], strength=0.003)
_MOST_NOISE = 0.01  # in an image of twice the size, which all frames give
_BICUBIC_ODDS = 0.5  # of bicubic beside a single Gaussian, before anything is seen


@dataclass(frozen=True)
class FrameBlur:
    """A Gaussian blur of `sigma` pixels of the frames, or bicubic, if that is None."""

    sigma: float | None

    def __str__(self) -> str:
        return "bicubic" if self.sigma is None else f"gaussian, {self.sigma:.2f} px of the frames"

    def to_kernel(self, scale: Factors) -> Floats | None:
        """Return it as a kernel (height, width) for `scale`; None is bicubic."""
        return None if self.sigma is None else make_gaussian(self.sigma * scale[0], self.sigma * scale[1])


def estimate_frame_blur(frames: Sequence[AlignedFrame]) -> FrameBlur | None:
    """Return the blur by which frames were made small; None if they are too few or have too little contrast.

    All frames give an image of twice the size that is blurred, but neither aliased nor noisy. Its spectrum and edges
    are compared with those of sharp images after each blur: bicubic and Gaussians. The answer is bicubic if that is
    likelier than all others, or else the mean over all that are likely.
    """
    if len(frames) < LEAST_FRAMES:
        return None
    merged, is_covered = merge(frames)
    measured = measure_spectrum(luma(merged[0]), is_covered)
    if measured is None:
        return None
    kernels = [BICUBIC.to_kernel((SCALE, SCALE)), *(make_gaussian(sigma, sigma) for sigma in SIGMAS)]
    log_likelihoods = -0.5 * blur_distances(measured.power, kernels)
    by_edges = round_blur_log_likelihoods(luma(merged[0]), kernels, is_covered, _MOST_NOISE)
    if by_edges is not None:
        log_likelihoods += by_edges
    weights = np.exp(log_likelihoods - log_likelihoods.max()) * np.array([_BICUBIC_ODDS, *np.ones(len(SIGMAS))])
    if weights[0] > weights[1:].sum():
        return FrameBlur(None)
    return FrameBlur(float(weights @ (BICUBIC_SIGMA, *SIGMAS) / weights.sum()) / SCALE)


def make_gaussian(down: float, right: float) -> Floats:
    """Sample a Gaussian of these standard deviations (vertical, horizontal) around a pixel."""
    sides = [2 * math.ceil(4 * sigma) + 1 for sigma in (down, right)]
    return Gaussian.from_covariance(np.diag([down**2, right**2])).sample((sides[0], sides[1]))


def merge(frames: Sequence[AlignedFrame]) -> tuple[Tensor, Mask]:
    """Return the image (1, 1, H, W) of twice the size that the center of all frames gives, without any deblurring.

    And where most of them say something (H, W).
    """
    (reference,) = (frame for frame in frames if frame.registration is None)
    size = (reference.weights.shape[0], reference.weights.shape[1])
    center = Region.center(size, _LOOKED_AT)
    large = center.scaled((SCALE, SCALE), (SCALE * size[0], SCALE * size[1]))
    sampling = Degradation(np.ones((1, 1)), (SCALE, SCALE))
    pieces = [piece for frame in frames if (piece := cut(frame, large, sampling)) is not None]
    planes = [torch.from_numpy(luma(piece.samples)).float().flatten() for piece in pieces]
    positions = np.concatenate([piece.positions.reshape(2, -1) for piece in pieces], 1)
    weights = torch.cat([piece.weights.flatten() for piece in pieces])
    operator = sampling.operator_at(large.size, positions)
    term = DataTerm(torch.cat(planes)[None, None], operator, weights=weights)
    rows, columns = center.slices_within(Region.whole(size))
    start = torch.from_numpy(luma(reference.samples[:, rows, columns])).float()[None, None]
    coverage = SCALE**2 * operator.measure_density(weights, float(SCALE))
    return minimize_posterior(resize(start, large.size), term, _PRIOR).clamp(0, 1), coverage > _COVERED * len(frames)
