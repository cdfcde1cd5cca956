"""How large a picture file may be, checked from its header before anything is decoded."""

from dataclasses import dataclass

from zssr.errors import ImageError


@dataclass(frozen=True)
class Limits:
    """The largest pictures that are read and made.

    Attributes
    ----------
    max_MB
        Of a file, in millions of bytes.
    max_pixels
        Of a picture: its height times its width.
    """

    max_MB: float = 100.0  # noqa: N815
    max_pixels: float = 100e6

    def check_bytes(self, name: str, count: int) -> None:
        """Raise `ImageError` for a file of more than `max_MB`."""
        if count > self.max_MB * 1e6:
            raise ImageError(f"{name}: has {count / 1e6:.3g} MB, more than max_MB = {self.max_MB:g}")

    def check(self, name: str, size: tuple[int, int]) -> None:
        """Raise `ImageError` for a picture of `size` (H, W) that has more than `max_pixels`."""
        height, width = size
        if height * width > self.max_pixels:
            raise ImageError(f"{name}: has {width}x{height} pixels, more than max_pixels = {self.max_pixels:.0f}")
