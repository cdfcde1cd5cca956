"""Where a picture lies on the map: GeoTIFF's tags (OGC 19-008r4)."""

from dataclasses import replace

from zssr.io.tiff.tags import Directory, TagCode

GEO_TAGS = (
    TagCode.PIXEL_SCALE,
    TagCode.TIE_POINTS,
    TagCode.TRANSFORMATION,
    TagCode.GEO_KEYS,
    TagCode.GEO_DOUBLES,
    TagCode.GEO_TEXTS,
)


def rescale_tags(tags: Directory, scale: tuple[float, float]) -> Directory:
    """Return `tags` such that a picture scaled by `scale` (vertical, horizontal) lies on the map where it lay.

    Raster coordinate 0 is the outer edge of the first pixel, or its center if the tags say "pixel is point". Tags that
    do not have the number of values that they must have are left out; those that are not GeoTIFF's stay as they are.
    """
    vertical, horizontal = scale
    center = 0.5 if _pixel_is_point(tags) else 0.0  # of the first pixel is where raster coordinate 0 is
    axes = ((horizontal, (horizontal - 1) * center), (vertical, (vertical - 1) * center))  # new = scale * old + shift
    rescaled = {}
    for code, tag in tags.items():
        if code not in (TagCode.PIXEL_SCALE, TagCode.TIE_POINTS, TagCode.TRANSFORMATION):
            rescaled[code] = tag
        elif isinstance(tag.value, tuple) and (value := _rescale_value(code, tag.value, axes)):
            rescaled[code] = replace(tag, value=value)
    return rescaled


def _pixel_is_point(tags: Directory) -> bool:
    keys = tags[TagCode.GEO_KEYS].value if TagCode.GEO_KEYS in tags else ()
    if not isinstance(keys, tuple):
        return False
    raster_type_is_point = (1025, 0, 1, 2)
    return raster_type_is_point in [keys[start : start + 4] for start in range(4, len(keys), 4)]


def _rescale_value(
    code: int, values: tuple[float, ...], axes: tuple[tuple[float, float], tuple[float, float]]
) -> tuple[float, ...] | None:
    (horizontal, right), (vertical, down) = axes
    if code == TagCode.PIXEL_SCALE and len(values) == 3:
        return values[0] / horizontal, values[1] / vertical, values[2]
    if code == TagCode.TIE_POINTS and values and len(values) % 6 == 0:
        points = [values[start : start + 6] for start in range(0, len(values), 6)]
        moved = [(i * horizontal + right, j * vertical + down, *rest) for i, j, *rest in points]
        return tuple(value for point in moved for value in point)
    if code == TagCode.TRANSFORMATION and len(values) == 16:
        rows = [values[start : start + 4] for start in range(0, 16, 4)]
        scaled = [(a / horizontal, b / vertical, c, d) for a, b, c, d in rows]
        return tuple(value for a, b, c, d in scaled for value in (a, b, c, d - a * right - b * down))
    return None
