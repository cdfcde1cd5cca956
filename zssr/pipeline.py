"""The method, top to bottom: assume how the photo was made small, learn to undo that from the photo, enlarge it."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from zssr.color import luma
from zssr.config import Config
from zssr.degradation import Degradation
from zssr.degradation.noise import is_rounded
from zssr.errors import ImageError
from zssr.estimation.jpeg import jpeg_to_remove
from zssr.estimation.kernel import estimated
from zssr.estimation.noise import noise_to_remove
from zssr.fit import Lesson
from zssr.images import Photo
from zssr.inference.blockwise import Reconstruction
from zssr.inference.cascade import Way
from zssr.inference.scales import plan_scale_steps
from zssr.model import Learnt, Result
from zssr.networks.film import CHANNELS
from zssr.networks.texture import Texture
from zssr.prior.checkpoint import load_prior
from zssr.request import Order
from zssr.runtime import CallerError, Thrift, pick_arithmetic, pick_device
from zssr.training.pairs import MOST_PIXELS, SMALLEST_FATHER, can_be_father, windows
from zssr.training.trainer import DivergedError

Progress = Callable[[int, int, str], None]

Watch = Callable[[Result, Callable[[], Tensor]], None]
"""Called with the result as it grows, and with what returns the middle of the photo, enlarged as it can be by now."""


class Method:
    """An order being carried out with some settings; `result` is told how."""

    def __init__(
        self, config: Config, order: Order, progress: Progress | None, result: Result, watch: Watch | None = None
    ) -> None:
        self.config, self.order, self.result = config, order, result
        self.arithmetic = pick_arithmetic(pick_device(order.device), config.precision)
        self.prior = load_prior(config)
        self._thrift = Thrift(config)
        self._progress, self._watch = progress, watch
        self._before: Tensor | None = None  # the last step but one's result for the photo, if that is whole
        result.device, result.seed = str(self.arithmetic.device), order.seed
        result.precision = "bf16" if self.arithmetic.bf16 else "fp32"

    def enlarge(self, photo: Photo, learnt: Learnt | None = None) -> Iterator[Tensor]:
        """Enlarge a photo by what was learnt from others, or learn from itself first.

        Returns bands of rows (C, h, W') from top to bottom, as the photo's own numbers; they are made when asked for.
        """
        if self.config.in_channels not in (None, photo.channels):
            raise ImageError(f"image: has {photo.channels} channels, but in_channels is {self.config.in_channels}")
        self.result.scale, self.result.size = self.order.target(photo.size)
        if max(self.result.scale) == 1:
            self.result.warn("the output is as large as the input: there is nothing to enlarge")
            return iter([photo.rows(0, photo.size[0])])
        learnt = self._fitting(learnt, photo) if learnt else self.learn([photo])
        self.result.learnt = learnt
        reconstruction = self._reconstruction(photo, learnt.degradation.at(self.result.scale))
        what = f"applying x{max(self.result.scale):g}"
        texture = learnt.texture if self.config.texture and min(photo.size) >= SMALLEST_FATHER else None
        bands = reconstruction.bands(learnt.networks, self._before, self.told(what), texture)
        return self.result.timing("apply", bands)

    def _fitting(self, learnt: Learnt, photo: Photo) -> Learnt:
        """Return what was learnt from others if it serves this photo; raises `ImageError` if it does not."""
        steps = self._reconstruction(photo, learnt.degradation.at(self.result.scale)).way.steps
        factors = [network.factor for network in learnt.networks]
        if learnt.channels != photo.channels:
            raise ImageError(f"image: has {photo.channels} channels, but what was learnt is for {learnt.channels}")
        if factors and factors != [step.factor for step in steps]:
            was = " x ".join(f"{factor:g}" for factor in learnt.degradation.scale)
            raise ImageError(f"image: what was learnt is for the scale {was}, which is another")
        result, way = self.result, learnt.degradation
        result.kernel, result.noise, result.jpeg = way.kernel, way.noise, way.jpeg
        result.kernel_estimates += [learnt.estimate] if learnt.estimate else []
        return learnt

    def learn(self, photos: Sequence[Photo], degradation: Degradation | None = None) -> Learnt:
        """Learn from photos that were made small alike; how, is estimated from the first if it is not given."""
        if self.config.adversarial and self.config.perceptual == "vgg":
            from zssr.training.perceptual import vgg_weights

            vgg_weights()
        degradation = degradation or self.assumed(photos[0])
        estimates = self.result.kernel_estimates
        learnt = Learnt(degradation, photos[0].channels, estimates[-1] if estimates else None)
        works = [self._reconstruction(photo, degradation) for photo in photos]
        plans = [work.way.steps for work in works]
        if not plans[0]:  # there is nothing to enlarge
            return learnt
        if any(len(steps) != len(plans[0]) for steps in plans):
            raise ImageError("image: photos of several sizes that share weights need a scale, not a size")
        factor = plans[0][0].factor
        if not any(can_be_father(one.size, degradation.at((factor, factor)), factor) for one in photos):
            needs = f"its sides need {SMALLEST_FATHER} pixels or more, and as many as the kernel's"
            self.result.warn(f"the image is too small to learn from ({needs}): interpolated")
            return learnt
        generator = torch.Generator().manual_seed(self.order.seed)
        try:
            ways = [work.way for work in works]
            lesson = Lesson(ways, self._thrift, self.prior, self.arithmetic, generator, self.result, self.told)
            learnt.networks, self._before = lesson.networks(), lesson.before
        except DivergedError as error:
            self.result.warn(f"{error}: interpolated instead")
        if self.config.adversarial and learnt.networks:
            learnt.texture = self._texture(works, learnt, generator)
        return learnt

    def _texture(self, works: Sequence[Reconstruction], learnt: Learnt, generator: torch.Generator) -> Texture | None:
        """Train the adversarial head on what the networks have made of the photos."""
        from zssr.inference.scenes import scenes_of
        from zssr.training.texture_gan import learn_texture

        if not learnt.degradation.is_clean:
            self.result.warn(
                "the photo's finest detail is noise or JPEG artefacts, not texture to learn: none is added"
            )
            return None
        most = int(MOST_PIXELS[True] / math.prod(learnt.degradation.scale))
        with self.result.timed("texture"):
            chosen = windows([work.photo.size for work in works], most, generator)
            scenes = [scene for k, region in chosen for scene in scenes_of(works[k], region, learnt.networks)]
            scale = max(learnt.degradation.scale)
            texture, game = learn_texture(scenes, scale, self.config, self.order.seed, self.told("learning texture"))
        if game.failure:
            self.result.warn(f"{game.failure}: no texture is added")
        self.result.adversarial_losses += game.head_losses
        self.result.discriminator_losses += game.discriminator_losses
        return texture

    def assumed(self, photo: Photo) -> Degradation:
        """Complete what is given of how the photo was made small by what is estimated from it."""
        config, result = self.config, self.result
        scale, _ = self.order.target(photo.size)
        result.kernel = self.order.kernel_for(photo.size)
        with result.timed("estimate"):
            seen = photo.middle()
            result.noise = noise_to_remove(config.noise, seen)
            result.jpeg = jpeg_to_remove(config.jpeg, seen, photo.jpeg)
            if self.order.estimates:
                estimate = estimated(luma(seen[0]), scale)
                result.kernel_estimates.append(estimate)
                result.kernel = None if estimate.blur is None else estimate.kernel
            rounded = is_rounded(seen)
        return Degradation(result.kernel, scale, config.kernel_origin, result.noise, rounded, result.jpeg)

    def _reconstruction(self, photo: Photo, degradation: Degradation) -> Reconstruction:
        """Plan how a photo is enlarged.

        The prior knows images of 1 and 3 channels; the bands of others are learnt from together, as grey images.
        """
        scale, size = self.order.target(photo.size)
        by_band = self.prior is not None and photo.channels not in (1, CHANNELS)
        steps = plan_scale_steps(photo.size, size, scale, self.config)
        way = Way(photo, steps, degradation, self.arithmetic, self._thrift, by_band=by_band)
        return Reconstruction(way, self.result.warn)

    def told(self, what: str, glimpse: Callable[[], Tensor] | None = None) -> Callable[[int, int], None]:
        """Return what takes (done, total) and tells the caller; what the caller raises stays the caller's."""

        def tell(done: int, total: int) -> None:
            try:
                if self._progress:
                    self._progress(done, total, what)
                if self._watch and glimpse:
                    self._watch(self.result, glimpse)
            except Exception as error:
                raise CallerError(error) from error

        return tell
