"""How well a degradation explains that small patches of a photo recur in it at other sizes."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.signal import convolve2d
from torch import Tensor
from torch.nn.functional import unfold

from zssr.degradation import Degradation
from zssr.degradation.blur import kernel_at_scale
from zssr.degradation.resize import Floats
from zssr.errors import ImageError

_PATCH = 3  # pixels; larger patches recur less often, and smoother ones then win
_STRONG = 0.05  # the share of the photo's patches, those of most contrast, that are looked for
_MOST_QUERIES, _MOST_ANSWERS = 2000, 16000
_CHUNK = 256
_LUMA = (0.299, 0.587, 0.114)
_LENS = 0.16  # px^2: variance of the blur that the large image had before the kernel


@torch.no_grad()
def recurrence(image: Tensor, candidates: Sequence[Degradation], generator: torch.Generator) -> Floats:
    """Score degradations by how near the photo's patches come to patches of the photo that they shrank; least is best.

    What is small in a photo is often seen larger elsewhere in it, so that the photo shrunk the way it was made holds
    its own patches once more (Michaeli and Irani 2013). The blur that leads from the photo to the smaller one is not
    quite the one that made the photo: if a scene looks the same at every distance, a blur of covariance C in front of
    which the large image had one of L leaves (C + L) / s^2 of the photo's pixels, and that has to come out again, so
    the photo is shrunk with (1 - 1 / s^2) (C + L). Bicubic is taken as it is.

    Parameters
    ----------
    image
        The photo (1, C, H, W) in [0, 1]; of three channels the luma counts.
    candidates
        Degradations of the same scale. The noise and rounding in them do not count.
    generator
        Draws the patches, the same ones for all candidates.

    Returns
    -------
    NDArray[np.float64]
        For each candidate the mean distance of strong patches to the nearest one in the shrunk photo, over their mean
        contrast; 0 everywhere for a flat picture. Only scores of one call can be compared.

    Raises
    ------
    ImageError
        If the photo is so small that nothing is left of it when shrunk.
    """
    plane = _luma(image.to(torch.float32))
    scale = candidates[0].scale
    size = (math.floor(plane.shape[-2] / scale[0]), math.floor(plane.shape[-1] / scale[1]))
    if min(size) < _PATCH:
        raise ImageError(f"image: {plane.shape[-1]} x {plane.shape[-2]} pixels are too few to find its patches again")
    queries = _strongest(_patches(plane), generator)
    answers = torch.randperm((size[0] - _PATCH + 1) * (size[1] - _PATCH + 1), generator=generator)[:_MOST_ANSWERS]
    distances = [_distance(queries, _patches(_across(c).shrink(plane, size))[answers]) for c in candidates]
    return np.array(distances) / max(float(queries.norm(dim=1).mean()), 1e-6)


def _luma(image: Tensor) -> Tensor:
    if image.shape[1] != len(_LUMA):
        return image.mean(1, keepdim=True)
    return (image * image.new_tensor(_LUMA).view(1, -1, 1, 1)).sum(1, keepdim=True)


def _patches(plane: Tensor) -> Tensor:
    """Return all patches of `plane` (1, 1, H, W) without their means, (count, pixels)."""
    patches = unfold(plane, _PATCH)[0].T
    return patches - patches.mean(1, keepdim=True)


def _strongest(patches: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from the patches of most contrast."""
    strong = patches.norm(dim=1).topk(math.ceil(_STRONG * len(patches))).indices
    return patches[strong[torch.randperm(len(strong), generator=generator)[:_MOST_QUERIES]]]


def _distance(queries: Tensor, answers: Tensor) -> float:
    """Return the mean distance of `queries` to the nearest of `answers`."""
    squares = answers.square().sum(1)
    nearest = [torch.addmm(squares, chunk, answers.T, alpha=-2).amin(1) for chunk in torch.split(queries, _CHUNK)]
    return float((torch.cat(nearest) + queries.square().sum(1)).clamp_min(0).sqrt().mean())


def _across(degradation: Degradation) -> Degradation:
    """Return what leads from the photo to the smaller photo, if `degradation` led to the photo."""
    if degradation.kernel is None:
        return degradation
    share = [1 - 1 / s**2 for s in degradation.scale]
    between = tuple(math.sqrt(1 + part * (s**2 - 1)) for part, s in zip(share, degradation.scale, strict=True))
    kernel = kernel_at_scale(degradation.kernel, degradation.scale, (between[0], between[1]))
    tails = [part * _LENS / 2 for part in share]  # three taps, which have exactly that variance
    column, row = (np.array([tail, 1 - 2 * tail, tail]) for tail in tails)
    return replace(degradation, kernel=convolve2d(kernel, np.outer(column, row)))
