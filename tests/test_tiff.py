"""TIFF files: read by rows, written in tiles; tifffile and Pillow are the oracles."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from zssr.errors import ImageError
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.picture import PixelFormat
from zssr.io.tiff import ifd, writer
from zssr.io.tiff.geotiff import rescale_tags
from zssr.io.tiff.reader import open_tiff
from zssr.io.tiff.tags import Tag, TagCode
from zssr.io.tiff.writer import write_tiff

LIMITS = Limits(max_MB=200, max_pixels=1e8)
PIXEL_FORMATS = [
    PixelFormat("gray", 1, np.dtype(np.uint8)),
    PixelFormat("gray", 1, np.dtype(np.uint8), bilevel=True),
    PixelFormat("gray", 2, np.dtype(np.uint16), "straight"),
    PixelFormat("rgb", 3, np.dtype(np.uint8)),
    PixelFormat("rgb", 3, np.dtype(np.uint16)),
    PixelFormat("rgb", 3, np.dtype(np.float32)),
    PixelFormat("rgb", 4, np.dtype(np.uint8), "straight"),
    PixelFormat("rgb", 4, np.dtype(np.uint16), "premultiplied"),
    PixelFormat("cmyk", 4, np.dtype(np.uint8)),
    PixelFormat("bands", 4, np.dtype(np.uint8)),
    PixelFormat("bands", 13, np.dtype(np.uint16)),
    PixelFormat("bands", 2, np.dtype(np.float32)),
]


def pixels_of(pixel_format, size=(37, 53), seed=0):
    generator = np.random.default_rng(seed)
    if pixel_format.dtype.kind == "f":
        return generator.normal(size=(*size, pixel_format.channels)).astype(np.float32) * 1000
    values = generator.integers(
        0, np.iinfo(pixel_format.dtype).max, (*size, pixel_format.channels), pixel_format.dtype, endpoint=True
    )
    return np.where(values < 128, 0, 255).astype(np.uint8) if pixel_format.bilevel else values


def written(pixels, pixel_format, metadata=None, height=10):
    file = io.BytesIO()
    strips = (pixels[start : start + height] for start in range(0, len(pixels), height))
    write_tiff(file, strips, pixels.shape[:2], pixel_format, metadata or Metadata())
    return file.getvalue()


def opened(content, limits=LIMITS):
    return open_tiff(content, "photo.tif", limits)


def stored(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, metadata=None, **options)
    return file.getvalue()


def all_rows(content):
    with opened(content) as picture:
        return picture.rows(0, picture.size[0])


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS, ids=str)
def test_round_trip_and_tifffile_reads_the_same(pixel_format):
    pixels = pixels_of(pixel_format, (600, 530))
    content = written(pixels, pixel_format, height=70)
    with opened(content) as picture:
        assert (picture.pixel_format, picture.size, picture.notes) == (pixel_format, (600, 530), [])
        assert np.array_equal(picture.rows(0, 600), pixels)
        for start, stop in ((0, 1), (500, 530), (470, 600), (599, 600), (3, 40)):  # in any order
            rows = picture.rows(start, stop)
            assert np.array_equal(rows, pixels[start:stop])
            assert rows.flags.owndata or rows.base.flags.writeable
    theirs = tifffile.imread(io.BytesIO(content)).reshape(pixels.shape)
    assert np.array_equal(theirs * 255 if pixel_format.bilevel else theirs, pixels)


@pytest.mark.parametrize("pixel_format", [PIXEL_FORMATS[k] for k in (0, 1, 3, 6, 8)], ids=str)
def test_pillow_reads_the_same(pixel_format):
    pixels = pixels_of(pixel_format)
    picture = Image.open(io.BytesIO(written(pixels, pixel_format)))
    fourth = "RGBA" if pixel_format.alpha else "CMYK"
    assert picture.mode == {1: "1" if pixel_format.bilevel else "L", 3: "RGB", 4: fourth}[pixel_format.channels]
    assert np.array_equal(np.asarray(picture).reshape(pixels.shape) * (255 if pixel_format.bilevel else 1), pixels)


@pytest.mark.parametrize("pixel_format", [PIXEL_FORMATS[1], PIXEL_FORMATS[4]], ids=str)
def test_height_of_strips_does_not_change_the_file(pixel_format):
    pixels = pixels_of(pixel_format, (600, 40))
    first, *others = (written(pixels, pixel_format, height=height) for height in (1, 7, 512, 600))
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"rowsperstrip": 7},
        {"tile": (16, 32)},
        {"planarconfig": "separate"},
        {"planarconfig": "separate", "tile": (16, 16), "compression": "deflate"},
        {"compression": "lzw", "predictor": True, "rowsperstrip": 5},
        {"compression": "lzw", "byteorder": ">", "predictor": True},
        {"compression": "deflate", "tile": (32, 16), "predictor": True, "bigtiff": True, "byteorder": ">"},
        {"compression": "packbits", "rowsperstrip": 3},
        {"compression": "zstd", "planarconfig": "separate", "rowsperstrip": 8},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32], ids=lambda dtype: dtype.__name__)
def test_rows_equal_those_that_tifffile_wrote(options, dtype):
    pixels = pixels_of(PixelFormat("rgb", 3, np.dtype(dtype)))
    planar = options.get("planarconfig") == "separate"
    content = stored(np.moveaxis(pixels, -1, 0) if planar else pixels, photometric="rgb", **options)
    with opened(content) as picture:
        assert picture.pixel_format == PixelFormat("rgb", 3, np.dtype(dtype))
        for start, stop in ((0, 37), (0, 9), (5, 20), (16, 37), (36, 37)):
            assert np.array_equal(picture.rows(start, stop), pixels[start:stop])


def test_overlapping_bands_decode_each_tile_once(monkeypatch):
    pixels = pixels_of(PIXEL_FORMATS[0], (200, 100))
    with opened(stored(pixels[..., 0], tile=(16, 16), compression="deflate")) as picture:
        decoded, page = [], picture.segments.page
        decode = page.decode
        monkeypatch.setattr(page, "decode", lambda data, index: decoded.append(index) or decode(data, index))
        for start in range(0, 200, 16):
            assert np.array_equal(
                picture.rows(max(0, start - 5), min(200, start + 21)), pixels[max(0, start - 5) : start + 21]
            )
    assert sorted(decoded) == list(range(7 * 13))


def test_white_at_zero_palettes_and_bilevel():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(all_rows(stored(gray, photometric="miniswhite"))[..., 0], 255 - gray)
    bits = gray > 100
    for photometric in ("minisblack", "miniswhite"):
        expected = np.where(bits == (photometric == "minisblack"), 255, 0)
        assert np.array_equal(all_rows(stored(bits, photometric=photometric))[..., 0], expected)
    table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    colored = all_rows(stored(gray, photometric="palette", colormap=table))
    assert np.array_equal(colored, (table >> 8).astype(np.uint8).T[gray])


def test_fax_and_jpeg_are_as_pillow_decodes_them(astronaut):
    for mode, compression in (("1", "group4"), ("1", "group3"), ("L", "jpeg"), ("RGB", "jpeg")):
        file = io.BytesIO()
        Image.fromarray(astronaut).convert(mode).save(file, "TIFF", compression=compression)
        theirs = np.asarray(Image.open(file)).astype(float).reshape(48, 64, -1) * (255 if mode == "1" else 1)
        assert abs(all_rows(file.getvalue()) - theirs).max() <= (0 if mode == "1" else 2)


def test_floats_of_other_widths_become_32_bits_with_a_note():
    for dtype in (np.float16, np.float64):
        with opened(stored(np.linspace(-3, 5, 64, dtype=dtype).reshape(8, 8))) as picture:
            assert picture.pixel_format.dtype == np.float32
            assert picture.notes == [f"its {dtype().itemsize * 8}-bit floats become 32-bit floats"]
            assert np.allclose(picture.rows(0, 8).ravel(), np.linspace(-3, 5, 64), atol=2e-3)


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_extra_sample_is_alpha_or_a_band(extra):
    pixels = pixels_of(PIXEL_FORMATS[6])
    with opened(stored(pixels, photometric="rgb", extrasamples=[extra])) as picture:
        assert picture.pixel_format.alpha == (None, "premultiplied", "straight")[extra]
        assert picture.pixel_format.colors == ("bands" if extra == 0 else "rgb")


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.complex64], ids=lambda dtype: dtype.__name__)
def test_other_sample_types_are_refused_in_one_sentence(dtype):
    with pytest.raises(ImageError, match=r"^photo\.tif: its samples are .*and of 32 bits, and floats, are known$"):
        opened(stored(np.zeros((8, 8), dtype)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_as_pillow_transposes(astronaut, orientation):
    file = io.BytesIO()
    Image.fromarray(astronaut).save(file, "TIFF", tiffinfo={274: orientation}, dpi=(300, 150))
    from PIL import ImageOps

    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    with opened(file.getvalue()) as picture:
        assert picture.size == upright.shape[:2]
        assert picture.metadata.dpi == ((300, 150) if orientation < 5 else (150, 300))
        assert np.array_equal(picture.rows(5, 30), upright[5:30])


def test_metadata_round_trips_and_others_read_it(astronaut):
    exif = Image.Exif()
    exif[271], exif[306] = "Maker", "2026:11:21 12:00:00"
    exif.get_ifd(0x8769)[33434] = IFDRational(1, 250)
    exif.get_ifd(0x8769)[37510] = b"ASCII\0\0\0a comment"
    exif.get_ifd(0x8825)[1], exif.get_ifd(0x8825)[2] = "N", (48.0, 12.0, 30.5)
    metadata = Metadata(
        icc=b"profile" * 99,
        exif=exif.tobytes()[6:],
        xmp="<x:xmpmeta>é</x:xmpmeta>".encode(),
        dpi=(300.0, 72.5),
        tags={33550: Tag(12, 3, (0.5, 0.25, 0.0)), 42113: Tag(2, 6, b"-9999\0")},
    )
    pixel_format = PixelFormat("rgb", 3, np.dtype(np.uint8))
    content = written(astronaut, pixel_format, metadata)
    with opened(content) as picture:
        read = picture.metadata
        assert (read.icc, read.xmp, read.dpi, read.tags) == (metadata.icc, metadata.xmp, metadata.dpi, metadata.tags)
        assert np.array_equal(picture.rows(0, 48), astronaut)
        assert written(astronaut, pixel_format, read) == content
    theirs = Image.open(io.BytesIO(content))
    assert np.array_equal(np.asarray(theirs), astronaut)
    assert theirs.info["icc_profile"] == metadata.icc
    assert theirs.getexif()[271] == "Maker"
    assert theirs.getexif().get_ifd(0x8769) == {33434: 1 / 250, 37510: b"ASCII\0\0\0a comment"}
    assert theirs.getexif().get_ifd(0x8825) == {1: "N", 2: (48.0, 12.0, 30.5)}
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tags = file.pages.first.tags
        assert tags[34665].value["ExposureTime"] == (1, 250)
        assert tags[33550].value == (0.5, 0.25, 0.0)
        assert (tags.valueof(305), tags.valueof(270)) == (None, None)


@pytest.mark.parametrize("dpi", [72.009, 299.9994, 508_000.0762, 2e6 / 3, 4e9])
def test_any_resolution_is_written(astronaut, dpi):
    with opened(written(astronaut, PIXEL_FORMATS[3], Metadata(dpi=(dpi, 72.0)))) as picture:
        assert picture.metadata.dpi == pytest.approx((dpi, 72.0), rel=1e-6)


def test_big_pictures_become_bigtiff_with_everything(monkeypatch, astronaut):
    monkeypatch.setattr(writer, "CLASSIC_BYTES", 1000)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[33434] = IFDRational(1, 250)
    content = written(astronaut, PIXEL_FORMATS[3], Metadata(exif=exif.tobytes()[6:], dpi=(300, 300)))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert file.is_bigtiff
        assert file.pages.first.tags[34665].value["ExposureTime"] == (1, 250)
        assert np.array_equal(file.asarray(), astronaut)
    with opened(content) as picture:
        assert picture.metadata.dpi == (300, 300)
        assert np.array_equal(picture.rows(0, 48), astronaut)


def world(tags, i, j):
    values = {code: tag.value for code, tag in tags.items()}
    if 34264 in values:
        return (np.reshape(values[34264], (4, 4)) @ (i, j, 0, 1))[:2]
    (across, down, _), (i0, j0, _, x, y, _) = values[33550], values[33922]
    return np.array([x + (i - i0) * across, y - (j - j0) * down])


@pytest.mark.parametrize("point", [False, True])
@pytest.mark.parametrize(
    "place",
    [
        {33550: Tag(12, 3, (0.5, 0.25, 0.0)), 33922: Tag(12, 6, (3.0, 7.5, 0.0, 500000.0, 6100000.0, 0.0))},
        {34264: Tag(12, 16, (0.4, 0.1, 0, 3e5, 0.2, -0.3, 0, 5e6, 0, 0, 0, 0, 0, 0, 0, 1))},
    ],
    ids=["scale", "matrix"],
)
def test_georeference_is_kept_by_scaling(place, point):
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, 2 if point else 1)
    tags = place | {34735: Tag(3, 12, keys), 42112: Tag(2, 5, b"gdal\0")}
    vertical, horizontal = 3.0, 1.5
    new = Metadata(tags=tags).rescale((vertical, horizontal), (0, 0)).tags
    shift = 0.5 if point else 0.0  # corners are half a pixel before the centers
    for i, j in ((0, 0), (640, 0), (0, 480), (640, 480), (12.25, 99)):
        before = world(tags, i - shift, j - shift)
        assert np.allclose(world(new, i * horizontal - shift, j * vertical - shift), before, rtol=1e-12)
    assert list(new) == list(tags)
    assert all(new[code] == tags[code] for code in (34735, 42112))


def test_geotiff_tags_of_wrong_length_are_left_out():
    senseless = {33550: Tag(12, 2, (1.0, 2.0)), 33922: Tag(12, 5, (0.0,) * 5), 34264: Tag(7, 3, b"abc")}
    assert rescale_tags(senseless, (2, 2)) == {}


def test_further_pages_leave_a_note_but_previews_do_not(astronaut):
    for subfile, notes in ((0, ["only the first of its pictures is taken"]), (1, [])):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            writer.write(astronaut, photometric="rgb", metadata=None)
            writer.write(astronaut[::2, ::2], photometric="rgb", subfiletype=subfile, metadata=None)
        with opened(file.getvalue()) as picture:
            assert picture.notes == notes
            assert np.array_equal(picture.rows(0, 48), astronaut)


STREAMING = """
import resource, sys
from pathlib import Path
import numpy as np
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.picture import PixelFormat
from zssr.io.tiff.reader import open_tiff
from zssr.io.tiff.writer import write_tiff

side, path = 8000, Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def strips():
    for start in range(0, side, 500):
        strip = np.zeros((500, side, 1), np.uint8)
        strip[0] = start // 500
        yield strip
with path.open("w+b") as file:
    write_tiff(file, strips(), (side, side), PixelFormat("gray", 1, np.dtype(np.uint8)), Metadata())
with open_tiff(path, "large.tif", Limits(1000, 1e9)) as picture:
    for start in range(0, side, 500):
        rows = picture.rows(max(0, start - 30), start + 500)
        kept = rows[min(30, start):]
        if kept[0].max() != start // 500 or kept[1:].any():
            sys.exit("other pixels")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / side**2)
"""


@pytest.mark.slow
def test_large_picture_streams_in_a_fraction_of_its_memory(tmp_path):
    command = [sys.executable, "-c", STREAMING, str(tmp_path / "large.tif")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.5  # of the picture's 64 MB


def test_wrong_bands_are_refused():
    pixel_format = PIXEL_FORMATS[0]
    for bands in ([np.zeros((3, 8, 1), np.uint8)], [np.zeros((9, 8, 1), np.uint8)], [np.zeros((8, 7, 1), np.uint8)]):
        with pytest.raises(ValueError, match="row"):
            write_tiff(io.BytesIO(), bands, (8, 8), pixel_format, Metadata())


def error_of(content):
    """Read everything; return the sentence of the `ImageError` that may be raised, or nothing."""
    try:
        with opened(content, Limits(100, 1e7)) as picture:
            for start in range(0, picture.size[0], 100):
                picture.rows(start, min(start + 100, picture.size[0]))
    except ImageError as error:
        assert str(error).startswith("photo.tif: ")
        assert "\n" not in str(error)
        return str(error)
    return ""


SEEDS = ("none", "lzw", "deflate", "packbits", "zstd", "jpeg", "fax", "lzma", "webp", "jpeg2000", "jpegxl", "lerc")


def seed(compression, **options):
    if compression == "fax":
        file = io.BytesIO()
        Image.fromarray(np.arange(40 * 48).reshape(40, 48) % 7 < 3).save(file, "TIFF", compression="group4")
        return file.getvalue()
    pixels = np.arange(40 * 48 * 3, dtype=np.uint8).reshape(40, 48, 3) // 7
    return stored(pixels, photometric="rgb", compression=compression, tile=(16, 16), **options)


@pytest.mark.fuzz
@pytest.mark.parametrize("compression", SEEDS)
def test_truncated_and_flipped_files_are_refused_or_read(compression, capfd):
    whole = seed(compression)
    assert error_of(whole) == ""
    for part in (0, 0.01, 0.1, 0.4, 0.7, 0.98):
        assert error_of(whole[: int(len(whole) * part)])
    generator = np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(generator.integers(1, 4)):
            position = generator.integers(0, min(len(damaged), 500) if generator.random() < 0.7 else len(damaged))
            damaged[position] ^= 1 << generator.integers(0, 8)
        error_of(bytes(damaged))
    out, log = capfd.readouterr()
    assert out == ""
    assert "tifffile" not in log
    assert compression == "lzw" or log == ""  # libtiff, which decodes LZW, has a word with stderr itself


def directory_of(*entries, following=0, head=b"II*\0"):
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return head + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


SQUARE = ((256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1))


@pytest.mark.parametrize(
    "content",
    [
        directory_of(*SQUARE, (273, 4, 1, 10**9), (278, 4, 1, 8), (279, 4, 1, 64)),
        directory_of(*SQUARE, (273, 4, 1, 100), (278, 4, 1, 8), (279, 4, 1, 64)),
        directory_of(*SQUARE, (273, 4, 2**32 - 1, 8), (279, 4, 2**32 - 1, 8)),
        directory_of(*SQUARE, (273, 4, 1, 8), (273, 4, 1, 8), (279, 4, 1, 8)),
        directory_of(*SQUARE[2:], (256, 4, 1, 60000), (257, 4, 1, 60000), (273, 4, 1, 8), (279, 4, 1, 8)),
        directory_of(*SQUARE[2:], (256, 4, 1, 0), (257, 4, 1, 8), (273, 4, 1, 8), (279, 4, 1, 8)),
        directory_of(*SQUARE[2:], (273, 4, 1, 8), (279, 4, 1, 8)),
        directory_of(*SQUARE[:5], (277, 3, 1, 65535), (273, 4, 1, 8), (279, 4, 1, 8)),
        directory_of(*SQUARE, (322, 4, 1, 0), (323, 4, 1, 0), (324, 4, 1, 8), (325, 4, 1, 8)),
        directory_of(*SQUARE, (322, 4, 1, 2**31), (323, 4, 1, 2**31), (324, 4, 1, 8), (325, 4, 1, 8)),
        directory_of(),
        b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(100),
        b"II*\0\xff\xff\xff\xff",
        b"II+\0\x08\0\0\0" + b"\xff" * 8,
        b"<html>",
        b"",
    ],
)
def test_hostile_headers_are_refused(content, capfd):
    assert error_of(content)
    assert capfd.readouterr() == ("", "")


def test_loops_of_directories_and_ten_thousand_of_them_are_harmless():
    entries = (
        *SQUARE,
        (273, 4, 1, 8),
        (278, 4, 1, 8),
        (279, 4, 1, 64),
        (330, 4, 1, 8),
        (34665, 4, 1, 8),
        (34853, 4, 1, 8),
    )
    assert error_of(directory_of(*entries, following=8)) == ""
    one = directory_of(*entries)[8:]
    many = b"".join(one[:-4] + struct.pack("<I", 8 + len(one) * (k + 1)) for k in range(10_000))
    assert error_of(b"II*\0" + struct.pack("<I", 8) + many) == ""


def test_jpeg_tile_that_claims_a_gigapixel_is_refused():
    content = bytearray(seed("jpeg"))
    start = content.find(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", 65500, 65500)
    assert "another size" in error_of(bytes(content))


def test_deflate_bomb_is_refused_before_it_is_decoded():
    import zlib

    bomb = zlib.compress(bytes(10**8))
    head = directory_of(
        *SQUARE[:3], (259, 3, 1, 8), *SQUARE[4:], (273, 4, 1, 200), (278, 4, 1, 8), (279, 4, 1, len(bomb))
    )
    assert error_of(head.ljust(200, b"\0") + bomb)


def test_exif_block_of_any_byte_order_round_trips():
    values = {271: Tag(2, 6, b"Maker\0"), TagCode.EXIF: Tag(4, 1, {33434: Tag(5, 1, (1, 250))})}
    block = ifd.encode_block(values)
    assert ifd.decode_block(block) == values
    header = ifd.TiffHeader(">")
    file = io.BytesIO(header.signature + header.offset.pack(0))
    ifd.append_first_directory(file, header, values)
    assert ifd.decode_block(file.getvalue()) == ifd.decode_block(block)
    assert ifd.decode_block(b"nothing") == {}
