"""Bits, profiles, and numbers of colors (CICP) in AVIF, HEIC, JPEG XL and PNG; the codecs are the oracles."""

import io
import os
import struct
import subprocess
import sys

import imagecodecs
import numpy as np
import OpenImageIO
import pillow_heif
import pytest
from hostile import encode_image
from PIL import Image, ImageCms

from zssr import Config, FilePage, ImageError, Upscaler
from zssr.io.codestreams import make_box
from zssr.io.formats import AVIF, HEIC, JPEGXL
from zssr.io.frames import count_frames
from zssr.io.limits import Limits, SafetyLimits
from zssr.io.metadata import Metadata
from zssr.io.output_format import OutputFormat
from zssr.io.picture import PixelFormat
from zssr.io.reading import count_pages, open_picture
from zssr.io.writing import write_picture

RNG = np.random.default_rng(0)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
D65, P3 = (0.3127, 0.3290, 1.0), (0.68, 0.32, 1.0, 0.265, 0.69, 1.0, 0.15, 0.06, 1.0)
WIDE = bytes(imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=P3, gamma=2.2))
GRAY = bytes(imagecodecs.cms_profile("gray", whitepoint=D65, gamma=1.8))
EXIF = Image.Exif()
EXIF[0x010F] = "A maker"
AROUND = Metadata(exif=EXIF.tobytes().removeprefix(b"Exif\0\0"), xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
PQ, HLG, DISPLAY_P3, LINEAR, BT709 = (9, 16), (9, 18), (12, 13), (1, 8), (1, 1)
CHANNELS = {1: ("gray", None), 2: ("gray", "straight"), 3: ("rgb", None), 4: ("rgb", "straight")}


def format_of(channels, bits=8):
    colors, alpha = CHANNELS[channels]
    dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
    return PixelFormat(colors, channels, dtype, alpha, bits=bits if bits in (10, 12) else None)


def draw(pixel_format):
    down, across = np.mgrid[:20, :30] / 30
    values = np.stack([across, down, 1 - across, 1 - down / 2], -1)[..., : pixel_format.channels]
    if pixel_format.channels == 2:
        values[..., 1] = 1 - down / 2
    return (values * np.iinfo(pixel_format.dtype).max).round().astype(pixel_format.dtype)


def write(suffix, pixel_format, metadata=AROUND, quality=None, **options):
    pixels, file = draw(pixel_format), io.BytesIO()
    target = OutputFormat.choose(suffix, pixel_format, pixels.shape[:2], quality=quality, **options)
    write_picture(file, target, [pixels], pixels.shape[:2], metadata)
    return file.getvalue(), target.note_losses(metadata)


def read(content):
    with open_picture(content, Limits(), "photo") as picture:
        return picture, picture.rows(0, picture.size[0])


def numbers_of_avif(content):
    """Primaries, transfer, matrix and range, as the box says that libavif wrote."""
    at = content.index(b"colrnclx") + 8
    return struct.unpack(">HHHB", content[at : at + 7])


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("around", [Metadata(), AROUND, Metadata(icc=WIDE, xmp=AROUND.xmp)])
def test_avif_is_written_with_its_bits_and_what_is_around(bits, channels, around):
    content, notes = write(".avif", format_of(channels, bits), around, quality=100)
    picture, pixels = read(content)
    assert (picture.pixel_format, picture.notes, notes) == (format_of(channels, bits), [], [])
    meant = draw(format_of(channels, bits))
    both = [(values / np.iinfo(values.dtype).max * (2**bits - 1)).round() for values in (pixels, meant)]
    np.testing.assert_array_equal(*both)
    assert (picture.metadata.icc, picture.metadata.xmp) == (around.icc, around.xmp)
    assert around.exif is None or b"A maker" in picture.metadata.exif
    by_pillow = Image.open(io.BytesIO(content))
    by_pillow.load()
    assert by_pillow.info.get("icc_profile") == around.icc
    assert imagecodecs.avif_decode(content).dtype == meant.dtype


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_lossy_avif_is_near(bits):
    pixels = read(write(".avif", format_of(3, bits))[0])[1]
    assert np.abs(pixels / np.iinfo(pixels.dtype).max - draw(format_of(3, 8)) / 255).mean() < 0.01


@pytest.mark.parametrize("channels", [3, 4])
def test_a_lossless_avif_stays_lossless(channels):
    first, _ = write(".avif", format_of(channels), quality=100)
    with open_picture(first, Limits()) as picture:
        assert OutputFormat.choose(
            ".avif", picture.pixel_format, (9, 9), stays_lossless=picture.is_lossless
        ).is_lossless
    with open_picture(write(".avif", format_of(channels), quality=99)[0], Limits()) as picture:
        assert not picture.is_lossless


def test_sixteen_bits_in_avif_are_refused_or_become_twelve():
    with pytest.raises(ImageError, match="AVIF cannot hold the photo's 16 bits"):
        write(".avif", format_of(3, 16))
    picture, pixels = read(write(".avif", format_of(3, 16), quality=100, allow_loss=True)[0])
    assert picture.pixel_format.bits == 12
    assert np.abs(pixels.astype(int) - draw(format_of(3, 16))).max() <= 9


@pytest.mark.parametrize("numbers", [PQ, HLG, DISPLAY_P3, LINEAR, BT709])
@pytest.mark.parametrize(("suffix", "bits"), [(".avif", 10), (".png", 16), (".jxl", 16), (".jxl", 8), (".avif", 8)])
def test_numbers_of_colors_stay_where_a_format_has_them(numbers, suffix, bits):
    content, notes = write(suffix, format_of(3, bits), AROUND.with_cicp(*numbers))
    picture, _ = read(content)
    assert picture.metadata.cicp == numbers
    assert (notes, picture.notes) == ([], [])
    if suffix == ".avif":
        assert numbers_of_avif(content) == (*numbers, 9 if numbers[0] == 9 else 6, 128)
    elif suffix == ".png":
        assert content[content.index(b"cICP") + 4 :][:4] == bytes([*numbers, 0, 1])


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".jp2", ".bmp"])
def test_other_formats_tell_that_the_numbers_are_left_out(suffix):
    _, notes = write(suffix, format_of(3), AROUND.with_cicp(*PQ))
    (note,) = notes
    assert note.startswith("its color space (CICP (9, 16)) is left out, as ")
    assert write(suffix, format_of(3), AROUND.with_cicp(1, 13))[1] == []
    assert write(suffix, format_of(3), AROUND.with_cicp(2, 2))[1] == []


def test_images_tell_that_the_numbers_are_left_out():
    content, _ = write(".avif", format_of(3, 10), Metadata().with_cicp(*PQ))
    result = Upscaler(Config(num_epochs=1)).run(content)
    assert "its color space (CICP (9, 16)) is left out; run_file keeps it" in result.warnings


def test_a_profile_comes_before_numbers():
    around = Metadata(icc=WIDE).with_cicp(*PQ)
    content, notes = write(".jpg", format_of(3), around)
    assert notes == []
    assert read(content)[0].metadata.icc == WIDE


@pytest.mark.parametrize("numbers", [PQ, DISPLAY_P3, (1, 13)])
def test_numbers_of_heic_go_to_png(numbers):
    file = io.BytesIO()
    options = {"color_primaries": numbers[0], "transfer_characteristics": numbers[1]}
    pillow_heif.from_pillow(Image.fromarray(draw(format_of(3))).resize((64, 64))).save(file, quality=90, **options)
    picture, _ = read(file.getvalue())
    assert picture.metadata.cicp == (None if numbers == (1, 13) else numbers)


@pytest.mark.parametrize("numbers", [(9, 16), (11, 17), (1, 8)])
def test_numbers_of_jpeg_xl_are_those_that_openimageio_reads(numbers, tmp_path):
    path = tmp_path / "a.jxl"
    path.write_bytes(write(".jxl", format_of(3, 16), Metadata().with_cicp(*numbers))[0])
    file = OpenImageIO.ImageInput.open(str(path))
    assert tuple(file.spec().getattribute("CICP"))[:2] == numbers
    file.close()


@pytest.mark.parametrize(("channels", "icc"), [(3, WIDE), (4, WIDE), (3, SRGB), (1, GRAY)])
@pytest.mark.parametrize("bits", [8, 16])
def test_jpeg_xl_keeps_its_profile(channels, icc, bits):
    content, notes = write(".jxl", format_of(channels, bits), Metadata(icc, AROUND.exif, AROUND.xmp))
    picture, pixels = read(content)
    assert (notes, picture.notes) == ([], [])
    assert picture.metadata.icc == icc
    assert (picture.metadata.exif, picture.metadata.xmp) == (AROUND.exif, AROUND.xmp)
    assert picture.is_lossless
    np.testing.assert_array_equal(pixels, draw(format_of(channels, bits)))


@pytest.mark.parametrize(("channels", "icc"), [(1, WIDE), (3, GRAY), (2, GRAY), (3, b"no profile")])
def test_a_profile_that_does_not_fit_is_left_out_and_told_before_the_work(channels, icc):
    content, notes = write(".jxl", format_of(channels), Metadata(icc=icc))
    assert notes == ["its color profile is left out, as JPEG XL files are written without one"]
    np.testing.assert_array_equal(read(content)[1], draw(format_of(channels)))


def test_a_lossy_jpeg_xl_has_the_profile_of_its_pixels():
    content, _ = write(".jxl", format_of(3, 16), Metadata(icc=WIDE), quality=90)
    picture, pixels = read(content)
    found = ImageCms.ImageCmsProfile(io.BytesIO(picture.metadata.icc))
    shown = Image.fromarray((pixels >> 8).astype(np.uint8))
    meant = Image.fromarray(draw(format_of(3)))
    srgb = ImageCms.createProfile("sRGB")
    there, wanted = (
        np.asarray(ImageCms.profileToProfile(image, profile, srgb)).astype(int)
        for image, profile in ((shown, found), (meant, ImageCms.ImageCmsProfile(io.BytesIO(WIDE))))
    )
    assert np.abs(there - wanted).mean() < 3


def test_jpeg_xl_without_the_extra_says_what_would_help():
    content, _ = write(".jxl", format_of(3, 8), Metadata(icc=WIDE))
    code = """if True:
        import sys
        sys.modules["OpenImageIO"] = None
        import numpy as np
        from zssr.errors import ImageError
        from zssr.io.limits import Limits, SafetyLimits
        from zssr.io.metadata import Metadata
        from zssr.io.output_format import OutputFormat
        from zssr.io.picture import PixelFormat
        from zssr.io.reading import open_picture
        print(open_picture(sys.stdin.buffer.read(), Limits()).notes)
        try:
            OutputFormat.choose(".jxl", PixelFormat("rgb", 3, np.dtype(np.uint16)), (9, 9))
        except ImageError as error:
            print(error)
        target = OutputFormat.choose(".jxl", PixelFormat("rgb", 3, np.dtype(np.uint8)), (9, 9))
        print(target.note_losses(Metadata(b"a")))
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], input=content, capture_output=True, check=False, env=environment
    )
    assert done.stderr == b""
    first, second, third = done.stdout.decode().splitlines()
    assert "which pip install 'zssr[jxl]' would read" in first
    assert "JPEG XL cannot hold the photo's 16 bits (pip install 'zssr[jxl]' changes that); .png" in second
    assert "its color profile is left out, as JPEG XL files are written without one (pip install" in third


@pytest.mark.parametrize("shape", [(3, 20, 30, 3), (9, 16, 16, 4), (2, 8, 8, 1), (17, 5, 4, 3)])
@pytest.mark.parametrize("blank", [None, 0, 1])
def test_each_frame_of_jpeg_xl_is_a_page(shape, blank, tmp_path):
    frames = RNG.integers(0, 256, shape).astype(np.uint8)
    if blank is not None:
        frames[-1] = blank  # like what the decoder is given to fill
    content = bytes(imagecodecs.jpegxl_encode(frames, lossless=True))
    path = tmp_path / "a.jxl"
    path.write_bytes(content)
    assert count_pages(path, Limits()) == len(frames)
    for k in (0, 1, len(frames) - 1):
        picture, pixels = read(FilePage(content, k + 1))
        np.testing.assert_array_equal(pixels, frames[k].reshape(pixels.shape))
        assert picture.notes == []  # it was asked for
    assert read(content)[0].notes == ["it is an animation, of which only the first frame is taken"]
    with pytest.raises(ImageError, match=f"has no page {len(frames) + 1}$"):
        read(FilePage(content, len(frames) + 1))


def test_animations_of_too_many_frames_are_not_counted(monkeypatch, tmp_path):
    content = bytes(imagecodecs.jpegxl_encode(RNG.integers(0, 256, (9, 8, 8, 3)).astype(np.uint8), lossless=True))
    path = tmp_path / "a.jxl"
    path.write_bytes(content)
    monkeypatch.setattr("zssr.io.jpegxl_files.SAFETY", SafetyLimits(jpegxl_frames=8))
    with pytest.raises(ImageError, match="more than 8 frames"):
        count_pages(path, Limits())
    assert read(FilePage(content, 9))[0].size == (8, 8)


def test_each_picture_of_heic_is_a_page_and_the_main_one_the_first(tmp_path):
    file, stream = pillow_heif.HeifFile(), io.BytesIO()
    for level in (0, 80, 160):
        file.add_from_pillow(Image.new("L", (64, 64), level))
    file.save(stream, quality=90, primary_index=1)
    content = stream.getvalue()
    assert count_frames(content, HEIC) == 3
    levels = [read(FilePage(content, k))[1].mean() for k in (1, 2, 3)]
    assert levels == pytest.approx([80, 0, 160], abs=3)
    assert read(content)[0].notes == ["it holds more pictures, of which only the main one is taken"]
    with pytest.raises(ImageError, match=r"has no page 4$"):
        read(FilePage(content, 4))


def test_films_in_heic_are_told():
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 64))).save(stream)
    assert read(stream.getvalue())[0].notes == []
    film = make_box(b"mpvd", make_box(b"ftyp", b"mp42" + bytes(12)) + bytes(99))
    assert read(stream.getvalue() + film)[0].notes == ["it holds a film, too (a motion photo), which is left out"]


def test_gain_maps_of_heic_are_told(monkeypatch):
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 64))).save(stream)
    file = pillow_heif.open_heif(io.BytesIO(stream.getvalue()))
    file[0].info["aux"] = {"urn:com:apple:photo:2020:aux:hdrgainmap": [2]}
    monkeypatch.setattr(pillow_heif, "open_heif", lambda *_, **__: file)
    assert read(stream.getvalue())[0].notes == ["its HDR gain map is left out; that of a JPEG would be kept"]


@pytest.mark.parametrize("suffix", [".avif", ".jxl"])
def test_gain_maps_of_other_formats_are_told(suffix):
    content, _ = write(suffix, format_of(3))
    assert read(content)[0].notes == []
    if suffix == ".jxl":
        content += make_box(b"jhgm", b"whatever")
    else:
        at = content.index(b"application/rdf+xml") - 8  # the item of XMP becomes one of another kind
        content = content[:at] + b"tmap" + content[at + 4 :]
    assert read(content)[0].notes == ["its HDR gain map is left out; that of a JPEG would be kept"]


def deep_animation():
    """An animation that says that it has 10 bits, by the box that libavif wrote for a still picture of as many."""
    frames = [Image.new("RGB", (32, 24), (k * 60, 90, 20)) for k in range(3)]
    content = encode_image(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    at = content.index(b"av1C") + 6
    return content[:at] + bytes([content[at] | 0x40]) + content[at + 1 :]


@pytest.mark.parametrize("page", [1, 2, 3])
def test_deep_animations_of_avif_never_reach_imagecodecs(monkeypatch, page):
    def fail(*_, **__):
        raise AssertionError("it breaks its memory")

    monkeypatch.setattr(imagecodecs, "avif_decode", fail)
    picture, pixels = read(FilePage(deep_animation(), page))
    assert picture.pixel_format == format_of(3)
    assert "its 10 bits are read as 8, as those of all animations in AVIF are" in picture.notes
    assert abs(pixels[..., 0].mean() - 60 * (page - 1)) < 3


def test_formats_say_what_they_hold():
    assert [one.has_cicp for one in (AVIF, JPEGXL, HEIC)] == [True, True, False]
