"""Learning texture by a game: a head adds it to enlargements, a discriminator tells them from the photo's patches."""

import copy
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from zssr.config import Config
from zssr.networks.discriminator import CHANCE_LOSS, DISCRIMINATOR_LOSSES, GENERATOR_LOSSES, Discriminator
from zssr.networks.texture import TextureGenerator
from zssr.training.patches import PatchSampler, TextureExample
from zssr.training.perceptual import load_vgg_distance

logger = logging.getLogger(__name__)

SMALLEST_CROP = 24
"""Side in pixels of the least patch that a discriminator judges by."""

_CROP = 48
_MOST_STEPS, _WARM_UP = 250, 30  # of both players, and of the discriminator alone before
_TIMES = 3  # a game of 100 steps, as many as the preset "fast" learns before, comes to nearly nothing
_RATE, _DISCRIMINATOR_RATE = 5e-4, 4e-4
_BETAS = (0.5, 0.9)
_AVERAGED = 0.99  # how slowly the averaged weights follow (exponential moving average)
_NORMS = 0.9  # how slowly the ratio of the gradients follows
_LAST = 1 / 3  # the share of the steps, the last ones, in which the rate falls to zero
_FEATURES = 2.0  # weight of the distance of features
_FILLED = 0.7  # share of the missing energy that is filled up, times the root of the scale
_STRONGEST = 2.0
_WON = 0.02  # of the loss of guessing: so little is left to a discriminator that has won
_FAITHFUL = 10**0.16  # how much larger the squared error may become, on the photo's own sons: by 1.6 dB
_COLLAPSED = 0.02  # strength below which a head is as good as none
_MOST_RESTARTS = 3
_RESTART_RATE = 0.1
_LOOK = 10  # steps


@dataclass
class GanHistory:
    """How a game went: one loss of each player per step, and why there is no head, if there is none."""

    generator_losses: list[float] = field(default_factory=list)
    discriminator_losses: list[float] = field(default_factory=list)
    failure: str | None = None


def train_texture_gan(
    scenes: Sequence[TextureExample], scale: float, config: Config, seed: int, on_step: Callable[[int, int], None]
) -> tuple[TextureGenerator | None, GanHistory]:
    """Train a head on the scenes of one photo, or of several that are alike.

    Real are the photos' patches; fake are what the head makes of their enlargements (unpaired: there it will work) and
    of their sons' (paired: there an L1 loss holds it to the father). The gradient of the game is brought to the length
    of that of the L1 loss, times `config.adversarial`, so that neither drowns the other (as in Esser et al. 2021, eq.
    7). Where textures are, patches are drawn more often; what is coarse the discriminator does not see.

    At the end the strength is set such that a certain share of the fine energy is filled up by which the enlargement
    falls short of the photo, as far as the sons stay near their fathers, whatever the game has come to. If the photo is
    too small for patches, if a player was not finite too often, or if no strength will do, there is no head, and the
    game says why.
    """
    game = GanHistory()
    side = min(_CROP, *(min(image.shape[-2:]) for scene in scenes for image in (scene.photo, scene.father)))
    if side < SMALLEST_CROP:
        game.failure = f"the photo is too small to learn textures from (patches need {SMALLEST_CROP} pixels a side)"
        return None, game
    generator = torch.Generator().manual_seed(seed)
    reals, larges, sons = _patches(scenes, side)
    channels, device = scenes[0].photo.shape[1], scenes[0].photo.device
    head = TextureGenerator(channels, generator, seed).to(device)
    players = GanTrainer(head, Discriminator(channels, generator).to(device), config)
    good, rate_factor, restarts = players.state(), 1.0, 0
    steps = count_gan_steps(config)
    for done in range(steps):
        rate = rate_factor * min(1.0, (steps - done) / (_LAST * (steps - _WARM_UP)))
        large, large_contrast = torch.split(larges.draw(generator), [channels, 1], dim=1)
        son, son_contrast, father = torch.split(sons.draw(generator), [channels, 1, channels], dim=1)
        crops = (reals.draw(generator), father, large, large_contrast, son, son_contrast)
        players.step(*crops, rate if done >= _WARM_UP else 0.0, generator)
        if (done + 1) % _LOOK == 0 or done + 1 == steps:
            if players.are_finite:
                good = players.state()
            else:
                restarts += 1
                rate_factor *= _RESTART_RATE
                if restarts > _MOST_RESTARTS:
                    game.failure = f"the adversarial training was not finite, also after {_MOST_RESTARTS} restarts"
                    return None, game
                logger.warning("step %d: the game is not finite; going back with a tenth of the rate", done + 1)
                players.restore(good)
        game.generator_losses.append(players.losses[0])
        game.discriminator_losses.append(players.losses[1])
        on_step(done + 1, steps)
        if players.discriminator_saturated:
            logger.info("step %d: the discriminator has won", done + 1)
            break
    head = players.averaged
    head.strength = _strength(head, scenes, scale)
    if head.strength < _COLLAPSED:
        game.failure = "the adversarial training came to nothing that is both like the photo and faithful to it"
        return None, game
    return head, game


def _patches(scenes: Sequence[TextureExample], side: int) -> tuple[PatchSampler, PatchSampler, PatchSampler]:
    """Return where patches are drawn from: photos; enlargements with contrasts; sons with contrasts and fathers."""
    larges = [torch.cat([scene.large, scene.large_contrast], 1) for scene in scenes]
    sons = [torch.cat([scene.son, scene.son_contrast, scene.father], 1) for scene in scenes]
    return (
        PatchSampler([scene.photo for scene in scenes], [scene.photo_contrast for scene in scenes], side),
        PatchSampler(larges, [scene.large_contrast for scene in scenes], side),
        PatchSampler(sons, [scene.son_contrast for scene in scenes], side),
    )


def count_gan_steps(config: Config) -> int:
    """Return how many steps a game takes: not many times what the learning before it may have taken."""
    return _WARM_UP + max(1, min(_MOST_STEPS, _TIMES * config.num_epochs))


class GanTrainer:
    """Both networks, their optimizers, and the averaged weights of the head."""

    def __init__(self, head: TextureGenerator, discriminator: Discriminator, config: Config) -> None:
        self.head, self.discriminator, self.averaged = head, discriminator, copy.deepcopy(head)
        self.losses = (0.0, 0.0)
        self._config = config
        self._optimizer = torch.optim.Adam(head.parameters(), _RATE, _BETAS)
        self._opponent = torch.optim.Adam(discriminator.parameters(), _DISCRIMINATOR_RATE, _BETAS)
        self._perceptual = load_vgg_distance() if config.perceptual == "vgg" else None
        self._norms = [0.0, 0.0]
        self._left = 1.0  # of the discriminator's loss when it guesses

    def step(
        self,
        real: Tensor,
        father: Tensor,
        large: Tensor,
        large_contrast: Tensor,
        son: Tensor,
        son_contrast: Tensor,
        rate: float,
        generator: torch.Generator,
    ) -> None:
        """Let the discriminator learn, and then the head, by `rate` times its rate."""
        kind, weight = self._config.gan_loss, self._config.adversarial
        noises = [torch.randn(1, 1, *real.shape[-2:], generator=generator).to(real.device) for _ in range(2)]
        made = son + self.head(son, son_contrast, noises[0])
        fakes = torch.cat([large + self.head(large, large_contrast, noises[1]), made])
        reals = torch.cat([real, father])
        self.discriminator.power_iteration()
        scores = self.discriminator(torch.cat([reals, fakes.detach()]))[-1].chunk(2)
        loss = DISCRIMINATOR_LOSSES[kind](*scores)
        self._opponent.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._opponent.step()
        told = float(loss.detach())
        self._left = 0.9 * self._left + 0.1 * told / CHANCE_LOSS[kind]
        self.losses = (self.losses[0], told)
        if rate == 0:
            return
        with torch.no_grad():
            truth = self.discriminator(reals)
        judged = self.discriminator(fakes)
        adversarial = GENERATOR_LOSSES[kind](truth[-1], judged[-1])
        if self._config.perceptual == "features":
            layers = zip(judged[:-1], truth[:-1], strict=True)
            adversarial = adversarial + _FEATURES * sum(l1_loss(fake[1:], real[1:]) for fake, real in layers)
        elif self._perceptual:
            adversarial = adversarial + _FEATURES * self._perceptual(made, father)
        weights = list(self.head.parameters())
        terms = (self._config.pixel_weight * l1_loss(made, father), adversarial)
        gradients = [torch.autograd.grad(term, weights, retain_graph=True) for term in terms]
        for k, each in enumerate(gradients):
            norm = float(torch.cat([part.flatten() for part in each]).norm())
            self._norms[k] = _NORMS * self._norms[k] + (1 - _NORMS) * norm
        balance = weight * self._norms[0] / (self._norms[1] + 1e-12) if self._config.pixel_weight else weight
        for parameter, pixel, other in zip(weights, *gradients, strict=True):
            parameter.grad = pixel + balance * other
        self._optimizer.param_groups[0]["lr"] = rate * _RATE
        self._optimizer.step()
        with torch.no_grad():
            for mean, parameter in zip(self.averaged.parameters(), weights, strict=True):
                mean.lerp_(parameter, 1 - _AVERAGED)
        self.losses = (float(adversarial.detach()), told)

    @property
    def are_finite(self) -> bool:
        """Whether both players' losses are finite."""
        return all(math.isfinite(loss) for loss in self.losses)

    @property
    def discriminator_saturated(self) -> bool:
        """Whether the discriminator tells all patches apart, so that there is nothing more to learn from it."""
        return self._left < _WON

    def state(self) -> list[Tensor]:
        """Return all weights."""
        return [weight.detach().clone() for weight in self._weights()]

    def restore(self, state: list[Tensor]) -> None:
        """Set all weights, and forget all averages of the optimizers."""
        with torch.no_grad():
            for weight, was in zip(self._weights(), state, strict=True):
                weight.copy_(was)
        for optimizer in (self._optimizer, self._opponent):
            optimizer.state.clear()
        self._norms, self._left, self.losses = [0.0, 0.0], 1.0, (0.0, 0.0)

    def _weights(self) -> list[nn.Parameter]:
        networks = (self.head, self.averaged, self.discriminator)
        return [weight for network in networks for weight in network.parameters()]


@torch.no_grad()
def _strength(head: TextureGenerator, scenes: Sequence[TextureExample], scale: float) -> float:
    """Return how strong the texture is to be.

    It is to fill up a share of the fine energy that the enlargements lack; but no more than lets the error of the
    enlarged sons, which should be their fathers, grow by a certain factor.
    """
    generator = torch.Generator().manual_seed(head.seed)
    lack, filled, error, spoilt = 0.0, (0.0, 0.0), 0.0, (0.0, 0.0)
    for scene in scenes:
        photo, large = _fine(scene.photo), _fine(scene.large)
        added = _fine(_texture(head, scene.large, scene.large_contrast, generator))
        lack += float(photo.abs().square().mean()) * large.numel() - float(large.abs().square().sum())
        filled = (filled[0] + float((large.conj() * added).real.sum()), filled[1] + float(added.abs().square().sum()))
        wrong, added = scene.son - scene.father, _texture(head, scene.son, scene.son_contrast, generator)
        error += float(wrong.square().sum())
        spoilt = (spoilt[0] + float((wrong * added).sum()), spoilt[1] + float(added.square().sum()))
    fills = _root(*filled, _FILLED / math.sqrt(scale) * lack)
    return min(_STRONGEST, fills, _root(*spoilt, (_FAITHFUL - 1) * error))


def _texture(head: TextureGenerator, image: Tensor, contrast: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(1, 1, *image.shape[-2:], generator=generator)
    texture: Tensor = head(image, contrast, noise.to(image.device))
    return texture


def _root(mixed: float, own: float, growth: float) -> float:
    """Return the s > 0 at which 2 * s * mixed + s**2 * own is `growth`; 0 if there is none."""
    if growth <= 0 or own <= 0:
        return 0.0
    return max(0.0, (math.sqrt(mixed**2 + own * growth) - mixed) / own)


def _fine(images: Tensor) -> Tensor:
    """Return the spectrum of images (1, C, H, W) above half the highest frequency, such that sizes compare."""
    gray = images.mean(1)[0]
    height, width = gray.shape
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)
    spectrum: Tensor = torch.fft.fft2((gray - gray.mean()) * window.to(gray)) / window.square().sum().sqrt()
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width))
    return spectrum * (frequency >= 0.25).to(gray)
