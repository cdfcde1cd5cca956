"""The lesson: networks that learn from photos made small alike to undo that, one for each gradual step."""

import copy
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from zssr.degradation import Degradation
from zssr.geometry import Region
from zssr.inference.blockwise import glimpse
from zssr.inference.cascade import Way, counted
from zssr.inference.scales import ScaleStep
from zssr.model import Result
from zssr.networks.sr import Network
from zssr.prior.checkpoint import Prior
from zssr.runtime import ComputeType, MemoryBackoff
from zssr.training.pairs import MOST_PIXELS, make_training_pairs, sample_windows
from zssr.training.trainer import TrainingHistory, train

logger = logging.getLogger(__name__)

Told = Callable[[str, Callable[[], Tensor] | None], Callable[[int, int], None]]
"""Takes what is done, and what shows the photo by then; returns what takes (done, total) and tells the caller."""

GLIMPSE = 192
"""Side of the middle of the photo, in its pixels, that may be seen while the network learns."""

_KEPT = {True: 0.25, False: 0.5}
"""Share of the prior in the weights after learning, by whether they are the last step's and the photo is not blurred:
the photo is small, its fathers are not the truth (those of a blurred one are smaller still), and what goes wrong in a
step is a father of the next."""

_MOST_WHOLE = 2**22  # pixels of photos that are worked on as a whole while learning, and not by windows


class Lesson:
    """What is learned from photos.

    Parameters
    ----------
    ways
        How each of the photos is enlarged, step by step.
    thrift
        The settings, with sizes that fit into memory.
    prior
        The start weights; None for random ones.
    result, told
        Are told how it goes.

    Attributes
    ----------
    before
        The last step but one's result for the photo, if it is one and was enlarged as a whole.
    """

    def __init__(
        self,
        ways: Sequence[Way],
        thrift: MemoryBackoff,
        prior: Prior | None,
        compute: ComputeType,
        generator: torch.Generator,
        result: Result,
        told: Told,
    ) -> None:
        self.before: Tensor | None = None
        self._ways, self._thrift, self._prior, self._arithmetic = ways, thrift, prior, compute
        self._generator, self._result, self._told = generator, result, told

    def networks(self) -> list[Network]:
        """Learn the network of each gradual step; what it makes of the photos is a father of the next steps."""
        steps, degradations = self._ways[0].steps, self._ways[0].degradations
        networks: list[Network] = []
        whole = self._whole(networks, None)
        fathers = [self._fathers(networks, whole)]
        for k, step in enumerate(steps):
            last = networks[-1] if k > 0 and degradations[k - 1].is_clean else None
            kept = _KEPT[k == len(steps) - 1 and degradations[k].kernel is None]
            learn = partial(self._learnt, kept, fathers, degradations[k], step, list(networks), last)
            networks.append(self._fitting_crops(learn))
            if k < len(steps) - 1:
                whole = self._whole(networks, whole)
                made = self._fathers(networks, whole)
                fathers = [*fathers, made] if degradations[k].is_clean else [made]  # it is clean: the photo is not
        if whole and len(self._ways) == 1 and len(steps) > 1:
            self.before = whole[0]
        return networks

    def _whole(self, networks: Sequence[Network], before: list[Tensor] | None) -> list[Tensor] | None:
        """Enlarge all photos whole by the last step's `networks`; None where that would be too much."""
        areas = sum(math.prod(way.size_after(len(networks))) for way in self._ways)
        if areas > _MOST_WHOLE or (networks and before is None):
            return None
        known: Sequence[Tensor | None] = before or [None] * len(self._ways)
        return [
            self._applied(way, Region.whole(way.photo.size), networks, image)
            for way, image in zip(self._ways, known, strict=True)
        ]

    def _fathers(self, networks: Sequence[Network], whole: list[Tensor] | None) -> list[Tensor]:
        """Return images to learn from, enlarged by `networks`: the photos themselves, or windows of large ones."""
        if whole is not None:
            return [way.colors(image) for way, image in zip(self._ways, whole, strict=True)]
        ways, count = self._ways, len(networks)
        most = MOST_PIXELS[True] * math.prod(ways[0].photo.size) // math.prod(ways[0].size_after(count))
        chosen = sample_windows([way.photo.size for way in ways], most, self._generator)
        return [ways[k].colors(self._applied(ways[k], region, networks)) for k, region in chosen]

    def _applied(self, way: Way, region: Region, networks: Sequence[Network], before: Tensor | None = None) -> Tensor:
        """Enlarge a region by a part of the steps."""
        if not networks:
            return way.images(region)
        total = way.calls(region, networks, 0 if before is None else len(networks) - 1)
        tell = self._told(f"applying x{max(way.steps[len(networks) - 1].reached):g}", None)
        with self._result.timed("apply"):
            return way.enlarged(region, networks, counted(tell, total), before)

    def _fitting_crops(self, learn: Callable[[], Network]) -> Network:
        """Return what `learn` does, with crops that are halved where memory runs out."""
        while True:
            try:
                return learn()
            except (MemoryError, RuntimeError) as error:
                self._thrift.halve("crop_size", error)

    def _learnt(
        self,
        kept: float,
        fathers: list[list[Tensor]],
        degradation: Degradation,
        step: ScaleStep,
        earlier: list[Network],
        last: Network | None,
    ) -> Network:
        """Train on `fathers`, from the `last` step's weights or, at first, from those of the prior or random ones.

        `kept` is the share of the prior's, if it was the start, that is in the weights at the end. `earlier` are the
        networks of the steps before.
        """
        config, result, generator = self._thrift.config, self._result, self._generator
        with result.timed("pairs"):
            pairs, validation = make_training_pairs(fathers, degradation, step.factor, config.crop_size, generator)
        prior = self._prior if self._prior and self._prior.knows(step.factor) else None
        network = copy.deepcopy(last)
        anew = network is None or network.factor != step.factor
        if network is None or anew:
            network = Network(fathers[0][0].shape[1], step.factor, *config.shape, generator)
            if prior:
                prior.start(network, degradation)
            elif self._prior:
                result.warn(f"the prior has no weights for x{step.factor}: learning from random ones")
            network = network.to(self._arithmetic.device)
        before = [weight.detach().clone() for weight in network.parameters()]
        what = f"learning x{max(step.reached):g}"
        logger.info("%s: training on %d pairs, %d crops a step", what, len(pairs.pairs), pairs.count)
        with result.timed("train"):
            rate = config.first_rate("prior" if prior else "random")
            history, so_far = TrainingHistory(result.losses, result.learning_rates), result.steps
            tell = self._told(what, partial(glimpse, self._ways[0], [*earlier, network], GLIMPSE))
            train(network, pairs, validation, config, rate, self._arithmetic, generator, tell, history)
        if prior and anew:
            _move(network, before, kept)
        result.validation_errors += [(so_far + after, error) for after, error in history.errors.items()]
        if history.restarts:
            result.warn("the loss was not finite at times; the training went back and on with a smaller learning rate")
        return network


@torch.no_grad()
def _move(network: Network, toward: list[Tensor], share: float) -> None:
    """Move the weights by `share` of the way (averaging in weight space, Wortsman et al. 2022)."""
    for weight, other in zip(network.parameters(), toward, strict=True):
        weight.lerp_(other, share)
