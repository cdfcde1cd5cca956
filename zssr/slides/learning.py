"""Learning from a slide: crops of all over it, where there is content, and one model, or one for each large region."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from zssr.degradation import Degradation
from zssr.geometry import Interval, Region
from zssr.model import Model
from zssr.photo import Kind, Photo
from zssr.pipeline import RunContext, fit_model, prepare_photo, resolve_degradation
from zssr.survey import measure_values

REGION_CELLS = 8
"""Side, in cells, of the regions that the adaptive mode may learn anew for."""

_PROBE = 512  # side in pixels
_MOST_PROBES = 16  # along a side
_MOST_CROPS = 16
_MOST_WHOLE = 2**22  # pixels of images that are learned from whole
_GRID = 16  # of pixels on which crops start, as the blocks of a JPEG do
_BLOCK = 8  # pixels of the blocks whose contrast is measured
_CLEAR = 20.0  # standard deviation in a block, in 0 to 255, beyond which more is no more content


@dataclass(frozen=True)
class Learned:
    """What was learned from a slide.

    Attributes
    ----------
    photo
        The slide's range of values and what else its photos share, without its pixels.
    models
        The model of the whole, and those of regions that differ.
    choice
        For regions, by their place (row, column), the number of the model; of all others it is the first.
    device, precision
        What it was learned on.
    """

    photo: Photo
    models: tuple[Model, ...]
    choice: Mapping[tuple[int, int], int] = field(default_factory=dict)
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def digest(self) -> str:
        """A hash of the models and of the range of values."""
        known = hashlib.sha256(repr((self.photo.value_range, self.photo.kind, sorted(self.choice.items()))).encode())
        for model in self.models:
            known.update(repr((model.assumed, model.degradation.noise, model.degradation.jpeg)).encode())
            for part in (*model.networks, *([model.texture] if model.texture else [])):
                for weight in part.state_dict().values():
                    known.update(weight.detach().cpu().contiguous().numpy().tobytes())
        return known.hexdigest()

    def add(self, models: Mapping[tuple[int, int], Model | None]) -> "Learned":
        """Return it with models for regions, by their places; those without one keep to the first."""
        known, choice = list(self.models), dict[tuple[int, int], int]()
        for place, model in sorted(models.items(), key=itemgetter(0)):
            if model is not None:
                choice[place] = len(known)
                known.append(model)
        return replace(self, models=tuple(known), choice=choice)

    def choose(self, cell: tuple[int, int]) -> Model:
        """Return the model of a cell, by its place (row, column)."""
        return self.models[self.choice.get((cell[0] // REGION_CELLS, cell[1] // REGION_CELLS), 0)]


def learn(photo: Photo, context: RunContext) -> Learned:
    """Fit one model to crops of all over a photo that is read by regions.

    They are those of some 256 windows on a grid that have content: at least half of the contrast of the one that has
    most. The blur, noise and compression are estimated where that is. Small images are learned from whole.
    """
    crops = find_crops(photo, Region.whole(photo.size))
    photo = measure_photo(photo, crops)
    model = fit_model([cut_photo(photo, crop) for crop in crops], context).pack()
    compute = context.runtime.compute
    photo = replace(photo, kind=cast(Kind, model.kind))
    return Learned(without_pixels(photo), (model,), {}, str(compute.device), str(compute))


def learn_anew(photo: Photo, learned: Learned, region: Region, context: RunContext) -> Model | None:
    """Fit a model to a region of a photo whose estimate differs from that of the whole; None if it does not."""
    crops = [cut_photo(photo, crop) for crop in find_crops(photo, region)]
    degradation, _ = resolve_degradation(prepare_photo(crops[0], context), context)
    return fit_model(crops, context).pack() if differs(degradation, learned.models[0].degradation) else None


def differs(degradation: Degradation, other: Degradation) -> bool:
    """Tell whether two degradations differ by what shows: a blur, noise or compression of another strength."""
    blurs, noises = ([one.blur_sigma for one in (degradation, other)], [one.noise for one in (degradation, other)])
    is_other_blur = abs(blurs[0] - blurs[1]) > 0.2 * max(*blurs, 0.5)
    is_other_noise = abs(noises[0] - noises[1]) > 0.3 * max(*noises, 3.0)
    return is_other_blur or is_other_noise or (degradation.jpeg is None) != (other.jpeg is None)


def find_crops(photo: Photo, region: Region) -> list[Region]:
    """Find crops of a region of a photo to learn from; the one with most contrast is the first, and larger."""
    if math.prod(region.size) <= _MOST_WHOLE:
        return [region]
    probes = find_probes(region)
    contrasts = [measure_contrast(photo.stored_numbers(probe)) for probe in probes]
    best = max(range(len(probes)), key=contrasts.__getitem__)
    chosen = [k for k, contrast in enumerate(contrasts) if 2 * contrast >= contrasts[best] and k != best]
    step = max(1.0, len(chosen) / (_MOST_CROPS - 1))
    spread = [chosen[int(k * step)] for k in range(min(len(chosen), _MOST_CROPS - 1))]
    return [_align(probes[best].expand(_PROBE // 2)), *(probes[k] for k in spread)]


def find_probes(region: Region) -> list[Region]:
    """Return windows of a region on a regular grid, of one size."""
    return [Region(rows, columns) for rows in _spread(region.rows) for columns in _spread(region.columns)]


def measure_contrast(numbers: Tensor) -> float:
    """Return the mean standard deviation within the blocks of a window (C, h, w), relative to its own numbers' range.

    Numbers of 8 bits are taken as they are, others relative to the largest of them.
    """
    levels = numbers.double().nan_to_num(0, 0, 0).mean(0)[None]
    levels = levels if numbers.dtype == torch.uint8 else 255 * levels / levels.abs().amax().clamp(min=1e-9)
    mean, square = (avg_pool2d(one, _BLOCK) for one in (levels, levels.square()))
    return float((square - mean.square()).clamp(min=0).sqrt().clamp(max=_CLEAR).mean())


def measure_photo(photo: Photo, crops: Sequence[Region]) -> Photo:
    """Complete a photo by what the pixels of crops show: its range of values, and the meaning of hidden colors.

    What lies outside of that range elsewhere is kept as outliers are; where there is no data is found everywhere.
    """
    numbers = [photo.stored_numbers(crop).flatten(1) for crop in crops]
    joined = torch.cat(numbers, 1)[:, None]
    sample = replace(photo, size=(1, joined.shape[-1]), rows=lambda start, stop: joined[:, start:stop], window=None)
    measured = measure_values(sample, any_range=True)
    is_float = photo.value_range.dtype.is_floating_point
    return replace(
        photo,
        value_range=measured.value_range,
        nodata=float("nan") if photo.nodata is None and is_float else photo.nodata,
        has_outliers=photo.alpha is None and photo.value_range.dtype != torch.uint8,
        keeps_hidden=measured.keeps_hidden,
    )


def cut_photo(photo: Photo, region: Region) -> Photo:
    """Return a region of a photo as a photo of its own, read once."""
    numbers = photo.stored_numbers(region)
    return replace(photo, size=region.size, rows=lambda start, stop: numbers[:, start:stop], window=None)


def without_pixels(photo: Photo) -> Photo:
    """Return a photo that can be sent elsewhere, where `read_by` gives it pixels again."""
    return replace(photo, rows=no_rows, window=None)


def read_by(photo: Photo, window: Callable[[Region], Tensor]) -> Photo:
    """Return a photo whose regions `window` reads."""
    return replace(photo, rows=partial(_read_rows, window, photo.size), window=window)


def no_rows(start: int, stop: int) -> Tensor:
    """Stand for the rows of a photo without pixels."""
    raise LookupError(start, stop)


def _read_rows(window: Callable[[Region], Tensor], size: tuple[int, int], start: int, stop: int) -> Tensor:
    whole = Region.whole(size)
    return window(Region(whole.rows.cut(start, stop), whole.columns))


def _spread(interval: Interval) -> "Iterable[Interval]":
    """Spread windows over an interval, from its beginning to its end."""
    if len(interval) <= _PROBE:
        return [interval]
    count = min(_MOST_PROBES, -(-len(interval) // _PROBE))
    starts = (interval.start + k * (len(interval) - _PROBE) // (count - 1) // _GRID * _GRID for k in range(count))
    return [interval.cut(start, start + _PROBE) for start in starts]


def _align(region: Region) -> Region:
    """Return a region without what comes before the grid of a JPEG's blocks."""
    return Region(*(one.cut(-(-one.start // _GRID) * _GRID, one.stop) for one in (region.rows, region.columns)))
