"""AVIF, HEIC, JPEG 2000, JPEG XL, PNM, TGA and DDS; Pillow, pillow-heif, imagecodecs and scikit-image as oracles."""

import io
import sys

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from hostile import encode_image, make_exif
from PIL import Image, ImageCms, ImageOps

from zssr.errors import ImageError
from zssr.io.codestreams import jpeg2000_frame
from zssr.io.deferred import check_decoded_size
from zssr.io.jpegxl import jpegxl_size, read_jpegxl_header
from zssr.io.limits import Limits
from zssr.io.reading import open_picture

LIMITS = Limits()
RNG = np.random.default_rng(0)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def read(content):
    with open_picture(content, LIMITS, "photo") as picture:
        return picture, picture.rows(0, picture.size[0])


def heic(image, **options):
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=95, chroma=444, **options)
    return file.getvalue()


def smooth(photo, mode):
    image = Image.fromarray(photo).resize((40, 30))
    if mode == "RGBA":
        image.putalpha(image.convert("L").point(lambda level: 200 if level > 90 else 90))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_heic_is_read_with_its_metadata(astronaut, mode):
    image = smooth(astronaut, mode)
    exif = make_exif(1).tobytes()
    picture, pixels = read(heic(image, exif=exif, icc_profile=ICC, xmp=XMP))
    expected = np.asarray(image).reshape(30, 40, -1)
    assert np.abs(pixels.astype(int)[..., : picture.pixel_format.color_channels].mean() - expected[..., :3].mean()) < 20
    assert picture.size == (30, 40)
    assert picture.pixel_format.alpha == ("straight" if mode == "RGBA" else None)
    assert (picture.metadata.icc, picture.metadata.xmp) == (ICC, XMP)
    assert b"A maker" in picture.metadata.exif


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_lies_upright_once(astronaut, orientation):
    pillow_heif.register_heif_opener()
    content = encode_image(smooth(astronaut, "RGB"), "HEIF", exif=make_exif(orientation), quality=95)
    picture, pixels = read(content)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert picture.metadata.orientation == 1
    np.testing.assert_array_equal(pixels, upright)


def test_heic_without_the_extra_is_refused_in_one_sentence(astronaut, monkeypatch):
    content = heic(smooth(astronaut, "RGB"))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"^photo: is a HEIC picture, which pip install 'zssr\[heic\]' reads$"):
        read(content)


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [3, 4])
def test_deep_avif_fills_sixteen_bits(bits, channels):
    levels = RNG.integers(0, 2**bits, (20, 30, channels)).astype(np.uint16)
    picture, pixels = read(bytes(imagecodecs.avif_encode(levels, level=100, bitspersample=bits)))
    assert picture.pixel_format.bits == bits
    np.testing.assert_allclose(pixels / 65535, levels / (2**bits - 1), atol=2e-5)


def test_deep_heic_fills_sixteen_bits():
    levels = np.repeat(np.linspace(0, 1023, 64 * 64).reshape(64, 64, 1), 3, axis=2).astype(np.uint16) << 6
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (64, 64), levels.tobytes()).save(file, quality=-1, chroma=444)
    picture, pixels = read(file.getvalue())
    assert picture.pixel_format.bits in (10, 12)
    assert np.abs(pixels / 65535 - (levels >> 6) / 1023).max() < 0.01


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_lies_upright(astronaut, orientation):
    content = encode_image(smooth(astronaut, "RGB"), "AVIF", exif=make_exif(orientation), quality=90)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    np.testing.assert_array_equal(read(content)[1], upright)


def test_animated_avif_gives_its_first_frame_and_a_note(astronaut):
    image = smooth(astronaut, "RGB")
    picture, pixels = read(encode_image(image, "AVIF", save_all=True, append_images=[ImageOps.invert(image)]))
    assert picture.notes == ["it is an animation, of which only the first frame is taken"]
    assert abs(pixels.mean() - np.asarray(image).mean()) < 5


@pytest.mark.parametrize("options", [{}, {"usecontainer": True}])
@pytest.mark.parametrize("shape", [(1, 1, 3), (9, 7, 3), (8, 16, 3), (256, 24, 3), (513, 20), (20, 8200), (30, 40, 4)])
def test_headers_of_jpeg_xl_are_read(options, shape):
    header = read_jpegxl_header(bytes(imagecodecs.jpegxl_encode(np.zeros(shape, np.uint8), lossless=True, **options)))
    assert header.size == jpegxl_size(imagecodecs.jpegxl_encode(np.zeros(shape, np.uint8))) == shape[:2]
    assert (header.is_lossless, header.cicp, header.is_gray) == (True, (1, 13), len(shape) == 2)
    assert header.extra == (shape[-1] == 4)
    assert header.bits == 8


@pytest.mark.parametrize("bits", [9, 10, 12, 16])
def test_deep_jpeg_xl_is_read_with_its_colors(bits):
    levels = RNG.integers(0, 2**bits, (20, 30, 3)).astype(np.uint16)
    picture, pixels = read(bytes(imagecodecs.jpegxl_encode(levels, lossless=True, bitspersample=bits)))
    assert picture.pixel_format.bits == (None if bits == 16 else bits)
    np.testing.assert_allclose(pixels / 65535, levels / (2**bits - 1), atol=2e-5)
    assert (picture.notes, picture.metadata.cicp) == ([], (1, 8))  # linear light, as imagecodecs has it


def test_floats_of_jpeg_xl_stay_floats():
    values = RNG.random((20, 30, 3)).astype(np.float32)
    _, pixels = read(bytes(imagecodecs.jpegxl_encode(values, lossless=True)))
    np.testing.assert_array_equal(pixels, values)


@pytest.mark.parametrize("bits", [4, 7, 8, 9, 12, 16])
@pytest.mark.parametrize("codec", ["jp2", "j2k"])
def test_jpeg_2000_of_any_bits_is_read(bits, codec):
    levels = RNG.integers(0, 2**bits, (20, 30, 3)).astype(np.uint8 if bits <= 8 else np.uint16)
    content = bytes(imagecodecs.jpeg2k_encode(levels, level=0, reversible=True, bitspersample=bits, codecformat=codec))
    assert jpeg2000_frame(content) == (20, 30, [bits] * 3)
    picture, pixels = read(content)
    assert picture.is_lossless
    np.testing.assert_allclose(pixels / np.iinfo(pixels.dtype).max, levels / (2**bits - 1), atol=2e-3)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_jpeg_2000_of_pillow_is_read(astronaut, mode):
    image = smooth(astronaut, mode)
    _, pixels = read(encode_image(image, "JPEG2000"))
    np.testing.assert_array_equal(pixels, np.asarray(image).reshape(30, 40, -1))


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_pnm_of_pillow_is_read(astronaut, mode):
    image = smooth(astronaut, "L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    picture, pixels = read(encode_image(image, "PPM"))
    expected = np.asarray(image.convert("L") if mode == "1" else image).reshape(30, 40, -1)
    np.testing.assert_array_equal(pixels, expected)
    assert picture.pixel_format.bilevel == (mode == "1")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"P1\n# a remark\n3 2\n1 0 1\n0#x\n10", [[0, 255, 0], [255, 0, 255]]),
        (b"P1 3 1\n101", [[0, 255, 0]]),
        (b"P4 3 1 \xa0", [[0, 255, 0]]),
        (b"P2\n2 1\n# remark\n15\n0 15 ", [[0, 255]]),
        (b"P2 2 1 1000\n0 1000", [[0, 65535]]),
        (b"P3 1 1 255 1 2 3", [[[1, 2, 3]]]),
        (b"P5 2 1 99 \x00\x63", [[0, 255]]),
        (b"P6 1 1 65535\n" + bytes([1, 0, 2, 0, 3, 0]), [[[256, 512, 768]]]),
        (b"P6 1 1 1023\n" + bytes([3, 255, 0, 0, 0, 1]), [[[65535, 0, 64]]]),
    ],
)
def test_pnm_is_read_as_it_is_defined(content, expected):
    np.testing.assert_array_equal(
        read(content)[1].squeeze(-1) if np.ndim(expected) == 2 else read(content)[1], expected
    )


@pytest.mark.parametrize(
    "content", [b"P5 2 2 255 \0", b"P5 0 2 255 ", b"P3 1 1 9 x y z", b"P6 1 1 70000 \0", b"P2 2 1 9\n1"]
)
def test_damaged_pnm_is_refused(content):
    with pytest.raises(ImageError, match=r"^photo: cannot be read; the file is damaged or incomplete"):
        read(content)


def test_pictures_without_pixels_are_refused():
    for size in ((0, 9), (9, 0)):
        with pytest.raises(ImageError, match=r"^photo: has no pixels, its size is \d x \d$"):
            check_decoded_size("photo", size, b"", LIMITS)


@pytest.mark.parametrize("options", [{}, {"compression": "tga_rle"}])
@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
def test_tga_is_as_pillow_reads_it(astronaut, mode, options):
    content = encode_image(smooth(astronaut, mode), "TGA", **options)
    image = Image.open(io.BytesIO(content))
    expected = image.convert("RGB") if mode == "P" else image
    np.testing.assert_array_equal(read(content)[1], np.asarray(expected).reshape(30, 40, -1))


@pytest.mark.parametrize("pixel_format", ["DXT1", "DXT5", "BC3", None])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_dds_is_as_pillow_reads_it(astronaut, mode, pixel_format):
    image = smooth(astronaut, mode).resize((40, 32))
    content = encode_image(image, "DDS", **({"pixel_format": pixel_format} if pixel_format else {}))
    image = Image.open(io.BytesIO(content))
    np.testing.assert_array_equal(read(content)[1], np.asarray(image))


@pytest.mark.parametrize("kind", ["JPEG2000", "AVIF", "TGA", "DDS", "PPM"])
def test_sizes_are_checked_before_decoding(astronaut, kind):
    content = encode_image(smooth(astronaut, "RGB"), kind)
    with pytest.raises(ImageError, match="has 40x30 pixels, more than max_pixels"):
        open_picture(content, Limits(max_pixels=1199))
