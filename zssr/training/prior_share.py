"""How much of the prior stays in a network that was fitted to a photo."""

import copy
import math
from functools import partial

import torch
from torch import Tensor

from zssr.method import ResidualNetwork
from zssr.runtime import ComputeType, run_single_threaded
from zssr.training.pairs import Pairs

_CROPS, _AT_ONCE = 16, 8


def interpolate_weights(network: ResidualNetwork, weights: list[Tensor], share: float) -> None:
    """Move a network's weights by `share` of the way toward `weights` (Wortsman et al. 2022)."""
    for weight, other in zip(network.parameters(), weights, strict=True):
        weight.data.lerp_(other, share)


def is_better(network: ResidualNetwork, weights: list[Tensor], validation: Pairs, compute: ComputeType) -> bool:
    """Tell whether a network is better than with other `weights`, on crops that it was not trained on.

    It is if the mean absolute error is less by more than twice its standard error.
    """
    generator = torch.Generator().manual_seed(0)
    drawn = (validation.draw(generator) for _ in range(math.ceil(_CROPS / validation.count)))
    sons, residuals = (torch.cat(crops) for crops in zip(*drawn, strict=True))
    measured = copy.deepcopy(network).to(compute.dtype).eval()
    after = _measure_errors(measured, sons, residuals, compute)
    interpolate_weights(measured, [weight.to(compute.dtype) for weight in weights], 1.0)
    gain = _measure_errors(measured, sons, residuals, compute) - after
    return bool(gain.mean() > 2 * gain.std() / math.sqrt(len(gain)))


def _measure_errors(network: ResidualNetwork, sons: Tensor, residuals: Tensor, compute: ComputeType) -> Tensor:
    """Return the mean absolute error of each crop: (crops,)."""
    parts = zip(torch.split(sons, _AT_ONCE), torch.split(residuals, _AT_ONCE), strict=True)
    calls = [partial(_measure_part, network, *part) for part in parts]
    return torch.cat(list(run_single_threaded(calls, compute.device)))


@torch.no_grad()
def _measure_part(network: ResidualNetwork, sons: Tensor, residuals: Tensor) -> Tensor:
    errors: Tensor = (network(sons) - residuals).abs().mean((1, 2, 3))
    return errors
