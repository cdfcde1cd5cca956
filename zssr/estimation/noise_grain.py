"""The kind of noise on a photo: its strength over frequencies, channels and brightness, in the flattest blocks."""

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from zssr.degradation.noise import Grain
from zssr.estimation.block_dct import SIDE, transform_blocks

_FREQUENCY = torch.arange(SIDE)[:, None] + torch.arange(SIDE)
_HALVES = ((_FREQUENCY % 2 == 0) & (_FREQUENCY > 1), (_FREQUENCY % 2 == 1) & (_FREQUENCY > 2))
_ROUNDING = 1 / 12  # variance of rounding to 8 bits
_BLURS = (0.0, *(0.3 + 0.05 * k for k in range(21)))  # pixels; texture looks like noise that is softer
# unevenness and misfit together: 1.1 to 1.5 in noisy photos, 1.7 and more in clean ones, but in some below 180x180
# pixels (`python -m benchmarks grain`, and with `--side 96`)
_MOST_UNLIKE, _MOST_UNLIKE_SMALL = 1.6, 1.5
_FEWEST_PIXELS = 3600  # at which blocks begin
_MOST_UNCERTAIN = 1.35  # where variances over brightness are compared
_HARDLY_GRAY = 0.15  # is added where channels are neither alike, as of film, nor independent: texture is hardly gray


class GrainEstimate(NamedTuple):
    """Standard deviation of noise, in 0 to 255 at middle gray, and its kind."""

    sigma: float
    grain: Grain


class _FlatBlocks(NamedTuple):
    """The flattest blocks of about the same brightness: their brightness, power (8, 8), and so on."""

    brightness: float
    power: Tensor
    unevenness: float
    correlation: float


def estimate_grain(image: Tensor, content: Tensor | None = None) -> GrainEstimate | None:
    """Estimate the noise on `image` (1, C, H, W) in [0, 1], whatever its spectrum; None if there is none.

    The flattest blocks of a clean photo have what little texture there is: the next flattest have more. With noise all
    of them have the same power, and the spectrum of blurred white noise. Blocks are chosen by one half of the
    frequencies and measured by the other, so that the choice does not bias the power, and among those of about the same
    brightness. Photos whose unevenness and misfit are too large have none. Only the `content` (H, W) is looked at, if
    it is given.
    """
    pixels = image[0, 0].numel() if content is None else int(content.sum())
    stride = max(1, math.ceil(math.sqrt(pixels / 40000)))
    coefficients = _transform_blocks(image, content, stride)  # (K, C, 8, 8)
    if stride**2 * len(coefficients) < _FEWEST_PIXELS:
        return None
    weights = 1 / (coefficients.square().mean(1).median(0).values + _ROUNDING)
    groups = [coefficients[part] for part in (coefficients[:, :, 0, 0].mean(1)).argsort().chunk(4)]
    flat = sorted((_measure(group, weights) for group in groups), key=lambda blocks: blocks.unevenness)
    variance, blur, misfit = _fit_spectrum(torch.stack([blocks.power for blocks in flat]).log().mean(0).exp())
    flat = flat[:3]  # a fourth of the photo may have no flat blocks
    correlation = sum(blocks.correlation for blocks in flat) / len(flat)
    unevenness = sum(max(blocks.unevenness, 1 / blocks.unevenness) for blocks in flat) / len(flat)
    unlikeness = unevenness + misfit + _HARDLY_GRAY * (0.5 < correlation < 0.9)
    if unlikeness > (_MOST_UNLIKE if pixels > 180**2 else _MOST_UNLIKE_SMALL):
        return None
    variances = torch.tensor([_fit_spectrum(blocks.power)[0] for blocks in flat])
    middle, shot = _fit_brightness(torch.tensor([blocks.brightness for blocks in flat]), variances / variance)
    blur = blur if blur > 0.45 else 0.0  # white noise in a photo with fine texture
    if unlikeness > _MOST_UNCERTAIN:  # of texture, some brightness has more
        middle, shot = 1.0, 0.0
    correlation = round(correlation, 2) if correlation > 0.5 else 0.0
    return GrainEstimate(math.sqrt(variance * middle), Grain(blur, correlation, shot))


def _transform_blocks(image: Tensor, content: Tensor | None, stride: int) -> Tensor:
    """Return the coefficients (K, C, 8, 8), in 0 to 255, of blocks that are hardly clipped, one every few pixels."""
    if min(image.shape[-2:]) < SIDE:
        return torch.empty(0, image.shape[1], SIDE, SIDE)
    blocks = (255 * image[0].cpu()).unfold(1, SIDE, stride).unfold(2, SIDE, stride).permute(1, 2, 0, 3, 4)
    if content is not None:
        blocks = blocks[content.cpu().unfold(0, SIDE, stride).unfold(1, SIDE, stride).all(-1).all(-1)]
    blocks = blocks.reshape(-1, image.shape[1], SIDE, SIDE)
    blocks = blocks[((blocks <= 0) | (blocks >= 255)).float().mean((1, 2, 3)) <= 0.05]
    return transform_blocks(blocks)


def _measure(group: Tensor, weights: Tensor) -> _FlatBlocks:
    """Measure the flattest of `group` (K, C, 8, 8); `weights` (8, 8) make frequencies comparable."""
    count = max(10, round(0.02 * len(group)))
    weighted = group.square().mean(1) * weights
    power, wide, flattest = torch.zeros(SIDE, SIDE), torch.zeros(SIDE, SIDE), []
    for chosen, measured in (_HALVES, _HALVES[::-1]):
        order = weighted[:, chosen].mean(1).argsort()[: 8 * count]
        power[measured] = _robust_power(group[order[:count]][..., measured])
        wide[measured] = _robust_power(group[order][..., measured])
        flattest.append(group[order[:count]][..., measured].flatten(2))
    correlation = sum(_correlate(blocks) for blocks in flattest) / len(flattest)
    unevenness = float((wide.sum() + 1) / (power.sum() + 1))
    return _FlatBlocks(float(group[:, :, 0, 0].mean() / SIDE), power, unevenness, correlation)


def _robust_power(coefficients: Tensor) -> Tensor:
    """Return the variance of normal values (K, C, F) by their median, without that of rounding: (F,)."""
    return ((coefficients.abs().flatten(0, 1).median(0).values / 0.6745) ** 2 - _ROUNDING).clamp(min=1e-3)


def _correlate(blocks: Tensor) -> float:
    """Return the mean correlation of the channels of (K, C, F)."""
    channels = blocks.shape[1]
    if channels == 1:
        return 0.0
    variance = blocks.square().sum()
    total = blocks.sum(1).square().sum()
    return float(((total / variance - 1) / (channels - 1)).clamp(0, 1))


def _fit_spectrum(power: Tensor) -> tuple[float, float, float]:
    """Fit blurred white noise to the power (8, 8): return its variance and blur, and the misfit of the logarithms."""
    is_used = (_FREQUENCY > 1) & (_FREQUENCY < 12)
    spectra, measured = _noise_spectra()[:, is_used], (power[is_used] + 1).log()  # texture is below 1
    variances = torch.ones(len(spectra), 1)
    for _ in range(8):
        misfits = measured - (variances * spectra + 1).log()
        variances *= misfits.median(1, keepdim=True).values.exp()
    errors = misfits.square().mean(1).sqrt()
    best = int(errors.argmin())
    return float(variances[best]), round(_BLURS[best], 2), float(errors[best])


@cache
def _noise_spectra() -> Tensor:
    """Return the power of blocks of noise with variance 1 for each of `_BLURS`: (blurs, 8, 8)."""
    distance = torch.arange(SIDE)[:, None] - torch.arange(SIDE)
    widths = torch.tensor(_BLURS).clamp(min=1e-3)[:, None, None]
    covariances = torch.exp(-(distance**2) / (4 * widths**2))
    spectra = transform_blocks(covariances).diagonal(dim1=1, dim2=2)
    return spectra[:, :, None] * spectra[:, None]


def _fit_brightness(brightness: Tensor, levels: Tensor) -> tuple[float, float]:
    """Fit a line to relative variances: return that at middle gray, and the share of it that grows with brightness."""
    if len(levels) < 3 or brightness.max() - brightness.min() < 40:
        return 1.0, 0.0
    features = torch.stack([torch.ones(len(levels)), brightness / 127.5], 1)
    constant, slope = torch.linalg.lstsq(features, levels[:, None]).solution[:, 0].tolist()
    middle = max(constant + slope, 0.1)
    shot = min(max(slope / middle, 0.0), 1.0)
    return (middle, round(shot, 2)) if shot > 0.6 else (1.0, 0.0)
