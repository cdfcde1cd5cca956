"""Slides as files: arrays of Zarr stores and TIFF files, read region by region."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import torch
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPageSeries, xml2dict
from torch import Tensor

from zssr.errors import ConfigError, ImageError
from zssr.geometry import Region
from zssr.io.limits import Limits
from zssr.io.reading import open_picture
from zssr.photo import Photo
from zssr.slides.layout import AXES, Layout, Plane
from zssr.slides.placement import Placement, place_tags, read_placement
from zssr.value_range import ValueRange

_MOST_COLORS = 4  # of a last axis that is one of channels
_ALPHA = {1: "premultiplied", 2: "straight"}  # of TIFF's extra samples


@dataclass(frozen=True)
class SlideImage:
    """A slide's full resolution.

    Attributes
    ----------
    path, dataset
        The file or store, and where the array is in a store.
    layout, dtype
        The axes of the array, and its type.
    alpha, nodata
        As in `Photo`.
    placement
        Where its pixels lie in the world.
    omero
        What an OME-Zarr store says of how channels are shown.
    """

    path: Path
    dataset: str
    layout: Layout
    dtype: np.dtype[Any]
    alpha: str | None = None
    nodata: float | None = None
    placement: Placement = field(default_factory=Placement)
    omero: Mapping[str, Any] = field(default_factory=dict)

    def read(self, plane: Plane, region: Region) -> Tensor:
        """Read a region of an image, (C, h, w); signed and 32-bit integers become 64-bit floats."""
        made = self.path.stat().st_mtime_ns
        part = np.asarray(_open_array(self.path, self.dataset, made)[self.layout.locate(plane, region)])
        return to_tensor(self.layout.to_channels_first(part))

    def to_photo(self, plane: Plane) -> Photo:
        """Return an image as a photo that is read region by region."""
        return make_photo(self.layout, self.dtype, lambda region: self.read(plane, region), self.alpha, self.nodata)


def to_tensor(pixels: NDArray[Any]) -> Tensor:
    """Return pixels as a tensor of a type that photos have."""
    return torch.from_numpy(np.ascontiguousarray(pixels.astype(_photo_dtype(pixels.dtype), copy=False)))


def to_dtype(pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return pixels of a photo's type as those of the slide's own."""
    is_rounded = pixels.dtype.kind == "f" and dtype.kind in "ui"
    return np.ascontiguousarray(pixels.round() if is_rounded else pixels).astype(dtype)


def make_photo(
    layout: Layout,
    dtype: np.dtype[Any],
    read: Callable[[Region], Tensor],
    alpha: str | None = None,
    nodata: float | None = None,
) -> Photo:
    """Make a photo that `read` reads region by region; its range is not known yet. Raises `ImageError` for a type."""
    if dtype.kind not in "uif" or dtype.itemsize > 8 or dtype in (np.uint64, np.int64):
        raise ImageError(f"image: {dtype} is not supported; integers of 8 to 32 bits and floats are")
    own = torch.from_numpy(np.empty(0, _photo_dtype(dtype))).dtype
    channels = layout.length("c") - (alpha is not None)

    def rows(start: int, stop: int) -> Tensor:
        whole = Region.whole(layout.size)
        return read(Region(whole.rows.cut(start, stop), whole.columns))

    return Photo(layout.size, channels, rows, ValueRange(own), alpha, nodata=nodata, window=read)


def _photo_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    has_own_range = dtype.kind == "i" or dtype == np.uint32
    return np.dtype(np.float64) if has_own_range else dtype.newbyteorder("=")


def open_slide(path: Path) -> SlideImage:
    """Open a slide: an OME-Zarr store, another Zarr array, or a TIFF file (OME-TIFF and GeoTIFF, too).

    Raises `ImageError` for what is none of these, and `ConfigError` if Zarr is not installed.
    """
    import_zarr()
    if not path.exists():
        raise ImageError(f"{path}: no such file")
    try:
        return _open_store(path) if path.is_dir() else _open_tiff_slide(path)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, ImageError):
            raise
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ImageError(f"{path}: cannot be read as a Zarr store or TIFF file ({reason})") from error


def import_zarr() -> Any:  # noqa: ANN401 - its types are those of its newest version
    """Return the module. Raises `ConfigError` if it is not installed."""
    try:
        return import_module("zarr")
    except ImportError as error:
        raise ConfigError("slides need Zarr; pip install 'zssr[cluster]' brings it") from error


@lru_cache(8)
def _open_array(path: Path, dataset: str, made: int) -> Any:  # noqa: ANN401
    """Open an array once, unless another comes to lie there, `made` at another time."""
    zarr = import_zarr()
    if path.is_dir():
        return zarr.open(str(path), mode="r", path=dataset)
    file = path.open("rb")
    array = zarr.open(TiffFile(file).series[0].aszarr(level=0), mode="r")
    finalize(array, file.close)
    return array


def _open_store(path: Path) -> SlideImage:
    node = import_zarr().open(str(path), mode="r")
    attributes = dict(node.attrs.asdict())
    ome = attributes.get("ome", attributes)
    if not hasattr(node, "shape"):
        return _open_multiscale(path, node, ome, attributes)
    layout = Layout(_name_axes(node), tuple(node.shape))
    return SlideImage(
        path, "", layout, node.dtype, nodata=_find_nodata(attributes), placement=read_placement(attributes)
    )


def _open_multiscale(
    path: Path,
    group: Any,  # noqa: ANN401
    ome: Mapping[str, Any],
    attributes: dict[str, Any],
    series: str = "",
) -> SlideImage:
    if not ome.get("multiscales"):
        if not series and hasattr(group.get("0"), "keys"):  # several images, of which this is the first
            known = dict(group["0"].attrs.asdict())
            return _open_multiscale(path, group["0"], known.get("ome", known), known, "0/")
        raise ImageError(f"{path}: is a group without OME-Zarr's multiscales; give the path of an array in it")
    multiscale = ome["multiscales"][0]
    dataset = multiscale["datasets"][0]["path"]
    array = group[dataset]
    named = multiscale.get("axes", list(AXES[-array.ndim :]))
    axes = [axis if isinstance(axis, str) else axis["name"] for axis in named]
    layout = Layout(_check_axes("".join(axes), path), tuple(array.shape))
    placement = read_placement(attributes, multiscale, axes)
    nodata = _find_nodata(attributes | dict(array.attrs.asdict()))
    return SlideImage(path, series + dataset, layout, array.dtype, None, nodata, placement, ome.get("omero", {}))


def _name_axes(array: Any) -> str:  # noqa: ANN401
    """Return the axes of an array by what it says of them, or else by its shape."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.asdict().get("_ARRAY_DIMENSIONS")
    known = {"x": "x", "y": "y", "lat": "y", "lon": "x", "latitude": "y", "longitude": "x", "band": "c", "channel": "c"}
    if names and all(str(name).lower() in known | {axis: axis for axis in AXES} for name in names):
        return _check_axes("".join(known.get(str(name).lower(), str(name).lower()) for name in names), array.store_path)
    if array.ndim == 3:
        return "yxc" if array.shape[-1] <= _MOST_COLORS else "cyx"
    return _check_axes(AXES[-array.ndim :] if array.ndim in (2, 4, 5) else "?", array.store_path)


def _check_axes(axes: str, path: object) -> str:
    if len(set(axes)) < len(axes) or not {"y", "x"} <= set(axes) <= set(AXES):
        raise ImageError(f"{path}: its axes are not among t, c, z, y and x, each once, with y and x")
    return axes


def _find_nodata(attributes: Mapping[str, Any]) -> float | None:
    known = (attributes.get(name) for name in ("nodata", "_FillValue", "missing_value"))
    return next((float(value) for value in known if isinstance(value, (int, float))), None)


def _open_tiff_slide(path: Path) -> SlideImage:
    with TiffFile(path) as tiff:
        series = tiff.series[0]
        layout = Layout(_translate_axes(series, path), tuple(series.shape))
        page = series.keyframe
        extra = [int(sample) for sample in page.extrasamples]
        alpha = _ALPHA.get(extra[0]) if len(extra) == 1 and "S" in series.axes else None
        placement = _place_by_ome(tiff) if tiff.is_ome else _place_by_scanner(tiff)
        dtype, nodata = np.dtype(series.dtype), None
    with suppress(ImageError), open_picture(path, Limits(float("inf"), float("inf"))) as picture:
        nodata = picture.nodata if picture.pixel_format.dtype == dtype else None
        placement = place_tags(placement, picture.metadata.tags)
    return SlideImage(path, "", layout, dtype, alpha, nodata, placement)


def _translate_axes(series: TiffPageSeries, path: Path) -> str:
    """Return tifffile's axes as those of OME-Zarr: samples are channels, pages of no other meaning are depths."""
    axes = series.axes.lower()
    axes = axes.replace("s", "c") if "c" not in axes else axes
    for other in ("i", "q", "r"):
        free = next((axis for axis in "zt" if axis not in axes), other)
        axes = axes.replace(other, free, 1)
    return _check_axes(axes, path)


def _place_by_ome(tiff: TiffFile) -> Placement:
    image = xml2dict(tiff.ome_metadata or "")["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    sides = {axis: pixels.get(f"PhysicalSize{axis.upper()}") for axis in "zyx"}
    units = {axis: pixels.get(f"PhysicalSize{axis.upper()}Unit", "µm") for axis in "zyx"}
    known = {axis: float(side) for axis, side in sides.items() if side}
    return Placement(known, units={axis: "micrometer" for axis in known if units[axis] in ("µm", "um")})


def _place_by_scanner(tiff: TiffFile) -> Placement:
    """Return the size of pixels that an Aperio scanner writes into the description."""
    parts = dict(part.split("=", 1) for part in str(tiff.pages.first.description).split("|") if "=" in part)
    try:
        side = float({key.strip(): value for key, value in parts.items()}["MPP"])
    except (KeyError, ValueError):
        return Placement()
    return Placement({"y": side, "x": side}, units={"y": "micrometer", "x": "micrometer"})
