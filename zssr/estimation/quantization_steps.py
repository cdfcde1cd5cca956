"""The quantization step of each frequency, from the gaps between the coefficients that occur."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

_BIN = 0.5  # of histograms of coefficients
_BINS = 1024
_LARGEST_STEP = 255
_FINEST = 3.5  # mean of tables that are tried; palettes have steps of 2 in all frequencies
_SHAPES = (
    (0.0, 0.0),
    (0.5, 0.0),
    (1.0, 0.0),
    (1.3, 0.0),
    (0.0, 1.0),
    (0.0, 1.6),
)  # exponents of usual table and frequency
_WINDOW = 1.7  # a step is at most so many times smaller or larger than expected


@dataclass(frozen=True)
class QuantizationSteps:
    """The steps (64,) of a table, row by row, and how surely they are known.

    Attributes
    ----------
    steps
        Where no coefficient tells of a frequency's step, it is as those of the others let expect.
    coherence
        Mean of cos(2 pi x / step) over the coefficients x that are not zero: 1 if all are whole steps, 0 if none is.
    significance
        Of the coherence, in standard deviations of that of coefficients that were not quantized.
    """

    steps: Tensor
    coherence: float
    significance: float

    @property
    def log_strength(self) -> float:
        """Return the mean logarithm of the steps, but for the mean's."""
        return float(self.steps[1:].log().mean())


class StepHistograms:
    """For each frequency and step: how many coefficients are not quantized to zero, and the sum of their cosines."""

    def __init__(self, coefficients: Tensor) -> None:
        """Take coefficients (K, 64)."""
        bins = (coefficients.abs() / _BIN).round().long().clamp_(max=_BINS - 1).mT.contiguous()
        histograms = torch.zeros(64, _BINS).scatter_add_(1, bins, torch.ones(bins.shape))
        histograms[0] = 0  # the mean of a block says little: its steps are small beside its values
        self.sums, self.counts = torch.chunk(histograms @ _cosines(), 2, 1)

    def measure(self, tables: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums of the cosines for `tables` (N, 64), and the numbers of coefficients: (N,)."""
        at = (torch.arange(64), tables.long() - 1)
        return self.sums[at].sum(-1), self.counts[at].sum(-1)

    def fit(self, expected: Tensor) -> tuple[Tensor, Tensor]:
        """Choose steps near the `expected` ones (64,): (64,); also tell where coefficients speak for them."""
        steps = torch.arange(1, _LARGEST_STEP + 1)
        is_near = (steps - expected[:, None]).abs() <= 0.5
        is_near |= (steps < _WINDOW * expected[:, None]) & (steps * _WINDOW > expected[:, None])
        scores = (self.sums / (self.counts / 2).clamp(min=1).sqrt()).where(is_near, -math.inf)
        best, at = scores.max(1)
        return torch.where(best > 4, at + 1.0, expected.round()), best > 4


def estimate_quantization(coefficients: Tensor, usual: Tensor) -> QuantizationSteps | None:
    """Estimate the table with which `coefficients` (K, 64) were quantized; None if they were not.

    Tables of several strengths and shapes are tried: powers of the `usual` one (64,), times a factor. Fractions of the
    true steps fit, too, so the coarsest table that explains nearly as many coefficients as any is taken. Then the step
    of each frequency is chosen near that table, and the table near the steps so found, twice.
    """
    histograms = StepHistograms(coefficients)
    tables, strengths = _usual_tables(tuple(usual.tolist()))
    sums, counts = histograms.measure(tables)
    fits = (sums > 8 * (counts / 2).sqrt()) & (sums > 0.1 * counts)
    if not fits.any():
        return None
    fits &= sums > 0.75 * sums[fits].max()
    fits &= strengths > strengths[fits].max() - 0.35
    expected = tables[sums.where(fits, -math.inf).argmax()]
    for _ in range(2):
        steps, is_seen = histograms.fit(expected)
        expected = _smooth(steps, is_seen, expected, usual)
    steps, _ = histograms.fit(expected)
    total, count = (float(one) for one in histograms.measure(steps[None]))
    return QuantizationSteps(steps, total / max(count, 1), total / math.sqrt(max(count, 1) / 2))


def _smooth(steps: Tensor, is_seen: Tensor, expected: Tensor, usual: Tensor) -> Tensor:
    """Fit a power of the usual table to the steps that are seen: (64,); a few leave the expected ones as they are."""
    if is_seen.sum() < 6:
        return expected
    features = torch.cat([torch.ones(64, 1), _shape_features(usual)], 1)
    seen, deviations = features[is_seen], (steps / expected).log()[is_seen]
    ridge = torch.diag(torch.tensor([0.0, 1.0, 1.0]))  # few steps hardly tell of the shape
    weights = torch.linalg.solve(seen.mT @ seen + ridge, seen.mT @ deviations)
    smooth: Tensor = (expected.log() + features @ weights).exp()
    return smooth.clamp(1, _LARGEST_STEP)


def _shape_features(usual: Tensor) -> Tensor:
    """Return the logarithms of the usual table and of frequency, each with a mean of 0: (64, 2)."""
    frequency = torch.arange(8)[:, None] + torch.arange(8) + 2.0
    logs = torch.stack([usual.log(), frequency.flatten().log()], 1)
    return logs - logs[1:].mean(0)


@cache
def _cosines() -> Tensor:
    """Return for each bin and step the cosine, and whether the bin is quantized to another value than zero."""
    values, steps = _BIN * torch.arange(_BINS)[:, None], torch.arange(1.0, _LARGEST_STEP + 1)
    is_nonzero = (values > steps / 2).float()
    return torch.cat([torch.cos(2 * math.pi * values / steps) * is_nonzero, is_nonzero], 1)


@cache
def _usual_tables(usual: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Return tables (N, 64) of many strengths and a few shapes, and the logarithms of their strengths (N,)."""
    strengths = torch.arange(math.log(_FINEST), math.log(_LARGEST_STEP), 0.06)
    shapes = torch.tensor(_SHAPES) @ _shape_features(torch.tensor(usual)).mT
    tables = (shapes[:, None] + strengths[:, None]).exp().round().clamp(1, _LARGEST_STEP)
    return tables.flatten(0, 1), strengths.repeat(len(_SHAPES))
