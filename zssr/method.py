"""What a method of super-resolution is, as data; `zssr.methods` lists them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from zssr.config import Config
from zssr.degradation import Degradation, resize
from zssr.degradation.resize import CUBIC_SUPPORT
from zssr.errors import ConfigError
from zssr.geometry import Factors, Margins

Option = int | str

FASTEST_SIDES = 16
"""Pixels: oneDNN convolves images fastest whose sides are multiples of this."""


class ResidualNetwork(nn.Module):
    """A network that predicts what the interpolated image lacks.

    Attributes
    ----------
    channels
        Channels of the image.
    factor
        How much larger its result is than its input. At 1 it works on the interpolated image, and serves every scale.
    margin
        Receptive radius in pixels of its input.
    """

    channels: int
    factor: int
    margin: int

    def predict_inside(self, image: Tensor, margins: Margins) -> Tensor:
        """Return the residual of an image (N, C, h, w), without that of its margins."""
        return margins.crop(self(image), self.factor)


class StartWeights(Protocol):
    """Weights that networks start from: a prior."""

    def supports(self, factor: int) -> bool:
        """Return whether there are weights for upscaling by `factor`."""
        ...

    def initialize(self, network: ResidualNetwork, degradation: Degradation) -> None:
        """Load those for the network's factor and a degradation at that scale."""
        ...


class Interpolator(Protocol):
    """Resizes `image` (..., h, w) like `zssr.degradation.resize`."""

    def __call__(
        self, image: Tensor, size: tuple[int, int], scale: Factors, *, top_left: bool, offset: Factors
    ) -> Tensor:
        """Return (..., *size)."""
        ...


Reconstructor = Callable[..., Tensor]
"""Improves an interpolated image (N, C, H, W) by what is known of how the small one (N, C, h, w) was made of it.

It takes both, the `Degradation`, where in the large image the small one begins, in pixels (down, right), and the
method's options as keywords.
"""

Objective = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
"""The loss of a network on sons and residuals; the last tensor is the share of the training that is done."""

Learner = Callable[[Any, Sequence[tuple[Tensor, Tensor]], torch.Generator], None]
"""Fits a network to whole sons (C, h, w) and their residuals (C, H, W), other than by gradients."""


def pixel_loss(loss: Callable[[Tensor, Tensor], Tensor]) -> Objective:
    """Return the objective that compares a network's result with the residual."""
    return lambda network, sons, residuals, _: loss(network(sons), residuals)


L1 = pixel_loss(nn.functional.l1_loss)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: how it interpolates and reconstructs, which network it trains, and how.

    Attributes
    ----------
    name, summary, paper
        What `method` takes; one line; authors and year.
    interpolate, support
        How images are interpolated, and how far that reaches, in pixels.
    reconstruct, reach
        How an interpolated image is improved if there is no network, or instead of one if the blur takes whole
        frequencies away, and how far that reaches, in pixels of the small image; None is back-projection.
    network, uses
        Makes a network of random weights from `channels`, `factor`, `generator`, the settings that `uses` names, and
        the options. None learns nothing.
    on_interpolated
        Whether the network works on the interpolated image, and so reaches any scale in one step.
    objective, clip
        The loss; and the limit of each gradient, times the learning rate.
    adversarial_rate
        Learning rate of a further training of the network against a discriminator; None is none.
    learn
        How the network is fitted to sons and residuals, if not by gradients.
    companions
        Scales that the network is trained for, too, in every tenth step.
    settings
        Settings whose defaults differ from those of the package.
    options
        What may stand after the name, such as `edsr:width=256`: a whole number, or the choices, the first by default.
    chosen
        The options that are given.
    has_prior
        Whether there are built-in start weights.
    requires
        Modules of the extra `zssr[methods]` that it needs.
    takes_frames
        Whether it upscales frames of a video, each among its neighbors, and no photos.
    """

    name: str
    summary: str
    paper: str
    interpolate: Interpolator = resize
    support: int = CUBIC_SUPPORT
    reconstruct: Reconstructor | None = None
    reach: Callable[[Degradation], int] = lambda _: 0
    network: Callable[..., ResidualNetwork] | None = None
    uses: tuple[str, ...] = ()
    on_interpolated: bool = False
    objective: Objective = L1
    clip: float | None = None
    adversarial_rate: float | None = None
    learn: Learner | None = None
    companions: tuple[int, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    options: Mapping[str, int | Sequence[Option]] = field(default_factory=dict)
    chosen: Mapping[str, Option] = field(default_factory=dict)
    has_prior: bool = False
    requires: tuple[str, ...] = ()
    takes_frames: bool = False

    def __str__(self) -> str:
        values = ",".join(f"{key}={value}" for key, value in self.values.items())
        return f"{self.name}:{values}" if values else self.name

    @property
    def values(self) -> dict[str, Option]:
        """The values of all options."""
        usual = {key: allowed if isinstance(allowed, int) else allowed[0] for key, allowed in self.options.items()}
        return {**usual, **self.chosen}

    def describe_options(self) -> dict[str, str]:
        """Return for each option what it may be, the default first."""
        return {
            key: f"{allowed}, or another number" if isinstance(allowed, int) else ", ".join(map(str, allowed))
            for key, allowed in self.options.items()
        }

    def choose(self, texts: Sequence[str]) -> "Method":
        """Return the method with options, KEY=VALUE each; raises `ConfigError` for those that it does not take."""
        return replace(self, chosen=dict(self._parse_option(text) for text in texts))

    def make_network(self, channels: int, factor: int, config: Config, generator: torch.Generator) -> ResidualNetwork:
        """Make the network of a scale step, with random weights."""
        if self.network is None:
            raise ConfigError(f'method: "{self.name}" trains no network')
        used = {name: getattr(config, name) for name in self.uses}
        return self.network(channels=channels, factor=factor, generator=generator, **used, **self.values)

    def adapt(self, config: Config) -> Config:
        """Return the settings with the method's own where they are at their defaults."""
        usual = Config()
        own = {key: value for key, value in self.settings.items() if getattr(config, key) == getattr(usual, key)}
        return config.replace(**own)

    def _parse_option(self, text: str) -> tuple[str, Option]:
        key, _, value = text.partition("=")
        allowed = self.options.get(key)
        if allowed is None:
            known = f"its options are {', '.join(self.options)}" if self.options else "it has no options"
            raise ConfigError(f'method: "{text}" is not an option of {self.name}; {known}')
        if isinstance(allowed, int):
            if not value.isdecimal() or int(value) < 1:
                raise ConfigError(f'method: {key} of {self.name} is a whole number, 1 or more, not "{value}"')
            return key, int(value)
        for choice in allowed:
            if str(choice) == value:
                return key, choice
        raise ConfigError(f'method: {key} of {self.name} is one of {", ".join(map(str, allowed))}, not "{value}"')
