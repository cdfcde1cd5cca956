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
from zssr.fathers import find_fathers, load_examples, sample_content
from zssr.geometry import Region
from zssr.inference.blockwise import preview
from zssr.inference.regions import RegionUpsampler
from zssr.inference.texture_synthesis import make_texture_examples
from zssr.method import ResidualNetwork, StartWeights
from zssr.model import History
from zssr.networks.texture import TextureGenerator
from zssr.progress import Progress, Stage, count_calls
from zssr.runtime import release_memory
from zssr.training.divergence import DivergedError
from zssr.training.network_gan import train_network_gan
from zssr.training.pairs import (
    MOST_PIXELS,
    SMALLEST_FATHER,
    CompanionPairs,
    Pairs,
    is_large_enough,
    make_training_pairs,
)
from zssr.training.prior_share import interpolate_weights, is_better
from zssr.training.schedule import make_schedule
from zssr.training.texture_gan import train_texture_gan
from zssr.training.trainer import TrainingHistory, train

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
    """What was fitted to photos, and the course of the training.

    There is a network for each scale step, or none if nothing could be learned, and a texture generator if one was
    asked for and trained. `previous` is the last step's input (N, C, h, w), if there is one photo and its steps were
    applied to the whole of it.
    """

    networks: tuple[ResidualNetwork, ...] = ()
    texture: TextureGenerator | None = None
    history: History = field(default_factory=History)
    previous: Tensor | None = None


def fit(upsamplers: Sequence[RegionUpsampler], prior: StartWeights | None, seed: int, progress: Progress) -> Fit:
    """Fit networks to photos that have the same degradation, and a texture generator if `config.adversarial` asks.

    There are no networks if the photos are reconstructed instead. Nor are there without a photo that is large enough to
    learn from, or if the training diverges; `progress` gets a warning then. Raises `ImageError` for photos whose
    cascades differ in the number of steps.
    """
    cascades = [upsampler.cascade for upsampler in upsamplers]
    steps, degradation = cascades[0].steps, cascades[0].degradation
    if not steps or upsamplers[0].method.network is None:
        return Fit()
    if upsamplers[0].reconstruct:
        logger.info("the blur takes whole frequencies away: nothing is learned, the photo is reconstructed")
        if upsamplers[0].config.adversarial:
            progress.warn("the blur takes whole frequencies away, so no texture can be learned: none is added")
        return Fit()
    if any(len(cascade.steps) != len(steps) for cascade in cascades):
        raise ImageError("image: photos of several sizes that share weights need a scale, not a size")
    first = degradation.at_scale(steps[0].network_scale)
    if not any(is_large_enough(cascade.size, first, steps[0].factor) for cascade in cascades):
        needs = f"its sides need {SMALLEST_FATHER} pixels or more, and as many as the kernel's"
        progress.warn(f"the image is too small to learn from ({needs}): interpolated")
        return Fit()
    generator, history = torch.Generator().manual_seed(seed), History()
    try:
        networks, previous = CascadeFitter(upsamplers, prior, generator, history, progress).fit()
    except DivergedError as error:
        progress.warn(f"{error}: interpolated instead")
        return Fit(history=history)
    release_memory()  # of the pairs
    texture = None
    if upsamplers[0].config.adversarial and upsamplers[0].method.adversarial_rate is None:
        texture = fit_texture(upsamplers, networks, seed, generator, history, progress)
    return Fit(tuple(networks), texture, history, previous)


@dataclass(frozen=True)
class CascadeFitter:
    """Fits the networks of a cascade, one scale step after the other.

    Fathers are images of the photos at each scale that was reached: the photos themselves, and what the steps so far
    made of them. `history` grows during the training.
    """

    upsamplers: Sequence[RegionUpsampler]
    prior: StartWeights | None
    generator: torch.Generator
    history: History
    progress: Progress

    def fit(self) -> tuple[list[ResidualNetwork], Tensor | None]:
        """Return the networks, and the last step's input as `Fit` has it."""
        cascade, runtime = self.upsamplers[0].cascade, self.upsamplers[0].runtime
        networks: list[ResidualNetwork] = []
        whole = self.upscale_whole(networks, None)
        fathers = [self.make_fathers(networks, whole)]
        if self.upsamplers[0].method.learn and self.upsamplers[0].config.examples:
            fathers.append(load_examples(self.upsamplers[0].config.examples, fathers[0][0].shape[1]))
        for k in range(len(cascade.steps)):
            networks.append(runtime.retry_smaller_crops(partial(self.fit_step, k, fathers, list(networks))))
            if k < len(cascade.steps) - 1:
                whole = self.upscale_whole(networks, whole)
                made = self.make_fathers(networks, whole)
                # the result of a step is clean and perhaps sharp, the photo may not be
                is_alike = cascade.step_degradations[k].is_clean and not cascade.undoes_blur_first
                fathers = [*fathers, made] if is_alike else [made]
        is_known = whole and len(self.upsamplers) == 1 and len(cascade.steps) > 1
        return networks, whole[0] if whole and is_known else None

    def fit_step(self, k: int, fathers: list[list[Tensor]], earlier: list[ResidualNetwork]) -> ResidualNetwork:
        """Fit the network of scale step `k` to `fathers`, a list of images (N, C, H, W) for each scale reached.

        Weights that start from the prior are drawn back to it at the end.
        """
        upsampler, progress, history = self.upsamplers[0], self.progress, self.history
        method = upsampler.method
        config, runtime, step = upsampler.config, upsampler.runtime, upsampler.cascade.steps[k]
        degradation = upsampler.cascade.step_degradations[k]
        with progress.timed(Stage.PAIRS):
            pairs, validation = make_training_pairs(
                fathers, degradation, step.factor, runtime.crop_size, self.generator, runtime.batch_size
            )
            if companions := self.make_companions(k, fathers):
                pairs = CompanionPairs(pairs, companions)
        network, from_prior = self.initialize_network(k, fathers[0][0].shape[1], earlier)
        start = [weight.detach().clone() for weight in network.parameters()]
        logger.info("x%g: training on %d pairs, %d crops a step", max(step.reached), len(pairs.pairs), pairs.count)
        has_prior = self.prior is not None and self.prior.supports(step.factor)
        schedule = make_schedule(config, "prior" if has_prior else "random", runtime.batch_size)
        done, course = len(history.losses), TrainingHistory(history.losses, history.learning_rates)
        show = partial(preview, upsampler, [*earlier, network], PREVIEW_SIZE)
        notify = progress.make_notifier(Stage.TRAIN, max(step.reached), course.losses, course.learning_rates, show)
        with progress.timed(Stage.TRAIN):
            if method.learn:
                method.learn(network, [(pair.son, pair.residual) for pair in pairs.pairs], self.generator)
            else:
                loss = (method.objective, method.clip)
                train(
                    network, pairs, validation, config, schedule, runtime.compute, self.generator, notify, course, *loss
                )
        if method.adversarial_rate and config.adversarial:
            self.train_adversarially(network, pairs, k)
        if from_prior:
            last_and_sharp = k == len(upsampler.cascade.steps) - 1 and upsampler.cascade.degradation.kernel is None
            interpolate_weights(network, start, PRIOR_WEIGHT[last_and_sharp])
            if schedule.steps and not is_better(network, start, validation, runtime.compute):
                logger.info("x%g: the photo taught nothing that the prior did not know", max(step.reached))
                interpolate_weights(network, start, 1.0)
        history.validation_errors += [(done + steps, error) for steps, error in course.validation_errors.items()]
        progress.warn(*course.warnings)
        return network

    def train_adversarially(self, network: ResidualNetwork, pairs: Pairs, k: int) -> None:
        """Train the network of scale step `k` further, against a discriminator."""
        upsampler, scale = self.upsamplers[0], max(self.upsamplers[0].cascade.steps[k].reached)
        with self.progress.timed(Stage.TEXTURE):
            course = train_network_gan(
                network,
                pairs,
                upsampler.cascade.step_degradations[k],
                upsampler.method.adversarial_rate or 0.0,
                upsampler.config,
                self.generator,
                self.progress.make_notifier(Stage.TEXTURE, scale),
            )
        self.progress.warn(
            *[f"{course.failure}: the network is trained by its pixel loss alone"] * bool(course.failure)
        )
        self.history.adversarial_losses += course.generator_losses
        self.history.discriminator_losses += course.discriminator_losses

    def make_companions(self, k: int, fathers: list[list[Tensor]]) -> list[Pairs]:
        """Make pairs at the other scales that step `k` is trained for, as far as the fathers are large enough."""
        upsampler = self.upsamplers[0]
        runtime, method, step = upsampler.runtime, upsampler.method, upsampler.cascade.steps[k]
        made = []
        for scale in method.companions:
            degradation = upsampler.cascade.step_degradations[k].at_scale((scale, scale))
            factor = 1 if method.on_interpolated else scale
            sizes = [(image.shape[-2] // scale, image.shape[-1] // scale) for group in fathers for image in group]
            if (scale, scale) != step.network_scale and any(is_large_enough(one, degradation, 1) for one in sizes):
                pairs, _ = make_training_pairs(
                    fathers, degradation, factor, runtime.crop_size, self.generator, runtime.batch_size
                )
                made.append(pairs)
        return made

    def initialize_network(self, k: int, channels: int, earlier: list[ResidualNetwork]) -> tuple[ResidualNetwork, bool]:
        """Return the start of scale step `k`, and whether it is the prior.

        It is the network of the step before, if that is for the same factor and blur and saw a clean photo; or else the
        prior; or else random weights.
        """
        cascade, config = self.upsamplers[0].cascade, self.upsamplers[0].config
        factor = cascade.steps[k].factor
        is_alike = k > (1 if cascade.undoes_blur_first else 0) and cascade.step_degradations[k - 1].is_clean
        if is_alike and earlier[-1].factor == factor:
            return copy.deepcopy(earlier[-1]), False
        network = self.upsamplers[0].method.make_network(channels, factor, config, self.generator)
        has_prior = self.prior is not None and self.prior.supports(factor)
        if self.prior and has_prior:
            self.prior.initialize(network, cascade.step_degradations[k])
        elif self.prior:
            self.progress.warn(f"the prior has no weights for x{factor}: learning from random ones")
        return network.to(self.upsamplers[0].runtime.compute.device), has_prior

    def upscale_whole(self, networks: Sequence[ResidualNetwork], previous: list[Tensor] | None) -> list[Tensor] | None:
        """Upscale the whole of all photos, given the last network's inputs; None if that would be too much."""
        pixels = sum(math.prod(upsampler.cascade.sizes[len(networks)]) for upsampler in self.upsamplers)
        if pixels > _MOST_WHOLE_PIXELS or (networks and previous is None):
            return None
        inputs: Sequence[Tensor | None] = previous or [None] * len(self.upsamplers)
        return [
            self.upscale_region(upsampler, upsampler.photo.whole, networks, image)
            for upsampler, image in zip(self.upsamplers, inputs, strict=True)
        ]

    def make_fathers(self, networks: Sequence[ResidualNetwork], whole: list[Tensor] | None) -> list[Tensor]:
        """Return images (N, C, H, W) to learn from: of the upscaled whole photos, or of random windows."""
        if whole is not None:
            pairs = zip(self.upsamplers, whole, strict=True)
            return [father for one in pairs for father in self.cut_fathers(*one, len(networks))]
        sizes = self.upsamplers[0].cascade.sizes
        most = MOST_PIXELS[True] * math.prod(sizes[0]) // math.prod(sizes[len(networks)])
        chosen = sample_content(self.upsamplers, most, self.generator)
        return [one.split_opacity(self.upscale_region(one, region, networks))[0] for one, region in chosen]

    def cut_fathers(self, upsampler: RegionUpsampler, image: Tensor, k: int) -> list[Tensor]:
        """Return the colors of a whole photo's content after `k` steps, with a seam of its sides in the middle."""
        whole, *parts = (upsampler.cascade.scaled(one, k) for one in (upsampler.photo.whole, *find_fathers(upsampler)))
        margin, colors = upsampler.config.crop_size, upsampler.split_opacity(image)[0]
        return [(part.overlap(margin) if part == whole else part).take(colors, whole) for part in parts]

    def upscale_region(
        self,
        upsampler: RegionUpsampler,
        region: Region,
        networks: Sequence[ResidualNetwork],
        previous: Tensor | None = None,
    ) -> Tensor:
        """Upscale a region of a photo by the networks so far, with progress events."""
        if not networks:
            return upsampler.to_images(region)
        cascade, start = upsampler.cascade, 0 if previous is None else len(networks) - 1
        total = cascade.count_tiles(region, networks, upsampler.runtime.tile_size, upsampler.config, start)
        notify = self.progress.make_notifier(Stage.APPLY, max(cascade.steps[len(networks) - 1].reached))
        with self.progress.timed(Stage.APPLY):
            return upsampler.apply_networks(region, networks, count_calls(notify, total), previous)


def fit_texture(
    upsamplers: Sequence[RegionUpsampler],
    networks: Sequence[ResidualNetwork],
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
    with progress.timed(Stage.TEXTURE):
        most = int(MOST_PIXELS[True] / math.prod(cascade.degradation.scale))
        chosen = sample_content(upsamplers, most, generator)
        examples = [one for upsampler, at in chosen for one in make_texture_examples(upsampler, at, networks)]
        texture, course = train_texture_gan(examples, scale, config, seed, progress.make_notifier(Stage.TEXTURE, scale))
    if course.failure:
        progress.warn(f"{course.failure}: no texture is added")
    history.adversarial_losses += course.generator_losses
    history.discriminator_losses += course.discriminator_losses
    return texture
