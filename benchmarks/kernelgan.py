"""Adversarial refinement of estimated kernels (KernelGAN): PSNR on Y, kernel error and time, beside the estimate."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad, relu

from benchmarks.blind import Case, load_cases, measure_covariance, measure_psnr, measure_width_error
from zssr import estimate_kernel
from zssr.color import luma
from zssr.config import Config
from zssr.degradation.blur import center_of_mass
from zssr.degradation.resize import Floats
from zssr.errors import ImageError
from zssr.estimation.parametric_kernels import SCALE, Gaussian

_PATCH = 3  # pixels: side of what the discriminator sees at once


def run(data: Path, sets: list[str], config: Config) -> None:
    """Print one table for each set, at x2."""
    columns = [
        "picture",
        "estimate",
        "refined",
        "gain",
        "true kernel",
        "error px",
        "refined error px",
        "seconds",
    ]
    for name in sets:
        print(f"### {name} x2\n\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
        rows = []
        for case in load_cases(data, name, SCALE, None):
            rows.append(_measure_case(case, config))
            print(f"| {case.name} | {_format_row(rows[-1])} |", flush=True)
        print(f"| **mean** | {_format_row([float(mean) for mean in np.nanmean(rows, axis=0)])} |")


def _measure_case(case: Case, config: Config) -> list[float]:
    estimate = estimate_kernel(case.small, SCALE)
    start = time.perf_counter()
    small = luma(torch.from_numpy(case.small).permute(2, 0, 1) / 255)
    kernel = refine_kernel(small, estimate.kernel, torch.Generator().manual_seed(0))
    seconds = time.perf_counter() - start
    psnrs = [measure_psnr(case, SCALE, config, one) for one in ("auto", kernel, case.kernel)]
    error = measure_width_error(Gaussian.from_covariance(measure_covariance(kernel)), case.kernel)
    return [*psnrs[:2], psnrs[1] - psnrs[0], psnrs[2], measure_width_error(estimate.blur, case.kernel), error, seconds]


def _format_row(row: list[float]) -> str:
    before, after, gain, *others = row
    return " | ".join([f"{before:.2f}", f"{after:.2f}", f"{gain:+.2f}", *(f"{other:.2f}" for other in others)])


def refine_kernel(
    luma: Floats,
    start: Floats,
    generator: torch.Generator,
    steps: int = 200,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Floats:
    """Refine a kernel for x2 until the photo, downsampled by it, has patches like the photo's own.

    Patches of natural images recur across scales, if the image is downsampled by the kernel that made it (Michaeli and
    Irani 2013). A linear generator learns to downsample so that a discriminator cannot tell its patches from the
    photo's (KernelGAN, Bell-Kligler, Shocher and Irani 2019; least squares as in Mao et al. 2017). Patches say little
    about the kernel, so a strong penalty keeps it near `start`, and a good one hardly changes.

    Parameters
    ----------
    luma
        The photo's luma (H, W) in [0, 1]; of a large one the middle is used.
    start
        The initial kernel (height, width) of even sides, centered, in pixels of the large image.
    generator
        Draws the initial weights and the patches.
    steps
        Of both networks.
    on_step
        Gets (steps done, all steps); may stop the training by raising.

    Returns
    -------
    NDArray[np.float64]
        The mean kernel of the last half of the steps: (height, width), at least 16 x 16, centered and summing to one.
        Raises `ImageError` if the photo is smaller than what a patch is made from.
    """
    start = np.pad(start, [(max(0, math.ceil((16 - side) / 2)),) * 2 for side in start.shape])
    photo = torch.from_numpy(_crop_middle(luma, 1024).astype(np.float32))[None, None]
    sides = (start.shape[0] + SCALE * (_PATCH - 1), start.shape[1] + SCALE * (_PATCH - 1))
    if photo.shape[-2] < sides[0] or photo.shape[-1] < sides[1]:
        size = f"{photo.shape[-1]} x {photo.shape[-2]}"
        raise ImageError(f"image: {size} pixels are fewer than the {sides[1]} x {sides[0]} that a patch is made of")
    linear, discriminator = LinearGenerator.initialize(start, generator), Discriminator.initialize(generator)
    optimizers = [
        torch.optim.Adam(network.weights, rate, (0.5, 0.99))
        for network, rate in ((linear, 1e-3), (discriminator, 2e-3))
    ]
    kernels = [linear.kernel().detach()]
    real_std, fake_std = _patch_std(photo), _patch_std(conv2d(photo, kernels[0], stride=SCALE))
    photo = photo * real_std.sum() / (_PATCH * real_std.square().sum())  # drawn patches have a norm of about one
    for done in range(steps):
        real = _crop_patches(photo, _draw_places(real_std, generator), (_PATCH, _PATCH))
        sources = _crop_patches(photo, _draw_places(fake_std, generator) * SCALE, sides)
        fake = conv2d(sources, linear.kernel(), stride=SCALE)
        loss = (discriminator(real) - 1).square().mean() + discriminator(fake.detach()).square().mean()
        _take_step(optimizers[1], loss, discriminator.weights)
        loss = (discriminator(fake) - 1).square().mean() + kernel_penalty(linear.kernel(), kernels[0])
        _take_step(optimizers[0], loss, linear.weights)
        kernels.append(linear.kernel().detach())
        on_step(done + 1, steps)
    last = kernels[-max(1, round(steps * 0.5)) :]
    return _center(torch.stack(last).mean(0)[0, 0].double().numpy())


@dataclass
class LinearGenerator:
    """A deep linear generator: `start` plus what a chain of convolutions without activations adds to it.

    A chain learns first what many taps have in common, unlike a single kernel. Its last layer starts at zero.
    """

    start: Tensor  # (1, 1, height, width)
    weights: list[Tensor]

    @classmethod
    def initialize(cls, start: Floats, generator: torch.Generator) -> "LinearGenerator":
        """Return one that downsamples with `start` (height, width): 16 channels, four layers."""
        height, width = (side - 6 for side in start.shape)
        weights = [_draw_weights(shape, generator) for shape in ((16, 1, height, width), *[(16, 16, 3, 3)] * 3)]
        weights += [torch.zeros(1, 16, 1, 1, requires_grad=True)]
        return cls(torch.from_numpy(start).to(torch.float32)[None, None], weights)

    def kernel(self) -> Tensor:
        """Return the composed kernel (1, 1, height, width): the flipped impulse response of the chain, plus `start`."""
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
    """Classifies patches as the photo's (1) or the generator's (0); spectral normalization (Miyato et al. 2018)."""

    weights: list[Tensor]  # of three layers, then their biases

    @classmethod
    def initialize(cls, generator: torch.Generator) -> "Discriminator":
        """Return one with random weights: 32 features, three layers."""
        shapes = (32, 1, _PATCH, _PATCH), (32, 32, 1, 1), (1, 32, 1, 1)
        biases = [torch.zeros(shape[0], requires_grad=True) for shape in shapes]
        return cls([_draw_weights(shape, generator) for shape in shapes] + biases)

    def __call__(self, patches: Tensor) -> Tensor:
        """Classify `patches` (N, 1, 3, 3), without their means: (N, 1, 1, 1)."""
        patches = patches - patches.mean((2, 3), keepdim=True)
        layers, biases = self.weights[:3], self.weights[3:]
        for weight, bias in zip(layers[:-1], biases[:-1], strict=True):
            patches = relu(conv2d(patches, weight / torch.linalg.matrix_norm(weight.flatten(1), 2), bias))
        return conv2d(patches, layers[-1], biases[-1])


def kernel_penalty(kernel: Tensor, start: Tensor) -> Tensor:
    """Return the regularization of a kernel (1, 1, height, width): its sum, center, border, sparsity, and `start`."""
    height, width = kernel.shape[-2:]
    y, x = (torch.arange(side) - (side - 1) / 2 for side in (height, width))
    border = (torch.maximum(y.abs()[:, None] / height, x.abs() / width) * 4 - 1).clamp_min(0)  # 0 in the inner half
    taps = kernel[0, 0]
    return (
        1.0 * (taps.sum() - 1).square()
        + 0.1 * ((taps.sum(1) @ y).square() + (taps.sum(0) @ x).square())
        + 0.1 * (taps.abs() * border).sum()
        + 0.005 * (taps.abs() + 1e-4).sqrt().sum() / math.sqrt(taps.numel())
        + 30.0 * (kernel - start).square().sum() / start.square().sum()  # without it even the true kernel is left
    )


def _take_step(optimizer: torch.optim.Optimizer, loss: Tensor, weights: list[Tensor]) -> None:
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = gradient
    optimizer.step()


def _patch_std(image: Tensor) -> Tensor:
    """Return the standard deviation of each patch of `image` (1, 1, H, W)."""
    variance = avg_pool2d(image.square(), _PATCH, 1) - avg_pool2d(image, _PATCH, 1).square()
    return variance[0, 0].clamp_min(1e-8).sqrt()


def _draw_places(contrast: Tensor, generator: torch.Generator) -> Tensor:
    """Draw 256 patches with probabilities proportional to their contrast (H, W): (256, 2) as (row, column)."""
    drawn = torch.multinomial(contrast.flatten(), 256, replacement=True, generator=generator)
    return torch.stack([drawn // contrast.shape[1], drawn % contrast.shape[1]], 1)


def _crop_patches(image: Tensor, places: Tensor, sides: tuple[int, int]) -> Tensor:
    """Crop patches (N, 1, *sides) from `image` (1, 1, H, W)."""
    return image[0, 0].unfold(0, sides[0], 1).unfold(1, sides[1], 1)[places[:, 0], places[:, 1]][:, None]


def _crop_middle(image: Floats, side: int) -> Floats:
    top, left = (max(0, length - side) // 2 for length in image.shape)
    return image[top : top + side, left : left + side]


def _draw_weights(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw the weights of a layer such that it keeps the variance of its input."""
    return (torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))).requires_grad_()


def _center(kernel: Floats) -> Floats:
    """Move the center of mass to the middle, and drop negligible taps."""
    kernel = kernel / kernel.sum()
    shift = [(side - 1) / 2 - center for side, center in zip(kernel.shape, center_of_mass(kernel), strict=True)]
    kernel = ndimage.shift(kernel, shift)
    kernel = np.where(np.abs(kernel) < 1e-3 * kernel.max(), 0, kernel)
    return np.asarray(kernel / kernel.sum())
