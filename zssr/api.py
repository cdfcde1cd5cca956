"""The method, top to bottom: `upscale` one image, or set up an `Upscaler` and get a full `Result`."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zssr.arguments import KernelLike, Scale, as_kernel, as_seed, output_size
from zssr.config import Config
from zssr.degradation import Degradation, resize
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import is_rounded
from zssr.device import Arithmetic, pick_arithmetic, pick_device
from zssr.errors import ConfigError, ImageError
from zssr.estimation.jpeg import jpeg_to_remove
from zssr.estimation.kernel import estimated, luma
from zssr.estimation.noise import noise_to_remove
from zssr.image_io import ImageLike, load
from zssr.learning.pairs import SMALLEST_FATHER, can_be_father, degraded, training_pairs
from zssr.learning.training import DivergedError, train
from zssr.network import Network
from zssr.prior.conditional import CHANNELS
from zssr.prior.weights import Prior, load_prior
from zssr.reconstruction.apply import enlarge
from zssr.reconstruction.scales import ScaleStep, plan_scale_steps
from zssr.result import Result

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]

_KEPT = 0.5  # share of the prior in the weights after learning: the photo is small, and its fathers are not the truth

_TEST_SIDE, _TEST_STEPS = 384, 100  # for the expected gain
_LEAST_ERROR = (0.1 / 255) ** 2


def upscale(
    image: ImageLike,
    scale: Scale = 2,
    *,
    size: tuple[int, int] | None = None,
    preset: str = "default",
    config: Config | None = None,
    kernel: KernelLike | None = "auto",
    device: str | torch.device = "auto",
    seed: int = 0,
    progress: Progress | None = None,
    **settings: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Enlarge one image by a network that is trained on this image alone (Shocher, Cohen, Irani 2018).

    Parameters
    ----------
    image
        A path, a PIL image, a numpy array (H, W) or (H, W, C), or a torch tensor (C, H, W) or (N, C, H, W) with any
        number of channels; uint8, uint16 or floats in [0, 1]. It is not modified. Of a batch, each image is learnt from
        by itself.
    scale
        A number of at least 1, or a pair (vertical, horizontal); fractions are welcome. The output has
        `round(scale * H)` x `round(scale * W)` pixels.
    size
        The output size (H, W) instead of `scale`.
    preset
        "fast", "default" or "best": the settings to start from, a choice between time and quality.
    config
        All settings, instead of a preset.
    kernel
        The blur that made the image small: "auto" estimates it from the image (see `estimate_kernel`); None or
        "bicubic" is MATLAB's anti-aliased bicubic; otherwise a 2-D array or a path to `.npy`, `.mat` (variable
        `Kernel`) or `.png`. It belongs to `scale` and is in pixels of the output. Its centre of mass lies, as the
        setting `kernel_origin` says, on the "center" of each `scale` x `scale` block of output pixels or on the block's
        first pixel ("corner").
    device
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    seed
        All randomness comes from it: the same seed, device and versions give the same pixels on a CPU.
    progress
        Called with (done, total, what) as the work goes on; may stop it by raising.
    **settings
        Single settings that replace those of `config`, such as `num_epochs=500`.

    Returns
    -------
    The enlarged image: of the same kind (a PIL image for a path), dtype and device as `image`.

    Raises
    ------
    ZssrError
        One sentence about what is wrong: `ImageError`, `KernelError` or `ConfigError`.
    """
    if config and preset != "default":
        raise ConfigError(f'preset: "{preset}" is given beside config, which holds all settings already')
    upscaler = Upscaler((config or Config.preset(preset)).replace(**settings))
    return upscaler.run(image, scale, size=size, kernel=kernel, device=device, seed=seed, progress=progress).image


def _no_progress(_done: int, _total: int, _what: str) -> None:
    """Tell nobody."""


class Upscaler:
    """Enlarges images with one set of settings."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()

    def run(
        self,
        image: ImageLike,
        scale: Scale = 2,
        *,
        size: tuple[int, int] | None = None,
        kernel: KernelLike | None = "auto",
        device: str | torch.device = "auto",
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Result:
        """Enlarge one image and tell how; the arguments are those of `upscale`."""
        try:
            with torch.inference_mode(False), torch.enable_grad():  # whatever the caller works under
                return self._run(image, scale, size, kernel, device, seed, progress or _no_progress)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            raise ImageError(
                "image: too large for the memory there is; a smaller scale or patch_size needs less"
            ) from error

    def _run(
        self,
        image: ImageLike,
        scale: Scale,
        size: tuple[int, int] | None,
        kernel: KernelLike | None,
        device: str | torch.device,
        seed: int,
        progress: Progress,
    ) -> Result:
        config = self.config
        photo = load(image, config.max_MB)
        channels, *sides = photo.pixels.shape[1:]
        small = (sides[0], sides[1])
        if config.in_channels not in (None, channels):
            raise ImageError(f"image: has {channels} channels, but in_channels is {config.in_channels}")
        factors, target = output_size(small, scale, size)
        auto = isinstance(kernel, str) and kernel == "auto"
        known = None if auto else as_kernel(kernel, small)
        images = torch.split(photo.pixels, 1)
        arithmetic = pick_arithmetic(pick_device(device), config.precision)
        result = Result(
            scale=factors,
            device=str(arithmetic.device),
            precision="bf16" if arithmetic.bf16 else "fp32",
            seed=as_seed(seed),
            kernel=known,
        )
        steps = plan_scale_steps(small, target, factors, config)
        prior = load_prior(config)
        with result.timed("estimate"):
            eight_bits = is_rounded(photo.pixels)
            degradation = Degradation(known, factors, config.kernel_origin, eight_bits=eight_bits)
            degradations = [self._degradation(degradation, image, photo.jpeg, auto, result) for image in images]
        jobs = [_Job(config, one, steps, prior, arithmetic, result, progress) for one in degradations]
        enlarged = [
            job.enlarge(image.to(arithmetic.device), result.seed) for job, image in zip(jobs, images, strict=True)
        ]
        if config.expect and steps:
            result.expected_gain = jobs[-1].expected_gain(images[-1].to(arithmetic.device), result.seed)
        alpha = None if photo.alpha is None else degradation.enlarge(photo.alpha, target).clamp(0, 1)
        result.image = photo.restore(torch.cat(enlarged).cpu(), alpha)
        return result

    def _degradation(
        self, given: Degradation, image: Tensor, jpeg: Jpeg | None, auto: bool, result: Result
    ) -> Degradation:
        """Complete what is given by what is estimated from `image` (1, C, H, W), and keep it in `result`."""
        result.noise = noise_to_remove(self.config.noise, image)
        result.jpeg = jpeg_to_remove(self.config.jpeg, image, jpeg)
        if auto:
            estimate = estimated(luma(image[0]), given.scale, self.config.kernel_method, result.seed)
            result.kernel_estimates.append(estimate)
            result.kernel = None if estimate.blur is None else estimate.kernel
        return replace(given, kernel=result.kernel, noise=result.noise, jpeg=result.jpeg)


@dataclass
class _Job:
    """What it takes to enlarge an image."""

    config: Config
    degradation: Degradation
    steps: list[ScaleStep]
    prior: Prior | None
    arithmetic: Arithmetic
    result: Result
    progress: Progress

    def enlarge(self, photo: Tensor, seed: int) -> Tensor:
        """Enlarge `photo` (1, C, H, W): the mean of as many runs as are asked for.

        The prior knows images of 1 and 3 channels; the bands of others are learnt from together, as grey images.
        """
        by_band = self.prior is not None and photo.shape[1] not in (1, CHANNELS)
        images = photo.transpose(0, 1) if by_band else photo
        generator = torch.Generator().manual_seed(seed)
        large = self._enlarged(images, generator)
        for run in range(1, self.config.runs):
            large = large.lerp(self._enlarged(images, generator), 1 / (run + 1))
        return large.transpose(0, 1) if by_band else large

    def _enlarged(self, photo: Tensor, generator: torch.Generator) -> Tensor:
        """Enlarge `photo` (N, C, H, W) in gradual scale steps; each step's result is a father of the next."""
        if not self.steps:
            self.result.warn("the output is as large as the input: there is nothing to enlarge")
            return photo
        factor = self.steps[0].factor
        if not can_be_father((photo.shape[-2], photo.shape[-1]), self.degradation.at((factor, factor)), factor):
            needs = f"its sides need {SMALLEST_FATHER} pixels or more, and as many as the kernel's"
            self.result.warn(f"the image is too small to learn from ({needs}): interpolated")
            return self._interpolated(photo)
        fathers, network, degradation = [photo], None, self.degradation
        try:
            for step in self.steps:
                network = self._learnt(network, fathers, degradation, step, generator)
                fathers.append(self._applied(network, fathers, degradation, step))
                if not degradation.is_clean:  # the result is: from here on it stands for the photo
                    fathers, network, degradation = fathers[-1:], None, degradation.cleaned()
        except DivergedError as error:
            self.result.warn(f"{error}: interpolated instead")
            return self._interpolated(photo)
        return fathers[-1]

    def _learnt(
        self,
        network: Network | None,
        fathers: list[Tensor],
        degradation: Degradation,
        step: ScaleStep,
        generator: torch.Generator,
    ) -> Network:
        """Train on `fathers`, from the prior or random weights at first, and from the last step's in the others."""
        config, result = self.config, self.result
        degradation = degradation.at((step.factor, step.factor))
        with result.timed("pairs"):
            pairs, held_back = training_pairs(fathers, degradation, step.factor, config.crop_size, generator)
        prior = self.prior if self.prior and self.prior.knows(step.factor) else None
        if network is None or network.factor != step.factor:
            network = Network(fathers[0].shape[1], step.factor, *config.shape, generator)
            if prior:
                prior.start(network, degradation)
            elif self.prior:
                result.warn(f"the prior has no weights for x{step.factor}: learning from random ones")
            network = network.to(self.arithmetic.device)
        before = [weight.detach().clone() for weight in network.parameters()]
        with result.timed("train"):
            what = f"learning x{max(step.reached):g}"
            logger.info("%s: training on %d pairs, %d crops a step", what, len(pairs.pairs), pairs.count)
            history = train(
                network,
                pairs,
                held_back,
                config,
                config.first_rate("prior" if prior else "random"),
                self.arithmetic,
                generator,
                lambda i, n: self.progress(i, n, what),
            )
        if prior:
            _move(network, before, _KEPT)
        result.held_back_errors += [(result.steps + after, error) for after, error in history.errors.items()]
        result.losses += history.losses
        result.learning_rates += history.rates
        if history.restarts:
            result.warn("the loss was not finite at times; the training went back and on with a smaller learning rate")
        return network

    def _applied(self, network: Network, fathers: list[Tensor], degradation: Degradation, step: ScaleStep) -> Tensor:
        """Enlarge the last father with the network, bring it to the step's exact size, back-project it on the photo."""
        degradation = degradation.at((step.factor, step.factor))
        with self.result.timed("apply"):
            what = f"applying x{max(step.reached):g}"
            large = enlarge(
                network, fathers[-1], degradation, self.config, self.arithmetic, lambda i, n: self.progress(i, n, what)
            )
            shrink = (step.scale[0] / step.factor, step.scale[1] / step.factor)
            exact = resize(large, step.size, shrink, corner=degradation.origin == "corner")
            whole = self.degradation.at(step.reached)
            return whole.back_project(exact, fathers[0], self.config.back_projection).clamp(0, 1)

    def expected_gain(self, photo: Tensor, seed: int) -> float | None:
        """Return the gain over bicubic enlargement, in dB on Y, on `photo` (1, C, H, W) itself: shrunk, and enlarged.

        The middle of the photo, made small once more in the way it was, is a photo with a known answer; the network
        learns briefly from it. None where that would be too small to learn from.
        """
        top, left = (max(0, length - _TEST_SIDE) // 2 for length in photo.shape[-2:])
        truth = photo[..., top : top + _TEST_SIDE, left : left + _TEST_SIDE]
        height, width = (length // 2 for length in truth.shape[-2:])
        truth = truth[..., : 2 * height, : 2 * width]
        degradation = self.degradation.at((2.0, 2.0))
        if not can_be_father((height, width), degradation, 2):
            return None
        small, _ = degraded(truth, degradation, 2, torch.Generator().manual_seed(seed))
        brief = self.config.replace(lr_schedule="cosine", num_epochs=min(_TEST_STEPS, self.config.num_epochs), runs=1)
        steps = plan_scale_steps((height, width), (2 * height, 2 * width), (2.0, 2.0), brief)
        job = replace(self, config=brief, degradation=degradation, steps=steps, result=Result(), progress=_no_progress)
        with self.result.timed("expect"):
            errors = [
                np.square(luma(one[0])[2:-2, 2:-2] - luma(truth[0])[2:-2, 2:-2]).mean()
                for one in (job.enlarge(small, seed), degradation.enlarge(small, (2 * height, 2 * width)).clamp(0, 1))
            ]
        return float(10 * np.log10((errors[1] + _LEAST_ERROR) / (errors[0] + _LEAST_ERROR)))

    def _interpolated(self, photo: Tensor) -> Tensor:
        """Return what can be had without learning: the interpolated photo, back-projected."""
        large = self.degradation.enlarge(photo, self.steps[-1].size)
        return self.degradation.back_project(large, photo, self.config.back_projection).clamp(0, 1)


@torch.no_grad()
def _move(network: Network, towards: list[Tensor], share: float) -> None:
    """Move the weights by `share` of the way (averaging in weight space, Wortsman et al. 2022)."""
    for weight, other in zip(network.parameters(), towards, strict=True):
        weight.lerp_(other, share)
