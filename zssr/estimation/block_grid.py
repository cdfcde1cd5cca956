"""The grid of 8x8 blocks in which a photo was compressed: where it begins, and its period if it was made smaller."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from zssr.estimation.block_dct import SIDE, dct_matrix

Phase = tuple[int, int]
"""Row and column, from 0 to 7, at which the first whole block of a photo begins."""

_MOST_POSITIONS = 2**15  # of blocks that are transformed
_STRIP = 2 * SIDE - 1  # rows that hold a block at each of the 8 phases


def find_grids(plane: Tensor, valid: Tensor) -> list[Phase]:
    """Find the phases at which `plane` (H, W), in 0 to 255, may have been compressed, at most three, best first.

    In the right grid most coefficients of the cosine transform are near zero, since quantization made them so; in any
    other they are not. A phase whose row or column alone is right shows a part of that. What its row and its column
    have in common with others is subtracted (median polish; Tukey 1977), and two phases that stand out of the rest are
    kept, since photos are saved twice. Where blocks are so coarse that parts say all, the emptiest is added. `valid`
    (H, W) tells which pixels are looked at.
    """
    emptiness = -_mean_log_coefficients(plane, valid)
    if not torch.isfinite(emptiness).all():
        return []
    residuals = emptiness.clone()
    for _ in range(4):
        residuals -= residuals.median(1, keepdim=True).values
        residuals -= residuals.median(0, keepdim=True).values
    scores = (residuals / (1.4826 * residuals.abs().median() + 1e-9)).flatten()
    found = [k for k in scores.argsort(descending=True).tolist()[:2] if scores[k] > 10]
    emptiest = int(emptiness.argmax())
    return [divmod(k, SIDE) for k in dict.fromkeys([*found, emptiest])]


def _mean_log_coefficients(plane: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of log(1 + |coefficient|) over the blocks of each phase (8, 8); NaN where there are none."""
    stride = SIDE * max(1, math.ceil(plane.numel() / _MOST_POSITIONS))
    if min(plane.shape) < _STRIP:
        return torch.full((SIDE, SIDE), math.nan)
    rows = plane.unfold(0, _STRIP, stride).unfold(2, SIDE, 1) @ dct_matrix().mT  # (strips, W, 8 phases, 8)
    coefficients = rows.unfold(1, SIDE, 1) @ dct_matrix().mT  # (strips, W - 7, 8 phases, 8, 8)
    logs = coefficients.abs_().add_(1).log_().flatten(3).mean(3)
    counts = pad(valid.float(), (1, 0, 1, 0)).cumsum(0).cumsum(1)
    counts = counts[SIDE:] - counts[:-SIDE]
    is_whole = counts[:, SIDE:] - counts[:, :-SIDE] == SIDE**2  # (H - 7, W - 7)
    weights = is_whole.unfold(0, SIDE, stride)[: len(logs)].float()
    sums = [((logs * weights)[:, k::SIDE].sum((0, 1)), weights[:, k::SIDE].sum((0, 1))) for k in range(SIDE)]
    return torch.stack([total / count for total, count in sums], 1)


def find_period(plane: Tensor, valid: Tensor) -> float | None:
    """Find the side of the blocks of a photo `plane` (H, W), in 0 to 255, that was made smaller; None if none is seen.

    It is from 4.5 to 7.9 pixels, the same for rows and columns. Steps between neighbors are larger at the sides of
    blocks: the mean step of each row, and of each column, is searched for a period and half of it.
    """
    if min(plane.shape) < 64:
        return None
    periods = torch.arange(4.5, 7.9, 0.02)
    powers = torch.stack([_periodic_powers(*one, periods) for one in ((plane, valid), (plane.mT, valid.mT))])
    first, second = powers.sum(0)
    # enlarged photos have a smooth period, a sine, or half of the period alone
    is_seen = (powers.mean(1) > 5).all(0) & (first + second > 40) & (second > 0.11 * first) & (second < 3 * first)
    shares = (powers.mean(1) / torch.tensor(plane.shape)[:, None]).sum(0).where(is_seen, 0.0)
    return float(periods[shares.argmax()]) if shares.max() > 0.12 else None


def _periodic_powers(plane: Tensor, valid: Tensor, periods: Tensor) -> Tensor:
    """Return the power of the steps between rows at each period and half of it, for random steps 1: (2, periods)."""
    steps = plane.diff(dim=0)
    jumps = (steps[1:-1] - (steps[:-2] + steps[2:]) / 2).abs().clamp_(max=12)
    is_whole = (valid[:-3] & valid[1:-2] & valid[2:-1] & valid[3:]).float()
    means = (jumps * is_whole).sum(1) / is_whole.sum(1).clamp(min=1)
    around = pad(means[None], (10, 10), "reflect")[0].unfold(0, 21, 1).median(1).values
    relative = means / (around + 0.05)
    relative = relative - relative.mean()
    limit = 3 * relative.std()
    relative = relative.clamp(-limit, limit)
    at = 2 * math.pi * torch.arange(len(relative)) / periods[:, None]
    total = relative.square().sum() + 1e-9
    first, second = (((h * at).cos() @ relative) ** 2 + ((h * at).sin() @ relative) ** 2 for h in (1, 2))
    return torch.stack([first, second]) / total
