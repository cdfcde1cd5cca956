"""Fitting: one network for each scale step, trained on photos to undo their degradation, and a texture generator."""

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from zssr.errors import ImageError
from zssr.geometry import Region
from zssr.inference.blockwise import count_calls, preview
from zssr.inference.regions import RegionUpsampler
from zssr.inference.texture_synthesis import make_texture_examples
from zssr.model import History
from zssr.networks.sr import Network
from zssr.networks.texture import TextureGenerator
from zssr.prior.checkpoint import Prior
from zssr.progress import Progress, ProgressEvent, Stage
from zssr.training.pairs import MOST_PIXELS, SMALLEST_FATHER, is_large_enough, make_training_pairs, sample_windows
from zssr.training.texture_gan import train_texture_gan
from zssr.training.trainer import DivergedError, TrainingHistory, train

logger = logging.getLogger(__name__)

PREVIEW_SIZE = 192
"""Side of the center of the photo, in its pixels, that a preview shows."""

PRIOR_WEIGHT = {True: 0.25, False: 0.5}
"""Share of the prior in the weights after training, by whether they are the last step's and the photo is not blurred.

Otherwise the fathers are further from the truth: those of a blurred photo are smaller, and what goes wrong in a step is
in a father of the next. Chosen by Set5, six photos of Set14 and the kernels of Set14_x2 (`python -m benchmarks quality
--compare unadapted`)."""

_MOST_WHOLE_PIXELS = 2**22  # of photos that are upscaled whole between steps, and not in windows


@dataclass(frozen=True)
class Fit:
    """What was fitted to photos.

    Attributes
    ----------
    networks
        One for each scale step; none if nothing could be learned.
    texture
        The texture generator, if one was asked for and trained.
    history
        The course of the training.
    previous
        The last step's input (N, C, h, w), if there is one photo and its steps were applied to the whole of it.
    """

    networks: tuple[Network, ...] = ()
    texture: TextureGenerator | None = None
    history: History = field(default_factory=History)
    previous: Tensor | None = None


def fit(upsamplers: Sequence[RegionUpsampler], prior: Prior | None, seed: int, progress: Progress) -> Fit:
    """Fit networks to photos that have the same degradation, and a texture generator if `config.adversarial` asks.

    Without a photo that is large enough to learn from, or if the training diverges, there are no networks; `progress`
    gets a warning then. Raises `ImageError` for photos that take another number of steps each.
    """
    cascades = [upsampler.cascade for upsampler in upsamplers]
    steps, degradation = cascades[0].steps, cascades[0].degradation
    if not steps:
        return Fit()
    if any(len(cascade.steps) != len(steps) for cascade in cascades):
        raise ImageError("image: photos of several sizes that share weights need a scale, not a size")
    factor = steps[0].factor
    if not any(is_large_enough(cascade.size, degradation.at_scale((factor, factor)), factor) for cascade in cascades):
        needs = f"its sides need {SMALLEST_FATHER} pixels or more, and as many as the kernel's"
        progress.warn(f"the image is too small to learn from ({needs}): interpolated")
        return Fit()
    generator, history = torch.Generator().manual_seed(seed), History()
    try:
        networks, previous = fit_networks(upsamplers, prior, generator, history, progress)
    except DivergedError as error:
        progress.warn(f"{error}: interpolated instead")
        return Fit(history=history)
    texture = None
    if upsamplers[0].config.adversarial:
        texture = fit_texture(upsamplers, networks, seed, generator, history, progress)
    return Fit(tuple(networks), texture, history, previous)


def fit_networks(
    upsamplers: Sequence[RegionUpsampler],
    prior: Prior | None,
    generator: torch.Generator,
    history: History,
    progress: Progress,
) -> tuple[list[Network], Tensor | None]:
    """Fit the network of each scale step; its result for the photos is a father of the next steps.

    Returns the networks and the last step's input, as `Fit` has them; `history` grows meanwhile.
    """
    cascade, runtime = upsamplers[0].cascade, upsamplers[0].runtime
    networks: list[Network] = []
    whole = upscale_whole(upsamplers, networks, None, progress)
    fathers = [make_fathers(upsamplers, networks, whole, generator, progress)]
    for k in range(len(cascade.steps)):
        step = partial(fit_step, k, fathers, list(networks), upsamplers[0], prior, generator, history, progress)
        networks.append(runtime.retry_smaller_crops(step))
        if k < len(cascade.steps) - 1:
            whole = upscale_whole(upsamplers, networks, whole, progress)
            made = make_fathers(upsamplers, networks, whole, generator, progress)
            # the result of a step is clean, the photo may not be
            fathers = [*fathers, made] if cascade.step_degradations[k].is_clean else [made]
    is_known = whole and len(upsamplers) == 1 and len(cascade.steps) > 1
    return networks, whole[0] if whole and is_known else None


def fit_step(
    k: int,
    fathers: list[list[Tensor]],
    earlier: list[Network],
    upsampler: RegionUpsampler,
    prior: Prior | None,
    generator: torch.Generator,
    history: History,
    progress: Progress,
) -> Network:
    """Fit the network of scale step `k` to `fathers`, a list of images (N, C, H, W) for each scale of the photo.

    It starts from the network of the step before, if that is for the same factor and a clean photo; or else from the
    prior, to which its weights are drawn back at the end; or else from random weights.
    """
    config, runtime, cascade = upsampler.config, upsampler.runtime, upsampler.cascade
    step, degradation = cascade.steps[k], cascade.step_degradations[k]
    with progress.timed(Stage.PAIRS):
        pairs, validation = make_training_pairs(fathers, degradation, step.factor, runtime.crop_size, generator)
    has_prior = prior is not None and prior.knows(step.factor)
    if k > 0 and cascade.step_degradations[k - 1].is_clean and earlier[-1].factor == step.factor:
        network, start = copy.deepcopy(earlier[-1]), None
    else:
        network = Network(fathers[0][0].shape[1], step.factor, *config.shape, generator)
        if prior and has_prior:
            prior.start(network, degradation)
        elif prior:
            progress.warn(f"the prior has no weights for x{step.factor}: learning from random ones")
        network = network.to(runtime.compute.device)
        start = [weight.detach().clone() for weight in network.parameters()]
    logger.info("x%g: training on %d pairs, %d crops a step", max(step.reached), len(pairs.pairs), pairs.count)
    rate, done = config.initial_rate("prior" if has_prior else "random"), len(history.losses)
    course = TrainingHistory(history.losses, history.learning_rates)
    show = partial(preview, upsampler, [*earlier, network], PREVIEW_SIZE)

    def notify(step_done: int, total: int) -> None:
        scale = max(step.reached)
        event = ProgressEvent(Stage.TRAIN, step_done, total, scale, history.losses, history.learning_rates, show)
        progress.notify(event)

    with progress.timed(Stage.TRAIN):
        train(network, pairs, validation, config, rate, runtime.compute, generator, notify, course)
    if has_prior and start:
        last_and_sharp = k == len(cascade.steps) - 1 and degradation.kernel is None
        interpolate_weights(network, start, PRIOR_WEIGHT[last_and_sharp])
    history.validation_errors += [(done + steps, error) for steps, error in course.errors.items()]
    if course.restarts:
        progress.warn("the loss was not finite at times; the training went back and on with a smaller learning rate")
    return network


@torch.no_grad()
def interpolate_weights(network: Network, weights: list[Tensor], share: float) -> None:
    """Move a network's weights by `share` of the way toward `weights` (Wortsman et al. 2022)."""
    for weight, other in zip(network.parameters(), weights, strict=True):
        weight.lerp_(other, share)


def upscale_whole(
    upsamplers: Sequence[RegionUpsampler],
    networks: Sequence[Network],
    previous: list[Tensor] | None,
    progress: Progress,
) -> list[Tensor] | None:
    """Upscale the whole of all photos by `networks`, given the last one's inputs; None if that would be too much."""
    pixels = sum(math.prod(upsampler.cascade.sizes[len(networks)]) for upsampler in upsamplers)
    if pixels > _MOST_WHOLE_PIXELS or (networks and previous is None):
        return None
    inputs: Sequence[Tensor | None] = previous or [None] * len(upsamplers)
    return [
        _upscale_region(upsampler, Region.whole(upsampler.photo.size), networks, progress, image)
        for upsampler, image in zip(upsamplers, inputs, strict=True)
    ]


def make_fathers(
    upsamplers: Sequence[RegionUpsampler],
    networks: Sequence[Network],
    whole: list[Tensor] | None,
    generator: torch.Generator,
    progress: Progress,
) -> list[Tensor]:
    """Return images (N, C, H, W) to learn from, upscaled by `networks`: of the whole photos, or of random windows."""
    if whole is not None:
        return [upsampler.split_opacity(image)[0] for upsampler, image in zip(upsamplers, whole, strict=True)]
    sizes = upsamplers[0].cascade.sizes
    most = MOST_PIXELS[True] * math.prod(sizes[0]) // math.prod(sizes[len(networks)])
    chosen = sample_windows([upsampler.photo.size for upsampler in upsamplers], most, generator)
    images = [(upsamplers[k], _upscale_region(upsamplers[k], region, networks, progress)) for k, region in chosen]
    return [upsampler.split_opacity(image)[0] for upsampler, image in images]


def _upscale_region(
    upsampler: RegionUpsampler,
    region: Region,
    networks: Sequence[Network],
    progress: Progress,
    previous: Tensor | None = None,
) -> Tensor:
    if not networks:
        return upsampler.to_images(region)
    cascade, start = upsampler.cascade, 0 if previous is None else len(networks) - 1
    total = cascade.count_tiles(region, networks, upsampler.runtime.tile_size, upsampler.config, start)
    scale = max(cascade.steps[len(networks) - 1].reached)

    def notify(done: int, total: int) -> None:
        progress.notify(ProgressEvent(Stage.APPLY, done, total, scale))

    with progress.timed(Stage.APPLY):
        return upsampler.apply_networks(region, networks, count_calls(notify, total), previous)


def fit_texture(
    upsamplers: Sequence[RegionUpsampler],
    networks: Sequence[Network],
    seed: int,
    generator: torch.Generator,
    history: History,
    progress: Progress,
) -> TextureGenerator | None:
    """Train the texture generator adversarially on what the networks make of the photos; None if that fails."""
    cascade, config = upsamplers[0].cascade, upsamplers[0].config
    if not cascade.degradation.is_clean:
        progress.warn("the photo's finest detail is noise or JPEG artifacts, not texture to learn: none is added")
        return None
    scale = max(cascade.degradation.scale)

    def notify(done: int, total: int) -> None:
        progress.notify(ProgressEvent(Stage.TEXTURE, done, total, scale))

    with progress.timed(Stage.TEXTURE):
        most = int(MOST_PIXELS[True] / math.prod(cascade.degradation.scale))
        chosen = sample_windows([upsampler.photo.size for upsampler in upsamplers], most, generator)
        examples = [one for k, region in chosen for one in make_texture_examples(upsamplers[k], region, networks)]
        texture, course = train_texture_gan(examples, scale, config, seed, notify)
    if course.failure:
        progress.warn(f"{course.failure}: no texture is added")
    history.adversarial_losses += course.head_losses
    history.discriminator_losses += course.discriminator_losses
    return texture
