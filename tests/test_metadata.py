"""Metadata, read and adjusted; Pillow's readers are the oracle."""

import io
import struct
import warnings
import zlib
from fractions import Fraction

import numpy as np
import pytest
from hostile import make_chunk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from zssr.io.exif import Exif
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.reading import open_picture

LIMITS = Limits()
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MAKER, GPS, EXIF_IFD = 0x927C, 0x8825, 0x8769
XMP = b"""<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>
<rdf:Description tiff:Orientation="6" exif:PixelXDimension='64' tiff:ImageWidth = "64" dc:title="Orientation=6">
<exif:PixelYDimension>48</exif:PixelYDimension><tiff:ImageLength> 48 </tiff:ImageLength>
<tiff:XResolution>72/1</tiff:XResolution><tiff:YResolution>96/1</tiff:YResolution>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"""


def exif_block(orientation=6, x=72.0, y=96.0):
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    exif[0x0112] = orientation
    exif[0x0100], exif[0x0101] = 64, 48
    exif[0x011A], exif[0x011B], exif[0x0128] = x, y, 2
    exif[GPS] = {1: "N", 2: (48.0, 8.0, 13.5)}
    exif[EXIF_IFD] = {0xA002: 64, 0xA003: 48, MAKER: b"notes" * 5, 0x9003: "2026:01:02 03:04:05", 0xA20E: 1000.0}
    return exif.tobytes().removeprefix(b"Exif\0\0")


def with_thumbnail(block, thumbnail=b"\xff\xd8thumbnail\xff\xd9"):
    """Hang a second directory with a thumbnail on a big-endian block."""
    block = bytearray(block)
    count = struct.unpack_from(">H", block, 8)[0]
    start = len(block)
    struct.pack_into(">I", block, 10 + 12 * count, start)
    entries = struct.pack(">HHIIHHII", 0x0201, 4, 1, start + 30, 0x0202, 4, 1, len(thumbnail))
    return bytes(block) + struct.pack(">H", 2) + entries + bytes(4) + thumbnail


def read_by_pillow(block):
    exif = Image.Exif()
    exif.load(block)
    return exif


def saved(kind, **options):
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (10, 200, 90)).save(file, kind, **options)
    return file.getvalue()


def with_chunk(png, name, data):
    return png[:33] + make_chunk(name, data) + png[33:]


def test_exif_values_are_overwritten_where_they_stand():
    block = exif_block()
    rescaled = Exif(block).rescale((2.0, 3.0), (128, 144))
    before, after = read_by_pillow(block), read_by_pillow(rescaled)
    assert after[0x0112] == 1
    assert (after[0x0100], after[0x0101]) == (144, 128)
    assert (after[0x011A], after[0x011B]) == (96 * 3, 72 * 2)  # it lay on its side: the axes change places
    inner, outer = after.get_ifd(EXIF_IFD), before.get_ifd(EXIF_IFD)
    assert (inner[0xA002], inner[0xA003]) == (144, 128)
    assert inner[MAKER] == outer[MAKER] == b"notes" * 5
    assert inner[0x9003] == outer[0x9003]
    assert after.get_ifd(GPS) == before.get_ifd(GPS)
    assert rescaled.index(b"notes") == block.index(b"notes")  # so that the offsets in it stay right


@pytest.mark.parametrize("orientation", range(1, 9))
def test_resolutions_follow_the_upright_axes(orientation):
    rescaled = read_by_pillow(Exif(exif_block(orientation)).rescale((1.5, 2.0), (10, 10)))
    across, down = (96, 72) if orientation > 4 else (72, 96)
    assert (rescaled[0x011A], rescaled[0x011B]) == (2 * across, 1.5 * down)


def test_little_endian_blocks_are_read_too():
    exif = Image.Exif()
    exif.endian = "<"
    exif[0x0112], exif[0x011A], exif[0x011B], exif[0x0128] = 3, 118.0, 118.0, 3
    block = exif.tobytes()[6:]
    assert block[:2] == b"II"
    assert Exif(block).orientation == 3
    assert Exif(block).dpi == pytest.approx((118 * 2.54, 118 * 2.54))
    assert read_by_pillow(Exif(block).rescale((2.0, 2.0), (9, 9)))[0x011A] == 236


def test_thumbnail_is_dropped():
    block = with_thumbnail(exif_block())
    assert read_by_pillow(block).get_ifd(1) is not None
    rescaled = Exif(block).rescale((2.0, 2.0), (96, 128))
    assert b"thumbnail" not in rescaled
    link = 10 + 12 * struct.unpack_from(">H", rescaled, 8)[0]
    assert rescaled[link : link + 4] == bytes(4)
    assert read_by_pillow(rescaled).get_ifd(EXIF_IFD)[MAKER] == b"notes" * 5


@pytest.mark.fuzz
@settings(deadline=None)
@given(st.data())
def test_damaged_exif_is_refused_or_adjusted_but_never_breaks(data):
    block = bytearray(with_thumbnail(exif_block()))
    for _ in range(data.draw(st.integers(0, 6))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    block = bytes(block[: data.draw(st.integers(0, len(block)))])
    try:
        exif = Exif(block)
    except ValueError:
        return
    assert exif.orientation in (None, *range(1, 9))
    assert exif.dpi is None or min(exif.dpi) > 0
    assert len(exif.rescale((2.5, 1.5), (1000, 70_000))) <= len(block)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_leaves_a_note_and_the_picture(kind):
    content = saved(kind, exif=b"Exif\0\0" + exif_block()[:40])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = open_picture(content, LIMITS)
    assert picture.metadata.exif is None
    assert picture.rows(0, 48).shape == (48, 64, 3)
    assert len(picture.notes) == 1
    assert "EXIF data are damaged" in picture.notes[0]


def test_xmp_is_corrected_in_attributes_and_elements():
    rescaled = Metadata(xmp=XMP).rescale((2.0, 3.0), (128, 144)).xmp
    expected = XMP
    for old, new in [
        (b'tiff:Orientation="6"', b'tiff:Orientation="1"'),
        (b"exif:PixelXDimension='64'", b"exif:PixelXDimension='144'"),
        (b'tiff:ImageWidth = "64"', b'tiff:ImageWidth = "144"'),
        (b">48</exif:Pixel", b">128</exif:Pixel"),
        (b"> 48 </tiff:Im", b"> 128 </tiff:Im"),
        (b"<tiff:XResolution>72/1<", b"<tiff:XResolution>288/1<"),
        (b"<tiff:YResolution>96/1<", b"<tiff:YResolution>144/1<"),
    ]:
        assert old in expected
        expected = expected.replace(old, new)
    assert rescaled == expected


def test_orientation_of_exif_comes_before_that_of_xmp():
    assert Metadata(xmp=XMP).orientation == 6
    assert Metadata(exif=exif_block(1), xmp=XMP).orientation == 1
    assert Metadata().orientation == 1


@pytest.mark.fuzz
@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_accepted_as_xmp(junk):
    metadata = Metadata(xmp=junk + b' tiff:Orientation="8" ' + junk)
    assert b'tiff:Orientation="1"' in (metadata.rescale((2.0, 2.0), (4, 4)).xmp or b"")


def test_metadata_are_read_from_png():
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "Grüße")
    info.add_text("Author", "someone", zip=True)
    info.add_itxt("Note", "漢字", zip=True)
    info.add_itxt("XML:com.adobe.xmp", XMP)
    info.add(b"gAMA", struct.pack(">I", 45455))
    content = saved("PNG", pnginfo=info, icc_profile=ICC, exif=exif_block(1), dpi=(300, 150))
    picture = open_picture(content, LIMITS)
    metadata = picture.metadata
    assert metadata.icc == ICC
    assert metadata.xmp == XMP
    assert metadata.exif == exif_block(1)
    assert metadata.dpi == pytest.approx((300, 150), rel=1e-4)
    assert metadata.texts == {"Title": "Grüße", "Author": "someone", "Note": "漢字"}
    assert metadata.colors == ((b"gAMA", struct.pack(">I", 45455)),)
    assert not picture.notes
    assert metadata.select("all") == metadata
    assert metadata.select("colors") == Metadata(icc=ICC, colors=metadata.colors)
    assert metadata.select("nothing") == Metadata()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_metadata_are_read_from_other_formats(kind):
    metadata = open_picture(saved(kind, icc_profile=ICC, exif=b"Exif\0\0" + exif_block(1), xmp=XMP), LIMITS).metadata
    assert (metadata.icc, metadata.exif, metadata.xmp) == (ICC, exif_block(1), XMP)
    assert metadata.dpi == (72, 96)  # by EXIF


def test_exif_in_hexadecimal_is_read():
    block = b"Exif\0\0" + exif_block(8)
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n"
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", text, zip=True)
    picture = open_picture(saved("PNG", pnginfo=info), LIMITS)
    assert picture.metadata.exif == exif_block(8)
    assert picture.metadata.texts == {}
    assert picture.size == (64, 48)


def test_resolution_follows_orientation_and_scale():
    picture = open_picture(saved("JPEG", dpi=(100, 200), exif=b"Exif\0\0" + exif_block(6)), LIMITS)
    assert picture.metadata.dpi == (200, 100)
    assert picture.metadata.rescale((2.0, 3.0), (128, 144)).dpi == (600, 200)


@pytest.mark.parametrize("dpi", [(0, 0), (0, 72)])
def test_resolutions_of_zero_are_none(dpi):
    assert open_picture(saved("JPEG", dpi=dpi), LIMITS).metadata.dpi is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9)),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(100_000_000), 9)),
        (b"iCCP", b"bomb\0\0" + zlib.compress(bytes(100_000_000), 9)),
        (b"zTXt", b"Comment\0\0not deflated"),
        (b"iCCP", b"short\0\0" + zlib.compress(ICC)[:50]),
        (b"pHYs", b"short"),
    ],
    ids=["text bomb", "other text bomb", "profile bomb", "text not deflated", "profile cut short", "short numbers"],
)
def test_damaged_or_too_large_chunks_leave_a_note(name, data):
    picture = open_picture(with_chunk(saved("PNG"), name, data), LIMITS)
    assert len(picture.notes) == 1
    assert "damaged or too large and left out" in picture.notes[0]
    assert picture.metadata == Metadata()
    assert (picture.rows(0, 48) == [10, 200, 90]).all()


def test_profiles_beyond_a_megabyte_are_read():
    profile = np.random.default_rng(0).bytes(3_000_000)
    assert open_picture(saved("PNG", icc_profile=profile), LIMITS).metadata.icc == profile


def test_scales_that_are_no_decimal_fractions_stay_near():
    rescaled = Exif(exif_block(1)).rescale((4 / 3, 4 / 3), (64, 85))
    assert float(read_by_pillow(rescaled)[0x011A]) == pytest.approx(float(Fraction(96)))
