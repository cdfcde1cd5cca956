"""HDR gain maps of JPEG files: libultrahdr, Pillow's reader of the index, and Python's XML reader are the oracles."""

import io
import struct
import xml.etree.ElementTree as ElementTree

import imagecodecs
import numpy as np
import pytest
from hostile import encode_image, make_exif, make_segment
from PIL import Image, ImageOps
from PIL.MpoImagePlugin import MpoImageFile

from zssr import Config, Upscaler, upscale
from zssr.io.limits import Limits
from zssr.io.output_format import OutputFormat
from zssr.io.reading import open_picture
from zssr.io.writing import write_picture

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
ADOBE, APPLE = "http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.apple.com/HDRGainMap/1.0/"
CONTAINER, ITEM = "http://ns.google.com/photos/1.0/container/", "http://ns.google.com/photos/1.0/container/item/"
MAP_XMP = f'hdrgm:Version="1.0" hdrgm:GainMapMax="2" hdrgm:HDRCapacityMax="2" xmlns:hdrgm="{ADOBE}"'
APPLE_XMP = f'H:HDRGainMapVersion="65536" xmlns:H="{APPLE}"'
SIZE = (48, 64)


def packet(attributes="", inner=""):
    start = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" {attributes}>'
    )
    return f"{start}{inner}</rdf:Description></rdf:RDF></x:xmpmeta>".encode()


def directory_xmp(length, attributes="", more=""):
    """The XMP of a photo with a gain map, as cameras write it."""
    items = (
        f'<C:Item I:Semantic="Primary" I:Mime="image/jpeg"/><C:Item I:Semantic="GainMap" I:Length="{length}"/>{more}'
    )
    items = items.replace("<C:Item", '<rdf:li rdf:parseType="Resource"><C:Item').replace("/>", "/></rdf:li>")
    inner = f"<C:Directory><rdf:Seq>{items}</rdf:Seq></C:Directory>"
    spaces = f'xmlns:C="{CONTAINER}" xmlns:I="{ITEM}" xmlns:hdrgm="{ADOBE}" hdrgm:Version="1.0"'
    return packet(f"{spaces} {attributes}", inner)


def draw_photo():
    down, across = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([down * 5, across * 3, np.full(SIZE, 60)], -1).astype(np.uint8)


def draw_map(factor=2, mode="L"):
    """A gain map that grows from the upper left to the lower right corner."""
    down, across = np.mgrid[: SIZE[0] // factor, : SIZE[1] // factor]
    return Image.fromarray(((down * 3 + across * 2) * factor // 2).astype(np.uint8)).convert(mode)


def make_ultra_hdr(photo=None, gain_map=None, xmp=MAP_XMP, options=None, attributes="", tail=b""):
    """A JPEG file with a gain map behind it, which XMP alone tells of: without an index."""
    encoded = encode_image(gain_map or draw_map(), "JPEG", xmp=packet(xmp), quality=95)
    said = directory_xmp(len(encoded), attributes) if ADOBE in xmp else packet(attributes)
    photo = Image.fromarray(draw_photo()) if photo is None else photo
    return encode_image(photo, "JPEG", xmp=said, quality=95, **(options or {})) + encoded + tail


def make_iso():
    """A JPEG file of libultrahdr's, which has ISO 21496-1 and an index but no XMP."""
    down, across = np.mgrid[: SIZE[0], : SIZE[1]] / SIZE[1]
    light = np.stack([down * 4, across * 4, 0.3 + 0 * down, 1 + 0 * down], -1).astype(np.float16)
    kinds = imagecodecs.ULTRAHDR
    return bytes(imagecodecs.ultrahdr_encode(light, transfer=kinds.CT.LINEAR, gamut=kinds.CG.BT_709, scale=4))


def enlarge(content, suffix=".jpg", keep="all", quality=None):
    """Read a file and write it at twice its size, without a network; return the content and the notes."""
    with open_picture(content, Limits()) as picture:
        rows = picture.rows(0, picture.size[0]).repeat(2, 0).repeat(2, 1)
        size = rows.shape[:2]
        target = OutputFormat.choose(suffix, picture.pixel_format, size, quality=quality)
        kept = picture.metadata.select(keep)
        file = io.BytesIO()
        write_picture(file, target, [rows], size, kept.rescale((2.0, 2.0), size))
        return file.getvalue(), [*picture.notes, *target.note_losses(kept)]


def read_index(content):
    """Return offset and size of each picture that the index (CIPA DC-007) tells of."""
    header = content.index(b"MPF\0") + 4
    assert content[header : header + 8] == b"MM\0*\0\0\0\x08"
    (count,) = struct.unpack_from(">H", content, header + 8)
    tags = {}
    for k in range(count):
        code, _, length, value = struct.unpack_from(">HHII", content, header + 10 + 12 * k)
        tags[code] = length, value
    length, place = tags[0xB002]
    entries = [struct.unpack_from(">III", content, header + place + k) for k in range(0, length, 16)]
    assert tags[0xB001][1] == len(entries)
    return [(offset and header + offset, size) for _, size, offset in entries]


def read_items(content):
    """Return the semantics and the length of each item of the directory in a photo's XMP."""
    xmp = ElementTree.fromstring(Image.open(io.BytesIO(content)).info["xmp"])  # noqa: S314
    assert any(f"{{{ADOBE}}}Version" in each.attrib for each in xmp.iter())
    items = [each.attrib for each in xmp.iter(f"{{{CONTAINER}}}Item")]
    return [(item[f"{{{ITEM}}}Semantic"], int(item.get(f"{{{ITEM}}}Length", 0))) for item in items]


def read_map(content):
    """Return the gain map where the index says that it is; it reaches to the end of the file."""
    (_, size), (offset, length) = read_index(content)
    assert size == offset
    assert offset + length == len(content)
    assert content[size - 2 : size + 2] == b"\xff\xd9\xff\xd8"
    image = MpoImageFile(io.BytesIO(content))
    assert image.n_frames == 2
    image.seek(1)
    other = Image.open(io.BytesIO(content[offset:]))
    assert image.size == other.size
    return other


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_ultra_hdr_keeps_its_gain_map_enlarged(mode, factor):
    content = make_ultra_hdr(gain_map=draw_map(factor, mode))
    large, notes = enlarge(content)
    assert notes == []
    found = read_map(large)
    assert found.mode == mode
    assert found.size == (2 * (SIZE[1] // factor), 2 * (SIZE[0] // factor))
    assert found.info["xmp"] == packet(MAP_XMP)
    wanted = draw_map(factor, mode).resize(found.size, Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(wanted)).mean() < 2
    (_, _), (offset, length) = read_index(large)
    assert read_items(large) == [("Primary", 0), ("GainMap", length)]
    assert length == len(large) - offset


@pytest.mark.parametrize("make", [make_iso, make_ultra_hdr])
def test_libultrahdr_sees_the_same_light(make):
    content = make()
    before = imagecodecs.ultrahdr_decode(content).astype(np.float32)
    large, _ = enlarge(content)
    after = imagecodecs.ultrahdr_decode(large).astype(np.float32)
    assert before[..., :3].max() > 1.5  # brighter than white
    assert after.shape == (2 * SIZE[0], 2 * SIZE[1], 4)
    smaller = after.reshape(SIZE[0], 2, SIZE[1], 2, 4).mean((1, 3))
    assert np.abs(smaller - before).mean() < 0.02
    assert np.abs(smaller - before).max() < 0.5


def test_apples_gain_map_is_kept_without_what_others_say():
    large, notes = enlarge(make_ultra_hdr(xmp=APPLE_XMP, attributes='xmlns:d="d/" d:title="a"'))
    assert notes == []
    assert read_map(large).info["xmp"] == packet(APPLE_XMP)
    assert Image.open(io.BytesIO(large)).info["xmp"] == packet('xmlns:d="d/" d:title="a"')


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_gain_map_turns_with_the_photo(orientation):
    large, _ = enlarge(make_ultra_hdr(options={"exif": make_exif(orientation)}))
    image = Image.open(io.BytesIO(large))
    found = read_map(large)
    assert image.getexif()[0x0112] == 1
    assert found.size == (image.width // 2, image.height // 2)
    exif = make_exif(orientation)
    stored = draw_map()
    stored.getexif()[0x0112] = exif[0x0112]
    upright = ImageOps.exif_transpose(stored).resize(found.size)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(upright)).mean() < 2


def test_a_second_run_gives_the_like():
    once, _ = enlarge(make_ultra_hdr())
    twice, notes = enlarge(once)
    assert notes == []
    assert read_map(twice).size == (2 * SIZE[1], 2 * SIZE[0])
    assert [name for name, _ in read_items(twice)] == ["Primary", "GainMap"]
    assert twice.count(b"MPF\0") == 1


def test_a_film_behind_the_gain_map_goes_and_the_gain_map_stays():
    camera = 'xmlns:G="http://ns.google.com/photos/1.0/camera/" G:MotionPhoto="1"'
    film = b"\0\0\0\x18ftypmp42" + make_ultra_hdr()  # that holds such bytes by chance
    large, notes = enlarge(make_ultra_hdr(attributes=camera, tail=film))
    assert [("film" in note, "gain map" in note) for note in notes] == [(True, False)] * 2
    read_map(large)
    assert b"MotionPhoto" not in large
    assert b"ftyp" not in large


def test_xmp_of_the_gain_map_tells_of_nothing_else():
    camera = f'{MAP_XMP} xmlns:G="http://ns.google.com/photos/1.0/camera/" G:MicroVideoOffset="4096"'
    assert b"MicroVideoOffset" not in enlarge(make_ultra_hdr(xmp=camera))[0]


def test_a_gain_map_that_says_nothing_of_light_is_none():
    """Pillow gives every picture of an MPO file the XMP of the first, with its promise of a gain map."""
    xmp, small = directory_xmp(99), draw_map()
    content = encode_image(Image.fromarray(draw_photo()), "MPO", save_all=True, append_images=[small], xmp=xmp)
    large, notes = enlarge(content)
    assert ["gain map" in note for note in notes] == [False, True]
    assert b"hdrgm" not in large


def test_more_pictures_behind_the_gain_map_are_told():
    _, notes = enlarge(make_ultra_hdr(tail=encode_image(draw_map(), "JPEG")))
    assert notes == ["it holds more pictures, of which only the main one and its gain map are taken"]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".avif", ".jp2", ".jxl", ".bmp"])
def test_other_formats_are_written_without_it_and_that_is_told(suffix):
    large, notes = enlarge(make_ultra_hdr(attributes='xmlns:d="d/" d:title="a"'), suffix)
    assert len(notes) == 1
    assert notes[0].startswith("its HDR gain map is left out, as ")
    with open_picture(large, Limits()) as picture:
        assert picture.notes == []
        assert picture.metadata.xmp is None if suffix == ".bmp" else b'd:title="a"' in picture.metadata.xmp
    assert b"GainMap" not in large


@pytest.mark.parametrize("keep", ["colors", "nothing"])
def test_it_goes_with_other_metadata(keep):
    large, notes = enlarge(make_ultra_hdr(), keep=keep)
    assert notes == []
    assert b"MPF\0" not in large
    assert b"GainMap" not in large


def test_quality_is_that_of_both_pictures():
    rough, fine = (read_index(enlarge(make_ultra_hdr(), quality=quality)[0])[1][1] for quality in (20, 100))
    assert rough < fine


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-300],
        lambda content: content[: content.rindex(b"\xff\xd8")] + content[-300:],
        lambda content: content.replace(b"\xff\xc0\0\x0b\x08\0\x18", b"\xff\xc0\0\x0b\x08\xff\xff"),  # 65535 rows
    ],
)
def test_a_damaged_gain_map_is_left_out_and_the_photo_is_read(damage):
    content = damage(make_ultra_hdr())
    assert content != make_ultra_hdr()
    large, notes = enlarge(content)
    assert any("gain map" in note for note in notes)
    assert b"GainMap" not in large
    assert Image.open(io.BytesIO(large)).size == (2 * SIZE[1], 2 * SIZE[0])


def test_xmp_without_room_gives_way_to_what_tells_of_the_gain_map():
    long = f'xmlns:d="d/" d:title="{"a" * 64_000}"'
    large, _ = enlarge(make_ultra_hdr(attributes=long))
    assert [name for name, _ in read_items(large)] == ["Primary", "GainMap"]
    assert Image.open(io.BytesIO(large)).info["xmp"].startswith(b"<x:xmpmeta")


def test_zeros_in_other_segments_are_no_index():
    content = make_ultra_hdr()
    padded = content[:2] + make_segment(0xE5, bytes(300)) + content[2:]
    read_map(enlarge(padded)[0])


def test_the_api_keeps_it_in_files_and_tells_where_it_cannot(tmp_path):
    path, output = tmp_path / "ultra.jpg", tmp_path / "large.jpg"
    path.write_bytes(make_ultra_hdr())
    result = Upscaler(Config(num_epochs=2)).run_file(path, output, 1.5)
    assert result.warnings == []
    assert read_map(output.read_bytes()).size == (48, 36)
    image = Upscaler(Config(num_epochs=2)).run(path)
    assert "its HDR gain map is left out; run_file keeps it" in image.warnings
    assert b"hdr-gain-map" not in image.image.info.get("xmp", b"")
    again = upscale(Image.open(path), 1)
    assert b"hdr-gain-map" not in again.info.get("xmp", b"")
