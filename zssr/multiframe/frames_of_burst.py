"""The frames of a burst, from images of every kind: colors as floats, and how far each pixel is to be trusted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zssr.color import luma
from zssr.degradation.resize import Floats
from zssr.errors import ConfigError, ImageError, about
from zssr.images import Array, ImageLike, load
from zssr.io.frames import FilePage
from zssr.io.limits import Limits
from zssr.io.reading import count_pages, to_source
from zssr.photo import Photo

SMALLEST_FRAME = 8
"""Side in pixels of the smallest frame that is registered."""

Page = Path | bytes | FilePage
Restore = Callable[[list[Tensor]], Image.Image | Array | Tensor]


@dataclass(frozen=True)
class Frame:
    """One image of a burst.

    Attributes
    ----------
    name
        What to call it.
    photo
        The image.
    colors
        Its colors (C, H, W), in [0, 1].
    weights
        From 0 to 1, how far its pixels say something (H, W): not those that are transparent or without data.
    restore
        Makes numbers (C', H', W') an image of its kind.
    notes
        One sentence for each thing that the user should know.
    page
        The picture file that it is, if it is one.
    """

    name: str
    photo: Photo
    colors: Tensor
    weights: Tensor
    restore: Restore
    notes: Sequence[str] = ()
    page: Page | None = None

    @property
    def luma(self) -> Floats:
        """The luma (H, W)."""
        return luma(self.colors)


def load_frames(images: ImageLike | Sequence[ImageLike], limits: Limits, nodata: float | None = None) -> list[Frame]:
    """Load the frames of a burst: a sequence of images, or one that holds several.

    Raises `ImageError`, one sentence, for what is no image, for frames that do not have as many channels as the first
    or are too small, and if there are none.
    """
    given = list(images) if isinstance(images, (list, tuple)) else [cast("ImageLike", images)]
    frames = [frame for k, image in enumerate(given) for frame in _load_each(image, k + 1, limits, nodata)]
    if len(frames) < 2:
        raise ImageError("images: a burst has two frames or more; upscale takes single images")
    for frame in frames:
        _check_like(frame, frames[0])
    return frames


def read_frame(name: str, photo: Photo, restore: Restore, notes: Sequence[str] = (), page: Page | None = None) -> Frame:
    """Read a photo as the frame of a burst."""
    colors, opacity = photo.region(photo.whole)
    numbers = photo.stored_numbers(photo.whole)
    photo = replace(photo, rows=lambda start, stop: numbers[:, start:stop])
    voids = photo.find_voids(numbers, photo.whole)
    weights = torch.ones(photo.size) if opacity is None else opacity[0, 0]
    if voids is not None:
        weights = weights * ~voids.any(0)
    return Frame(name, photo, colors[0], weights, restore, [*notes, *photo.notes], page)


def find_sharpest(frames: Sequence[Frame]) -> int:
    """Return the number of the frame whose middle frequencies are the strongest beside its low ones, from 0."""
    from scipy.ndimage import gaussian_filter  # other commands do not wait for it

    def measure(frame: Frame) -> float:
        fine, coarse = (np.asarray(gaussian_filter(frame.luma, sigma)) for sigma in (1.0, 2.0))
        return float((fine - coarse).var()) / max(float(coarse.var()), 1e-12)

    sharpness = [measure(frame) for frame in frames]
    return sharpness.index(max(sharpness))


def choose_reference(frames: Sequence[Frame], number: int | None) -> int:
    """Return the index of the frame with a number, 1 for the first, or of the sharpest. Raises `ConfigError`."""
    if number is None:
        return find_sharpest(frames)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(frames):
        raise ConfigError(f"reference: {number!r} is not the number of a frame, from 1 to {len(frames)}")
    return number - 1


def _load_each(image: ImageLike, number: int, limits: Limits, nodata: float | None) -> Iterator[Frame]:
    name = str(image) if isinstance(image, (str, PathLike)) else f"image {number}"
    try:
        for page in split_pages(image, limits):
            file = page if isinstance(page, Page) else None
            label = str(page) if isinstance(page, FilePage) else name
            batch = load(page, limits, nodata)
            for photo in batch.photos:
                yield read_frame(label, photo, batch.restore, batch.notes, file)
            batch.close()
    except ImageError as error:
        raise ImageError(about(name, error)) from error


def split_pages(image: ImageLike, limits: Limits) -> Iterator[ImageLike]:
    """Yield the pages or frames of a file or PIL image that holds several; any other image is itself one."""
    if isinstance(image, Image.Image):
        yield from _split_pillow(image)
    elif isinstance(image, (np.ndarray, Tensor, FilePage)):
        yield image
    else:
        source = to_source(image, "image", limits, ", or a PIL image, array or tensor")
        count = 1 if isinstance(source, FilePage) else count_pages(source, limits)
        if isinstance(source, FilePage) or count == 1:
            yield source
        else:
            yield from (FilePage(source, page) for page in range(1, count + 1))


def _split_pillow(image: Image.Image) -> Iterator[Image.Image]:
    count = getattr(image, "n_frames", 1)
    if count == 1:
        yield image
        return
    here = image.tell()
    for page in range(count):
        image.seek(page)
        yield image.copy()
    image.seek(here)


def _check_like(frame: Frame, first: Frame) -> None:
    if len(frame.colors) != len(first.colors):
        has = f"has {len(frame.colors)} channels, and {first.name} {len(first.colors)}"
        raise ImageError(f"{frame.name}: {has}; the frames of a burst have as many")
    if min(frame.photo.size) < SMALLEST_FRAME:
        height, width = frame.photo.size
        raise ImageError(f"{frame.name}: its {width}x{height} pixels are too few; {SMALLEST_FRAME} a side are needed")
