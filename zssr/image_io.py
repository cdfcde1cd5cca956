"""Images of every accepted kind to float tensors and back, and files that are either whole or not there."""

import io
import logging
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from zssr.degradation.jpeg import Jpeg
from zssr.errors import ImageError

logger = logging.getLogger(__name__)

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any] | Tensor
"""A path, a PIL image, a numpy array (H, W) or (H, W, C), or a torch tensor (C, H, W) or (N, C, H, W)."""

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""Pillow's format for each suffix that can be read and written."""

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "TIFF": {"compression": "tiff_lzw"},
}
_WHOLE_CHANNELS = ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "I;16L")
_CONVERTED = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB"}
_CONVERTED |= {"YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}
_CANNOT_HOLD = {
    "PNG": ("CMYK",),
    "JPEG": ("LA", "RGBA", "I;16", "I;16B", "I;16L"),
    "WEBP": ("CMYK", "I;16", "I;16B", "I;16L"),
    "BMP": ("LA", "RGBA", "CMYK", "I;16", "I;16B", "I;16L"),
    "TIFF": (),
}
_LONGEST_SIDE = {"JPEG": 65535, "WEBP": 16383}
_JPEG = "zssr.jpeg"  # key in a picture's `info`
_LEVELS = {torch.uint8: 255.0, torch.uint16: 65535.0}
_DTYPES = "uint8, uint16 and floats in [0, 1] are"


@dataclass(frozen=True)
class Photo:
    """An image as the method sees it, and the way back.

    Attributes
    ----------
    pixels
        Float32 tensor (N, C, H, W) with values in [0, 1], on the CPU or the device of the tensor that came in.
    alpha
        Its opacity (N, 1, H, W), or None.
    restore
        Makes pixels (N, C, H', W') and alpha (N, 1, H', W') an image of the kind and dtype that came in.
    jpeg
        How the pixels were compressed, if they come from a JPEG file.
    """

    pixels: Tensor
    alpha: Tensor | None
    restore: Callable[[Tensor, Tensor | None], Any]
    jpeg: Jpeg | None = None


def load(image: ImageLike, max_megabytes: float) -> Photo:
    """Take in an image of any accepted kind; a path gives a PIL image back. The input is not modified.

    Raises `ImageError`, one sentence, for what is not an image or has values outside [0, 1].
    """
    if isinstance(image, (str, os.PathLike)):
        return _from_picture(read_picture(Path(image), max_megabytes))
    if isinstance(image, Image.Image):
        return _from_picture(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Tensor):
        return _from_tensor(image)
    raise ImageError(f"image: a path, PIL image, numpy array or torch tensor is needed, not {type(image).__name__}")


def read_picture(path: Path, max_megabytes: float) -> Image.Image:
    """Read a picture file: upright as its EXIF orientation says, and in a mode of whole channels.

    Palettes and rare colour spaces become RGB, and transparency alpha. Of a JPEG file the picture's `info` keeps a
    `Jpeg` (its tables of a picture on its side are taken to be symmetric, as they nearly are). Raises `ImageError`.
    """
    try:
        if not path.exists():
            raise ImageError(f"{path}: no such file")
        if not path.is_file():
            raise ImageError(f"{path}: is not a file")
        megabytes = path.stat().st_size / 1e6
        if megabytes > max_megabytes:
            raise ImageError(f"{path}: has {megabytes:.3g} MB, more than max_MB = {max_megabytes:g}")
        with Image.open(path, formats=sorted(set(FORMATS.values()))) as picture:
            frames = getattr(picture, "n_frames", 1)
            if frames > 1:
                logger.warning("%s: only the first of its %d frames is taken", path, frames)
            upright = _plain_mode(ImageOps.exif_transpose(picture), str(path))
            upright.info[_JPEG] = Jpeg.of(picture)
            return upright
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: is not a PNG, JPEG, WebP, TIFF or BMP image") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: has more pixels than Pillow's limit allows") from error
    except PermissionError as error:
        raise ImageError(f"{path}: cannot be read (no permission)") from error
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        raise ImageError(f"{path}: cannot be read; the file is damaged or incomplete ({error})") from error


def _from_picture(picture: Image.Image) -> Photo:
    jpeg = picture.info.get(_JPEG) or Jpeg.of(picture)
    try:
        picture = _plain_mode(picture, "image")
        array = np.asarray(picture)
    except (OSError, ValueError) as error:
        raise ImageError(f"image: cannot be decoded; it is damaged or incomplete ({error})") from error
    planes = array[..., None] if array.ndim == 2 else array
    colours = planes.shape[-1] - (picture.mode in ("LA", "RGBA"))
    whole = _from_array(planes)
    mode = "CMYK" if picture.mode == "CMYK" else None  # the others follow from the array's shape and dtype

    def restore(pixels: Tensor, alpha: Tensor | None) -> Image.Image:
        restored = whole.restore(pixels if alpha is None else torch.cat([pixels, alpha], dim=1), None)
        native = restored.astype(restored.dtype.newbyteorder("="), copy=False)
        return Image.fromarray(native[..., 0] if native.shape[-1] == 1 else native, mode)

    opacity = whole.pixels[:, colours:]
    return Photo(whole.pixels[:, :colours], opacity if opacity.numel() else None, restore, jpeg)


def _plain_mode(picture: Image.Image, name: str) -> Image.Image:
    if picture.has_transparency_data and picture.mode in ("1", "L", "P", "RGB"):
        return picture.convert("LA" if picture.mode in ("1", "L") else "RGBA")
    if picture.mode in _WHOLE_CHANNELS:
        return picture
    if picture.mode in _CONVERTED:
        return picture.convert(_CONVERTED[picture.mode])
    known = ", ".join(_WHOLE_CHANNELS[:6])
    raise ImageError(f'{name}: mode "{picture.mode}" is not supported; convert it to one of {known}')


def _from_array(array: np.ndarray[Any, Any]) -> Photo:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageError(f"image: an array has shape (H, W) or (H, W, C), not {array.shape}")
    planes = array if array.ndim == 3 else array[..., None]
    try:
        tensor = torch.from_numpy(planes.astype(array.dtype.newbyteorder("=")))  # a copy
    except TypeError as error:
        raise ImageError(f"image: {array.dtype} is not supported; {_DTYPES}") from error

    def restore(pixels: Tensor, _: Tensor | None) -> np.ndarray[Any, Any]:
        restored = from_floats(pixels, tensor.dtype)[0].permute(1, 2, 0).contiguous().numpy()
        restored = restored.astype(array.dtype, copy=False)
        return restored if array.ndim == 3 else restored[..., 0]

    return Photo(to_floats(tensor).permute(2, 0, 1)[None].contiguous(), None, restore)


def _from_tensor(tensor: Tensor) -> Photo:
    if tensor.ndim not in (3, 4) or 0 in tensor.shape:
        raise ImageError(f"image: a tensor has shape (C, H, W) or (N, C, H, W), not {tuple(tensor.shape)}")

    def restore(pixels: Tensor, _: Tensor | None) -> Tensor:
        restored = from_floats(pixels, tensor.dtype).to(tensor.device)
        return restored if tensor.ndim == 4 else restored[0]

    pixels = to_floats(tensor.detach())
    return Photo(pixels if tensor.ndim == 4 else pixels[None], None, restore)


def to_floats(tensor: Tensor) -> Tensor:
    """Return float32 values in [0, 1]: integers over their largest value, floats as they are.

    Raises `ImageError` for other types, and for floats that are NaN, infinite or outside [0, 1].
    """
    if tensor.dtype in _LEVELS:
        return tensor.float() / _LEVELS[tensor.dtype]
    if not tensor.is_floating_point():
        raise ImageError(f"image: {tensor.dtype} is not supported; {_DTYPES}")
    if not torch.isfinite(tensor).all():
        raise ImageError("image: has values that are NaN or infinite")
    low, high = tensor.min().item(), tensor.max().item()
    if low < 0 or high > 1:
        raise ImageError(f"image: floats must lie in [0, 1], but these lie in [{low:.4g}, {high:.4g}]")
    return tensor.float()


def from_floats(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `pixels` in [0, 1] as `dtype`, the inverse of `to_floats`; rounds to the nearest integer."""
    if dtype in _LEVELS:
        return (pixels * _LEVELS[dtype]).round().clamp(0, _LEVELS[dtype]).to(torch.int32).to(dtype)
    return pixels.to(dtype)


def check_format(path: Path, mode: str, size: tuple[int, int]) -> None:
    """Raise `ImageError` if the format of `path` cannot hold a picture of this Pillow mode and size (H, W)."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ImageError(f'{path}: the output format "{path.suffix}" is unknown; known are {", ".join(FORMATS)}')
    if mode in _CANNOT_HOLD[kind]:
        able = ", ".join(suffix for suffix, other in FORMATS.items() if mode not in _CANNOT_HOLD[other])
        raise ImageError(f"{path}: {kind} cannot hold the photo's {_named(mode)}; able are {able}")
    if max(size) > _LONGEST_SIDE.get(kind, max(size)):
        raise ImageError(f"{path}: {kind} ends at {_LONGEST_SIDE[kind]} pixels a side, but {max(size)} are asked for")


def _named(mode: str) -> str:
    return {"LA": "transparency", "RGBA": "transparency", "CMYK": "CMYK colours"}.get(mode, "16 bits")


def check_writable(path: Path) -> None:
    """Raise `ImageError` if no file could be written to `path`; nothing is written to find out."""
    if path.is_dir():
        raise ImageError(f"{path}: is a folder, not a file to write")
    if not path.parent.is_dir():
        raise ImageError(f"{path}: its folder does not exist")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ImageError(f"{path}: cannot be written (no permission)")


def encode(picture: Image.Image, suffix: str) -> bytes:
    """Return the bytes of a picture file in the format of `suffix`."""
    buffer = io.BytesIO()
    kind = FORMATS[suffix.lower()]
    picture.save(buffer, format=kind, **_SAVE_OPTIONS.get(kind, {}))
    return buffer.getvalue()


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` such that at any moment the old file or the new one is there, never half of one.

    An existing file keeps its permissions, and a symbolic link its place.
    """
    target = path.resolve()
    partial = target.with_name(f".zssr-{os.getpid()}-{threading.get_ident()}.part")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, partial)
        partial.replace(target)
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
