"""Upscaling frames: a network for each shot, learned from some of its frames, and applied to all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from zssr.degradation import resize
from zssr.errors import ImageError
from zssr.fit import fit
from zssr.inference.regions import RegionUpsampler
from zssr.model import Model
from zssr.photo import Photo
from zssr.pipeline import (
    RunContext,
    apply_model,
    check_compatible,
    plan_upsampler,
    prepare_photo,
    resolve_degradation,
)
from zssr.value_range import ValueRange
from zssr.video.neighbor_fusion import FUSED, FusedFrame, SeenFrame, average_neighbors, fuse_neighbors
from zssr.video.planes import Plane, PlaneLayout
from zssr.video.source import VideoTraits
from zssr.video.windows import slide

SAMPLES = 4
"""Frames of a shot that are learned from."""

Planes = list[Plane]


@dataclass(frozen=True)
class FrameUpsampler:
    """Upscales the frames of one video.

    The brightness is upscaled by the network, as a gray image; frames of red, green and blue are upscaled as such. The
    other planes are interpolated, with their samples where the standard has them.

    Attributes
    ----------
    traits, target
        What the frames are like, and the planar format of the result.
    context
        How frames are upscaled.
    fuses
        Whether what the neighbors of a frame know of it is used.
    """

    traits: VideoTraits
    target: PlaneLayout
    context: RunContext
    fuses: bool = False
    _plans: list[tuple[Model, RegionUpsampler]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.traits.layout.is_rgb and self.context.method.takes_frames:
            raise ImageError(f"image: is in RGB, but {self.context.method.name} upscales brightness")

    def fit(self, windows: Sequence[Sequence[Planes]]) -> Model:
        """Fit a model to frames of a shot, each among its neighbors as `upscale` takes them."""
        context = self.context
        first = prepare_photo(self._make_photo([_middle(windows[0])]), context)
        degradation, estimate = resolve_degradation(first, context)
        photos = [replace(self._make_photo(window), kind=first.kind) for window in windows]
        fitted = fit(
            [plan_upsampler(photo, degradation, context) for photo in photos],
            context.prior,
            context.request.seed,
            context.progress,
        )
        own = (context.method.name, first.kind)
        return Model(degradation, photos[0].channels, estimate, fitted.networks, fitted.texture, *own)

    def upscale(self, window: Sequence[Planes], model: Model) -> Planes:
        """Upscale the frame in the middle of a window; its neighbors are used by methods that take several frames."""
        count = self._channels
        numbers = torch.cat(list(self._apply(self._make_photo(window), model)), -2)
        large = [channel.numpy() for channel in numbers[len(window) // 2 * count :][:count]]
        return [*large, *(self._interpolate(plane, k) for k, plane in enumerate(_middle(window)) if k >= count)]

    def see(self, planes: Planes, large: Planes) -> SeenFrame:
        """Return a frame and its upscaled planes as `fuse` takes them."""
        return SeenFrame(*(self._value_range.to_floats(self._stack(one)) for one in (planes, large)))

    def fuse(self, window: Sequence[SeenFrame], model: Model) -> FusedFrame:
        """Fuse the frame in the middle of a window with its neighbors, if there are any."""
        if len(window) == 1:
            return FusedFrame(window[0], [], window[0].large)
        return fuse_neighbors(window, model.degradation)

    def average(self, window: Sequence[FusedFrame], large: Planes, model: Model) -> Planes:
        """Average the frame in the middle of a window with its neighbors, if there are any; `large` are its planes."""
        if len(window) == 1:
            return large
        numbers = self._value_range.from_floats(average_neighbors(window, model.degradation))
        return [*(channel.numpy() for channel in numbers), *large[self._channels :]]

    def upscale_middle(self, frames: Sequence[Planes], model: Model) -> Planes:
        """Upscale the frame in the middle of a few as it is upscaled in the video."""
        large = [self.upscale(window, model) for window in slide(iter(frames), self.taken)]
        middle, reach = len(frames) // 2, self.reach(model)
        windows = list(slide(map(self.see, frames, large), reach))
        near = range(max(0, middle - reach), min(len(frames), middle + reach + 1))
        fused = list(slide((self.fuse(windows[k], model) for k in near), reach))
        return self.average(fused[near.index(middle)], large[middle], model)

    @property
    def taken(self) -> int:
        """How many neighbors, before and after a frame, the method takes."""
        return int(self.context.method.values["frames"]) // 2 if self.context.method.takes_frames else 0

    def reach(self, model: Model) -> int:
        """Return with how many neighbors, before and after it, a frame is fused."""
        return FUSED if self.fuses and model.kind == "photo" else 0

    @property
    def _channels(self) -> int:
        """How many planes of a frame the network upscales."""
        return 3 if self.traits.layout.is_rgb else 1

    def _apply(self, photo: Photo, model: Model) -> list[Tensor]:
        context = replace(self.context, config=self.context.config.replace(content=model.kind))
        prepared = prepare_photo(photo, context)
        if not self._plans or self._plans[-1][0] is not model:
            upsampler = plan_upsampler(prepared, model.degradation, context)
            check_compatible(model, upsampler)
            self._plans[:] = [(model, upsampler)]
        upsampler = replace(self._plans[-1][1], photo=prepared)
        return list(apply_model(model, upsampler, None, self.context.progress))

    def _make_photo(self, window: Sequence[Planes]) -> Photo:
        """Return frames as one photo, whose channels are theirs."""
        numbers = torch.cat([self._stack(planes) for planes in window])
        size = (numbers.shape[-2], numbers.shape[-1])
        return Photo(size, len(numbers), lambda start, stop: numbers[:, start:stop], self._value_range)

    def _stack(self, planes: Planes) -> Tensor:
        """Return the planes that the network upscales (C, H, W)."""
        return torch.from_numpy(np.stack(planes[: self._channels]))

    @property
    def _value_range(self) -> ValueRange:
        bits = self.traits.layout.bits
        return ValueRange(torch.uint8 if bits == 8 else torch.uint16, 0, 2**bits - 1)

    def _interpolate(self, plane: Plane, component: int) -> Plane:
        """Interpolate a plane of colors, or the opacity."""
        (vertical, down), (horizontal, right) = (self._place(component, axis) for axis in range(2))
        size = self.target.plane_size(component, self._output_size[1])
        small = self._value_range.to_floats(torch.from_numpy(plane))
        large = resize(small, size, (vertical, horizontal), offset=(down, right))
        return np.asarray(self._value_range.from_floats(large).numpy())

    def _place(self, component: int, axis: int) -> tuple[float, float]:
        """Return the scale of a plane along an axis, and its offset as `resize` takes it.

        Colors are shared by blocks of pixels, `before` of them in the source and `after` in the result. From top to
        bottom they lie in the middle of a block; from left to right at its first pixel, but in the middle in JPEG.
        """
        scale, layout = self._output_size[0][axis], self.traits.layout
        if layout.is_rgb or component not in (1, 2) or len(layout.order) < 3:
            return scale, 0.0
        before, after = layout.subsampling[axis], self.target.subsampling[axis]
        is_left = axis == 1 and self.traits.codec != "mjpeg"
        return scale * before / after, 0.5 * (1 - 1 / before - (after - 1) / (scale * before)) if is_left else 0.0

    @property
    def _output_size(self) -> tuple[tuple[float, float], tuple[int, int]]:
        return self.context.request.output_size(self.traits.size)


def _middle(window: Sequence[Planes]) -> Planes:
    return window[len(window) // 2]
