"""Images of every accepted kind as photos: regions of floats, and the way back to their own numbers."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Generic, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zssr.degradation.jpeg import Jpeg
from zssr.errors import ImageError
from zssr.geometry import Region
from zssr.io.limits import Limits
from zssr.io.picture import Picture, PixelFormat, Pixels
from zssr.io.pillow import from_pillow, restore_mode, to_pillow
from zssr.io.reading import open_picture, to_source

Array = NDArray[np.generic]
FileOrPillow = str | os.PathLike[str] | bytes | BinaryIO | Image.Image
ImageLike = FileOrPillow | Array | Tensor
"""A picture file, a PIL image, a numpy array (H, W) or (H, W, C), or a torch tensor (C, H, W) or (N, C, H, W)."""

ImageT = TypeVar("ImageT", covariant=True)

_WHITE = {torch.uint8: 255, torch.uint16: 65535}
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_DTYPES = "uint8, uint16 and floats in [0, 1] are"


@dataclass(frozen=True)
class ValueRange:
    """The numbers of an image: `low` is 0 and `high` is 1.

    16-bit images seldom use all their bits: `high` is the largest number of as many bits as the image does use.
    """

    dtype: torch.dtype
    low: float = 0.0
    high: float = 1.0

    def to_floats(self, values: Tensor) -> Tensor:
        """Convert numbers to float32 in [0, 1]."""
        floats = values.to(torch.float64 if self.dtype == torch.float64 else torch.float32)
        unit = floats if (self.low, self.high) == (0, 1) else (floats - self.low) / (self.high - self.low)
        return unit.float().clamp(0, 1)

    def from_floats(self, values: Tensor) -> Tensor:
        """Convert floats, clipped to [0, 1], to numbers, the inverse of `to_floats`; rounds to the nearest integer."""
        values = values.clamp(0, 1)
        if self.dtype in _WHITE:
            return (values * self.high).round().to(torch.int32).to(self.dtype)
        if (self.low, self.high) == (0, 1):
            return values.to(self.dtype)
        wide = values.double() if self.dtype == torch.float64 else values
        return (wide * (self.high - self.low) + self.low).to(self.dtype)


@dataclass(frozen=True)
class Photo:
    """One image, wherever its pixels are stored.

    Attributes
    ----------
    size
        (H, W) in pixels.
    channels
        Number of channels without the opacity.
    rows
        Returns the rows from `start` to `stop` as they are, (C, stop - start, W), the opacity last.
    value_range
        The meaning of the numbers.
    alpha
        "straight" or "premultiplied" if there is an opacity; "opaque" if it is full everywhere; None if there is none.
    jpeg
        How the pixels were compressed, if they come from a JPEG file.
    wraps, origin
        Whether top and bottom, and left and right, join; and the row and column at which it begins for what depends on
        that (see `zssr.seam`).
    """

    size: tuple[int, int]
    channels: int
    rows: Callable[[int, int], Tensor]
    value_range: ValueRange
    alpha: str | None = None
    jpeg: Jpeg | None = None
    wraps: tuple[bool, bool] = (False, False)
    origin: tuple[int, int] = (0, 0)

    @property
    def whole(self) -> Region:
        """Return all of it as a region, which begins at the origin."""
        return Region.whole(self.size, self.wraps).shift(self.origin)

    def region(self, region: Region) -> tuple[Tensor, Tensor | None]:
        """Return float32 colors (1, C, h, w) and the opacity (1, 1, h, w), None if it is full, in [0, 1].

        Colors of fully transparent pixels, which nobody sees, are those of the nearest pixel that is seen.
        """
        stored = Region.whole(self.size, self.wraps)
        pieces = [self.rows(piece.start, piece.stop) for piece in region.rows.pieces_of(stored.rows)]
        rows = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)
        columns = [rows[..., piece] for piece in region.columns.pieces_of(stored.columns)]
        values = self.value_range.to_floats(columns[0] if len(columns) == 1 else torch.cat(columns, dim=-1))[None]
        colors = values[:, : self.channels].contiguous()
        if self.alpha in (None, "opaque"):
            return colors, None
        opacity = values[:, self.channels :].clamp(0, 1)
        if self.alpha == "premultiplied":
            colors = (colors / opacity.clamp(min=1e-6)).clamp(0, 1)
        return _fill_transparent(colors, opacity), opacity.contiguous()

    def center(self, longest: int = 2048, *, is_aligned: bool = False) -> Tensor:
        """Return the colors (1, C, h, w) of the center, at most `longest` a side, on which estimates are made.

        It starts on a grid of 16 pixels, as the blocks of a JPEG do, from the origin, or if `is_aligned` from pixel 0.
        """
        center = Region.center(self.size, longest, 16, self.wraps)
        return self.region(center if is_aligned else center.shift(self.origin))[0]

    def to_pixels(self, colors: Tensor, opacity: Tensor | None) -> Tensor:
        """Convert float colors (1, C, h, w) and opacity (1, 1, h, w) to the image's own numbers (C', h, w)."""
        if self.alpha is None:
            return self.value_range.from_floats(colors[0])
        if opacity is None:
            opacity = colors.new_ones(1, 1, *colors.shape[-2:])
        if self.alpha == "premultiplied":
            colors = colors * opacity
        return self.value_range.from_floats(torch.cat([colors, opacity], 1)[0])


@dataclass(frozen=True)
class ImageBatch(Generic[ImageT]):
    """The photos of an image or a batch, and `restore`, which makes numbers (C, H', W') that kind of image again.

    `notes` are sentences that the user should know, one for each thing.
    """

    photos: list[Photo]
    restore: Callable[[list[Tensor]], ImageT]
    notes: Sequence[str] = ()


@overload
def load(image: FileOrPillow, limits: Limits) -> ImageBatch[Image.Image | Array]: ...
@overload
def load(image: Array, limits: Limits) -> ImageBatch[Array]: ...
@overload
def load(image: Tensor, limits: Limits) -> ImageBatch[Tensor]: ...
def load(image: ImageLike, limits: Limits) -> ImageBatch[Image.Image | Array | Tensor]:
    """Load an image of any accepted kind; a picture file gives a PIL image back. The input is not modified.

    Raises `ImageError`, one sentence, for what is not an image or has values outside [0, 1].
    """
    if isinstance(image, Image.Image):
        batch = _load_picture(from_pillow(image))
        return replace(batch, restore=lambda large: restore_mode(batch.restore(large), image.mode))
    if isinstance(image, np.ma.MaskedArray) and image.dtype.names is None:
        return _load_masked(image)
    if isinstance(image, np.ndarray):
        return _load_array(np.asarray(image))  # a matrix has two dimensions whatever is done to it
    if isinstance(image, Tensor):
        return _load_tensor(image)
    return _load_picture(open_picture(to_source(image, "image", limits, ", or a PIL image, array or tensor"), limits))


def photo_of(picture: Picture) -> Photo:
    """Return an open picture as a photo; floats of any range are taken for what lies between their extremes.

    So are signed and 32-bit integers, which become 64-bit floats; `pixels_of` makes integers of them again.
    """
    pixel_format = picture.pixel_format
    own = np.dtype(np.float64) if pixel_format.has_own_range else pixel_format.dtype

    def rows(start: int, stop: int) -> Tensor:
        return torch.from_numpy(picture.rows(start, stop).astype(own, copy=False)).permute(2, 0, 1)

    dtype = torch.from_numpy(np.empty(0, own)).dtype
    channels, alpha = pixel_format.color_channels, pixel_format.alpha
    photo = Photo(picture.size, channels, rows, ValueRange(dtype), alpha, picture.jpeg)
    return _measure_values(photo, picture.name, any_range=True)


def pixels_of(values: Tensor, pixel_format: PixelFormat) -> Pixels:
    """Return the numbers (C, h, w) of a picture's photo as pixels (h, w, C) of its own type."""
    pixels = values.permute(1, 2, 0).contiguous().numpy()
    return pixels.round().astype(pixel_format.dtype) if pixel_format.has_own_range else pixels


def photo_from(image: Tensor) -> Photo:
    """Return an image (1, C, H, W) as a photo; values are clipped to [0, 1]."""
    pixels = image[0].clamp(0, 1).cpu()
    size = (pixels.shape[-2], pixels.shape[-1])
    return Photo(size, len(pixels), lambda start, stop: pixels[:, start:stop], ValueRange(torch.float32))


def _load_picture(picture: Picture) -> ImageBatch[Image.Image | Array]:
    def restore(large: list[Tensor]) -> Image.Image | Array:
        return to_pillow(picture, pixels_of(large[0], picture.pixel_format))

    return ImageBatch([photo_of(picture)], restore, picture.notes)


def _load_array(array: Array) -> ImageBatch[Array]:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageError(f"image: an array has shape (H, W) or (H, W, C), not {array.shape}")
    planes = array if array.ndim == 3 else array[..., None]
    native = array.dtype.newbyteorder("=")
    try:
        dtype = torch.from_numpy(np.empty(0, native)).dtype
    except TypeError as error:
        raise ImageError(f"image: {array.dtype} is not supported; {_DTYPES}") from error

    def rows(start: int, stop: int) -> Tensor:
        return torch.from_numpy(planes[start:stop].astype(native)).permute(2, 0, 1)  # a copy

    def restore(large: list[Tensor]) -> Array:
        restored = large[0].permute(1, 2, 0).contiguous().numpy().astype(array.dtype, copy=False)
        return restored if array.ndim == 3 else restored[..., 0]

    photo = Photo((planes.shape[0], planes.shape[1]), planes.shape[2], rows, ValueRange(dtype))
    hint = _hint_channels(array.shape, array.shape[0], "(H, W, C)", "np.moveaxis(image, 0, -1)")
    return ImageBatch([_measure_values(photo)], restore, hint)


def _load_masked(array: "np.ma.MaskedArray[Any, Any]") -> ImageBatch[Array]:
    """Load an array without what lies under its mask, the nearest pixel instead; the mask is enlarged with it."""
    from scipy.ndimage import distance_transform_edt  # other images do not wait for it

    mask = np.ma.getmaskarray(array)
    values = np.where(mask, array.dtype.type(), np.ma.getdata(array))
    for hidden, plane in zip(np.atleast_3d(mask).T, np.atleast_3d(values).T, strict=True):  # views
        if hidden.any() and not hidden.all():
            plane[:] = plane[tuple(distance_transform_edt(hidden, return_distances=False, return_indices=True))]
    batch = _load_array(values)

    def restore(large: list[Tensor]) -> Array:
        restored = batch.restore(large)
        y, x = (np.arange(n) * was // n for n, was in zip(restored.shape, mask.shape[:2], strict=False))
        return np.ma.masked_array(restored, mask[y[:, None], x], fill_value=array.fill_value)

    return replace(batch, restore=restore)


def _load_tensor(tensor: Tensor) -> ImageBatch[Tensor]:
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__ or tensor.is_nested or tensor.is_meta:
        raise ImageError("image: a masked, nested or meta tensor is not supported; a plain tensor of numbers is")
    if tensor.ndim not in (3, 4) or 0 in tensor.shape:
        raise ImageError(f"image: a tensor has shape (C, H, W) or (N, C, H, W), not {tuple(tensor.shape)}")
    if tensor.layout is not torch.strided:
        raise ImageError("image: a sparse tensor is not supported; tensor.to_dense() is")
    tensor = tensor.detach().as_subclass(Tensor)
    images = tensor if tensor.ndim == 4 else tensor[None]

    def to_photo(image: Tensor) -> Photo:
        size = (image.shape[-2], image.shape[-1])
        photo = Photo(size, len(image), lambda start, stop: image[:, start:stop], ValueRange(tensor.dtype))
        return _measure_values(photo)

    def restore(large: list[Tensor]) -> Tensor:
        restored = torch.stack(large).to(tensor.device)
        return restored if tensor.ndim == 4 else restored[0]

    hint = _hint_channels(images.shape[1:], images.shape[-1], "(C, H, W)", "image.movedim(-1, -3)")
    return ImageBatch([to_photo(image) for image in images], restore, hint)


def _hint_channels(shape: Sequence[int], suspect: int, order: str, remedy: str) -> list[str]:
    """Return a sentence if the side `suspect` of an image (3 axes) is so short that it may be its channels."""
    hint = f"the image of shape {tuple(shape)} is taken as {order}; if its channels are elsewhere, {remedy} moves them"
    return [hint] if len(shape) == 3 and suspect < min(24, *sorted(shape)[1:]) else []


def _measure_values(photo: Photo, name: str = "image", *, any_range: bool = False) -> Photo:
    """Complete what only all pixels together show: the value range, and whether there is any transparency.

    Raises `ImageError` for numbers that are of another type, NaN, infinite, or, unless `any_range`, outside [0, 1].
    """
    dtype = photo.value_range.dtype
    if dtype not in _WHITE and dtype not in _FLOATS:
        raise ImageError(f"{name}: {dtype} is not supported; {_DTYPES}")
    if dtype == torch.uint8 and photo.alpha is None:
        return replace(photo, value_range=ValueRange(dtype, 0, _WHITE[dtype]))
    low, high, clearest = math.inf, -math.inf, math.inf
    count = max(1, 2**24 // (photo.size[1] * (photo.channels + 1)))  # rows that are read together
    for start in range(0, photo.size[0], count):
        rows = photo.rows(start, min(start + count, photo.size[0]))
        rows = rows.float() if dtype in _WHITE else rows
        if not torch.isfinite(rows).all():
            raise ImageError(f"{name}: has values that are NaN or infinite")
        low, high = min(low, rows.min().item()), max(high, rows.max().item())
        clearest = min(clearest, rows[-1].min().item())
    value_range = _infer_value_range(dtype, low, high, any_range=any_range and photo.alpha is None)
    if value_range is None:
        raise ImageError(f"{name}: floats must lie in [0, 1], but these lie in [{low:.8g}, {high:.8g}]")
    opaque = photo.alpha is not None and clearest == value_range.high
    return replace(photo, value_range=value_range, alpha="opaque" if opaque else photo.alpha)


def _infer_value_range(dtype: torch.dtype, low: float, high: float, *, any_range: bool) -> ValueRange | None:
    """Return the value range of an image whose numbers lie between `low` and `high`; None if they are out of range."""
    if dtype == torch.uint8:
        return ValueRange(dtype, 0, _WHITE[dtype])
    if dtype == torch.uint16:
        return ValueRange(dtype, 0, 2 ** max(8, int(high).bit_length()) - 1)
    if low < 0 or high > 1:
        if any_range:
            return ValueRange(dtype, low, high if high > low else low + 1)
        rounding = max(1e-5, torch.finfo(dtype).eps)
        if low < -rounding or high > 1 + rounding:
            return None
    return ValueRange(dtype)


def _fill_transparent(colors: Tensor, opacity: Tensor) -> Tensor:
    """Return `colors` (1, C, h, w) with those of transparent pixels replaced by the nearest ones that are seen."""
    hidden = (opacity[0, 0] == 0).cpu().numpy()
    if not hidden.any() or hidden.all():
        return colors
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    y, x = torch.from_numpy(np.asarray(nearest, np.int64)).to(colors.device)
    return colors[..., y, x]
