"""Adversarial steps of a generator of images and a discriminator."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from zssr.config import Config
from zssr.networks.discriminator import CHANCE_LOSS, DISCRIMINATOR_LOSSES, GENERATOR_LOSSES, Discriminator
from zssr.training.perceptual import load_vgg_distance

NetworkT = TypeVar("NetworkT", bound=nn.Module)


@dataclass(frozen=True)
class GanConstants:
    """Constants of the adversarial training, chosen by `python -m benchmarks texture` at x4 (see benchmarks/README.md).

    Attributes
    ----------
    generator_rate, discriminator_rate, betas
        Of Adam.
    weight_average_decay
        Decay of the average of the generator's weights per step.
    norm_decay
        Decay of the averages of the gradients' norms per step.
    feature_weight
        Weight of the distance of features beside the adversarial loss.
    saturated_loss
        Share of the chance loss under which the discriminator is saturated.
    """

    generator_rate: float = 5e-4
    discriminator_rate: float = 4e-4
    betas: tuple[float, float] = (0.5, 0.9)
    weight_average_decay: float = 0.99
    norm_decay: float = 0.9
    feature_weight: float = 2.0
    saturated_loss: float = 0.02


class GanBatch(NamedTuple):
    """Images (N, C, h, w) of a step: fathers and what the generator made of their sons; photos and upscaled ones.

    The first two are pairs, the others are not, and may be none.
    """

    father: Tensor
    restored: Tensor
    photo: Tensor
    upscaled: Tensor


class GanTrainer(Generic[NetworkT]):
    """Both networks and their optimizers.

    Attributes
    ----------
    generator, discriminator
        The networks, which are trained in place.
    averaged
        The generator with its weights averaged over the steps.
    losses
        Of the generator and of the discriminator, in the last step.
    """

    def __init__(
        self,
        generator: NetworkT,
        discriminator: Discriminator,
        config: Config,
        constants: GanConstants = GanConstants(),
    ) -> None:
        self.generator, self.discriminator, self.averaged = generator, discriminator, copy.deepcopy(generator)
        self.losses = (0.0, 0.0)
        self._config, self._constants = config, constants
        self._generator_adam = torch.optim.Adam(generator.parameters(), constants.generator_rate, constants.betas)
        self._discriminator_adam = torch.optim.Adam(
            discriminator.parameters(), constants.discriminator_rate, constants.betas
        )
        self._vgg_distance = load_vgg_distance() if config.perceptual == "vgg" else None
        self._norms = [0.0, 0.0]  # of the gradients of the L1 and of the adversarial loss
        self._relative_loss = 1.0  # the discriminator's, as a share of the chance loss

    def step(self, draw: Callable[[], GanBatch], rate_factor: float) -> None:
        """Take a step of the discriminator, and then one of the generator at `rate_factor` times its learning rate.

        `draw` makes images by the generator. At 0 it stays as it is.
        """
        batch = draw()
        real, fake = torch.cat([batch.photo, batch.father]), torch.cat([batch.upscaled, batch.restored])
        discriminator_loss = self._update_discriminator(real, fake.detach())
        generator_loss = self.losses[0]
        if rate_factor > 0:
            adversarial = self._adversarial_loss(real, fake, len(batch.photo))
            if self._vgg_distance:
                distance = self._vgg_distance(batch.restored, batch.father)
                adversarial = adversarial + self._constants.feature_weight * distance
            self._update_generator(l1_loss(batch.restored, batch.father), adversarial, rate_factor)
            generator_loss = float(adversarial.detach())
        self.losses = (generator_loss, discriminator_loss)

    def _update_discriminator(self, real: Tensor, fake: Tensor) -> float:
        """Take a step of the discriminator; return its loss before it."""
        kind = self._config.gan_loss
        self.discriminator.power_iteration()
        scores = self.discriminator(torch.cat([real, fake]))[-1].chunk(2)
        loss = DISCRIMINATOR_LOSSES[kind](*scores)
        self._discriminator_adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._discriminator_adam.step()
        value = float(loss.detach())
        self._relative_loss = 0.9 * self._relative_loss + 0.1 * value / CHANCE_LOSS[kind]
        return value

    def _adversarial_loss(self, real: Tensor, fake: Tensor, unpaired: int) -> Tensor:
        """Return the generator's loss by the discriminator's scores, and by its features if these are asked for.

        The first images, so many, are no pairs.
        """
        with torch.no_grad():
            of_real = self.discriminator(real)
        of_fake = self.discriminator(fake)
        loss = GENERATOR_LOSSES[self._config.gan_loss](of_real[-1], of_fake[-1])
        if self._config.perceptual == "features":
            layers = zip(of_fake[:-1], of_real[:-1], strict=True)
            loss = loss + self._constants.feature_weight * sum(
                l1_loss(fake[unpaired:], real[unpaired:]) for fake, real in layers
            )
        return loss

    def _update_generator(self, pixel_loss: Tensor, adversarial_loss: Tensor, rate_factor: float) -> None:
        """Take a step of the generator, and of the average of its weights.

        The adversarial gradient is scaled to the norm of the gradient of the L1 loss, times `config.adversarial`
        (adaptive weight: Esser et al. 2021, eq. 7).
        """
        config, constants, weights = self._config, self._constants, list(self.generator.parameters())
        losses = (config.pixel_weight * pixel_loss, adversarial_loss)
        gradients = [torch.autograd.grad(loss, weights, retain_graph=True) for loss in losses]
        for k, gradient in enumerate(gradients):
            norm = float(torch.cat([part.flatten() for part in gradient]).norm())
            self._norms[k] = constants.norm_decay * self._norms[k] + (1 - constants.norm_decay) * norm
        adaptive = config.adversarial
        if config.pixel_weight:
            adaptive = adaptive * self._norms[0] / (self._norms[1] + 1e-12)
        for weight, pixel, adversarial in zip(weights, *gradients, strict=True):
            weight.grad = pixel + adaptive * adversarial
        self._generator_adam.param_groups[0]["lr"] = rate_factor * constants.generator_rate
        self._generator_adam.step()
        with torch.no_grad():
            for mean, weight in zip(self.averaged.parameters(), weights, strict=True):
                mean.lerp_(weight, 1 - constants.weight_average_decay)

    @property
    def is_finite(self) -> bool:
        """Whether both losses are finite."""
        return all(math.isfinite(loss) for loss in self.losses)

    @property
    def discriminator_saturated(self) -> bool:
        """Whether the discriminator's loss is so small that the generator cannot improve by it."""
        return self._relative_loss < self._constants.saturated_loss

    def weights(self) -> list[Tensor]:
        """Return copies of all weights."""
        return [weight.detach().clone() for weight in self._parameters()]

    def restore(self, weights: list[Tensor]) -> None:
        """Set all weights, and reset the optimizers and all averages."""
        with torch.no_grad():
            for weight, saved in zip(self._parameters(), weights, strict=True):
                weight.copy_(saved)
        for optimizer in (self._generator_adam, self._discriminator_adam):
            optimizer.state.clear()
        self._norms, self._relative_loss, self.losses = [0.0, 0.0], 1.0, (0.0, 0.0)

    def _parameters(self) -> list[nn.Parameter]:
        networks = (self.generator, self.averaged, self.discriminator)
        return [weight for network in networks for weight in network.parameters()]
