"""Where an image is photo, and not a uniform margin or ground around it."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad

from zssr.geometry import Wraps

_REACH = 2  # of the neighborhood in which a pixel is uniform
_MOST_STD = 2.0  # of what is uniform, in 0 to 255: scans and JPEG files have some noise there
_LEAST_SHARE = 0.02  # of the image that a ground has
_PEAK_RATIO = {False: 10.0, True: 1.5}  # of pixels within a level of its brightness to those within six
_MOST_ROUNDING = 0.2  # variance, in 0 to 255, around a plane: what was drawn as a gradient is rounded, once or twice
_LEAST_GRADIENT = 0.05  # share of the image
_LEAST_CONTENT = 256  # pixels
_MOST_SMALL = 0.05  # share of the pixels that may be small holes

GUARD = 2
"""Pixels at a border of the content that may be soft, and are not judged."""

_BLOCK = 7  # pixels of a JPEG's block that lies across a border


def find_content(image: Tensor, wraps: Wraps = (False, False)) -> Tensor | None:
    """Find where `image` (N, C, H, W) in [0, 1] is photo: (H, W); None if that is everywhere, or next to nowhere.

    What is left out are grounds: margins of scans, bars of videos, what a product or a cut-out lies on. A ground is
    uniform but for slight noise, and has one brightness, around which there are few others: a clear sky, for one, has
    many. Smooth shadows without noise that touch it belong to it. Or it is a gradient without any noise at the image's
    border. So do, where its borders are not sharp, blocks of a JPEG that lie across them.
    """
    levels = 255 * image.detach().cpu().float().flatten(0, 1)[None]
    if min(levels.shape[-2:]) <= _REACH:
        return None
    _, variances = _measure(levels.mean(1, keepdim=True), wraps)
    if (variances <= _MOST_STD**2).float().mean() < _LEAST_SHARE:
        return None  # soon, which is usual
    mean, variances = _measure(levels, wraps)
    variance, brightness = variances.amax(1)[0], mean.mean(1)[0]
    is_uniform = variance <= _MOST_STD**2
    grounds = _find_grounds(brightness[is_uniform], brightness[variance <= 0.01], brightness.numel())
    around_planes = variances - _measure_slopes(levels, wraps)
    gradients = _keep_bordering(around_planes.amax(1)[0] <= _MOST_ROUNDING)
    if not grounds and not gradients.any():
        return None
    is_near = _is_near_any(brightness, grounds, 2.5)
    roughness = _largest_near((levels - mean).abs().amax(1, keepdim=True))[0, 0]
    ground = _keep_large((is_uniform & is_near) | gradients, roughness <= 1.2)
    content = ~dilate(ground, _REACH)
    beside = dilate(content, _REACH) & ~content
    is_sharp = _is_near_any(levels.mean(1)[0][beside], grounds, 0.5).float().mean() > 0.9
    content = content if is_sharp else erode(content, _BLOCK - GUARD)
    return content if content.any() and erode(content).sum() >= _LEAST_CONTENT and not content.all() else None


def find_judgeable(image: Tensor) -> Tensor | None:
    """Find where `image` (N, C, H, W) in [0, 1] can be judged, (H, W): its content without its borders."""
    content = find_content(image)
    return None if content is None else erode(content)


def erode(content: Tensor, reach: int = GUARD) -> Tensor:
    """Return the content (H, W) without what is near its borders."""
    return ~dilate(~content, reach)


def drop_small(holes: Tensor) -> Tensor:
    """Return holes (H, W) without lines and points of 1 or 2 pixels, which fill well, unless there are many."""
    large = dilate(erode(holes, 1), 1) & holes
    return large if (holes & ~large).float().mean() < _MOST_SMALL else holes


def dilate(mask: Tensor, reach: int) -> Tensor:
    """Return a mask (H, W) with all that is within `reach` pixels of it, along both axes."""
    return max_pool2d(mask[None, None].float(), 2 * reach + 1, 1, reach)[0, 0] > 0


def _measure(planes: Tensor, wraps: Wraps) -> tuple[Tensor, Tensor]:
    """Return the means and the variances of the neighborhoods of planes (1, K, H, W)."""
    mean, square = (_local_mean(one, wraps) for one in (planes, planes.square()))
    return mean, square - mean.square()


def _measure_slopes(planes: Tensor, wraps: Wraps) -> Tensor:
    """Return the part of the neighborhoods' variances that slopes make, those of fitted planes: (1, K, H, W)."""
    at = torch.arange(-_REACH, _REACH + 1.0)
    ramp = (at / (len(at) * at.square().mean().sqrt() * len(at))).expand(len(at), -1)
    kernels = torch.stack([ramp, ramp.T])[:, None]
    parts = conv2d(_pad(planes, wraps).transpose(0, 1), kernels)
    return parts.square().sum(1, keepdim=True).transpose(0, 1)


def _is_near_any(values: Tensor, grounds: list[float], reach: float) -> Tensor:
    """Tell which values are within `reach` of the brightness of a ground."""
    near = torch.zeros_like(values, dtype=torch.bool)
    for ground in grounds:
        near |= (values - ground).abs() <= reach
    return near


def _local_mean(planes: Tensor, wraps: Wraps) -> Tensor:
    """Return the means of the neighborhoods of planes (1, K, H, W)."""
    return avg_pool2d(_pad(planes, wraps), 2 * _REACH + 1, 1)


def _pad(planes: Tensor, wraps: Wraps) -> Tensor:
    """Add margins to planes (1, K, H, W) that are as wide as neighborhoods reach."""
    for axis, wrapped in enumerate(wraps):
        sides = (0, 0, _REACH, _REACH) if axis == 0 else (_REACH, _REACH, 0, 0)
        planes = pad(planes, sides, mode="circular" if wrapped else "reflect")
    return planes


def _largest_near(planes: Tensor) -> Tensor:
    return max_pool2d(planes, 2 * _REACH + 1, 1, _REACH)


def _find_grounds(uniform: Tensor, constant: Tensor, size: int) -> list[float]:
    """Return the brightness, in 0 to 255, of each ground of an image of `size` pixels.

    Given is that of the pixels that are uniform, and of those that are even constant. Around a ground that is mostly
    constant there may be shadows of nearly its brightness.
    """
    counts, constants = (torch.histc(one, 1024, -0.125, 255.875) for one in (uniform, constant))  # quarters of a level
    grounds: list[float] = []
    while counts.sum() >= _LEAST_SHARE * size:
        core = 7 * avg_pool2d(counts[None, None], (1, 7), 1, (0, 3))[0, 0]
        peak = int(core.argmax())
        near = slice(max(peak - 24, 0), peak + 25)
        is_constant = constants[max(peak - 3, 0) : peak + 4].sum() >= 0.6 * core[peak]
        others = float(counts[near].sum() - core[peak])
        if core[peak] < max(_LEAST_SHARE * size, _PEAK_RATIO[bool(is_constant)] * others, 64):
            break
        weights, first = counts[max(peak - 3, 0) : peak + 4], max(peak - 3, 0)
        grounds.append(
            float(weights @ torch.arange(first, first + len(weights), dtype=weights.dtype) / weights.sum()) / 4
        )
        counts[near] = 0
    return grounds


def _keep_bordering(smooth: Tensor) -> Tensor:
    """Return the large parts of what is smooth (H, W) that touch the image's border."""
    if smooth.sum() < _LEAST_GRADIENT * smooth.numel():
        return torch.zeros_like(smooth)
    from scipy.ndimage import label  # images without a ground do not wait for it

    parts = torch.from_numpy(label(smooth.numpy())[0]).long()
    sizes = parts.flatten().bincount()
    is_kept = torch.zeros(len(sizes), dtype=torch.bool)
    for side in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        is_kept[side] = True
    is_kept &= sizes >= _LEAST_GRADIENT * smooth.numel()
    is_kept[0] = False
    return is_kept[parts]


def _keep_large(ground: Tensor, smooth: Tensor) -> Tensor:
    """Return the large parts of the ground (H, W), with all that is smooth and touches them."""
    from scipy.ndimage import binary_propagation, label  # images without a ground do not wait for it

    parts = torch.from_numpy(label(ground.numpy())[0]).long()
    sizes = parts.flatten().bincount()
    sizes[0] = 0
    large = (sizes >= max(64, 0.001 * ground.numel()))[parts]
    return torch.from_numpy(binary_propagation(large.numpy(), mask=(smooth | large).numpy()))


def holds_content(colors: Tensor, hidden: Tensor) -> bool:
    """Tell whether `colors` (C, h, w) in [0, 1] hold content where they are `hidden` (h, w).

    They do not where nearly all are one of four colors, nor where neighbors have nothing in common.
    """
    if hidden.sum() < 64:
        return False
    shades = (32 * colors[:4]).round().long()
    mixed = (shades * 33 ** torch.arange(len(shades)).view(-1, 1, 1)).sum(0)[hidden]
    counts = np.sort(np.unique(mixed.numpy(), return_counts=True)[1])[::-1]
    pairs = hidden[:, 1:] & hidden[:, :-1]
    difference = (colors[:, :, 1:] - colors[:, :, :-1])[:, pairs].square().mean()
    is_noise = difference > 0.7 * 2 * colors[:, hidden].var(1).mean()
    return bool(counts[:4].sum() < 0.95 * hidden.sum()) and not bool(is_noise)
