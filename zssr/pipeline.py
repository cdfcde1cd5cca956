"""The method, top to bottom: estimate how a photo was degraded, learn to undo that from the photo, apply it.

A photo was made small by blur, sampling, noise and JPEG compression: its degradation. Put through the same degradation
once more, the photo (the *father*) gives a smaller image (the *son*), and a small residual CNN learns to turn sons into
fathers: zero-shot super-resolution (Shocher, Cohen, Irani 2018). Applied to the photo itself, it gives the output.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from torch import Tensor

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.errors import ImageError
from zssr.estimation.blur_kernel import KernelEstimate
from zssr.estimation.estimate import estimate_degradation
from zssr.fit import Fit, fit
from zssr.images import Photo
from zssr.inference.blockwise import upscale_blocks
from zssr.inference.cascade import Cascade
from zssr.inference.regions import RegionUpsampler
from zssr.model import History, Model, Result
from zssr.networks.film import CHANNELS
from zssr.prior.checkpoint import Prior
from zssr.progress import Progress, ProgressEvent, Stage
from zssr.request import Request
from zssr.runtime import Runtime
from zssr.training.pairs import SMALLEST_FATHER
from zssr.training.perceptual import vgg_weights

ImageT = TypeVar("ImageT")


@dataclass(frozen=True)
class Run:
    """One call: the request, the settings, the start weights (None for random ones), the device, and its progress."""

    request: Request
    config: Config
    prior: Prior | None
    runtime: Runtime
    progress: Progress


class Upscaled(NamedTuple):
    """An upscaled photo.

    `bands` yields its rows (C', h, W') from top to bottom, in the photo's own numbers; they are made when asked for.
    `model` is None if there was nothing to upscale.
    """

    bands: Iterator[Tensor]
    model: Model | None
    history: History


def upscale_image(
    photo: Photo, run: Run, model: Model | None = None, degradation: Degradation | None = None
) -> Upscaled:
    """Upscale one photo by a model of its own, or by the `model` of photos that are like it.

    The degradation is estimated, unless it is given, at the scale asked for.
    """
    scale, _ = run.request.output_size(photo.size)
    if run.config.in_channels not in (None, photo.channels):
        raise ImageError(f"image: has {photo.channels} channels, but in_channels is {run.config.in_channels}")
    if max(scale) == 1:
        run.progress.warn("the output is as large as the input: there is nothing to enlarge")
        return Upscaled(iter([photo.rows(0, photo.size[0])]), None, History())
    if model:
        upsampler, fitted = plan_upsampler(photo, model.degradation.at_scale(scale), run), Fit()
        check_compatible(model, upsampler)
    else:
        estimate = None
        if degradation is None:
            degradation, estimate = resolve_degradation(photo, run)
        upsampler = plan_upsampler(photo, degradation, run)
        fitted = fit([upsampler], run.prior, run.request.seed, run.progress)
        model = Model(degradation, photo.channels, estimate, fitted.networks, fitted.texture)
    return Upscaled(apply_model(model, upsampler, fitted.previous, run.progress), model, fitted.history)


def fit_model(photos: Sequence[Photo], run: Run) -> Model:
    """Fit one model to photos that are alike; their degradation is estimated from the first."""
    degradation, estimate = resolve_degradation(photos[0], run)
    upsamplers = [plan_upsampler(photo, degradation, run) for photo in photos]
    fitted = fit(upsamplers, run.prior, run.request.seed, run.progress)
    return Model(degradation, photos[0].channels, estimate, fitted.networks, fitted.texture)


def resolve_degradation(photo: Photo, run: Run) -> tuple[Degradation, KernelEstimate | None]:
    """Return the photo's degradation: what is given of it, completed by estimates from the center of the photo.

    The blur kernel is chosen by the photo's power spectrum and its edges, the noise level by its flattest blocks, the
    JPEG quality by its file or its block DCT (`zssr.estimation`).
    """
    config, request = run.config, run.request
    if config.adversarial and config.perceptual == "vgg":
        vgg_weights()  # if they are missing, that is said before any work
    scale, _ = request.output_size(photo.size)
    with run.progress.timed(Stage.ESTIMATE):
        return estimate_degradation(
            photo.center(),
            scale=scale,
            kernel=request.load_kernel(photo.size),
            noise=config.noise,
            jpeg=config.jpeg,
            file_jpeg=photo.jpeg,
            sampling=config.sampling,
        )


def plan_upsampler(photo: Photo, degradation: Degradation, run: Run) -> RegionUpsampler:
    """Plan the cascade of scale steps for a photo.

    Each network doubles: x4 is two doublings, x3 is two doublings and a resize. The prior knows images of 1 and 3
    channels; the bands of other images are learned from together, as gray images.
    """
    scale, size = run.request.output_size(photo.size)
    cascade = Cascade.plan(photo.size, scale, size, degradation, run.config)
    by_band = run.prior is not None and photo.channels not in (1, CHANNELS)
    return RegionUpsampler(photo, cascade, by_band, run.config, run.runtime, run.progress.warn)


def apply_model(
    model: Model, upsampler: RegionUpsampler, previous: Tensor | None, progress: Progress
) -> Iterator[Tensor]:
    """Apply a model to a photo: yields bands of rows, as `Upscaled` has them.

    Blocks and tiles are read with the networks' receptive radius as margin, so a tiled result equals the untiled one.
    Each step is the mean over rotations and flips, back-projected. `previous` is the last step's input, if known.
    """
    scale = max(upsampler.cascade.degradation.scale)

    def notify(done: int, total: int) -> None:
        progress.notify(ProgressEvent(Stage.APPLY, done, total, scale))

    has_texture = upsampler.config.texture and min(upsampler.photo.size) >= SMALLEST_FATHER
    texture = model.texture if has_texture else None
    return progress.time_items(Stage.APPLY, upscale_blocks(upsampler, model.networks, texture, previous, notify))


def check_compatible(model: Model, upsampler: RegionUpsampler) -> None:
    """Raise `ImageError` if a model is for other channels or another scale than a photo's."""
    channels, factors = upsampler.photo.channels, [network.factor for network in model.networks]
    if model.channels != channels:
        raise ImageError(f"image: has {channels} channels, but the model is for {model.channels}")
    if factors and factors != [step.factor for step in upsampler.cascade.steps]:
        scale = " x ".join(f"{factor:g}" for factor in model.degradation.scale)
        raise ImageError(f"image: the model is for the scale {scale}, which is another")


def collect_result(
    image: ImageT, input_size: tuple[int, int], run: Run, done: Sequence[Upscaled], gain: float | None
) -> Result[ImageT]:
    """Make the result of a run whose photos are done; `input_size` (H, W) is the (last) photo's."""
    scale, size = run.request.output_size(input_size)
    history = History()
    for one in done:
        history.extend(one.history)
    return Result(
        image=image,
        scale=scale,
        size=size,
        models=tuple(one.model for one in done),
        history=history,
        device=str(run.runtime.compute.device),
        precision=str(run.runtime.compute),
        seed=run.request.seed,
        seconds=run.progress.seconds,
        expected_gain=gain,
        warnings=run.progress.warnings,
    )
