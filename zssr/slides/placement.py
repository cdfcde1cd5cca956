"""Where the pixels of a slide lie in the world: OME-Zarr's transformations and places on the map, scaled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zssr.geometry import Factors
from zssr.io.tiff.geotiff import rescale_tags
from zssr.io.tiff.tags import Directory, TagCode
from zssr.slides.layout import Layout

_EPSG_KEYS = (3072, 2048)  # of projected and of geographic coordinates
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_TRANSFORM = "spatial:transform"
_GDAL = "GeoTransform"


@dataclass(frozen=True)
class Placement:
    """The coordinates of pixels.

    Attributes
    ----------
    sides, starts
        Of each axis: the distance between pixels, 1 if it is not given, and the coordinate of the center of the first.
    units
        Of each axis, in OME-Zarr's words.
    attributes
        What else is said of the place, as attributes of a Zarr store: "spatial:transform" and "proj:code" of GeoZarr's
        conventions, or GDAL's "GeoTransform".
    """

    sides: Mapping[str, float] = field(default_factory=dict)
    starts: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def rescale(self, scale: Factors) -> "Placement":
        """Return that of the image upscaled by `scale` (vertical, horizontal): it covers what it covered."""
        sides, starts = dict(self.sides), dict(self.starts)
        for axis, factor in zip("yx", scale, strict=True):
            side = self.sides.get(axis, 1.0)
            sides[axis] = side / factor
            starts[axis] = self.starts.get(axis, 0.0) + (side / factor - side) / 2
        return replace(self, sides=sides, starts=starts, attributes=_rescale_attributes(self.attributes, scale))

    def to_multiscale(self, layout: Layout, levels: Sequence[Factors], name: str) -> dict[str, Any]:
        """Return OME-Zarr's "multiscales" entry; `levels` are the factors by which each is coarser than the first."""
        axes = [
            {"name": axis, "type": _TYPES[axis]} | ({"unit": self.units[axis]} if axis in self.units else {})
            for axis in layout.axes
        ]
        datasets = [
            {"path": str(number), "coordinateTransformations": self.rescale((1 / down, 1 / right))._transform(layout)}
            for number, (down, right) in enumerate(levels)
        ]
        return {"name": name, "axes": axes, "datasets": datasets}

    def _transform(self, layout: Layout) -> list[dict[str, Any]]:
        sides, starts = ([known.get(axis, other) for axis in layout.axes] for known, other in self._defaults)
        return [{"type": "scale", "scale": sides}, {"type": "translation", "translation": starts}]

    @property
    def _defaults(self) -> list[tuple[Mapping[str, float], float]]:
        return [(self.sides, 1.0), (self.starts, 0.0)]


def read_placement(
    attributes: Mapping[str, Any], multiscale: Mapping[str, Any] | None = None, axes: Sequence[str] = ()
) -> Placement:
    """Read the placement from the attributes of a Zarr store, and its OME-Zarr entry if there is one."""
    sides, starts, units = dict[str, float](), dict[str, float](), dict[str, str]()
    for one in _list_transforms(multiscale or {}):
        for axis, by in zip(axes, one.get("scale", ()), strict=False):
            sides[axis] = sides.get(axis, 1.0) * by
            starts[axis] = starts.get(axis, 0.0) * by
        for axis, shift in zip(axes, one.get("translation", ()), strict=False):
            starts[axis] = starts.get(axis, 0.0) + shift
    for named in (multiscale or {}).get("axes", ()):
        if isinstance(named, dict) and "unit" in named:
            units[named["name"]] = named["unit"]
    kept = {key: value for key, value in attributes.items() if key.startswith(("spatial:", "proj:")) or key == _GDAL}
    return Placement(sides, starts, units, kept)


def place_tags(placement: Placement, tags: Directory) -> Placement:
    """Add a GeoTIFF's place on the map, by its tags."""
    transform = _read_transform(tags)
    if transform is None:
        return placement
    known: dict[str, Any] = {"spatial:dimensions": ["y", "x"], _TRANSFORM: transform}
    if code := _read_epsg(tags):
        known["proj:code"] = f"EPSG:{code}"
    return replace(placement, attributes=known)


def _list_transforms(multiscale: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the transformations of the first level, then those of all, in the order in which they apply."""
    first = multiscale.get("datasets", [{}])[0].get("coordinateTransformations", [])
    return [*first, *multiscale.get("coordinateTransformations", [])]


def _rescale_attributes(attributes: Mapping[str, Any], scale: Factors) -> dict[str, Any]:
    """Return attributes with the affine transformations from pixel corners to the map scaled."""
    scaled = dict(attributes)
    if len(transform := attributes.get(_TRANSFORM, ())) == 6:
        a, b, c, d, e, f = transform
        scaled[_TRANSFORM] = [a / scale[1], b / scale[0], c, d / scale[1], e / scale[0], f]
    if isinstance(text := attributes.get(_GDAL), str) and len(text.split()) == 6:
        c, a, b, f, d, e = map(float, text.split())
        numbers = (c, a / scale[1], b / scale[0], f, d / scale[1], e / scale[0])
        scaled[_GDAL] = " ".join(map(repr, numbers))
    if len(shape := attributes.get("spatial:shape", ())) == 2:
        scaled["spatial:shape"] = [round(n * by) for n, by in zip(shape, scale, strict=True)]
    return scaled


def _read_transform(tags: Directory) -> list[float] | None:
    """Return the affine transformation from pixel corners (column, row) to the map, as a, b, c, d, e, f."""
    corner = _values(rescale_tags(tags, (1.0, 1.0)), TagCode.TRANSFORMATION)
    half = 0.5 if _is_point(tags) else 0.0
    if len(corner) == 16:
        a, b, _, c, d, e, _, f = corner[:8]
    else:
        steps, tie = _values(tags, TagCode.PIXEL_SCALE), _values(tags, TagCode.TIE_POINTS)
        if len(steps) != 3 or len(tie) < 6:
            return None
        a, b, d, e = steps[0], 0.0, 0.0, -steps[1]
        c, f = tie[3] - tie[0] * a, tie[4] - tie[1] * e
    return [a, b, c - half * (a + b), d, e, f - half * (d + e)]


def _is_point(tags: Directory) -> bool:
    return _find_key(tags, 1025) == 2


def _read_epsg(tags: Directory) -> int | None:
    codes = (_find_key(tags, key) for key in _EPSG_KEYS)
    return next((code for code in codes if code and code != 32767), None)  # which is defined by the file


def _find_key(tags: Directory, key: int) -> int | None:
    """Return the value of a GeoTIFF key that is a number."""
    keys = _values(tags, TagCode.GEO_KEYS)
    entries = [keys[start : start + 4] for start in range(4, len(keys), 4)]
    return next((int(entry[3]) for entry in entries if len(entry) == 4 and entry[:2] == (key, 0)), None)


def _values(tags: Directory, code: TagCode) -> tuple[float, ...]:
    value = tags[code].value if code in tags else ()
    return value if isinstance(value, tuple) else ()
