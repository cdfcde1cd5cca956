"""Images of every accepted kind as photos: regions of floats, and the way back to their own numbers."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, BinaryIO, Generic, Protocol, TypeVar, overload, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.masked import MaskedTensor

from zssr.errors import ImageError
from zssr.io.frames import FilePage
from zssr.io.limits import Limits
from zssr.io.picture import Picture, PixelFormat, Pixels
from zssr.io.pillow import from_pillow, restore_mode, to_pillow
from zssr.io.reading import open_picture, to_source
from zssr.no_data import NoData
from zssr.photo import Photo
from zssr.survey import SUPPORTED_DTYPES, measure_values
from zssr.value_range import ValueRange

Array = NDArray[np.generic]
FileOrPillow = str | os.PathLike[str] | bytes | BinaryIO | FilePage | Image.Image
ImageLike = FileOrPillow | Array | Tensor
"""A picture file, a PIL image, a numpy array (H, W) or (H, W, C), or a torch tensor (C, H, W) or (N, C, H, W)."""

ImageT = TypeVar("ImageT", covariant=True)


@runtime_checkable
class LazyArray(Protocol):
    """A Dask array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[tuple[int, ...], ...]
    dask: Any

    def __getitem__(self, index: Any) -> "LazyArray": ...  # noqa: ANN401


@dataclass(frozen=True)
class ImageBatch(Generic[ImageT]):
    """The photos of an image or a batch, and `restore`, which makes numbers (C, H', W') that kind of image again.

    `notes` are sentences that the user should know, one for each thing; `close` closes the file, if there is one.
    """

    photos: list[Photo]
    restore: Callable[[list[Tensor]], ImageT]
    notes: Sequence[str] = ()
    close: Callable[[], None] = lambda: None


@overload
def load(image: FileOrPillow, limits: Limits, nodata: float | None = None) -> ImageBatch[Image.Image | Array]: ...
@overload
def load(image: Array, limits: Limits, nodata: float | None = None) -> ImageBatch[Array]: ...
@overload
def load(image: Tensor, limits: Limits, nodata: float | None = None) -> ImageBatch[Tensor]: ...
def load(image: ImageLike, limits: Limits, nodata: float | None = None) -> ImageBatch[Image.Image | Array | Tensor]:
    """Load an image of any accepted kind; a picture file gives a PIL image back. The input is not modified.

    `nodata` is the number that stands for no data; then floats may be of any range, as in masked arrays.

    Raises `ImageError`, one sentence, for what is not an image or has values outside [0, 1].
    """
    if isinstance(image, Image.Image):
        batch = _load_picture(from_pillow(image), nodata)
        return replace(batch, restore=lambda large: restore_mode(batch.restore(large), image.mode))
    if isinstance(image, np.ma.MaskedArray) and image.dtype.names is None:
        return _load_masked(image, nodata)
    if isinstance(image, np.ndarray):
        return _load_array(np.asarray(image), nodata)  # a matrix has two dimensions whatever is done to it
    if isinstance(image, Tensor):
        return _load_tensor(image, nodata)
    source = to_source(image, "image", limits, ", or a PIL image, array or tensor")
    return _load_picture(open_picture(source, limits), nodata)


def photo_of(picture: Picture, nodata: float | None = None, *, keeps_nodata: bool = True) -> Photo:
    """Return an open picture as a photo; floats of any range are taken for what lies between their extremes.

    So are signed and 32-bit integers, which become 64-bit floats; `pixels_of` makes integers of them again. `nodata`
    stands for no data instead of what the file says does; `keeps_nodata` tells whether the output has a number for it.
    """
    pixel_format = picture.pixel_format
    own = np.dtype(np.float64) if pixel_format.has_own_range else pixel_format.dtype
    reading = Lock()  # blocks are upscaled side by side, and read from one file

    def rows(start: int, stop: int) -> Tensor:
        with reading:
            pixels = picture.rows(start, stop)
        return torch.from_numpy(pixels.astype(own, copy=False)).permute(2, 0, 1)

    dtype = torch.from_numpy(np.empty(0, own)).dtype
    channels, alpha = pixel_format.color_channels, pixel_format.alpha
    no_data = picture.nodata if nodata is None else float(nodata)
    photo = Photo(picture.size, channels, rows, ValueRange(dtype), alpha, picture.jpeg, no_data)
    photo = measure_values(photo, picture.name, any_range=True)
    if photo.nodata is None or keeps_nodata:
        return photo
    note = "its pixels without data are filled, as the output has no number for them"
    return replace(photo, keeps_nodata=False, notes=(*photo.notes, note))


def pixels_of(values: Tensor, pixel_format: PixelFormat) -> Pixels:
    """Return the numbers (C, h, w) of a picture's photo as pixels (h, w, C) of its own type."""
    pixels = values.permute(1, 2, 0).contiguous().numpy()
    return pixels.round().astype(pixel_format.dtype) if pixel_format.has_own_range else pixels


def _load_picture(picture: Picture, nodata: float | None) -> ImageBatch[Image.Image | Array]:
    def restore(large: list[Tensor]) -> Image.Image | Array:
        return to_pillow(picture, pixels_of(large[0], picture.pixel_format))

    is_lost = {
        "HDR gain map": picture.metadata.gain_map,
        f"color space (CICP {picture.metadata.cicp})": picture.metadata.cicp and not picture.metadata.icc,
    }
    lost = [f"its {what} is left out; run_file keeps it" for what, has in is_lost.items() if has]
    return ImageBatch([photo_of(picture, nodata)], restore, [*picture.notes, *lost], picture.close)


def _load_array(array: Array, nodata: NoData | None) -> ImageBatch[Array]:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageError(f"image: an array has shape (H, W) or (H, W, C), not {array.shape}")
    planes = array if array.ndim == 3 else array[..., None]
    native = array.dtype.newbyteorder("=")
    try:
        dtype = torch.from_numpy(np.empty(0, native)).dtype
    except TypeError as error:
        raise ImageError(f"image: {array.dtype} is not supported; {SUPPORTED_DTYPES}") from error

    def rows(start: int, stop: int) -> Tensor:
        return torch.from_numpy(planes[start:stop].astype(native)).permute(2, 0, 1)  # a copy

    def restore(large: list[Tensor]) -> Array:
        restored = large[0].permute(1, 2, 0).contiguous().numpy().astype(array.dtype, copy=False)
        return restored if array.ndim == 3 else restored[..., 0]

    size, channels = (planes.shape[0], planes.shape[1]), planes.shape[2]
    photo = Photo(size, channels, rows, ValueRange(dtype), nodata=nodata)
    hint = _hint_channels(array.shape, array.shape[0], "(H, W, C)", "np.moveaxis(image, 0, -1)")
    return ImageBatch([measure_values(photo, any_range=nodata is not None)], restore, hint)


def _load_masked(array: "np.ma.MaskedArray[Any, Any]", nodata: float | None) -> ImageBatch[Array]:
    """Load an array without what lies under its mask, or is `nodata`; the mask is enlarged with it."""
    mask, data = np.ma.getmaskarray(array), np.ma.getdata(array)
    if nodata is not None:
        mask = mask | (data == nodata)
    values = np.where(mask, array.dtype.type(), data)
    batch = _load_array(values, torch.from_numpy(np.atleast_3d(mask)).permute(2, 0, 1))

    def restore(large: list[Tensor]) -> Array:
        restored = batch.restore(large)
        y, x = (np.arange(n) * was // n for n, was in zip(restored.shape, mask.shape[:2], strict=False))
        return np.ma.masked_array(restored, mask[y[:, None], x], fill_value=array.fill_value)

    return replace(batch, restore=restore)


def _load_tensor(tensor: Tensor, nodata: float | None) -> ImageBatch[Tensor]:
    if isinstance(tensor, MaskedTensor) or tensor.is_nested or tensor.is_meta:
        raise ImageError("image: a masked, nested or meta tensor is not supported; a plain tensor of numbers is")
    if tensor.ndim not in (3, 4) or 0 in tensor.shape:
        raise ImageError(f"image: a tensor has shape (C, H, W) or (N, C, H, W), not {tuple(tensor.shape)}")
    if tensor.layout is not torch.strided:
        raise ImageError("image: a sparse tensor is not supported; tensor.to_dense() is")
    tensor = tensor.detach().as_subclass(Tensor)
    images = tensor if tensor.ndim == 4 else tensor[None]

    def to_photo(image: Tensor) -> Photo:
        size = (image.shape[-2], image.shape[-1])
        photo = Photo(
            size, len(image), lambda start, stop: image[:, start:stop].cpu(), ValueRange(tensor.dtype), nodata=nodata
        )
        return measure_values(photo, any_range=nodata is not None)

    def restore(large: list[Tensor]) -> Tensor:
        restored = torch.stack(large).to(tensor.device)
        return restored if tensor.ndim == 4 else restored[0]

    hint = _hint_channels(images.shape[1:], images.shape[-1], "(C, H, W)", "image.movedim(-1, -3)")
    return ImageBatch([to_photo(image) for image in images], restore, hint)


def _hint_channels(shape: Sequence[int], suspect: int, order: str, remedy: str) -> list[str]:
    """Return a sentence if the side `suspect` of an image (3 axes) is so short that it may be its channels."""
    hint = f"the image of shape {tuple(shape)} is taken as {order}; if its channels are elsewhere, {remedy} moves them"
    return [hint] if len(shape) == 3 and suspect < min(24, *sorted(shape)[1:]) else []
