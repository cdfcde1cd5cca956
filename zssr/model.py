"""What an upscaling gives: the image, and how it came about."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from zssr.degradation import Degradation
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.resize import Floats
from zssr.estimation.blur_kernel import KernelEstimate
from zssr.networks.sr import Network
from zssr.networks.texture import TextureGenerator

logger = logging.getLogger(__name__)

Thing = TypeVar("Thing")


@dataclass
class Model:
    """What was learned from one photo, or from several that are alike; it serves every photo that is like them.

    Attributes
    ----------
    degradation
        How the photos were made small, and by which scale.
    channels
        How many channels they have, without opacity.
    estimate
        How the kernel was estimated, if it was.
    networks
        One for each gradual scale step; none if nothing could be learnt.
    texture
        The adversarial head, if there is one.
    """

    degradation: Degradation
    channels: int
    estimate: KernelEstimate | None = None
    networks: list[Network] = field(default_factory=list)
    texture: TextureGenerator | None = None


@dataclass
class Result:
    """An enlarged image, and how it came about.

    Attributes
    ----------
    image
        The enlarged image, of the kind that came in; None if it went to a file.
    size
        (H, W) in pixels.
    learnt
        What was learnt, which can be given to enlarge other photos that are like this one; of a batch, the last image.
    losses, learning_rates
        One per optimizer step: mean absolute error in [0, 1] on the step's crops, and the rate.
    adversarial_losses, discriminator_losses
        One per step of the adversarial head's training, of the head and of its opponent.
    validation_errors
        Mean absolute errors on the crops that measure progress, each with the number of steps before it.
    steps
        Optimizer steps, over all scale steps.
    seconds
        Wall-clock time of each stage: "estimate", "pairs", "train", "texture", "apply", "expect".
    scale
        The factors (vertical, horizontal).
    device, precision, seed
        What it was computed on, in "fp32" or "bf16", and from which seed.
    kernel
        The kernel that was used (height, width), summing to one; None is bicubic. Of a batch, the last image's.
    kernel_estimates
        For each image, how its kernel was estimated; empty if it was given.
    noise, jpeg
        The noise (standard deviation, 0 to 255) and the JPEG compression that the photo was taken to have; of a batch,
        the last image.
    expected_gain
        In dB over bicubic enlargement, measured on the photo itself shrunk once more; None if not asked for
        (`measure_gain`), or if the photo is too small.
    warnings
        One sentence for each thing that the caller should know.
    """

    image: Any = None
    size: tuple[int, int] = (0, 0)
    model: Model | None = field(default=None, repr=False)
    losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    adversarial_losses: list[float] = field(default_factory=list)
    discriminator_losses: list[float] = field(default_factory=list)
    validation_errors: list[tuple[int, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    scale: tuple[float, float] = (1.0, 1.0)
    device: str = "cpu"
    precision: str = "fp32"
    seed: int = 0
    kernel: Floats | None = None
    kernel_estimates: list[KernelEstimate] = field(default_factory=list)
    noise: float = 0.0
    jpeg: Jpeg | None = None
    expected_gain: float | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Optimizer steps, over all scale steps."""
        return len(self.losses)

    @property
    def assumed(self) -> str:
        """How the image was taken to have been made small, in words."""
        given = "bicubic" if self.kernel is None else "as given"
        parts = [f"kernel: {self.kernel_estimates[-1] if self.kernel_estimates else given}"]
        parts += [f"noise {self.noise:.1f}"] if self.noise else []
        parts += [f"jpeg {self.jpeg}"] if self.jpeg else []
        return ", ".join(parts)

    def warn(self, sentence: str) -> None:
        """Keep and log a sentence, once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            logger.warning(sentence)

    def timing(self, stage: str, things: Iterator[Thing]) -> Iterator[Thing]:
        """Yield `things`, and add the time that making them takes to a stage."""
        while True:
            with self.timed(stage):
                thing = next(things, None)
            if thing is None:
                return
            yield thing

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
