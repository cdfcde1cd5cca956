"""What to expect: the gain over bicubic, measured on the photo itself, and the time that upscaling takes."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from zssr.color import luma
from zssr.config import Config
from zssr.model import Model
from zssr.photo import Photo, photo_from
from zssr.pipeline import RunContext, prepare_photo, resolve_degradation, upscale_image
from zssr.progress import Stage
from zssr.request import Request
from zssr.runtime import Runtime
from zssr.training.pairs import is_large_enough, make_pair
from zssr.training.schedule import choose_schedule, count_most_steps
from zssr.training.texture_gan import count_gan_steps

USUAL_STEPS = 900
"""Optimizer steps until the slope rule ends the training of a scale step (`python -m benchmarks quality`)."""

_GAIN_SIZE, _GAIN_STEPS = 384, 100
_TRIAL_SIZE, _TRIAL_STEPS = 256, 10


@dataclass(frozen=True)
class Forecast:
    """What upscaling a photo would give.

    Attributes
    ----------
    input_size, size
        (H, W) of the photo, and of the output.
    assumed
        The degradation, in words.
    seconds
        How long it would take on this machine, roughly.
    """

    input_size: tuple[int, int]
    size: tuple[int, int]
    assumed: str
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """Return the facts ready for JSON."""
        return {
            "input_width": self.input_size[1],
            "input_height": self.input_size[0],
            "width": self.size[1],
            "height": self.size[0],
            "assumed": self.assumed,
            "seconds": round(self.seconds, 3),
        }


def estimate_steps(config: Config) -> int:
    """Estimate how many optimizer steps the training of a scale step takes."""
    most = count_most_steps(config, config.init)
    return min(USUAL_STEPS, most) if choose_schedule(config, config.init) == "slope" else most


def measure_gain(photo: Photo, model: Model | None, context: RunContext) -> float | None:
    """Measure the gain over bicubic upscaling, in dB on Y, on the photo itself: downscaled by 2 and upscaled again.

    The center of the photo's content, put through its own degradation once more, is a photo whose truth is known; a
    network is fitted to it briefly. None if the settings do not ask for it, or where that would be too small to learn
    from.
    """
    if model is None or model.kind == "labels" or not context.config.measure_gain:
        return None
    degradation = model.degradation.at_scale((2.0, 2.0))
    truth, content = photo.center(_GAIN_SIZE)
    height, width = (length // 2 for length in truth.shape[-2:])
    truth = truth[..., : 2 * height, : 2 * width]
    if not is_large_enough((height, width), degradation, 2):
        return None
    small, _ = make_pair(truth, degradation, 2, torch.Generator().manual_seed(context.request.seed))
    steps = min(_GAIN_STEPS, count_most_steps(context.config, context.config.init))
    trial = _brief_context(
        context, Request(2.0, None, None, context.request.device, context.request.seed), steps, model.kind
    )
    trial = replace(trial, config=trial.config.replace(scale_factor=None, adversarial=0.0))
    with context.progress.timed(Stage.GAIN):
        ours = torch.cat(list(upscale_image(photo_from(small), trial, degradation=degradation).strips), dim=-2)
        plain = degradation.upsample(small, (2 * height, 2 * width))[0].clamp(0, 1)
        inside = np.s_[2:-2, 2:-2] if content is None else content[: 2 * height, : 2 * width].numpy()
        errors = [np.square(luma(one)[inside] - luma(truth[0])[inside]).mean() for one in (ours, plain)]
    least = (0.1 / 255) ** 2  # no gain is infinite
    return float(10 * np.log10((errors[1] + least) / (errors[0] + least)))


def forecast(photo: Photo, context: RunContext) -> Forecast:
    """Forecast what upscaling `photo` would give and take, by a few training steps on its center and applying them."""
    scale, size = context.request.output_size(photo.size)
    photo = prepare_photo(photo, context)
    degradation, estimate = resolve_degradation(photo, context)
    sample = photo_from(photo.center(_TRIAL_SIZE)[0])
    request = replace(context.request, scale=scale, size=None)
    self_ensemble = context.config.choose_self_ensemble(math.prod(size))
    for _ in range(2):  # what the first one takes longer is not repeated for each step
        trial = _brief_context(context, request, _TRIAL_STEPS, photo.kind)
        trial = replace(trial, config=trial.config.replace(self_ensemble=self_ensemble))
        list(upscale_image(sample, trial, degradation=degradation).strips)
    seconds, config = trial.progress.seconds, context.config
    training = seconds.get(Stage.TRAIN, 0.0) * estimate_steps(config) / _TRIAL_STEPS
    applying = seconds.get(Stage.APPLY, 0.0) * math.prod(photo.size) / math.prod(sample.size)
    once = sum(context.progress.seconds.values()) + seconds.get(Stage.PAIRS, 0.0)
    if Stage.TEXTURE in seconds:
        once += seconds[Stage.TEXTURE] * count_gan_steps(config) / count_gan_steps(trial.config) + applying
    assumed = Model(degradation, photo.channels, estimate, kind=photo.kind).assumed
    return Forecast(photo.size, size, assumed, once + training + applying)


def _brief_context(context: RunContext, request: Request, steps: int, kind: str) -> RunContext:
    """Return a run of its own for so many training steps."""
    config = context.config.replace(lr_schedule="cosine", num_epochs=steps, wrap="off", content=kind)
    runtime = Runtime.resolve(request.device, config)
    return RunContext(request, context.method, config, context.prior, runtime, context.progress.for_trial())
