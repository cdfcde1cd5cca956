"""The header of JPEG XL files (ISO/IEC 18181-1), read before a decoder sees them."""

from dataclasses import dataclass

from zssr.io.codestreams import iterate_boxes

JPEGXL_BOX = b"\0\0\0\x0cJXL \r\n\x87\n"


@dataclass(frozen=True)
class JpegXlHeader:
    """What the header of a JPEG XL file says.

    Attributes
    ----------
    size
        (H, W), before the orientation.
    orientation
        1 (upright) to 8, as in EXIF.
    bits
        Of a sample.
    is_float, is_animated
        Whether samples are floats, and whether there are more pictures.
    extra
        The number of channels beyond the colors.
    is_gray
        Whether there is one color channel.
    is_lossless
        Whether the colors are stored as they are: without loss, or as those of a JPEG file.
    cicp
        The numbers of the colors' primaries and transfer (ITU-T H.273); None if a profile says what they are.
    """

    size: tuple[int, int]
    orientation: int = 1
    bits: int = 8
    is_float: bool = False
    is_animated: bool = False
    extra: int = 0
    is_gray: bool = False
    is_lossless: bool = False
    cicp: tuple[int, int] | None = (1, 13)


def jpegxl_codestream(content: bytes) -> bytes:
    """Return the codestream of a JPEG XL file, which may lie in boxes; empty if there is none."""
    if not content.startswith(JPEGXL_BOX):
        return content
    skipped = {b"jxlc": 0, b"jxlp": 4}  # bytes of a box before its part of the codestream
    return b"".join(content[a + skipped[name] : b] for name, a, b in iterate_boxes(content) if name in skipped)


def jpegxl_size(content: bytes) -> tuple[int, int] | None:
    """Return (H, W) of a JPEG XL file or codestream, before its orientation; None if it is none."""
    stream = jpegxl_codestream(content)[:64]
    return _take_size(_BitReader(stream[2:])) if stream[:2] == b"\xff\x0a" else None


def read_jpegxl_header(content: bytes) -> JpegXlHeader:
    """Read the header of a JPEG XL file; raises `ValueError` if it is damaged."""
    stream = jpegxl_codestream(content)[:4096]
    if stream[:2] != b"\xff\x0a":
        raise ValueError("there is no picture in it")
    reader = _BitReader(stream[2:])
    size = _take_size(reader)
    if reader.take(1):
        return JpegXlHeader(size)
    orientation, is_animated = 1, False
    if reader.take(1):
        orientation = reader.take(3) + 1
        if reader.take(1):
            _take_size(reader)  # at which it is meant to be seen
        if reader.take(1):
            raise ValueError("it has a preview, which is not supported")
        is_animated = bool(reader.take(1))
        if is_animated:
            for choices in (((0, 100), (0, 1000), (10, 1), (30, 1)), ((0, 1), (0, 1001), (8, 1), (10, 1))):
                reader.take_variable(*choices)
            reader.take_variable((0, 0), (3, 0), (16, 0), (32, 0))
            reader.take(1)
    is_float, bits = _take_depth(reader)
    reader.take(1)  # whether 16 bits are enough for the decoder
    extra = reader.take_variable((0, 0), (0, 1), (4, 2), (12, 1))
    for _ in range(extra):
        _skip_channel(reader)
    is_lossless = not reader.take(1)
    is_gray, cicp = _take_colors(reader)
    return JpegXlHeader(size, orientation, bits, is_float, is_animated, extra, is_gray, is_lossless, cicp)


class _BitReader:
    """Reads bit by bit, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the number in the next bits; raises `ValueError` at the end."""
        self._left -= count
        if self._left < 0:
            raise ValueError("its header ends early")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        return value

    def take_variable(self, *choices: tuple[int, int]) -> int:
        """Return a number of one of four lengths: each of `choices` is (bits, what is added)."""
        bits, offset = choices[self.take(2)]
        return self.take(bits) + offset

    def take_enum(self) -> int:
        """Return a number that stands for one of a list."""
        return self.take_variable((0, 0), (0, 1), (4, 2), (6, 18))


def _take_size(reader: _BitReader) -> tuple[int, int]:
    is_small = reader.take(1)

    def take_length() -> int:
        if is_small:
            return 8 * (reader.take(5) + 1)
        return reader.take_variable((9, 1), (13, 1), (18, 1), (30, 1))

    height = take_length()
    ratio = reader.take(3)
    across, down = ((0, 0), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio]
    return height, height * across // down if ratio else take_length()


def _take_depth(reader: _BitReader) -> tuple[bool, int]:
    """Return whether samples are floats, and of how many bits."""
    is_float = bool(reader.take(1))
    bits = reader.take_variable(*((0, 32), (0, 16), (0, 24)) if is_float else ((0, 8), (0, 10), (0, 12)), (6, 1))
    reader.take(4 if is_float else 0)  # the bits of the exponent
    return is_float, bits


def _skip_channel(reader: _BitReader) -> None:
    """Skip the description of a channel beyond the colors."""
    if reader.take(1):
        return  # an opacity of 8 bits
    kind = reader.take_enum()
    _take_depth(reader)
    reader.take_variable((0, 0), (0, 3), (0, 4), (3, 1))
    reader.take(8 * reader.take_variable((0, 0), (4, 0), (5, 16), (10, 48)))  # its name
    opacity, spot_color, filter_array = 0, 2, 5
    if kind == opacity:
        reader.take(1)
    elif kind == spot_color:
        reader.take(64)
    elif kind == filter_array:
        reader.take_variable((0, 1), (2, 0), (4, 3), (8, 19))


def _take_colors(reader: _BitReader) -> tuple[bool, tuple[int, int] | None]:
    """Return whether there is one color channel, and the numbers of the colors; None if they are said otherwise."""
    if reader.take(1):
        return False, (1, 13)
    has_profile, space = reader.take(1), reader.take_enum()
    gray, d65, custom = 1, 1, 2
    if has_profile or space > gray:
        return space == gray, None
    white = reader.take_enum()
    primaries = reader.take_enum() if space != gray and white != custom else white
    if custom in (white, primaries) or reader.take(1):
        return space == gray, None
    transfer, is_p3 = reader.take_enum(), primaries == 11
    is_known = transfer in (1, 8, 13, 16, 17, 18) and (white == d65 or (is_p3 and white == 11))
    return space == gray, (12 if is_p3 and white == d65 else primaries, transfer) if is_known else None
