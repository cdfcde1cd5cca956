"""Recovery of a training whose loss became NaN or infinite: its last good weights, at a lower learning rate."""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from zssr.errors import ZssrError

logger = logging.getLogger(__name__)

MAX_RESTARTS = 3
"""How often a training restarts before it counts as diverged."""

State = TypeVar("State")


class DivergedError(ZssrError):
    """The loss became NaN or infinite, and stayed so at smaller learning rates."""


class DivergenceGuard(Generic[State]):
    """Keeps the last good weights of a training, and restores them with a tenth of the learning rate.

    Parameters
    ----------
    save
        Returns a copy of all weights.
    restore
        Sets all weights, and resets the optimizers.

    Attributes
    ----------
    rate_factor
        Factor of the learning rate.
    restarts
        How often weights were restored.
    """

    def __init__(self, save: Callable[[], State], restore: Callable[[State], None]) -> None:
        self.rate_factor, self.restarts = 1.0, 0
        self._save, self._restore = save, restore
        self._good = save()

    def check(self, finite: bool, step: int) -> None:
        """Save the weights after `step` steps if the losses are finite; restore the last good ones if not.

        Raises `DivergedError` when there are no restarts left.
        """
        if finite:
            self._good = self._save()
        elif self.restarts == MAX_RESTARTS:
            raise DivergedError(f"the loss was not finite after {step} steps and {MAX_RESTARTS} restarts")
        else:
            logger.info("step %d: the loss is not finite; restarting at a tenth of the learning rate", step)
            self.restarts += 1
            self.rate_factor *= 0.1
            self._restore(self._good)
