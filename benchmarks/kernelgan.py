"""Refining a kernel by a game: a generator shrinks the photo, a discriminator tells its patches from the photo's."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad, relu

from zssr.degradation.blur import center_of_mass
from zssr.degradation.resize import Floats
from zssr.errors import ImageError
from zssr.estimation.parametric_kernels import SCALE

_PATCH = 3  # pixels: what the discriminator sees at once
_BATCH = 256  # patches of each side in a step
_MOST_SIDE = 1024  # of the photo: its middle says enough
_LEAST_SIDE = 16  # of the kernel, to have room for other shapes than that of the start
_CHANNELS, _CHAIN = 16, 3  # of the shrinker: inner layers of 3 x 3; the first one fills the kernel's side
_FEATURES = 32  # of the discriminator
_SHRINKER_RATE, _DISCRIMINATOR_RATE = 1e-3, 2e-3
_BETAS = (0.5, 0.99)
_AVERAGED = 0.5  # the share of the steps, the last ones, whose kernels are averaged
_NEGLIGIBLE = 1e-3  # of the largest tap
_FAINT = 1e-4  # a tap that is as good as none

_PULL = 30.0  # without it the game leaves even the true kernel
_SUM, _CENTER, _BOUNDARY, _SPARSITY = 1.0, 0.1, 0.1, 0.005


def refined(
    luma: Floats,
    start: Floats,
    generator: torch.Generator,
    steps: int = 200,
    on_step: Callable[[int, int], None] = lambda done, most: None,
) -> Floats:
    """Refine a kernel until the photo, shrunk by it, has patches like the photo's own; for a scale of 2.

    What is small in a photo is seen larger elsewhere in it, so its patches look alike at all sizes, if it is shrunk the
    way it was made. A shrinker learns to do so from a discriminator that learns to see the difference (KernelGAN,
    Bell-Kligler, Shocher and Irani 2019; least squares as in Mao et al. 2017). The kernel may take any shape, but the
    patches say little about it, so it is strongly pulled back to `start`, and a good one hardly changes.

    Parameters
    ----------
    luma
        The photo's brightness (H, W) in [0, 1].
    start
        The kernel (height, width) to begin with, of even sides, around its middle, in pixels of the large image.
    generator
        Draws the first weights and the patches.
    steps
        Of both networks. More follow the game further away from `start`.
    on_step
        Gets (steps done, all steps) and may stop the game by raising.

    Returns
    -------
    NDArray[np.float64]
        The mean kernel of the last half of the steps: (height, width), at least 16 x 16, summing to one and around its
        middle, the center of a block of 2 x 2 pixels. Raises `ImageError` if no patch can be shrunk from the photo.
    """
    start = _with_room(start)
    top, left = (max(0, side - _MOST_SIDE) // 2 for side in luma.shape)
    middle = luma[top : top + _MOST_SIDE, left : left + _MOST_SIDE]
    photo = torch.from_numpy(middle.astype(np.float32))[None, None]
    sides = (start.shape[0] + SCALE * (_PATCH - 1), start.shape[1] + SCALE * (_PATCH - 1))
    if photo.shape[-2] < sides[0] or photo.shape[-1] < sides[1]:
        size = f"{photo.shape[-1]} x {photo.shape[-2]}"
        raise ImageError(f"image: {size} pixels are fewer than the {sides[1]} x {sides[0]} that a patch is made of")
    shrinker, discriminator = Shrinker.starting(start, generator), Discriminator.drawn(generator)
    shrinking = torch.optim.Adam(shrinker.weights, _SHRINKER_RATE, _BETAS)
    discriminating = torch.optim.Adam(discriminator.weights, _DISCRIMINATOR_RATE, _BETAS)
    kernels = [shrinker.kernel().detach()]
    own, made = _contrasts(photo), _contrasts(conv2d(photo, kernels[0], stride=SCALE))
    photo = photo * own.sum() / (_PATCH * own.square().sum())  # such that the drawn patches have a norm of about one
    for done in range(steps):
        real = _crops(photo, _places(own, generator), (_PATCH, _PATCH))
        fake = conv2d(_crops(photo, _places(made, generator) * SCALE, sides), shrinker.kernel(), stride=SCALE)
        seen = (discriminator(real) - 1).square().mean() + discriminator(fake.detach()).square().mean()
        _step(discriminating, seen, discriminator.weights)
        missed = (discriminator(fake) - 1).square().mean() + penalty(shrinker.kernel(), kernels[0])
        _step(shrinking, missed, shrinker.weights)
        kernels.append(shrinker.kernel().detach())
        on_step(done + 1, steps)
    last = kernels[-max(1, round(steps * _AVERAGED)) :]
    return _cleaned(torch.stack(last).mean(0)[0, 0].double().numpy())


@dataclass
class Shrinker:
    """A deep linear generator: `start` plus what a chain of convolutions without activations adds to it.

    A chain learns first what many taps have in common, unlike its composed kernel would. Its last layer starts at zero.
    """

    start: Tensor  # (1, 1, height, width)
    weights: list[Tensor]

    @classmethod
    def starting(cls, start: Floats, generator: torch.Generator) -> "Shrinker":
        """Return one that shrinks with `start` (height, width)."""
        height, width = (side - 2 * _CHAIN for side in start.shape)
        shapes = [(_CHANNELS, 1, height, width), *[(_CHANNELS, _CHANNELS, 3, 3)] * _CHAIN]
        weights = [_drawn(shape, generator) for shape in shapes] + [torch.zeros(1, _CHANNELS, 1, 1, requires_grad=True)]
        return cls(torch.from_numpy(start).to(torch.float32)[None, None], weights)

    def kernel(self) -> Tensor:
        """Return the composed kernel (1, 1, height, width): what the chain makes of an impulse, turned."""
        height, width = self.start.shape[-2:]
        impulse = pad(torch.ones(1, 1, 1, 1), (width - 1, width - 1, height - 1, height - 1))
        return self.start + self.chain(impulse).flip(2, 3)

    def chain(self, images: Tensor) -> Tensor:
        """Take `images` (N, 1, H, W) through the layers, without the border."""
        for weight in self.weights:
            images = conv2d(images, weight)
        return images


@dataclass
class Discriminator:
    """Tells patches of the photo (1) from others (0): ReLU, and layers of spectral norm one (Miyato et al. 2018)."""

    weights: list[Tensor]  # of three layers, then their biases

    @classmethod
    def drawn(cls, generator: torch.Generator) -> "Discriminator":
        """Return one that knows nothing yet."""
        shapes = (_FEATURES, 1, _PATCH, _PATCH), (_FEATURES, _FEATURES, 1, 1), (1, _FEATURES, 1, 1)
        biases = [torch.zeros(shape[0], requires_grad=True) for shape in shapes]
        return cls([_drawn(shape, generator) for shape in shapes] + biases)

    def __call__(self, patches: Tensor) -> Tensor:
        """Take `patches` (N, 1, 3, 3), whose means do not count, to what is said of each: (N, 1, 1, 1)."""
        patches = patches - patches.mean((2, 3), keepdim=True)
        layers, biases = self.weights[:3], self.weights[3:]
        for weight, bias in zip(layers[:-1], biases[:-1], strict=True):
            patches = relu(conv2d(patches, weight / torch.linalg.matrix_norm(weight.flatten(1), 2), bias))
        return conv2d(patches, layers[-1], biases[-1])


def penalty(kernel: Tensor, start: Tensor) -> Tensor:
    """Return how unlike a kernel, and unlike `start`, a kernel (1, 1, height, width) is."""
    height, width = kernel.shape[-2:]
    y, x = (torch.arange(side) - (side - 1) / 2 for side in (height, width))
    outside = (torch.maximum(y.abs()[:, None] / height, x.abs() / width) * 4 - 1).clamp_min(0)  # 0 in the inner half
    taps = kernel[0, 0]
    return (
        _SUM * (taps.sum() - 1).square()
        + _CENTER * ((taps.sum(1) @ y).square() + (taps.sum(0) @ x).square())
        + _BOUNDARY * (taps.abs() * outside).sum()
        + _SPARSITY * (taps.abs() + _FAINT).sqrt().sum() / math.sqrt(taps.numel())
        + _PULL * (kernel - start).square().sum() / start.square().sum()
    )


def _step(learner: torch.optim.Optimizer, loss: Tensor, weights: list[Tensor]) -> None:
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = gradient
    learner.step()


def _contrasts(picture: Tensor) -> Tensor:
    """Return the standard deviation of each patch of `picture` (1, 1, H, W)."""
    variance = avg_pool2d(picture.square(), _PATCH, 1) - avg_pool2d(picture, _PATCH, 1).square()
    return variance[0, 0].clamp_min(_FAINT**2).sqrt()


def _places(contrasts: Tensor, generator: torch.Generator) -> Tensor:
    """Draw patches by their contrast: (N, 2) as (row, column)."""
    drawn = torch.multinomial(contrasts.flatten(), _BATCH, replacement=True, generator=generator)
    return torch.stack([drawn // contrasts.shape[1], drawn % contrasts.shape[1]], 1)


def _crops(picture: Tensor, places: Tensor, sides: tuple[int, int]) -> Tensor:
    """Cut crops (N, 1, *sides) out of `picture` (1, 1, H, W)."""
    return picture[0, 0].unfold(0, sides[0], 1).unfold(1, sides[1], 1)[places[:, 0], places[:, 1]][:, None]


def _drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw the weights of a layer that keeps the size of what it gets."""
    return (torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))).requires_grad_()


def _with_room(kernel: Floats) -> Floats:
    return np.pad(kernel, [(max(0, math.ceil((_LEAST_SIDE - side) / 2)),) * 2 for side in kernel.shape])


def _cleaned(kernel: Floats) -> Floats:
    """Move the center of mass to the middle, and drop negligible taps."""
    kernel = kernel / kernel.sum()
    away = [(side - 1) / 2 - center for side, center in zip(kernel.shape, center_of_mass(kernel), strict=True)]
    kernel = ndimage.shift(kernel, away)
    kernel = np.where(np.abs(kernel) < _NEGLIGIBLE * kernel.max(), 0, kernel)
    return np.asarray(kernel / kernel.sum())
