"""The cascade of scale steps by which a photo reaches its output size, and where regions lie in each step's result."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.degradation.resamplers import Resampler
from zssr.degradation.resize import CUBIC_SUPPORT
from zssr.errors import ConfigError
from zssr.geometry import Region, Wraps
from zssr.inference.tiles import count_tiles
from zssr.method import ResidualNetwork

_WIDE_BLUR = 0.5
"""Standard deviation in pixels of the photo from which on a blur is undone by the first step. Chosen by the column
"true kernel" of `python -m benchmarks blind --sets Set14_x4 --scales 4 --preset fast`."""


@dataclass(frozen=True)
class ScaleStep:
    """One step of a gradual upscaling (Shocher et al. 2018, sec. 3.2).

    Attributes
    ----------
    factor
        The whole number by which the network upscales in this step; 1 if it works on the interpolated image.
    scale, size
        What the step's result is resized to: factors (vertical, horizontal) relative to the step's input, and (H, W).
    reached
        Factors (vertical, horizontal) of the result relative to the photo.
    """

    factor: int
    scale: tuple[float, float]
    size: tuple[int, int]
    reached: tuple[float, float]

    @property
    def network_scale(self) -> tuple[float, float]:
        """The factors (vertical, horizontal) by which the network upscales, or what it works on is interpolated."""
        return self.scale if self.factor == 1 else (self.factor, self.factor)


@dataclass(frozen=True)
class Cascade:
    """How a photo reaches its output size: by one network for each scale step.

    By default each step doubles, and the last result is resized to the exact size: x4 is 2 x 2, x3 is 2 x 1.5.

    Attributes
    ----------
    size
        (H, W) of the photo.
    steps
        The scale steps; none if there is nothing to upscale.
    degradation
        The photo's, at `scale`.
    self_ensemble
        How many rotations and flips a network is applied to.
    """

    size: tuple[int, int]
    steps: tuple[ScaleStep, ...]
    degradation: Degradation
    self_ensemble: int

    @classmethod
    def plan(
        cls,
        size: tuple[int, int],
        scale: tuple[float, float],
        output_size: tuple[int, int],
        degradation: Degradation,
        config: Config,
        wraps: Wraps = (False, False),
        *,
        on_interpolated: bool = False,
    ) -> "Cascade":
        """Plan how a photo of `size` reaches `output_size` (H, W) at `scale` (vertical, horizontal).

        Networks that work `on_interpolated` images reach it in one step.
        On an axis that `wraps`, each step reaches a factor at which it has a whole number of pixels.
        `config.scale_factor` and `config.scale_times` plan by hand. Raises `ConfigError` if they end short of `scale`.
        """
        largest = max(scale)
        factor = config.scale_factor or (largest if on_interpolated else 2.0)
        usual = 1 if on_interpolated else math.ceil(math.log(largest, factor) - 1e-9)
        count = config.scale_times if config.scale_factor else usual
        if factor**count < largest * (1 - 1e-6):
            reached = f"{factor:g} taken {count} times reaches x{factor**count:g}"
            raise ConfigError(f"scale_factor: {reached}, short of the scale x{largest:g}")
        steps: list[ScaleStep] = []
        before = (1.0, 1.0)
        while largest > 1 and before != scale:
            power = factor ** (len(steps) + 1)
            last = len(steps) + 1 == count or power >= largest
            after = scale if last else (min(power, scale[0]), min(power, scale[1]))
            step_size = output_size if last else (round(size[0] * after[0]), round(size[1] * after[1]))
            vertical, horizontal = (step_size[k] / size[k] if wraps[k] else after[k] for k in range(2))
            after = (vertical, horizontal)
            step_scale = (after[0] / before[0], after[1] / before[1])
            whole = 1 if on_interpolated else max(2, math.ceil(max(step_scale) - 1e-6))
            steps.append(ScaleStep(whole, step_scale, step_size, after))
            before = after
        return cls(size, tuple(steps), degradation, config.choose_self_ensemble(math.prod(output_size)))

    def for_image(self, size: tuple[int, int], config: Config, *, on_interpolated: bool = False) -> "Cascade":
        """Plan the same scale for an image of another `size` (H, W) with the same degradation."""
        scale = self.degradation.scale
        output_size = (round(size[0] * scale[0]), round(size[1] * scale[1]))
        cascade = Cascade.plan(size, scale, output_size, self.degradation, config, on_interpolated=on_interpolated)
        return replace(cascade, self_ensemble=self.self_ensemble)

    def truncate(self, count: int) -> "Cascade":
        """Return the cascade of the first `count` steps."""
        return replace(self, steps=self.steps[:count])

    @cached_property
    def step_degradations(self) -> list[Degradation]:
        """For each step the degradation that it undoes; only the first step's input has noise and JPEG artifacts.

        The steps share a blur. A wide one is undone by the first step alone, and the others find their inputs sharp.
        """
        inputs = [self.degradation] + [self.degradation.without_noise()] * len(self.steps)
        shared = [one.at_scale(step.network_scale) for one, step in zip(inputs, self.steps, strict=False)]
        if not self.undoes_blur_first:
            return shared
        return [self.degradation.in_pixels_of(shared[0].scale), *(replace(one, kernel=None) for one in shared[1:])]

    @cached_property
    def undoes_blur_first(self) -> bool:
        """Whether the first step undoes all of the blur, because that is wide."""
        if len(self.steps) < 2 or isinstance(self.degradation.kernel, Resampler):
            return False
        return self.degradation.blur_sigma >= _WIDE_BLUR * max(self.degradation.scale)

    @cached_property
    def photo_degradations(self) -> list[Degradation]:
        """For each step the degradation from its result to the photo."""
        rescale = self.degradation.in_pixels_of if self.undoes_blur_first else self.degradation.at_scale
        return [rescale(step.reached) for step in self.steps]

    @cached_property
    def scales(self) -> list[tuple[float, float]]:
        """The factors relative to the photo, of the photo and of each step's result."""
        return [(1.0, 1.0)] + [step.reached for step in self.steps]

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """The sizes (H, W) of the photo and of each step's result."""
        return [self.size] + [step.size for step in self.steps]

    def scaled(self, region: Region, k: int = -1) -> Region:
        """Return a region of the photo in the result of `k` steps, or of all."""
        return region.scaled(self.scales[k], self.sizes[k])

    def back_projection_radius(self, k: int, iterations: int) -> int:
        """Return how far the back-projection after step `k` reaches, in pixels of the photo."""
        degradation = self.photo_degradations[k]
        return degradation.back_projection_radius * iterations if degradation.is_clean else 0

    def margins(self, networks: Sequence[ResidualNetwork], iterations: int) -> list[tuple[int, int]]:
        """Return for each step how far beyond a region it reads its input, and makes its result, in the photo's pixels.

        `iterations` is the number of back-projections after each step. So the region has the result that it has in the
        whole image. A step makes what the steps after it read and what its own back-projection mixes.
        """
        margins: list[tuple[int, int]] = []
        wanted = 0
        for k, network in reversed(list(enumerate(networks))):
            reach = network.margin / min(self.steps[k].scale) if network.factor == 1 else network.margin
            resizing, reading = (math.ceil(far / min(self.scales[k])) for far in (CUBIC_SUPPORT, reach + CUBIC_SUPPORT))
            made = wanted + self.back_projection_radius(k, iterations) + resizing + 1
            wanted = made + reading
            margins.insert(0, (wanted, made))
        return margins

    def count_tiles(
        self, region: Region, networks: Sequence[ResidualNetwork], tile_size: int, config: Config, start: int = 0
    ) -> int:
        """Count the tiles that networks are applied to for a region of the photo, from step `start` on."""
        made = [region.expand(margin) for _, margin in self.margins(networks, config.back_projection)]
        return sum(
            count_tiles(
                self.scaled(made[k], k + 1 if networks[k].factor == 1 else k).size,
                self.step_degradations[k],
                tile_size,
                self_ensemble=self.self_ensemble,
            )
            for k in range(start, len(networks))
        )
