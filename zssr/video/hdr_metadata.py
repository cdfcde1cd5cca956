"""The static metadata of HDR: the display that a video was made on (SMPTE ST 2086), and light levels (CTA-861.3)."""

from dataclasses import dataclass
from fractions import Fraction
from struct import unpack
from typing import NamedTuple, cast

import av
from av.sidedata.sidedata import SideDataContainer, Type


class HdrOptions(NamedTuple):
    """How an encoder is told: the option, the names in it, and whether it takes whole numbers of small units."""

    option: str
    mastering: str
    light: str
    is_whole: bool = True


@dataclass(frozen=True)
class HdrMetadata:
    """What a video says of its light.

    Attributes
    ----------
    mastering
        Coordinates (x, y) of red, green, blue and white, then the least and the largest luminance in candela per
        square meter; None if that is not said.
    light
        The largest light level of a pixel, and of the mean of a frame; None if that is not said.
    """

    mastering: tuple[Fraction, ...] | None = None
    light: tuple[int, int] | None = None

    @classmethod
    def read(cls, frame: av.VideoFrame) -> "HdrMetadata":
        """Read what comes with a frame."""
        side_data = cast(SideDataContainer, frame.side_data)
        mastering = light = None
        if Type.MASTERING_DISPLAY_METADATA in side_data:
            numbers = unpack("=22i", bytes(side_data[Type.MASTERING_DISPLAY_METADATA])[:88])
            if numbers[20] and numbers[21]:
                pairs = zip(numbers[:20:2], numbers[1:20:2], strict=True)
                mastering = tuple(Fraction(a, b or 1) for a, b in pairs)
        if Type.CONTENT_LIGHT_LEVEL in side_data:
            most, mean = unpack("=2I", bytes(side_data[Type.CONTENT_LIGHT_LEVEL])[:8])
            light = (most, mean)
        return cls(mastering, light)

    def to_options(self, names: HdrOptions) -> str:
        """Return what an encoder's option says of it; nothing if there is nothing to say."""
        parts = []
        if self.mastering:
            small, fine = (50000, 10000) if names.is_whole else (1, 1)
            units = [*[small] * 8, fine, fine]
            values = [one * unit for one, unit in zip(self.mastering, units, strict=True)]
            texts = [f"{round(one)}" if names.is_whole else f"{float(one):.5f}" for one in values]
            red, green, blue, white = (f"({texts[k]},{texts[k + 1]})" for k in range(0, 8, 2))
            parts.append(f"{names.mastering}=G{green}B{blue}R{red}WP{white}L({texts[9]},{texts[8]})")
        if self.light:
            parts.append(f"{names.light}={self.light[0]},{self.light[1]}")
        return ":".join(parts)
