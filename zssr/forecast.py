"""What to expect: of the picture, and of the time it takes."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from zssr.color import luma
from zssr.images import Photo, photo_from
from zssr.model import Result
from zssr.pipeline import Method
from zssr.request import Request
from zssr.training.pairs import is_large_enough, make_pair

_SIDE, _STEPS = 384, 100
_LEAST_ERROR = (0.1 / 255) ** 2

_TRIAL_SIDE, _TRIAL_STEPS = 256, 10
_USUAL_STEPS = 900  # until the slope rule ends the learning of a step


@dataclass(frozen=True)
class Forecast:
    """What enlarging a photo would give.

    Attributes
    ----------
    small, size
        (H, W) of the photo, and enlarged.
    assumed
        How the photo was taken to have been made small, in words.
    seconds
        How long it would take on this machine, roughly.
    """

    small: tuple[int, int]
    size: tuple[int, int]
    assumed: str
    seconds: float


def expected_gain(method: Method, photo: Photo) -> float | None:
    """Return the gain over bicubic enlargement, in dB on Y, on `photo` itself: shrunk, and enlarged.

    The middle of the photo, made small once more in the way it was, is a photo with a known answer; the network learns
    briefly from it. None where that would be too small to learn from.
    """
    if method.result.model is None:
        return None
    degradation = method.result.model.degradation.at_scale((2.0, 2.0))
    truth = photo.middle(_SIDE)
    height, width = (length // 2 for length in truth.shape[-2:])
    truth = truth[..., : 2 * height, : 2 * width]
    if not is_large_enough((height, width), degradation, 2):
        return None
    small, _ = make_pair(truth, degradation, 2, torch.Generator().manual_seed(method.order.seed))
    steps = min(_STEPS, method.config.num_epochs)
    brief = method.config.replace(lr_schedule="cosine", num_epochs=steps, scale_factor=None, adversarial=0.0)
    with method.result.timed("measure_gain"):
        trial = Method(brief, Request(2.0, None, None, method.order.device, method.order.seed), None, Result())
        son = photo_from(small)
        ours = torch.cat(list(trial.enlarge(son, trial.learn([son], degradation))), dim=-2)
        plain = degradation.upsample(small, (2 * height, 2 * width))[0].clamp(0, 1)
        errors = [np.square(luma(one)[2:-2, 2:-2] - luma(truth[0])[2:-2, 2:-2]).mean() for one in (ours, plain)]
    return float(10 * np.log10((errors[1] + _LEAST_ERROR) / (errors[0] + _LEAST_ERROR)))


def forecast(method: Method, photo: Photo) -> Forecast:
    """Tell what enlarging `photo` would give, by a few steps of learning from its middle and applying them."""
    _, size = method.order.target(photo.size)
    degradation = method.assumed(photo)
    brief = method.config.replace(lr_schedule="cosine", num_epochs=_TRIAL_STEPS)
    sample = photo_from(photo.middle(_TRIAL_SIDE))
    for _ in range(2):  # what the first one takes longer is not repeated for each step
        trial = Method(brief, method.order, None, Result())
        list(trial.enlarge(sample, trial.learn([sample], degradation)))
    seconds, config = trial.result.seconds, method.config
    steps = _USUAL_STEPS if config.lr_schedule == "slope" else config.num_epochs
    learning = seconds.get("train", 0.0) * min(steps, config.num_epochs) / _TRIAL_STEPS
    applying = seconds.get("apply", 0.0) * math.prod(photo.size) / math.prod(sample.size)
    once = sum(method.result.seconds.values()) + seconds.get("pairs", 0.0)
    if "texture" in seconds:
        from zssr.training.texture_gan import steps_of

        once += seconds["texture"] * steps_of(config) / steps_of(brief) + applying
    return Forecast(photo.size, size, method.result.assumed, once + learning + applying)
