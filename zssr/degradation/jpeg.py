"""JPEG compression as a part of the degradation: quantization tables, encoding and decoding."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin
from torch import Tensor
from torch.nn.functional import pad

from zssr.degradation.resize import Floats

Table = tuple[int, ...]  # 64 step sizes of the 8x8 cosine transform, row by row

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
"""Of the chroma: none, of columns, of rows and columns; in the order of Pillow's numbers for them."""


_FINE = 1.55  # mean logarithm of steps; those of quality 95 have 1.50


@dataclass(frozen=True)
class Jpeg:
    """How a picture was compressed.

    Attributes
    ----------
    luma, chroma
        The quantization tables.
    subsampling
        Of the chroma: one of `SUBSAMPLINGS`.
    phase
        Row and column, from 0 to 7, at which the first whole block begins; not (0, 0) if the picture was cropped.
    period
        Side of the blocks that are seen in the picture, in pixels; less than 8 if it was made smaller since. What is
        left of the artifacts is then as weak as that of blocks of 8 pixels with these tables.
    confidence
        From 0 to 1, in what was estimated; None if it is known.
    """

    luma: Table
    chroma: Table
    subsampling: str = "4:2:0"
    phase: tuple[int, int] = (0, 0)
    period: float = 8.0
    confidence: float | None = field(default=None, compare=False)

    @classmethod
    def from_quality(cls, quality: int, subsampling: str = "4:2:0") -> Self:
        """Return the compression of libjpeg, and Pillow with it, for a quality from 1 to 100."""
        return cls(*_libjpeg_tables(quality), subsampling)

    @classmethod
    def from_pillow(cls, picture: Image.Image) -> Self | None:
        """Return how an opened JPEG picture was compressed; None for other formats and for copies of a picture."""
        tables = picture.quantization if isinstance(picture, JpegImagePlugin.JpegImageFile) else {}
        if not tables:
            return None
        luma, chroma = (tuple(max(1, step) for step in tables[which(tables)]) for which in (min, max))  # gray has one
        sampling = JpegImagePlugin.get_sampling(picture)
        return cls(luma, chroma, SUBSAMPLINGS[sampling] if sampling >= 0 else "4:2:0")

    def compress(self, images: Tensor) -> Tensor:
        """Encode and decode `images` (N, C, H, W) in [0, 1]: three channels as RGB, others each as a gray image.

        The first whole block begins at the phase. The result has levels of 8 bits, and the dtype and device of
        `images`.
        """
        top, left = (-start % 8 for start in self.phase)
        bands = images if images.shape[1] == 3 else images.reshape(-1, 1, *images.shape[-2:])
        bands = pad(bands, (left, 0, top, 0), "replicate") if top or left else bands
        bytes_ = (255 * bands.clamp(0, 1)).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        decoded = np.stack([self._encode_and_decode(one) for one in bytes_])
        decoded = decoded[:, top:, left:]
        out = torch.from_numpy(decoded).to(images.device).permute(0, 3, 1, 2).to(images.dtype) / 255
        return out.reshape(images.shape)

    def _encode_and_decode(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        gray = pixels.shape[-1] == 1
        picture = Image.fromarray(pixels[..., 0] if gray else pixels)
        tables = [self.luma] if gray else [self.luma, self.chroma]
        return np.asarray(_compress(picture, qtables=tables, subsampling=self.subsampling)).reshape(pixels.shape)

    @property
    def quality(self) -> int:
        """Return the quality from 1 to 100 with the nearest luma table of libjpeg."""
        own = _log_steps(self.luma)
        distances = [np.abs(own - _log_steps(_libjpeg_tables(quality)[0])).sum() for quality in range(1, 101)]
        return 1 + int(np.argmin(distances))

    @property
    def is_fine(self) -> bool:
        """Tell whether artifacts are so weak that to remove them costs more than it gains: from about quality 95.

        `python -m benchmarks constants --what thresholds` measures that.
        """
        return self.coarseness[0] < _FINE

    @property
    def coarseness(self) -> tuple[float, float, float]:
        """Return the means of the tables' logarithms, luma and chroma, and the share of chroma samples dropped."""
        dropped = 1 - 1 / 2 ** SUBSAMPLINGS.index(self.subsampling)
        return float(_log_steps(self.luma).mean()), float(_log_steps(self.chroma).mean()), dropped

    def __str__(self) -> str:
        place = "" if self.phase == (0, 0) else f" from pixel {self.phase}"
        place += "" if self.period == 8 else f" resized to blocks of {self.period:.1f} pixels"
        confidence = "" if self.confidence is None else f" (confidence {self.confidence:.1f})"
        return f"q{self.quality} {self.subsampling}{place}{confidence}"


def to_table(steps: Sequence[float]) -> Table:
    """Return steps as a table: whole numbers from 1 to 255."""
    return tuple(min(max(round(step), 1), 255) for step in steps)


def _log_steps(table: Table) -> Floats:
    return np.log(np.array(table, np.float64))


@cache
def _libjpeg_tables(quality: int) -> tuple[Table, Table]:
    """Return the tables (luma, chroma) that the encoder writes for a quality."""
    tables = _compress(Image.new("RGB", (8, 8)), quality=quality).quantization  # type: ignore[attr-defined]
    return tuple(tables[0]), tuple(tables[1])


def _compress(image: Image.Image, **options: object) -> Image.Image:
    """Return an image as it is opened again after it was saved with these options of Pillow."""
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return Image.open(file)
