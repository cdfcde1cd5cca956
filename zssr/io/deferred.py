"""Pictures that are decoded as a whole, when their pixels are first asked for."""

from collections.abc import Callable

from zssr.degradation.jpeg import Jpeg
from zssr.errors import ImageError
from zssr.io.decoding import translate_errors
from zssr.io.limits import SAFETY, Limits
from zssr.io.metadata import Metadata, sanitize
from zssr.io.orientation import apply_orientation, swaps_axes
from zssr.io.picture import Picture, PixelFormat, Pixels


class DeferredPicture(Picture):
    """A picture that is decoded as a whole, when its rows are first asked for."""

    def __init__(
        self,
        name: str,
        size: tuple[int, int],
        pixel_format: PixelFormat,
        metadata: Metadata,
        decode: Callable[[], Pixels],
        notes: list[str],
        jpeg: Jpeg | None = None,
    ) -> None:
        sound, damage = sanitize(metadata)
        self._orientation = sound.orientation
        upright_size = size[::-1] if swaps_axes(self._orientation) else size
        super().__init__(name, upright_size, pixel_format, sound, jpeg, notes + damage)
        self._decode: Callable[[], Pixels] | None = decode
        self._pixels: Pixels | None = None

    def rows(self, start: int, stop: int) -> Pixels:
        """Return the rows from `start` to `stop` as (stop - start, W, C); the first call decodes all of them."""
        if self._decode is not None:
            with translate_errors(self.name):
                self._pixels = apply_orientation(self._decode(), self._orientation)
            self._decode = None
        if self._pixels is None:
            raise ImageError(f"{self.name}: is closed")
        return self._pixels[start:stop].copy(order="C")

    def close(self) -> None:
        """Drop the file's content and the pixels."""
        self._decode = self._pixels = None


def check_decoded_size(name: str, size: tuple[int, int], content: bytes, limits: Limits) -> None:
    """Raise `ImageError` for too large a picture, and for one of far more pixels than its bytes can hold."""
    if min(size) < 1:
        raise ImageError(f"{name}: has no pixels, its size is {size[1]} x {size[0]}")
    limits.check_size(name, size)
    if size[0] * size[1] > max(SAFETY.harmless_pixels, SAFETY.pixels_per_byte * len(content)):
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete (too few bytes for its pixels)")
