"""Kinds of TIFF files: bands, bits, integers, compressions, CIELAB, previews; tifffile and Pillow as oracles."""

import io
import struct

import numpy as np
import pytest
import tifffile
from helpers import TINY
from hostile import encode_image
from PIL import Image, ImageCms

from zssr.api import Upscaler
from zssr.errors import ImageError
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.output_format import OutputFormat
from zssr.io.picture import PixelFormat
from zssr.io.tiff.lab import lab_to_rgb, rgb_to_lab
from zssr.io.tiff.pages import count_directories
from zssr.io.tiff.reader import open_tiff
from zssr.io.writing import write_picture

RNG = np.random.default_rng(0)
LIMITS = Limits()


def stored(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, metadata=None, **options)
    return file.getvalue()


def opened(content, page=0):
    with open_tiff(content, "photo.tif", LIMITS, page) as picture:
        return picture, picture.rows(0, picture.size[0])


def written_again(content):
    """Read a file and write all that was read; return the new file."""
    picture, pixels = opened(content)
    file = io.BytesIO()
    target = OutputFormat.choose(".tif", picture.pixel_format, picture.size)
    write_picture(file, target, [pixels], picture.size, picture.metadata)
    return file.getvalue()


def first_page(content):
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        return file.pages.first, file.pages.first.asarray()


BYTES = RNG.integers(0, 256, (20, 24, 7), np.uint8)


@pytest.mark.parametrize(
    ("channels", "photometric", "extra"),
    [
        (4, "rgb", (0,)),
        (5, "rgb", (2, 0)),
        (5, "rgb", (0, 2)),
        (6, "rgb", (1, 0, 0)),
        (3, "minisblack", (2, 0)),
        (4, "minisblack", (0, 0, 0)),
        (5, "separated", (0,)),
        (6, "separated", (2, 0)),
        (3, "miniswhite", (0, 0)),
    ],
)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_bands_keep_photometric_and_extra_samples(channels, photometric, extra, planar):
    pixels = BYTES[..., :channels]
    planes = np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels
    content = stored(planes, photometric=photometric, extrasamples=extra, planarconfig=planar)
    page, again = first_page(written_again(content))
    assert page.photometric.name == photometric.upper()
    assert tuple(map(int, page.extrasamples)) == extra
    np.testing.assert_array_equal(again, pixels)
    picture, _ = opened(content)
    reduced = OutputFormat.choose(".png", picture.pixel_format, (20, 24), allow_loss=True).stored
    assert (reduced.photometric, reduced.extra_samples) == (None, ())


def packed(levels, bits, order="<"):
    """A file of gray (H, W) or RGB (H, W, 3) of so many bits, written by hand."""
    height, width, count = (*levels.shape, 1)[:3]
    rows = levels.reshape(height, -1)[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1) & 1
    data = b"".join(np.packbits(row.astype(np.uint8)).tobytes() for row in rows.reshape(height, -1))
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, count, bits), (259, 4, 1, 1)]
    tags += [(262, 4, 1, 1 if count == 1 else 2), (273, 4, 1, 200), (277, 4, 1, count), (278, 4, 1, height)]
    tags += [(279, 4, 1, len(data))]
    if count == 3:
        tags[2] = (258, 3, 3, 190)
    entries = b"".join(struct.pack(order + "HHII", *tag) for tag in tags)
    if count == 1 and order == ">":
        entries = entries.replace(struct.pack(">HHII", 258, 3, 1, bits), struct.pack(">HHIHH", 258, 3, 1, bits, 0))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return (head + entries + bytes(4)).ljust(190, b"\0") + struct.pack(order + "3H", bits, bits, bits).ljust(10) + data


@pytest.mark.parametrize("bits", [3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("shape", [(9, 13), (7, 11, 3)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_any_number_of_bits_is_read_and_comes_out_again(bits, shape, order):
    levels = RNG.integers(0, 2**bits, shape, np.uint16)
    levels[0, :2] = np.array([0, 2**bits - 1]).reshape((2,) + (1,) * (len(shape) - 2))
    content = packed(levels, bits, order)
    np.testing.assert_array_equal(first_page(content)[1], levels)
    picture, pixels = opened(content)
    full = 255 if bits < 8 else 65535
    assert picture.pixel_format.bits == bits
    assert np.abs(pixels.reshape(shape) / full - levels / (2**bits - 1)).max() <= 0.5 / full + 1e-9
    page, again = first_page(written_again(content))
    assert page.bitspersample == bits
    np.testing.assert_array_equal(again, levels)


def test_twelve_bits_go_to_other_formats_at_full_range():
    levels = np.array([[0, 4095, 2048, 16]], np.uint16)
    picture, pixels = opened(packed(levels, 12))
    for suffix, top in ((".png", 65535), (".jpg", 255)):
        target = OutputFormat.choose(suffix, picture.pixel_format, (1, 4), allow_loss=True)
        assert target.stored.bits is None
        file = io.BytesIO()
        write_picture(file, target, [pixels], (1, 4), Metadata())
        assert np.abs(np.asarray(Image.open(file)) / top - levels / 4095).max() < 0.02


@pytest.mark.parametrize("compression", ["deflate", "jpeg2000", "lzma"])
def test_ten_bits_in_compressed_files_are_read(compression):
    levels = RNG.integers(0, 1024, (16, 16)).astype(np.uint16)
    if compression == "jpeg2000":
        content = stored(levels, compression=compression, bitspersample=10)
    else:
        content = bytearray(packed(levels, 10))
        import imagecodecs

        data = getattr(imagecodecs, {"deflate": "zlib", "lzma": "lzma"}[compression] + "_encode")(bytes(content[200:]))
        code = {"deflate": 8, "lzma": 34925}[compression]
        content = content[:200].replace(struct.pack("<HHII", 259, 4, 1, 1), struct.pack("<HHII", 259, 4, 1, code))
        content = (
            content.replace(struct.pack("<HHII", 279, 4, 1, 320), struct.pack("<HHII", 279, 4, 1, len(data))) + data
        )
    picture, pixels = opened(bytes(content))
    assert picture.pixel_format.bits == 10
    np.testing.assert_allclose(pixels[..., 0] / 65535, levels / 1023, atol=1e-5)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4"])
@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 3), (20, 24, 5)])
def test_integers_of_a_range_of_their_own_come_back(dtype, shape):
    limits = np.iinfo(dtype)
    pixels = RNG.integers(limits.min, limits.max, shape, np.dtype(dtype), endpoint=True)
    content = stored(pixels, photometric="rgb" if shape[-1] == 3 else "minisblack", planarconfig="contig")
    _, read = opened(content)
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read.reshape(shape), pixels)
    np.testing.assert_array_equal(first_page(written_again(content))[1], pixels)


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("i1", -100, 27), ("i2", -1024, 3071), ("i4", 10**9, 10**9 + 900), ("u4", 7, 8848)]
)
def test_heights_and_densities_are_upscaled_in_their_own_numbers(tmp_path, dtype, low, high):
    ramp = np.linspace(low, high, 40 * 48).reshape(40, 48).round().astype(dtype)
    path, output = tmp_path / "a.tif", tmp_path / "b.tif"
    path.write_bytes(stored(ramp))
    result = Upscaler(TINY.replace(self_ensemble=1)).run_file(path, output, 2)
    large = tifffile.imread(output)
    assert large.dtype == np.dtype(dtype)
    assert large.shape == (80, 96)
    mean = large.reshape(40, 2, 48, 2).mean((1, 3))
    assert np.abs(mean - ramp).max() < 0.05 * (high - low)
    assert not result.warnings
    Upscaler(TINY).run_file(path, output, 1)
    np.testing.assert_array_equal(tifffile.imread(output), ramp)
    with pytest.raises(ImageError, match=r"PNG cannot hold the photo's signed or 32-bit integers"):
        Upscaler(TINY).run_file(path, tmp_path / "b.png", 2)


@pytest.mark.parametrize(
    ("compression", "options"),
    [
        ("lzma", {}),
        ("lzma", {"predictor": True, "tile": (16, 16)}),
        ("webp", {"compressionargs": {"lossless": True}}),
        ("webp", {"compressionargs": {"lossless": True}, "tile": (16, 16)}),
        ("jpeg2000", {}),
        ("jpeg2000", {"tile": (16, 16)}),
        ("lerc", {}),
        ("lerc", {"compressionargs": {"compression": "deflate"}}),
        ("lerc", {"compressionargs": {"compression": "zstd"}, "rowsperstrip": 7}),
        ("jpegxl", {}),
        ("jpegxl", {"tile": (16, 16)}),
    ],
)
def test_more_compressions_are_read(compression, options):
    pixels = BYTES[..., :3]
    content = stored(pixels, photometric="rgb", compression=compression, **options)
    picture, read = opened(content)
    np.testing.assert_array_equal(read, first_page(content)[1])
    np.testing.assert_array_equal(read, pixels)
    assert picture.pixel_format == PixelFormat("rgb", 3, np.dtype(np.uint8))


def old_style_jpeg(pixels, preview=None):
    jpeg = encode_image(Image.fromarray(pixels), "JPEG", subsampling=0, quality=95)
    height, width = pixels.shape[:2]
    place = 8 + 2 + 14 * 12 + 4
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, place), (259, 3, 1, 6), (262, 3, 1, 6)]
    tags += [(273, 4, 1, place + 6), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(jpeg)), (284, 3, 1, 1)]
    tags += [(512, 3, 1, 1), (513, 4, 1, place + 6), (514, 4, 1, len(jpeg)), (530, 3, 2, 1 | 1 << 16)]
    packed_tags = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start = b"II*\0" + struct.pack("<IH", 8, 14) + packed_tags + bytes(4)
    return start + struct.pack("<3H", 8, 8, 8) + jpeg, jpeg


@pytest.mark.parametrize("shape", [(20, 24, 3), (64, 80, 3), (17, 9, 3)])
def test_old_style_jpeg_is_read_as_its_jpeg(shape):
    content, jpeg = old_style_jpeg(RNG.integers(0, 256, shape, np.uint8))
    _, read = opened(content)
    assert np.abs(read.astype(int) - np.asarray(Image.open(io.BytesIO(jpeg)))).max() <= 1  # another version of libjpeg
    with pytest.raises(ImageError, match="damaged or incomplete"):
        opened(content[: len(content) // 2])


def lab_profile_of(pixels):
    """Return what LittleCMS makes of CIELAB (8 bits, Pillow's mode)."""
    lab, srgb = ImageCms.createProfile("LAB", 5000), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    return np.asarray(ImageCms.applyTransform(Image.frombytes("LAB", pixels.shape[1::-1], pixels.tobytes()), transform))


def test_cielab_is_as_little_cms_converts_it():
    rgb = RNG.integers(60, 200, (30, 40, 3), np.uint8)  # LittleCMS rounds dark and saturated colors
    lab = rgb_to_lab(rgb, "cielab")
    off = np.abs(lab_profile_of(lab).astype(int) - lab_to_rgb(lab, "cielab"))
    assert np.percentile(off, 99) <= 3
    assert off.mean() < 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", ["cielab", "icclab"])
def test_cielab_comes_out_as_cielab(dtype, photometric):
    rgb = (RNG.integers(0, 256, (20, 24, 3)) * (1 if dtype == np.uint8 else 257)).astype(dtype)
    lab = rgb_to_lab(rgb, photometric)
    content = stored(lab, photometric=photometric)
    picture, read = opened(content)
    assert picture.notes == ["its CIELAB colors are upscaled in sRGB"]
    assert np.abs(read.astype(int) - rgb).max() <= (20 if dtype == np.uint8 else 24)  # rounded
    page, again = first_page(written_again(content))
    assert page.photometric.name == photometric.upper()
    circle = np.iinfo(dtype).max + 1
    distance = np.abs(again.astype(int) - lab) % circle
    assert np.minimum(distance, circle - distance).max() <= (2 if dtype == np.uint8 else 24)


def test_cielab_goes_to_png_as_srgb():
    target = OutputFormat.choose(".png", PixelFormat("rgb", 3, np.dtype(np.uint8), photometric="cielab"), (1, 1))
    assert target.stored == PixelFormat("rgb", 3, np.dtype(np.uint8))


def pages(*kinds):
    """A file of pages, given as (array, options)."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for array, options in kinds:
            writer.write(array, metadata=None, photometric="rgb" if array.ndim == 3 else "minisblack", **options)
    return file.getvalue()


PHOTO, SMALL = BYTES[..., :3], BYTES[::2, ::2, :3].copy()


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (pages((SMALL, {"subfiletype": 1}), (PHOTO, {})), []),
        (pages((SMALL, {"subfiletype": 1}), (SMALL, {"subfiletype": 9}), (PHOTO, {"compression": "lzma"})), []),
        (pages((SMALL, {"extratags": [(255, 3, 1, 2, True)]}), (PHOTO, {"extratags": [(255, 3, 1, 1, True)]})), []),
        (pages((SMALL, {"subfiletype": 1}), (PHOTO, {}), (PHOTO, {})), ["only the first of its pictures is taken"]),
        (pages((SMALL, {"subfiletype": 1, "subifds": 1}), (PHOTO, {})), []),
    ],
    ids=["preview", "two", "old tag", "and another", "within"],
)
def test_a_preview_before_the_picture_is_skipped(content, notes):
    picture, read = opened(content)
    np.testing.assert_array_equal(read, PHOTO)
    assert picture.notes == notes


def test_a_preview_alone_is_taken_with_a_note():
    picture, read = opened(pages((SMALL, {"subfiletype": 1})))
    np.testing.assert_array_equal(read, SMALL)
    assert "preview" in picture.notes[0]


def test_pages_are_counted_and_opened_one_by_one():
    arrays = [np.full((20, 24), 9 * k, np.uint8) for k in range(5)]
    content = pages((SMALL, {"subfiletype": 1}), *((array, {}) for array in arrays))
    assert count_directories(io.BytesIO(content)) == 5
    for k, array in enumerate(arrays):
        np.testing.assert_array_equal(opened(content, k)[1][..., 0], array)
    with pytest.raises(ImageError, match=r"^photo\.tif: has no page 6$"):
        opened(content, 5)


@pytest.mark.parametrize("compression", ["webp", "jpeg2000", "jpegxl", "lerc"])
def test_a_segment_that_claims_to_be_larger_is_refused(compression):
    whole = stored(np.zeros((2000, 1000, 3), np.uint8), photometric="rgb", compression=compression, rowsperstrip=2000)
    small = stored(np.zeros((16, 16, 3), np.uint8), photometric="rgb", compression=compression)
    large, page = first_page(whole)[0], first_page(small)[0]
    segment = whole[large.dataoffsets[0] :][: large.databytecounts[0]]
    content = bytearray(small) + segment
    for code, value in ((273, len(small)), (279, len(segment))):
        tag = page.tags[code]
        content[tag.offset : tag.offset + 12] = struct.pack("<HHII", code, 4, 1, value)
    with pytest.raises(ImageError, match=r"another size|longer than its pixels"):
        opened(bytes(content))
