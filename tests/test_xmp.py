"""XMP that refers to parts of the file which are gone; Python's own XML reader is the oracle."""

import io
import xml.etree.ElementTree as ElementTree

import pytest
from hostile import encode_image
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zssr.io.limits import Limits
from zssr.io.metadata import Metadata, sanitize
from zssr.io.reading import open_picture
from zssr.io.xmp import drop_references

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
HDR, CAMERA = "http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.google.com/photos/1.0/camera/"
CONTAINER, ITEM = "http://ns.google.com/photos/1.0/container/", "http://ns.google.com/photos/1.0/container/item/"


def packet(inner="", attributes="", around=""):
    start = (
        f'<?xpacket begin="\ufeff" id="W5M0"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"{around}>'
    )
    title = '<dc:title xmlns:dc="dc/">a &gt; b</dc:title>'
    end = '</rdf:RDF></x:xmpmeta>  \n <?xpacket end="w"?>'
    return f'{start}<rdf:Description rdf:about=""{attributes}>{title}{inner}</rdf:Description>{end}'.encode()


def names_in(xmp):
    """Return all names of elements and attributes, with their namespaces."""
    elements = list(ElementTree.fromstring(xmp.rstrip(b"\0")).iter())  # noqa: S314
    return {element.tag for element in elements} | {name for element in elements for name in element.attrib}


GOOGLE = f"""<Container:Directory xmlns:Container="{CONTAINER}" xmlns:Item="{ITEM}"><rdf:Seq>
<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>
<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Length="99"></Container:Item></rdf:li>
</rdf:Seq></Container:Directory>"""


@pytest.mark.parametrize(
    ("xmp", "part"),
    [
        (packet(attributes=f' xmlns:hdrgm="{HDR}" hdrgm:Version="1.0" hdrgm:GainMapMax=\'2 > 1\''), "an HDR gain map"),
        (packet(f'<h:Version xmlns:h="{HDR}">1.0</h:Version>'), "an HDR gain map"),
        (packet(f'<Version xmlns="{HDR}"/>'), "an HDR gain map"),
        (packet(f'<a:OffsetSDR xmlns:a="{HDR}"><rdf:Seq><rdf:li a:b="1">0</rdf:li></rdf:Seq></a:OffsetSDR>'), "an HDR"),
        (packet('<H:V xmlns:H="http://ns.apple.com/HDRGainMap/1.0/">65536</H:V>'), "an HDR gain map"),
        (packet(GOOGLE), "a file within the file"),
        (packet(attributes=f' xmlns:G="{CAMERA}" G:MotionPhoto="1" G:MicroVideoOffset = "9" G:Mode="night"'), "a film"),
        (packet("<g:MicroVideo>1</g:MicroVideo>", around=f' xmlns:g="{CAMERA}"'), "a film"),
        (packet('<D:Data xmlns:D="http://ns.google.com/photos/1.0/depthmap/">AAAA</D:Data>'), "a depth map"),
        (packet('<D:C xmlns:D="http://ns.google.com/photos/dd/1.0/device/">A</D:C>'), "a depth map"),
        (packet(attributes=' xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="0F"'), "longer than a segment"),
    ],
)
def test_what_refers_to_other_parts_goes_and_all_else_stays(xmp, part):
    for whole in (xmp, xmp + bytes(40)):
        rest, sentence = drop_references(whole)
        assert part in sentence
        gone = names_in(whole) - names_in(rest)
        spaces = (
            HDR,
            CAMERA,
            CONTAINER,
            ITEM,
            "http://ns.apple.com",
            "http://ns.google.com",
            "http://ns.adobe.com/xmp",
        )
        assert gone == {name for name in names_in(whole) if name[1:].startswith(spaces) and "Mode" not in name} or (
            "{" + RDF + "}li" in gone
        )
        assert b"a &gt; b" in rest
        assert rest.startswith(whole[:90])
        assert rest.endswith(whole[-30:])
        assert drop_references(rest) == (rest, "")


def test_prefixes_mean_what_was_declared_last():
    inner = '<p:a xmlns:p="mine/"/><rdf:li xmlns:p="mine/" p:kept="1"/><rdf:li p:Version="1"/><q:p p:q="1"/>'
    around = f' xmlns:p="{HDR}" xmlns:q="quiet/"'
    rest, _ = drop_references(packet(inner, around=around))
    assert b'p:kept="1"' in rest
    assert b"<rdf:li/>" in rest
    assert b"<q:p/>" in rest


@pytest.mark.parametrize("xmp", [b"", packet(), b"<not xml", packet().replace(b"</rdf:RDF>", b"")])
def test_packets_that_refer_to_nothing_stay_byte_by_byte(xmp):
    assert drop_references(xmp) == (xmp, "")


@pytest.mark.parametrize("damage", [b"<!DOCTYPE a><a/>", b"<a", b"</x:xmpmeta>", b"\xff\xfe"])
def test_a_damaged_packet_that_names_a_gain_map_is_dropped_with_a_note(damage):
    metadata, notes = sanitize(Metadata(xmp=damage + HDR.encode()))
    assert metadata.xmp is None
    assert notes == ["the XMP is damaged and left out"]


@pytest.mark.fuzz
@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_damage_leaves_a_packet_without_references_or_none(data):
    xmp = bytearray(packet(GOOGLE, f' xmlns:hdrgm="{HDR}" hdrgm:Version="1.0"'))
    for _ in range(data.draw(st.integers(0, 3))):
        xmp[data.draw(st.integers(0, len(xmp) - 1))] = data.draw(st.sampled_from(b"<>/\"'=: a\0&;\xff"))
    rest, _ = drop_references(bytes(xmp[: data.draw(st.sampled_from([len(xmp), len(xmp) - 9, 200]))]))
    assert drop_references(rest)[0] == rest


def test_a_long_hostile_packet_takes_no_time():
    assert drop_references(HDR.encode() + b"<h:a " * 200_000)[0] == b""
    many = f'<h:a xmlns:h="{HDR}"/>' * 10_000
    assert drop_references(packet(many))[0] == packet()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_references_go_in_every_format_with_a_note(kind):
    xmp = packet(GOOGLE, f' xmlns:hdrgm="{HDR}" hdrgm:Version="1.0"')
    image = Image.new("RGB", (40, 30))
    if kind == "TIFF":
        content = encode_image(image, kind, tiffinfo={700: xmp})
    elif kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
        content = encode_image(image, kind, pnginfo=texts)
    else:
        content = encode_image(image, kind, xmp=xmp)
    with open_picture(content, Limits()) as picture:
        assert names_in(picture.metadata.xmp) == names_in(packet())
        (note,) = picture.notes
        assert "an HDR gain map and a file within the file" in note


def test_a_film_after_the_picture_leaves_a_note():
    content = encode_image(Image.new("RGB", (40, 30)), "JPEG") + b"\0\0\0\x18ftypmp42" + bytes(99)
    with open_picture(content, Limits()) as picture:
        assert picture.notes == ["it holds a film, too (a motion photo), which is left out"]
    file = io.BytesIO(content)
    assert Image.open(file).size == (40, 30)
