"""JPEG compression as a part of the degradation: the encoder's tables, and what a decoder gives back."""

import io
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin
from torch import Tensor

from zssr.degradation.resize import Floats

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")  # in the order of Pillow's numbers for them
_USUAL = "4:2:0"

Table = tuple[int, ...]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Jpeg:
    """How a picture was compressed.

    Attributes
    ----------
    luma, chroma
        The quantization tables: 64 step sizes of the 8x8 cosine transform, row by row.
    subsampling
        Of the colors: "4:4:4" (none), "4:2:2" (columns) or "4:2:0" (rows and columns).
    """

    luma: Table
    chroma: Table
    subsampling: str = _USUAL

    @classmethod
    def from_quality(cls, quality: int, subsampling: str = _USUAL) -> Self:
        """Return what libjpeg, and Pillow with it, makes of a quality from 1 to 100."""
        return cls(*_tables(quality), subsampling)

    @classmethod
    def from_pillow(cls, picture: Image.Image) -> Self | None:
        """Return how an opened JPEG picture was compressed; None for any other, and for what was made of one."""
        tables = picture.quantization if isinstance(picture, JpegImagePlugin.JpegImageFile) else {}
        if not tables:
            return None
        luma, chroma = (tuple(max(1, step) for step in tables[which(tables)]) for which in (min, max))  # gray has one
        sampling = JpegImagePlugin.get_sampling(picture)
        return cls(luma, chroma, SUBSAMPLINGS[sampling] if sampling >= 0 else _USUAL)

    def compress(self, images: Tensor) -> Tensor:
        """Return what is left of `images` (N, C, H, W) in [0, 1]: three channels as RGB, others each as a gray image.

        Blocks begin in the upper left corner. The result has 8 bits, and the dtype and device of `images`.
        """
        bands = images if images.shape[1] == 3 else images.reshape(-1, 1, *images.shape[-2:])
        bytes_ = (255 * bands.clamp(0, 1)).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        decoded = np.stack([self._decoded(one) for one in bytes_])
        out = torch.from_numpy(decoded).to(images.device).permute(0, 3, 1, 2).to(images.dtype) / 255
        return out.reshape(images.shape)

    def _decoded(self, pixels: Bytes) -> Bytes:
        gray = pixels.shape[-1] == 1
        picture = Image.fromarray(pixels[..., 0] if gray else pixels)
        tables = [list(self.luma)] if gray else [list(self.luma), list(self.chroma)]
        file = io.BytesIO()
        picture.save(file, "JPEG", qtables=tables, subsampling=self.subsampling)
        return np.asarray(Image.open(file)).reshape(pixels.shape)

    @property
    def quality(self) -> int:
        """Return the quality from 1 to 100 whose luma table at libjpeg is the nearest."""
        mine = _logarithms(self.luma)
        return min(range(1, 101), key=lambda quality: float(np.abs(mine - _logarithms(_tables(quality)[0])).sum()))

    @property
    def coarseness(self) -> tuple[float, float, float]:
        """Return the means of the tables' logarithms, luma and chroma, and the part of the colors' pixels dropped."""
        dropped = 1 - 1 / 2 ** SUBSAMPLINGS.index(self.subsampling)
        return float(_logarithms(self.luma).mean()), float(_logarithms(self.chroma).mean()), dropped

    def __str__(self) -> str:
        return f"q{self.quality} {self.subsampling}"


def _logarithms(table: Table) -> Floats:
    return np.log(np.array(table, np.float64))


@cache
def _tables(quality: int) -> tuple[Table, Table]:
    """Let the encoder write a picture of that quality, and read its tables."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    with Image.open(file) as picture:
        tables = picture.quantization  # type: ignore[attr-defined]
    return tuple(tables[0]), tuple(tables[1])
