"""The method, top to bottom: assume how the photo was made small, learn to undo that from the photo, enlarge it."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.errors import ImageError
from zssr.estimation.estimate import estimate_degradation
from zssr.fit import Lesson
from zssr.images import Photo
from zssr.inference.blockwise import Reconstruction
from zssr.inference.cascade import Way
from zssr.inference.scales import plan_scale_steps
from zssr.model import Model, Result
from zssr.networks.film import CHANNELS
from zssr.networks.texture import TextureGenerator
from zssr.prior.checkpoint import load_prior
from zssr.request import Request
from zssr.runtime import CallbackError, MemoryBackoff, resolve_device, resolve_precision
from zssr.training.pairs import MOST_PIXELS, SMALLEST_FATHER, is_large_enough, sample_windows
from zssr.training.trainer import DivergedError

Progress = Callable[[int, int, str], None]

Watch = Callable[[Result, Callable[[], Tensor]], None]
"""Called with the result as it grows, and with what returns the middle of the photo, enlarged as it can be by now."""


class Method:
    """An order being carried out with some settings; `result` is told how."""

    def __init__(
        self, config: Config, order: Request, progress: Progress | None, result: Result, watch: Watch | None = None
    ) -> None:
        self.config, self.order, self.result = config, order, result
        self.compute = resolve_precision(resolve_device(order.device), config.precision)
        self.prior = load_prior(config)
        self._thrift = MemoryBackoff(config)
        self._progress, self._watch = progress, watch
        self._before: Tensor | None = None  # the last step but one's result for the photo, if that is whole
        result.device, result.seed = str(self.compute.device), order.seed
        result.precision = "bf16" if self.compute.bf16 else "fp32"

    def enlarge(self, photo: Photo, model: Model | None = None) -> Iterator[Tensor]:
        """Enlarge a photo by what was learned from others, or learn from itself first.

        Returns bands of rows (C, h, W') from top to bottom, as the photo's own numbers; they are made when asked for.
        """
        if self.config.in_channels not in (None, photo.channels):
            raise ImageError(f"image: has {photo.channels} channels, but in_channels is {self.config.in_channels}")
        self.result.scale, self.result.size = self.order.target(photo.size)
        if max(self.result.scale) == 1:
            self.result.warn("the output is as large as the input: there is nothing to enlarge")
            return iter([photo.rows(0, photo.size[0])])
        model = self._fitting(model, photo) if model else self.learn([photo])
        self.result.model = model
        reconstruction = self._reconstruction(photo, model.degradation.at_scale(self.result.scale))
        what = f"applying x{max(self.result.scale):g}"
        texture = model.texture if self.config.texture and min(photo.size) >= SMALLEST_FATHER else None
        bands = reconstruction.bands(model.networks, self._before, self.told(what), texture)
        return self.result.timing("apply", bands)

    def _fitting(self, model: Model, photo: Photo) -> Model:
        """Return what was learned from others if it serves this photo; raises `ImageError` if it does not."""
        steps = self._reconstruction(photo, model.degradation.at_scale(self.result.scale)).way.steps
        factors = [network.factor for network in model.networks]
        if model.channels != photo.channels:
            raise ImageError(f"image: has {photo.channels} channels, but what was learnt is for {model.channels}")
        if factors and factors != [step.factor for step in steps]:
            was = " x ".join(f"{factor:g}" for factor in model.degradation.scale)
            raise ImageError(f"image: what was learnt is for the scale {was}, which is another")
        result, way = self.result, model.degradation
        result.kernel, result.noise, result.jpeg = way.kernel, way.noise, way.jpeg
        result.kernel_estimates += [model.estimate] if model.estimate else []
        return model

    def learn(self, photos: Sequence[Photo], degradation: Degradation | None = None) -> Model:
        """Learn from photos that were made small alike; how, is estimated from the first if it is not given."""
        if self.config.adversarial and self.config.perceptual == "vgg":
            from zssr.training.perceptual import vgg_weights

            vgg_weights()
        degradation = degradation or self.assumed(photos[0])
        estimates = self.result.kernel_estimates
        model = Model(degradation, photos[0].channels, estimates[-1] if estimates else None)
        works = [self._reconstruction(photo, degradation) for photo in photos]
        plans = [work.way.steps for work in works]
        if not plans[0]:  # there is nothing to enlarge
            return model
        if any(len(steps) != len(plans[0]) for steps in plans):
            raise ImageError("image: photos of several sizes that share weights need a scale, not a size")
        factor = plans[0][0].factor
        if not any(is_large_enough(one.size, degradation.at_scale((factor, factor)), factor) for one in photos):
            needs = f"its sides need {SMALLEST_FATHER} pixels or more, and as many as the kernel's"
            self.result.warn(f"the image is too small to learn from ({needs}): interpolated")
            return model
        generator = torch.Generator().manual_seed(self.order.seed)
        try:
            ways = [work.way for work in works]
            lesson = Lesson(ways, self._thrift, self.prior, self.compute, generator, self.result, self.told)
            model.networks, self._before = lesson.networks(), lesson.before
        except DivergedError as error:
            self.result.warn(f"{error}: interpolated instead")
        if self.config.adversarial and model.networks:
            model.texture = self._texture(works, model, generator)
        return model

    def _texture(
        self, works: Sequence[Reconstruction], model: Model, generator: torch.Generator
    ) -> TextureGenerator | None:
        """Train the adversarial head on what the networks have made of the photos."""
        from zssr.inference.scenes import scenes_of
        from zssr.training.texture_gan import train_texture_gan

        if not model.degradation.is_clean:
            self.result.warn(
                "the photo's finest detail is noise or JPEG artifacts, not texture to learn: none is added"
            )
            return None
        most = int(MOST_PIXELS[True] / math.prod(model.degradation.scale))
        with self.result.timed("texture"):
            chosen = sample_windows([work.photo.size for work in works], most, generator)
            scenes = [scene for k, region in chosen for scene in scenes_of(works[k], region, model.networks)]
            scale = max(model.degradation.scale)
            texture, game = train_texture_gan(
                scenes, scale, self.config, self.order.seed, self.told("learning texture")
            )
        if game.failure:
            self.result.warn(f"{game.failure}: no texture is added")
        self.result.adversarial_losses += game.head_losses
        self.result.discriminator_losses += game.discriminator_losses
        return texture

    def assumed(self, photo: Photo) -> Degradation:
        """Complete what is given of how the photo was made small by what is estimated from it."""
        config, result = self.config, self.result
        scale, _ = self.order.target(photo.size)
        kernel = self.order.kernel_for(photo.size)
        with result.timed("estimate"):
            degradation, estimate = estimate_degradation(
                photo.middle(),
                scale=scale,
                kernel="auto" if self.order.estimates else kernel,
                noise=config.noise,
                jpeg=config.jpeg,
                file_jpeg=photo.jpeg,
                sampling=config.sampling,
            )
        result.kernel, result.noise, result.jpeg = degradation.kernel, degradation.noise, degradation.jpeg
        result.kernel_estimates += [estimate] if estimate else []
        return degradation

    def _reconstruction(self, photo: Photo, degradation: Degradation) -> Reconstruction:
        """Plan how a photo is enlarged.

        The prior knows images of 1 and 3 channels; the bands of others are learned from together, as gray images.
        """
        scale, size = self.order.target(photo.size)
        by_band = self.prior is not None and photo.channels not in (1, CHANNELS)
        steps = plan_scale_steps(photo.size, size, scale, self.config)
        way = Way(photo, steps, degradation, self.compute, self._thrift, by_band=by_band)
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
                raise CallbackError(error) from error

        return tell
