"""Maximum a posteriori estimation with a Huber-Markov, Gaussian or total variation prior (Schultz, Stevenson 1994)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from zssr.classical.data_term import REACH, DataTerm
from zssr.degradation import Degradation
from zssr.geometry import Factors
from zssr.method import Method

GRADIENT = torch.tensor([[[[-1.0, 1], [0, 0]]], [[[-1, 0], [1, 0]]]])
"""Filters (K, 1, h, w) of first differences."""

CURVATURE = torch.tensor(
    [
        [[[0.0, 0, 0], [1, -2, 1], [0, 0, 0]]],
        [[[0, 1, 0], [0, -2, 0], [0, 1, 0]]],
        [[[0.5, 0, 0], [0, -1, 0], [0, 0, 0.5]]],
        [[[0, 0, 0.5], [0, -1, 0], [0.5, 0, 0]]],
    ]
)
"""Filters of second differences in four directions (Schultz and Stevenson 1994, eq. 8)."""

_SOLVES, _ITERATIONS = 12, 30


@dataclass(frozen=True)
class ImagePrior:
    """A prior on what filters respond to an image.

    Attributes
    ----------
    strength
        Its weight beside a data term with the error of 8-bit rounding.
    filters
        The filters (K, 1, h, w).
    weigh
        Takes responses (N, K, H, W) to the weights of their squares.
    """

    strength: float
    filters: Tensor
    weigh: Callable[[Tensor], Tensor]


def _huber_weights(responses: Tensor) -> Tensor:
    """Weigh small responses as squares, and those above a threshold as absolute values (Huber 1964)."""
    threshold = 0.003
    return (threshold / responses.abs().clamp_min(1e-9)).clamp_max(1)


def _total_variation_weights(responses: Tensor) -> Tensor:
    """Weigh gradients as their lengths (Rudin, Osher and Fatemi 1992)."""
    return 1 / (responses.square().sum(1, keepdim=True) + 1e-5).sqrt()


PRIORS = {
    "tv": ImagePrior(0.0004, GRADIENT, _total_variation_weights),
    "huber": ImagePrior(0.02, CURVATURE, _huber_weights),
    "gaussian": ImagePrior(0.0005, CURVATURE, torch.ones_like),
}


def estimate_map(large: Tensor, small: Tensor, degradation: Degradation, offset: Factors, *, prior: str) -> Tensor:
    """Minimize the squared data error plus the prior's penalty."""
    term = DataTerm.of_photo(small, (large.shape[-2], large.shape[-1]), degradation, offset)
    return minimize_posterior(large, term, PRIORS[prior])


def minimize_posterior(
    large: Tensor, term: DataTerm, prior: ImagePrior, reweigh: Callable[[DataTerm, Tensor], DataTerm] | None = None
) -> Tensor:
    """Minimize the squared data error plus the prior's penalty, starting from `large`.

    A prior that is not Gaussian is minimized by reweighted least squares: each solve is a quadratic problem, and the
    course ends when the image changes by less than a tenth of a level. `reweigh` does the same for the data: it takes
    the term and the image that is reached, and returns the term with new weights.
    """
    strength, filters = prior.strength * term.noise_ratio**2, prior.filters.to(large)
    for _ in range(_SOLVES):
        before, weights = large, strength * prior.weigh(respond(large, filters))
        large = term.solve(partial(penalize, filters=filters, weights=weights), 0 * large, large, _ITERATIONS)
        term = term if reweigh is None else reweigh(term, large)
        if float((large - before).square().mean().sqrt()) < 0.1 / 255:
            break
    return large


def respond(image: Tensor, filters: Tensor) -> Tensor:
    """Return the responses (N * C, K, h, w) of filters to `image` (N, C, H, W), where they lie in it.

    Sums of shifted images are several times faster than a convolution of one channel.
    """
    planes, (height, width) = image.flatten(0, 1), _find_inside(image, filters)
    responses = planes.new_zeros(len(planes), len(filters), height, width)
    for k, _, y, x in filters.nonzero().tolist():
        responses[:, k].add_(planes[:, y : y + height, x : x + width], alpha=float(filters[k, 0, y, x]))
    return responses


def penalize(image: Tensor, filters: Tensor, weights: Tensor) -> Tensor:
    """Return half the gradient of the weighted squares of the responses."""
    gradient, (height, width) = torch.zeros_like(image).flatten(0, 1), _find_inside(image, filters)
    weighted = weights * respond(image, filters)
    for k, _, y, x in filters.nonzero().tolist():
        gradient[:, y : y + height, x : x + width].add_(weighted[:, k], alpha=float(filters[k, 0, y, x]))
    return gradient.view(image.shape)


def _find_inside(image: Tensor, filters: Tensor) -> tuple[int, int]:
    """Return the size (h, w) of the places where filters lie in an image."""
    return image.shape[-2] - filters.shape[-2] + 1, image.shape[-1] - filters.shape[-1] + 1


METHOD = Method(
    name="map",
    summary="reconstruction: the likeliest image under a prior, which keeps edges",
    paper="Schultz and Stevenson 1994",
    reconstruct=estimate_map,
    reach=lambda _: REACH,
    options={"prior": tuple(PRIORS)},
)
