"""Where a picture lies on the map: GeoTIFF's tags, adjusted to an enlargement (OGC 19-008r4)."""

from typing import Any

Tag = tuple[int, int, int, Any]
"""A TIFF tag: code, type, count, value."""

PIXEL_SCALE, TIE_POINTS, TRANSFORMATION = 33550, 33922, 34264
GEO_KEYS, GEO_DOUBLES, GEO_TEXTS = 34735, 34736, 34737
GEO_TAGS = (PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, GEO_KEYS, GEO_DOUBLES, GEO_TEXTS)

_RASTER_TYPE, _PIXEL_IS_POINT = 1025, 2


def enlarged_tags(tags: tuple[Tag, ...], scale: tuple[float, float]) -> tuple[Tag, ...]:
    """Return `tags` such that a picture enlarged by `scale` (vertical, horizontal) lies on the map where it lay.

    Raster coordinate 0 is the outer edge of the first pixel, or its center if the tags say "pixel is point". Tags that
    do not have the number of values that they must have are left out; those that are not GeoTIFF's stay as they are.
    """
    vertical, horizontal = scale
    center = 0.5 if _pixel_is_point(tags) else 0.0  # of the first pixel is where raster coordinate 0 is
    axes = ((horizontal, (horizontal - 1) * center), (vertical, (vertical - 1) * center))  # new = scale * old + shift
    adjusted = []
    for code, kind, count, value in tags:
        if code not in (PIXEL_SCALE, TIE_POINTS, TRANSFORMATION):
            adjusted.append((code, kind, count, value))
        elif (new := _adjusted(code, value, axes)) is not None:
            adjusted.append((code, kind, count, new))
    return tuple(adjusted)


def _pixel_is_point(tags: tuple[Tag, ...]) -> bool:
    keys = next((value for code, _, _, value in tags if code == GEO_KEYS), ())
    entries = [tuple(keys[start : start + 4]) for start in range(4, len(keys), 4)]
    return (_RASTER_TYPE, 0, 1, _PIXEL_IS_POINT) in entries


def _adjusted(code: int, values: tuple[float, ...], axes: tuple[tuple[float, float], ...]) -> tuple[float, ...] | None:
    (horizontal, right), (vertical, down) = axes
    if code == PIXEL_SCALE and len(values) == 3:
        return values[0] / horizontal, values[1] / vertical, values[2]
    if code == TIE_POINTS and values and len(values) % 6 == 0:
        points = [values[start : start + 6] for start in range(0, len(values), 6)]
        moved = [(i * horizontal + right, j * vertical + down, *rest) for i, j, *rest in points]
        return tuple(value for point in moved for value in point)
    if code == TRANSFORMATION and len(values) == 16:
        rows = [values[start : start + 4] for start in range(0, 16, 4)]
        scaled = [(a / horizontal, b / vertical, c, d) for a, b, c, d in rows]
        return tuple(value for a, b, c, d in scaled for value in (a, b, c, d - a * right - b * down))
    return None
