"""Opening picture files: pixel formats, upright pixels, damage; Pillow and imagecodecs are the oracles."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from hostile import encode_image, make_chunk, make_png, make_segment
from PIL import Image, ImageOps

from zssr.errors import ImageError
from zssr.io.formats import (
    FORMATS,
    READABLE_SUFFIXES,
    START_BYTES,
    WRITABLE_SUFFIXES,
    detect_format,
    find_format,
    output_suffix,
    writable_suffix,
)
from zssr.io.headers import check_jpeg, jpeg_size
from zssr.io.limits import Limits
from zssr.io.orientation import apply_orientation
from zssr.io.reading import open_picture

LIMITS = Limits()
SIDE = struct.pack(">H", 9_000)
FRAME = b"\xff\xc0\0\x11\x08" + SIDE + SIDE + b"\3\1\x11\0\2\x11\0\3\x11\0"  # of a JPEG file, 9000x9000
PNG_START = 33  # signature and header


def with_chunks(png, *chunks):
    return png[:PNG_START] + b"".join(chunks) + png[PNG_START:]


def header_only(width, height):
    return make_png(width, height, make_chunk(b"IDAT", zlib.compress(b"")))


def pixels_of(content, **options):
    with open_picture(content, LIMITS, **options) as picture:
        return picture.rows(0, picture.size[0])


def pillow_pixels(image, mode):
    return np.asarray(image.convert(mode)).reshape(image.height, image.width, -1)


@pytest.fixture
def photo_image(astronaut):
    return Image.fromarray(astronaut)


@pytest.mark.parametrize(
    ("kind", "mode", "options", "colors", "channels", "pillow_mode"),
    [
        ("PNG", "1", {}, "gray", 1, "L"),
        ("PNG", "L", {}, "gray", 1, "L"),
        ("PNG", "L", {"bits": 4}, "gray", 1, "L"),
        ("PNG", "L", {"transparency": 40}, "gray", 2, "LA"),
        ("PNG", "LA", {}, "gray", 2, "LA"),
        ("PNG", "P", {}, "rgb", 3, "RGB"),
        ("PNG", "P", {"bits": 1}, "rgb", 3, "RGB"),
        ("PNG", "P", {"transparency": 17}, "rgb", 4, "RGBA"),
        ("PNG", "P", {"transparency": bytes(range(0, 250, 10))}, "rgb", 4, "RGBA"),
        ("PNG", "RGB", {}, "rgb", 3, "RGB"),
        ("PNG", "RGBA", {}, "rgb", 4, "RGBA"),
        ("JPEG", "L", {}, "gray", 1, "L"),
        ("JPEG", "RGB", {}, "rgb", 3, "RGB"),
        ("JPEG", "RGB", {"progressive": True}, "rgb", 3, "RGB"),
        ("JPEG", "CMYK", {}, "cmyk", 4, "CMYK"),
        ("WEBP", "RGB", {}, "rgb", 3, "RGB"),
        ("WEBP", "RGB", {"lossless": True}, "rgb", 3, "RGB"),
        ("WEBP", "RGBA", {}, "rgb", 4, "RGBA"),
        ("BMP", "1", {}, "gray", 1, "L"),
        ("BMP", "L", {}, "gray", 1, "L"),
        ("BMP", "P", {}, "rgb", 3, "RGB"),
        ("BMP", "RGB", {}, "rgb", 3, "RGB"),
        ("GIF", "P", {}, "rgb", 3, "RGB"),
        ("GIF", "L", {"optimize": False}, "gray", 1, "L"),
        ("GIF", "P", {"transparency": 17}, "rgb", 4, "RGBA"),
    ],
)
def test_pixels_equal_those_of_pillow(photo_image, kind, mode, options, colors, channels, pillow_mode):
    if mode == "RGBA":
        photo_image.putalpha(photo_image.convert("L").point(lambda level: 3 * level))
    content = encode_image(photo_image.convert(mode), kind, **options)
    with open_picture(content, LIMITS) as picture:
        pixel_format = picture.pixel_format
        assert (pixel_format.colors, pixel_format.channels, pixel_format.dtype) == (colors, channels, np.uint8)
        assert pixel_format.alpha == ("straight" if channels in (2, 4) and colors != "cmyk" else None)
        assert pixel_format.bilevel == (mode == "1")
        assert picture.size == (48, 64)
        assert not picture.notes
        got = np.concatenate([picture.rows(0, 20), picture.rows(20, 48)])
    np.testing.assert_array_equal(got, pillow_pixels(Image.open(io.BytesIO(content)), pillow_mode))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_read_as_sixteen(channels):
    pixels = np.random.default_rng(0).integers(0, 2**16, (9, 11, channels)).astype(np.uint16)
    content = imagecodecs.png_encode(pixels.squeeze(-1) if channels == 1 else pixels)
    with open_picture(content, LIMITS) as picture:
        assert picture.pixel_format.dtype == np.uint16
        assert picture.pixel_format.alpha == ("straight" if channels in (2, 4) else None)
        np.testing.assert_array_equal(picture.rows(0, 9), pixels)


def test_transparent_color_of_sixteen_bits_becomes_an_opacity():
    pixels = np.arange(0, 4000, 100, dtype=np.uint16).reshape(5, 8)
    content = with_chunks(imagecodecs.png_encode(pixels), make_chunk(b"tRNS", struct.pack(">H", 1000)))
    got = pixels_of(content)
    np.testing.assert_array_equal(got[..., 0], pixels)
    np.testing.assert_array_equal(got[..., 1], np.where(pixels == 1000, 0, 65535))


def test_rows_are_a_copy(photo_image):
    with open_picture(encode_image(photo_image, "PNG"), LIMITS) as picture:
        first = picture.rows(0, 48)
        first[:] = 0
        assert picture.rows(0, 48).max() > 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_come_upright(photo_image, kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode_image(photo_image.crop((0, 0, 48, 32)), kind, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    with open_picture(content, LIMITS) as picture:
        assert picture.size == expected.shape[:2]
        np.testing.assert_array_equal(picture.rows(0, picture.size[0]), expected)


def test_apply_orientation_returns_a_view():
    pixels = np.arange(24).reshape(2, 4, 3)
    assert all(np.shares_memory(apply_orientation(pixels, orientation), pixels) for orientation in range(1, 9))


def test_jpeg_tables_are_known(photo_image):
    with open_picture(encode_image(photo_image, "JPEG", quality=70), LIMITS) as picture:
        assert picture.jpeg is not None
        assert str(picture.jpeg) == "q70 4:2:0"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animation_gives_its_first_frame_and_a_note(photo_image, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    still = photo_image.convert("P") if kind == "GIF" else photo_image
    content = encode_image(still, kind, save_all=True, append_images=[ImageOps.invert(photo_image)], **options)
    with open_picture(content, LIMITS) as picture:
        assert len(picture.notes) == 1
        assert "only the first frame" in picture.notes[0]
        np.testing.assert_array_equal(picture.rows(0, 48), pillow_pixels(still, "RGB"))


def test_format_is_detected_from_the_content_and_not_the_name(photo_image, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode_image(photo_image, "PNG"))
    with open_picture(path, LIMITS) as picture:
        assert picture.name == str(path)
        np.testing.assert_array_equal(picture.rows(0, 48), np.asarray(photo_image))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html></html>", "is not a PNG, .* picture; it seems to be text"),
        (bytes(1000), "is not a PNG, JPEG, WebP, .* or TIFF picture"),
        (header_only(60_000, 60_000), "has 60000x60000 pixels, more than max_pixels = 100000000"),
        (header_only(9_000, 9_000), "too few bytes for its pixels"),
        (header_only(0, 9), "damaged or incomplete"),
        (b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + bytes(9), "has 60000x60000 pixels"),
        (b"\xff\xd8" + FRAME.replace(SIDE, b"\xea\x60") + b"\xff\xda\0\x02", "has 60000x60000 pixels"),
        (b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\x3f\0" * 2, "has 16384x16384 pixels"),
        (b"\xff\xd8" + FRAME + b"\xff\xda\0\x02", "too few bytes for its pixels"),
        (b"GIF89a" + struct.pack("<HH", 9_000, 9_000) + bytes(9), "too few bytes for its pixels"),
        (b"BM" + bytes(60), "damaged or incomplete"),
    ],
)
def test_other_files_are_refused_in_one_sentence(content, sentence, tmp_path):
    path = tmp_path / "it.png"
    path.write_bytes(content)
    for source, name in ((content, "stdin"), (path, str(path))):
        with (
            pytest.raises(ImageError, match=f"^{name}: (?s:.*)({sentence})") as caught,
            open_picture(source, LIMITS, None if source is path else name) as picture,
        ):
            picture.rows(0, 1)
        assert "\n" not in str(caught.value)


def test_paths_without_a_file_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"absent\.png: no such file"):
        open_picture(tmp_path / "absent.png", LIMITS)
    with pytest.raises(ImageError, match="is a folder, not a picture"):
        open_picture(tmp_path, LIMITS)
    with pytest.raises(ImageError, match="cannot be read"):
        open_picture(tmp_path / ("x" * 300), LIMITS)


def test_limits_are_inclusive(photo_image):
    content = encode_image(photo_image, "PNG")
    exact = Limits(max_MB=len(content) / 1e6, max_pixels=48 * 64)
    open_picture(content, exact)
    with pytest.raises(ImageError, match="has 64x48 pixels, more than max_pixels = 3071"):
        open_picture(content, Limits(max_pixels=48 * 64 - 1))
    with pytest.raises(ImageError, match="MB, more than max_MB"):
        open_picture(content, Limits(max_MB=exact.max_MB / 2))


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_damaged_files_raise_nothing_but_image_error(photo_image, kind):
    whole = encode_image(photo_image.convert("P") if kind == "GIF" else photo_image, kind)
    random = np.random.default_rng(5)
    damaged = [whole[: round(len(whole) * part)] for part in (0.01, 0.1, 0.3, 0.6, 0.9)]
    for _ in range(60):
        flipped = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            flipped[place] ^= 1 << int(random.integers(8))
        damaged.append(bytes(flipped))
    refused = 0
    for content in damaged:
        try:
            pixels_of(content, name="it")
        except ImageError as error:
            refused += 1
            assert str(error).startswith("it: ")
    assert refused >= 3


def test_a_second_header_does_not_slip_past_the_limits(photo_image):
    png = encode_image(photo_image, "PNG")
    content = with_chunks(png, make_chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)))
    np.testing.assert_array_equal(pixels_of(content), np.asarray(photo_image))


def test_pillows_own_limit_neither_warns_nor_refuses(monkeypatch, photo_image):
    contents = [encode_image(photo_image, kind) for kind in ("PNG", "JPEG", "BMP", "GIF")]
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        assert all(pixels_of(content).shape == (48, 64, 3) for content in contents)


@pytest.mark.parametrize("suffix", READABLE_SUFFIXES)
def test_formats_are_detected_from_the_first_bytes(photo_image, suffix):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    file_format = find_format(suffix.upper())
    if file_format.name == "JPEG XL":
        content = imagecodecs.jpegxl_encode(np.asarray(photo_image), usecontainer=False)
    else:
        kind = {"JPEG 2000": "JPEG2000", "HEIC": "HEIF", "PNM": "PPM"}.get(file_format.name, file_format.name.upper())
        content = encode_image(photo_image, kind)
    assert detect_format(content[:START_BYTES]) is file_format
    is_written = suffix in WRITABLE_SUFFIXES
    assert output_suffix(content) == (file_format.suffixes[0] if is_written else ".png")
    assert writable_suffix(suffix.upper()) == (suffix if is_written else ".png")


def test_other_beginnings_are_no_format():
    for start in (b"", b"RIFF\x10\0\0\0WAVE", b"II", b"\xff\xd8", b"GIF88a", b" \x89PNG\r\n\x1a\n"):
        assert detect_format(start) is None
    assert detect_format(b"RIFF\n\n\n\nWEBP") is find_format(".webp")
    assert output_suffix(b"<html>") == writable_suffix(".xyz") == ".png"


def test_names_and_suffixes_of_formats_are_unique():
    assert len(set(READABLE_SUFFIXES)) == len(READABLE_SUFFIXES)
    assert len({one.name.upper() for one in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"\xff\xd8\xff\xc0" * 9, "quality": 3}])
def test_jpeg_headers_are_followed(photo_image, options):
    content = encode_image(photo_image, "JPEG", **options)
    check_jpeg(content)
    assert jpeg_size(content) == (48, 64)
    padded = content[:2] + b"\xff\xff\xff\0\1" + b"\xff\xd1junk" + content[2:]
    check_jpeg(padded)
    assert jpeg_size(padded) == (48, 64)


def test_jpeg_headers_without_a_picture_are_refused():
    frame, scan = FRAME, make_segment(0xDA, b"")
    for content in (b"", b"\xff\xd8", b"\xff\xd8" + frame, b"\xff\xd8\xff\xd9" + frame + scan, b"\xff" * 2**20):
        with pytest.raises(ValueError, match="no picture after its header"):
            check_jpeg(content)
    assert jpeg_size(b"\xff" * 2**20) is None
    assert jpeg_size(b"\xff\xd8" + scan + frame) is None
    assert jpeg_size(b"\xff\xd8" + frame + scan) == (9000, 9000)


def test_jpeg_of_too_many_scans_is_refused():
    scan = make_segment(0xDA, b"") + b"pixels\xff\0\xff\xd0pixels"
    check_jpeg(b"\xff\xd8" + FRAME + 64 * scan)
    with pytest.raises(ValueError, match="more than 64 scans"):
        check_jpeg(b"\xff\xd8" + FRAME + 65 * scan)
