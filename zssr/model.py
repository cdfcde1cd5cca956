"""What upscaling gives: a model fitted to photos, the history of its training, and the result."""

import copy
from dataclasses import dataclass, field, replace
from typing import Generic

from zssr.degradation import Degradation
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.resize import Floats
from zssr.estimation.blur_kernel import KernelEstimate
from zssr.images import ImageT
from zssr.method import ResidualNetwork
from zssr.networks.texture import TextureGenerator


@dataclass(frozen=True)
class Model:
    """Networks fitted to one photo, or to several that are alike; they serve every photo that is like them.

    Attributes
    ----------
    degradation
        The photos' degradation, at the scale that the networks reach.
    channels
        Number of channels of the photos, without opacity.
    kernel_estimate
        How the kernel was estimated, if it was.
    networks
        One for each scale step; none if nothing could be learned.
    texture
        The texture generator, if one was trained.
    method
        The name of the method that fitted them.
    kind
        What the photos are: "photo", "graphics" or "labels".
    """

    degradation: Degradation = field(repr=False)
    channels: int
    kernel_estimate: KernelEstimate | None = field(default=None, repr=False)
    networks: tuple[ResidualNetwork, ...] = field(default=(), repr=False)
    texture: TextureGenerator | None = field(default=None, repr=False)
    method: str = "zssr"
    kind: str = "photo"

    def pack(self) -> "Model":
        """Return a copy to be sent elsewhere: on the CPU, without what was computed on the way."""
        networks = tuple(copy.deepcopy(network).to("cpu") for network in self.networks)
        texture = copy.deepcopy(self.texture).to("cpu") if self.texture else None
        return replace(self, degradation=replace(self.degradation), networks=networks, texture=texture)

    @property
    def assumed(self) -> str:
        """The degradation in words: kernel, noise and JPEG compression; and what the photo is, if it is none."""
        if self.kind == "labels":
            return "labels"
        kernel = self.kernel_estimate or self.degradation.resampler or "as given"
        noise = f", noise {self.degradation.noise:.1f}{self.degradation.grain}" if self.degradation.noise else ""
        jpeg = f", jpeg {self.degradation.jpeg}" if self.degradation.jpeg else ""
        kind = "graphics, " if self.kind == "graphics" else ""
        return f"{kind}kernel: {kernel}{noise}{jpeg}"


@dataclass
class History:
    """The course of a training.

    Attributes
    ----------
    losses, learning_rates
        One per optimizer step: mean absolute error in [0, 1] on the step's crops, and the rate.
    validation_errors
        Mean absolute errors on crops that are not trained on, each with the number of steps before it.
    adversarial_losses, discriminator_losses
        One per step of the texture generator's training, of the generator and of the discriminator.
    """

    losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    validation_errors: list[tuple[int, float]] = field(default_factory=list)
    adversarial_losses: list[float] = field(default_factory=list)
    discriminator_losses: list[float] = field(default_factory=list)

    def extend(self, other: "History") -> None:
        """Append the course of a further training."""
        self.validation_errors += [(len(self.losses) + steps, error) for steps, error in other.validation_errors]
        self.losses += other.losses
        self.learning_rates += other.learning_rates
        self.adversarial_losses += other.adversarial_losses
        self.discriminator_losses += other.discriminator_losses


@dataclass(frozen=True)
class Result(Generic[ImageT]):
    """An upscaled image, and how it was made.

    Attributes
    ----------
    image
        Of the kind that came in; None if it went to a file.
    scale, size
        Factors (vertical, horizontal), and (H, W) in pixels.
    models
        For each image of a batch the model that upscaled it; None where there was nothing to upscale.
    history
        The course of the training, over all scale steps and images.
    device, precision, seed
        What it was computed on, in "fp32", "bf16" or "fp16", and from which seed.
    seconds
        Wall-clock time of each stage: "estimate", "pairs", "train", "texture", "apply", "measure_gain".
    expected_gain
        In dB over bicubic upscaling, measured on the last photo itself downscaled once more; None if not asked for
        (`measure_gain`), or if the photo is too small.
    warnings
        One sentence for each thing that the caller should know.
    """

    image: ImageT = field(repr=False)
    scale: tuple[float, float]
    size: tuple[int, int]
    models: tuple[Model | None, ...] = field(repr=False)
    history: History = field(repr=False)
    device: str
    precision: str
    seed: int
    seconds: dict[str, float]
    expected_gain: float | None
    warnings: list[str]

    @property
    def model(self) -> Model | None:
        """The model of the (last) image; it can be given to upscale others that are like it."""
        return self.models[-1]

    @property
    def steps(self) -> int:
        """Optimizer steps, over all scale steps and images."""
        return len(self.history.losses)

    @property
    def weights(self) -> int:
        """The number of trained weights of the (last) image's networks, texture apart."""
        networks = self.model.networks if self.model else ()
        return sum(weight.numel() for network in networks for weight in network.parameters())

    @property
    def kernel(self) -> Floats | None:
        """The (last) image's kernel (height, width), summing to one; None is bicubic."""
        return self.model.degradation.kernel_array if self.model else None

    @property
    def kernel_estimates(self) -> list[KernelEstimate]:
        """For each image, how its kernel was estimated; empty if it was given."""
        return [model.kernel_estimate for model in self.models if model and model.kernel_estimate]

    @property
    def noise(self) -> float:
        """The noise that the (last) image was taken to have: a standard deviation in 0 to 255."""
        return self.model.degradation.noise if self.model else 0.0

    @property
    def jpeg(self) -> Jpeg | None:
        """The JPEG compression that the (last) image was taken to have."""
        return self.model.degradation.jpeg if self.model else None

    @property
    def assumed(self) -> str:
        """The degradation that was assumed, in words."""
        return self.model.assumed if self.model else "kernel: bicubic"

    def to_dict(self) -> dict[str, object]:
        """Return the facts ready for JSON; the scale is (horizontal, vertical)."""
        return {
            "width": self.size[1],
            "height": self.size[0],
            "scale": self.scale[::-1],
            "noise": round(self.noise, 2),
            "jpeg": str(self.jpeg) if self.jpeg else None,
            "steps": self.steps,
            "weights": self.weights,
            "stages": {stage: round(spent, 3) for stage, spent in self.seconds.items()},
            "device": self.device,
            "precision": self.precision,
            "seed": self.seed,
            "assumed": self.assumed,
            "expected_gain": self.expected_gain,
            "warnings": self.warnings,
        }
