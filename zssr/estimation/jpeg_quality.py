"""How a photo was JPEG-compressed, where its file does not say it or says less than its pixels do."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from zssr.color import LUMA
from zssr.degradation.jpeg import SUBSAMPLINGS, Jpeg, to_table
from zssr.degradation.noise import is_quantized
from zssr.estimation.block_dct import SIDE, transform_blocks
from zssr.estimation.block_grid import Phase, find_grids, find_period
from zssr.estimation.quantization_steps import QuantizationSteps, StepHistograms, estimate_quantization

_CHROMA = ((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # weights of red, green, blue in Cb and Cr
_MOST_BLOCKS = 2**14
_RESIZED = 92  # the quality whose artifacts are as strong as what is left of those of 30 to 75 in a smaller photo
_COARSER = 0.4  # a difference of mean logarithms of steps by which pixels are believed more than their file


def resolve_jpeg(
    setting: int | Literal["auto", "off"], image: Tensor, file_jpeg: Jpeg | None, content: Tensor | None = None
) -> Jpeg | None:
    """Return the compression whose artifacts are to be removed from `image` (1, C, H, W) in [0, 1]; None for none.

    A number is a quality. For "auto" it is `file_jpeg`, or what the pixels tell, if they have 8 bits and tell of a
    coarser one: files are saved again. Fine ones count as none (`Jpeg.is_fine`). For "off" it is None. Only the
    `content` (H, W) is looked at, if it is given.
    """
    if not isinstance(setting, str):
        return Jpeg.from_quality(setting)
    if setting == "off":
        return None
    found = estimate_jpeg(image, content) if is_quantized(image, content) else None
    if found and file_jpeg and found.coarseness[0] < file_jpeg.coarseness[0] + _COARSER:
        found = None
    stated = None if file_jpeg is None or file_jpeg.is_fine else file_jpeg
    return found or stated


def estimate_jpeg(image: Tensor, content: Tensor | None = None) -> Jpeg | None:
    """Estimate how the pixels of `image` (1, C, H, W) in [0, 1] were compressed; None if they hardly were.

    The grid of blocks may begin anywhere, and the tables may be any. Of two grids, in a photo that was saved twice, the
    one with the coarser table is taken. Where the tables are those of a quality of libjpeg, that is the answer. The
    confidence is the luma's coherence (`QuantizationSteps`). A photo that was made smaller since shows blocks of fewer
    pixels, and no steps: its artifacts are as weak as those of a high quality. The answer is None for images that are
    neither gray nor RGB. Only the `content` (H, W) is looked at, if it is given.
    """
    if image.shape[1] not in (1, len(LUMA)):
        return None
    colors = 255 * image[0].cpu()
    plane = torch.tensordot(torch.tensor(LUMA), colors, 1) if len(colors) > 1 else colors[0]
    is_whole = ((colors > 0) & (colors < 255)).all(0)  # elsewhere luma is no longer what was encoded
    is_whole = is_whole if content is None else is_whole & content.cpu()
    estimates = []
    for phase in find_grids(plane, is_whole):
        blocks = _transform_blocks(plane, is_whole, phase)
        steps = estimate_quantization(blocks, _usual(0))
        if steps:
            estimates.append((steps.log_strength, phase, steps, blocks))
    if not estimates:
        period = find_period(plane, is_whole)
        return replace(Jpeg.from_quality(_RESIZED), period=period, confidence=0.5) if period else None
    _, phase, steps, blocks = max(estimates, key=lambda estimate: estimate[0])
    jpeg = _describe(steps, blocks, phase, colors, is_whole)
    return None if jpeg.is_fine else jpeg


def _describe(steps: QuantizationSteps, blocks: Tensor, phase: Phase, colors: Tensor, valid: Tensor) -> Jpeg:
    quality, subsampling = _match_libjpeg(steps, blocks), SUBSAMPLINGS[-1]
    luma = to_table(steps.steps.tolist()) if quality is None else Jpeg.from_quality(quality).luma
    chroma = Jpeg.from_quality(Jpeg(luma, luma).quality).chroma
    found = _estimate_chroma(colors, valid, phase) if len(colors) > 1 else None
    if found:
        subsampling = found[0]
        is_alike = abs(found[1].log_strength - steps.log_strength) < 1.2  # few coefficients mislead
        chroma = to_table(found[1].steps.tolist()) if quality is None and is_alike else chroma
    return Jpeg(luma, chroma, subsampling, phase, confidence=round(steps.coherence, 2))


def _transform_blocks(plane: Tensor, valid: Tensor, phase: Phase) -> Tensor:
    """Return the coefficients (K, 64) of at most `_MOST_BLOCKS` different blocks all of whose pixels are valid."""
    down, right = phase
    blocks, whole = (
        one[down:, right:].unfold(0, SIDE, SIDE).unfold(1, SIDE, SIDE).reshape(-1, SIDE, SIDE) for one in (plane, valid)
    )
    blocks = blocks[whole.flatten(1).all(1)]
    blocks = blocks[:: max(1, math.ceil(len(blocks) / _MOST_BLOCKS))]
    coefficients = transform_blocks(blocks).flatten(1)
    sums = (coefficients[:, 1:] / 4).round().double() @ torch.arange(1.0, SIDE**2, dtype=torch.float64).sqrt()
    order = sums.argsort()
    is_new = torch.ones(len(sums), dtype=torch.bool)
    is_new[1:] = sums[order].diff() > 1e-6
    return coefficients[order[is_new]]  # a pattern that recurs is no further evidence


def _usual(which: int) -> Tensor:
    """Return the table for luma (0) or chroma (1) of the standard (ITU-T T.81, annex K): (64,)."""
    jpeg = Jpeg.from_quality(50)
    return torch.tensor((jpeg.luma, jpeg.chroma)[which], dtype=torch.float32)


def _match_libjpeg(steps: QuantizationSteps, blocks: Tensor) -> int | None:
    """Return the quality of libjpeg whose table for luma explains the coefficients as well as `steps`, if one does."""
    tables = torch.tensor([Jpeg.from_quality(quality).luma for quality in range(1, 101)], dtype=torch.float32)
    sums, counts = StepHistograms(blocks).measure(tables)
    coherences = sums / counts.clamp(min=1)
    strengths = tables[:, 1:].log().mean(1)
    is_near = (strengths - steps.log_strength).abs() < 0.25
    best = int(coherences.where(is_near, -math.inf).argmax())
    return best + 1 if is_near[best] and coherences[best] > 0.97 * steps.coherence else None


def _estimate_chroma(colors: Tensor, valid: Tensor, phase: Phase) -> tuple[str, QuantizationSteps] | None:
    """Return the subsampling of the chroma and its steps; None if nothing is to be seen of it."""
    planes = torch.tensordot(torch.tensor(_CHROMA), colors, 1)
    found = []
    for subsampling, blocks in _chroma_blocks(planes, valid, phase):
        steps = estimate_quantization(blocks, _usual(1))
        if steps and steps.coherence > 0.3:
            found.append((steps.coherence, subsampling, steps))
    return max(found, key=lambda one: one[0])[1:] if found else None


def _chroma_blocks(planes: Tensor, valid: Tensor, phase: Phase) -> Iterator[tuple[str, Tensor]]:
    """Yield for each subsampling and place of its grid the coefficients (K, 64) of Cb and Cr (2, H, W)."""
    for subsampling, factors in zip(SUBSAMPLINGS, ((1, 1), (1, 2), (2, 2)), strict=True):
        down, right = (start % factor for start, factor in zip(phase, factors, strict=True))
        small = _average(planes[:, down:, right:], factors)
        is_whole = _average(valid[None, down:, right:].float(), factors)[0] == 1
        starts = [[start // factor, start // factor + 4][:factor] for start, factor in zip(phase, factors, strict=True)]
        # the decoder interpolates chroma that was subsampled, which the mean undoes but for this
        frequency = torch.arange(SIDE)
        gains = [(6 + 2 * torch.cos(math.pi * frequency / SIDE)) / 8 if f == 2 else torch.ones(SIDE) for f in factors]
        gain = (gains[0][:, None] * gains[1]).flatten()
        for row in starts[0]:
            for column in starts[1]:
                at = (row % SIDE, column % SIDE)
                yield subsampling, torch.cat([_transform_blocks(one, is_whole, at) for one in small]) / gain


def _average(planes: Tensor, factors: tuple[int, int]) -> Tensor:
    """Average `planes` (N, H, W) over cells of some rows and columns."""
    rows, columns = (length // factor for length, factor in zip(planes.shape[1:], factors, strict=True))
    cells = planes[:, : rows * factors[0], : columns * factors[1]]
    return cells.reshape(len(planes), rows, factors[0], columns, factors[1]).mean((2, 4))
