"""XMP packets, changed in place: sizes, resolution, orientation, and what refers to parts of the file that are gone."""

import re
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from xml.parsers import expat

from zssr.io.orientation import swaps_axes

_ORIENTATION = b"tiff:Orientation"
_GAIN_MAP, _FILM, _DEPTH = "an HDR gain map", "a film", "a depth map"
_FILE = "a file within the file"
_GONE = (
    ("http://ns.adobe.com/hdr-gain-map/", "", _GAIN_MAP),
    ("http://ns.apple.com/HDRGainMap/", "", _GAIN_MAP),
    ("http://ns.google.com/photos/1.0/camera/", "MotionPhoto|MicroVideo", _FILM),
    ("http://ns.google.com/photos/1.0/container/", "", _FILE),
    ("http://ns.google.com/photos/dd/1.0/", "", _DEPTH),
    ("http://ns.google.com/photos/1.0/depthmap/", "", _DEPTH),
    ("http://ns.google.com/photos/1.0/focus/", "", _DEPTH),
    ("http://ns.google.com/photos/1.0/image/", "", "a picture within XMP"),
    ("http://ns.google.com/photos/1.0/audio/", "", "a sound"),
    ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP", "XMP that is longer than a segment"),
)
"""Namespaces, starts of names in them, and what properties of such names refer to: parts of the file, never kept."""

_ATTRIBUTE = re.compile(rb"\s+([^\s=<>\"']+)\s*=\s*(?:\"[^\"]*\"|'[^']*')")


def drop_references(xmp: bytes, has_gain_map: bool = False) -> tuple[bytes, str]:
    """Return an XMP packet without what refers to other parts of its file, and a sentence about these, or "".

    Google's, Adobe's and Apple's properties say that a gain map, a film or a depth map follows the picture. All other
    bytes stay, and what says that there is a gain map if the picture `has_gain_map`. A packet that is not well-formed
    and names such a namespace is dropped whole.
    """
    if not any(space.encode() in xmp for space, _, _ in _GONE):
        return xmp, ""
    try:
        finder = _ReferenceFinder(xmp, has_gain_map)
    except (expat.ExpatError, ValueError):
        return b"", "the XMP is damaged and left out"
    for start, stop in reversed(finder.spans):
        xmp = xmp[:start] + xmp[stop:]
    parts = " and ".join(dict.fromkeys(part for part in finder.parts if not (has_gain_map and part == _FILE)))
    return xmp, f"its XMP no longer tells of {parts}, which the file does not hold any more" if parts else ""


def announce_gain_map(xmp: bytes, length: int, most: int) -> bytes:
    """Return a packet that tells, as Ultra HDR does, of a gain map of `length` bytes after the photo.

    What would become longer than `most` bytes, or is no packet, gives way to one that tells of nothing else.
    """
    before, end, after = xmp.rpartition(b"</rdf:RDF>")
    version = b"" if b"http://ns.adobe.com/hdr-gain-map/" in xmp else _VERSION
    packet = before + _DIRECTORY % (version, length) + end + after
    return packet if end and len(packet) <= most else announce_gain_map(_EMPTY, length, len(_EMPTY) + 1000)


_EMPTY = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF>'
    b"</x:xmpmeta>"
)
_VERSION = b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
_DIRECTORY = (
    b'<rdf:Description rdf:about="" xmlns:Container="http://ns.google.com/photos/1.0/container/"'
    b' xmlns:Item="http://ns.google.com/photos/1.0/container/item/"%s><Container:Directory><rdf:Seq>'
    b'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>'
    b'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg"'
    b' Item:Length="%d"/></rdf:li></rdf:Seq></Container:Directory></rdf:Description>'
)


class _ReferenceFinder:
    """Finds where a packet refers to other parts of its file: `spans` of bytes in order, and the `parts` in words."""

    def __init__(self, xmp: bytes, has_gain_map: bool) -> None:
        self.spans: list[tuple[int, int]] = []
        self.parts: list[str] = []
        self._gone = [each for each in _GONE if not (has_gain_map and each[2] == _GAIN_MAP)]
        self._xmp = xmp.rstrip(b"\0")
        self._prefixes: defaultdict[str, list[str]] = defaultdict(list)  # each with the namespaces that it has had
        self._depth = 0  # of elements within one that goes
        self._begin: int | None = None  # of an element that goes
        self._tag: int | None = None  # begin of a start tag whose end is not known yet
        if b"<!DOCTYPE" in xmp:
            raise ValueError("has a document type")
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartNamespaceDeclHandler = self._declare
        self._parser.EndNamespaceDeclHandler = lambda prefix: self._prefixes[prefix or ""].pop() and None
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.DefaultHandler = lambda _: self._close()
        self._parser.Parse(self._xmp, True)
        self._close()

    def _declare(self, prefix: str | None, space: str) -> None:
        self._close()
        self._prefixes[prefix or ""].append(space)

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._close()
        if self._depth or self._refers(name):
            self._begin = self._begin if self._depth else self._parser.CurrentByteIndex
            self._depth += 1
        else:
            self._tag = self._parser.CurrentByteIndex

    def _end(self, _: str) -> None:
        self._close()
        if self._depth == 1:
            self._depth = -1  # until the next event, which is where the element ends
        elif self._depth:
            self._depth -= 1

    def _close(self) -> None:
        """Note the span of an element, or those of the attributes of a start tag, that ended before this event."""
        here = self._parser.CurrentByteIndex if self._parser.CurrentByteIndex >= 0 else len(self._xmp)
        if self._depth == -1 and self._begin is not None:
            self.spans.append((self._begin, here))
            self._depth = 0
        if self._tag is not None:
            self.spans.extend(self._find_attributes(self._tag, here))
            self._tag = None

    def _find_attributes(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the spans of attributes that go, and of declarations of namespaces that go whole."""
        for found in _ATTRIBUTE.finditer(self._xmp, start, stop):
            prefix, _, name = found[1].decode("utf-8", "replace").partition(":")
            space = "".join(self._prefixes[name if prefix == "xmlns" else prefix][-1:])
            goes_whole = any(space.startswith(begin) and not names for begin, names, _ in self._gone)
            if goes_whole if prefix == "xmlns" else name and self._refers(f"{space} {name}"):
                yield found.span()

    def _refers(self, name: str) -> bool:
        """Return whether a name, with its namespace before it, refers to another part, and note which."""
        space, _, local = name.rpartition(" ")
        found = [part for begin, names, part in self._gone if space.startswith(begin) and re.match(names, local)]
        self.parts += found[:1]
        return bool(found)


def _number_pattern(name: bytes) -> re.Pattern[bytes]:
    """Return a pattern that finds a number in an XMP packet, as an attribute or as an element."""
    return re.compile(
        rb"(?P<before>\b" + name + rb"(?:\s*=\s*[\"']|>\s*))(?P<value>[0-9][0-9./]{0,40})(?P<after>\s*[\"'<])"
    )


def _read_ratio(xmp: bytes, name: bytes) -> Fraction | None:
    found = _number_pattern(name).search(xmp)
    try:
        return Fraction(found["value"].decode()) if found else None
    except (ValueError, ZeroDivisionError):
        return None


def find_orientation(xmp: bytes) -> int:
    """Return how the pixels lie, 1 (upright, or nothing is said) to 8."""
    found = _number_pattern(_ORIENTATION).search(xmp)
    return int(found["value"]) if found and re.fullmatch(b"[1-8]", found["value"]) else 1


def rescale_xmp(xmp: bytes, scale: tuple[float, float], size: tuple[int, int]) -> bytes:
    """Return the packet of the upright picture scaled by `scale` (vertical, horizontal) to `size` (H, W)."""
    height, width = (b"%d" % length for length in size)
    values = {
        b"exif:PixelYDimension": height,
        b"tiff:ImageLength": height,
        b"exif:PixelXDimension": width,
        b"tiff:ImageWidth": width,
        _ORIENTATION: b"1",
    }
    resolutions = (b"tiff:YResolution", b"tiff:XResolution")  # vertical, horizontal, like the scale
    order = -1 if swaps_axes(find_orientation(xmp)) else 1
    ratios = [_read_ratio(xmp, name) for name in resolutions[::order]]
    for name, ratio, factor in zip(resolutions, ratios, scale, strict=True):
        if ratio:
            values[name] = b"%d/%d" % (ratio * Fraction(factor)).limit_denominator(10_000).as_integer_ratio()
    for name, value in values.items():
        xmp = _number_pattern(name).sub(rb"\g<before>" + value + rb"\g<after>", xmp)
    return xmp
