"""The method, top to bottom.

1. **Estimate.** A photo was made small by blur, sampling, noise and JPEG compression: its degradation, which is
   estimated from the photo.
2. **Fit.** Put through the same degradation once more, the photo (the *father*) gives a smaller image (the *son*). A
   small residual CNN, which starts from the prior, is trained to turn sons into fathers, with L1 loss: zero-shot
   super-resolution (Shocher, Cohen, Irani 2018). `zssr.fit` does that for each scale step, and trains a texture
   generator adversarially if that is asked for.
3. **Apply.** The networks upscale the photo itself, one after the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from zssr.config import Config
from zssr.degradation import Degradation
from zssr.errors import ImageError
from zssr.estimation.blur_kernel import KernelEstimate
from zssr.estimation.estimate import estimate_degradation
from zssr.fit import fit
from zssr.graphics import is_graphics
from zssr.inference.blockwise import upscale_blocks
from zssr.inference.cascade import Cascade
from zssr.inference.labels import enlarge_labels
from zssr.inference.regions import RegionUpsampler
from zssr.method import Method, StartWeights
from zssr.model import History, Model, Result
from zssr.networks.film import CHANNELS
from zssr.photo import Photo
from zssr.progress import Progress, Stage
from zssr.request import Request
from zssr.runtime import Runtime
from zssr.seam import join_sides
from zssr.training.pairs import SMALLEST_FATHER, degrade

ImageT = TypeVar("ImageT")

_MOST_LOOKED_AT = 1024  # side in pixels of what tells graphics from photos


@dataclass(frozen=True)
class RunContext:
    """One call of the API: request, method, settings, start weights (None for random ones), device, progress."""

    request: Request
    method: Method
    config: Config
    prior: StartWeights | None
    runtime: Runtime
    progress: Progress


class Upscaled(NamedTuple):
    """An upscaled photo.

    `strips` yields its rows (channels, h, width), top to bottom, in the photo's dtype; they are made when asked for.
    `model` is None if there was nothing to upscale.
    """

    strips: Iterator[Tensor]
    model: Model | None
    history: History


def upscale_image(
    photo: Photo, context: RunContext, model: Model | None = None, degradation: Degradation | None = None
) -> Upscaled:
    """Upscale one photo by a model that is fitted to it, or by the `model` of photos that are like it.

    `degradation` is that of the photo at the scale asked for, if it is known (a forecast knows it).
    """
    photo = prepare_photo(photo, context)
    scale, size = output_scale(photo, context.request)
    if context.config.in_channels not in (None, photo.channels):
        raise ImageError(f"image: has {photo.channels} channels, but in_channels is {context.config.in_channels}")
    if max(scale) == 1:
        context.progress.warn("the output is as large as the input: there is nothing to enlarge")
        return Upscaled(iter([photo.rows(0, photo.size[0])]), None, History())
    own = (context.method.name, photo.kind)
    if photo.kind == "labels":
        model = Model(Degradation(None, scale), photo.channels, None, (), None, *own)
        return Upscaled(enlarge_labels(photo, size), model, History())
    if model is not None:
        upsampler = plan_upsampler(photo, model.degradation.at_scale(scale), context)
        check_compatible(model, upsampler)
        return Upscaled(apply_model(model, upsampler, None, context.progress), model, History())
    estimate = None
    if degradation is None:
        degradation, estimate = resolve_degradation(photo, context)
    upsampler = plan_upsampler(photo, degradation, context)
    fitted = fit([upsampler], context.prior, context.request.seed, context.progress)
    model = Model(degradation, photo.channels, estimate, fitted.networks, fitted.texture, *own)
    return Upscaled(apply_model(model, upsampler, fitted.previous, context.progress), model, fitted.history)


def fit_model(photos: Sequence[Photo], context: RunContext) -> Model:
    """Fit one model to photos that are alike; their degradation is estimated from the first."""
    photos = [prepare_photo(photo, context) for photo in photos]
    own = (context.method.name, photos[0].kind)
    if own[1] == "labels":
        scale, _ = output_scale(photos[0], context.request)
        return Model(Degradation(None, scale), photos[0].channels, None, (), None, *own)
    degradation, estimate = resolve_degradation(photos[0], context)
    upsamplers = [plan_upsampler(photo, degradation, context) for photo in photos]
    fitted = fit(upsamplers, context.prior, context.request.seed, context.progress)
    return Model(degradation, photos[0].channels, estimate, fitted.networks, fitted.texture, *own)


def prepare_photo(photo: Photo, context: RunContext) -> Photo:
    """Return a photo with its sides joined as the settings say, and told from graphics and labels."""
    photo, config = join_sides(photo, context.config), context.config
    if config.content != "auto":
        return replace(photo, kind=config.content)
    if photo.jpeg or not is_graphics(photo.stored_center(_MOST_LOOKED_AT)):
        return photo
    sure = 'content="photo" says otherwise'
    context.progress.warn(f"the image is taken for graphics, which get no colors beyond those around them; {sure}")
    return replace(photo, kind="graphics")


def output_scale(photo: Photo, request: Request) -> tuple[tuple[float, float], tuple[int, int]]:
    """Return the scale (vertical, horizontal) and the output size (H, W) for a photo."""
    scale, size = request.output_size(photo.size)
    # where sides join, it is the scale of the whole pixels, so that they join in the output, too
    vertical, horizontal = (size[k] / photo.size[k] if photo.wraps[k] else scale[k] for k in range(2))
    return (vertical, horizontal), size


def resolve_degradation(photo: Photo, context: RunContext) -> tuple[Degradation, KernelEstimate | None]:
    """Return the photo's degradation at the scale asked for, and how its kernel was estimated, if it was.

    What the request and the settings do not give is estimated (`zssr.estimation`): the blur kernel by the power
    spectrum and the edges of the center of the photo's content, the noise level by its flattest blocks, and
    the JPEG compression by its block DCT, if that is coarser than the photo's file says.
    """
    config, request = context.config, context.request
    kernel, noise, jpeg = request.load_kernel(photo.size), config.noise, config.jpeg
    if photo.kind == "graphics":  # nothing made them small
        kernel = None if isinstance(kernel, str) else kernel
        noise = 0.0 if noise == "auto" else noise
        jpeg = "off" if jpeg == "auto" and photo.jpeg is None else jpeg
    with context.progress.timed(Stage.ESTIMATE):
        image, content = photo.center()
        degradation, estimate = estimate_degradation(
            image,
            content,
            scale=output_scale(photo, request)[0],
            kernel=kernel,
            noise=noise,
            jpeg=jpeg,
            file_jpeg=photo.jpeg,
            sampling=config.sampling,
            sharpening=config.sharpening,
        )
    if estimate is not None and estimate.is_doubtful:
        context.progress.warn(
            f"the photo hardly shows how it was made small: {estimate.blur} is assumed, which loses least on average; "
            'kernel="bicubic" says otherwise'
        )
    return degradation, estimate


def shrink_photo(photo: Photo, degradation: Degradation, seed: int) -> tuple[Tensor, tuple[int, int]]:
    """Degrade a photo once more: its son (channels, h, w) in the photo's dtype, and the size (H, W) that it is of."""
    scale = degradation.scale
    height, width = (int(side / factor) for side, factor in zip(photo.size, scale, strict=True))
    size = (round(height * scale[0]), round(width * scale[1]))
    colors, opacity = photo.region(photo.whole)
    generator = torch.Generator().manual_seed(seed)
    sons = degrade(colors[..., : size[0], : size[1]], degradation, (height, width), generator)
    if opacity is not None:
        opacity = degradation.downsample(opacity[..., : size[0], : size[1]], (height, width)).clamp(0, 1)
    return photo.to_pixels(sons.clamp(0, 1), opacity), size


def plan_upsampler(photo: Photo, degradation: Degradation, context: RunContext) -> RegionUpsampler:
    """Plan the scale steps by which a photo is upscaled; each has a network that doubles.

    x4 is x2, then x2. x3 is x2, then x1.5: the second network's result is resized. The prior is for images of 1 and 3
    channels; from it, images of other channels are upscaled channel by channel, as gray ones.
    """
    scale, size = output_scale(photo, context.request)
    one_step = context.method.on_interpolated or context.method.network is None
    cascade = Cascade.plan(photo.size, scale, size, degradation, context.config, photo.wraps, on_interpolated=one_step)
    by_band = context.prior is not None and photo.channels not in (1, CHANNELS)
    return RegionUpsampler(
        photo, cascade, by_band, context.config, context.runtime, context.progress.warn, context.method
    )


def apply_model(
    model: Model, upsampler: RegionUpsampler, previous: Tensor | None, progress: Progress
) -> Iterator[Tensor]:
    """Apply a model to a photo: yields strips of rows, as `Upscaled` has them.

    The photo is upscaled in blocks, and a network is applied to a block in tiles. Each is read with a margin as wide as
    its result depends on (networks, resizing, back-projection, texture). So a tiled result equals the untiled one, up
    to rounding, and a reconstruction up to a few levels. Each scale step is the mean over rotations and flips,
    back-projected. `previous` is the input of the last scale step for the whole photo, if the photo is small and the
    fit has made it.
    """
    notify = progress.make_notifier(Stage.APPLY, max(upsampler.cascade.degradation.scale))
    has_texture = upsampler.config.texture and min(upsampler.photo.size) >= SMALLEST_FATHER
    texture = model.texture if has_texture else None
    return progress.time_items(Stage.APPLY, upscale_blocks(upsampler, model.networks, texture, previous, notify))


def check_compatible(model: Model, upsampler: RegionUpsampler) -> None:
    """Raise `ImageError` if a model is of another method, or for another number of channels or of doublings."""
    if model.method != upsampler.method.name:
        raise ImageError(f"image: the model is of the method {model.method}, not of {upsampler.method.name}")
    channels, factors = upsampler.photo.channels, [network.factor for network in model.networks]
    if model.channels != channels:
        raise ImageError(f"image: has {channels} channels, but the model is for {model.channels}")
    if factors and factors != [step.factor for step in upsampler.cascade.steps]:
        scale = " x ".join(f"{factor:g}" for factor in model.degradation.scale)
        raise ImageError(f"image: the model is for the scale {scale}, which is another")


def collect_result(
    image: ImageT, input_size: tuple[int, int], context: RunContext, upscaled: Sequence[Upscaled], gain: float | None
) -> Result[ImageT]:
    """Make the result of a run, once its strips are used; `input_size` (H, W) is the (last) photo's."""
    scale, size = context.request.output_size(input_size)
    history = History()
    for one in upscaled:
        history.extend(one.history)
    return Result(
        image=image,
        scale=scale,
        size=size,
        models=tuple(one.model for one in upscaled),
        history=history,
        device=str(context.runtime.compute.device),
        precision=str(context.runtime.compute),
        seed=context.request.seed,
        seconds=context.progress.seconds,
        expected_gain=gain,
        warnings=context.progress.warnings,
    )
