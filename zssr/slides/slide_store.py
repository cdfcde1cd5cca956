"""Write a slide as OME-Zarr 0.5: each block is one chunk with a checksum, and coarser levels follow from the first."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zssr.errors import ImageError
from zssr.geometry import Factors, Interval, Region
from zssr.slides.layout import Layout, Plane, coarsen
from zssr.slides.placement import Placement
from zssr.slides.slide_image import import_zarr

_OWN = "zssr"  # the attribute that says how a store was made
_FINISHED = "is_finished"
_KEPT = "learned"
_ZSTD_LEVEL = 3


@dataclass(frozen=True)
class SlideStore:
    """A store that is written block by block, by several processes at once, without locks.

    Attributes
    ----------
    path
        Where it is.
    layout, dtype
        The axes, shape and type of its first level.
    block
        (H, W) of the blocks, and so of the chunks, which hold all channels.
    """

    path: Path
    layout: Layout
    dtype: np.dtype[Any]
    block: tuple[int, int]

    @property
    def levels(self) -> list[Layout]:
        """The layouts of all levels; each has half of the one before, until one block shows all."""
        levels = [self.layout]
        while any(n > block for n, block in zip(levels[-1].size, self.block, strict=True)):
            height, width = levels[-1].size
            levels.append(self.layout.resize((-(-height // 2), -(-width // 2))))
        return levels

    @property
    def factors(self) -> list[Factors]:
        """How much coarser each level is than the first."""
        return [(2.0**number, 2.0**number) for number in range(len(self.levels))]

    def create(self, origin: Mapping[str, Any], placement: Placement, omero: Mapping[str, Any]) -> None:
        """Make an empty store; `origin` says how it is made."""
        multiscale = placement.to_multiscale(self.layout, self.factors, self.path.name.split(".")[0])
        ome = {"version": "0.5", "multiscales": [multiscale]} | ({"omero": dict(omero)} if omero else {})
        attributes = {"ome": ome, **placement.attributes, _OWN: {**origin, _FINISHED: False}}
        zarr, codecs = import_zarr(), import_zarr().codecs
        group = zarr.create_group(str(self.path), zarr_format=3, attributes=attributes)
        for number, layout in enumerate(self.levels):
            chunks = [{"y": self.block[0], "x": self.block[1], "c": layout.length("c")}.get(a, 1) for a in layout.axes]
            group.create_array(
                str(number),
                shape=layout.shape,
                chunks=tuple(chunks),
                dtype=self.dtype,
                compressors=[codecs.ZstdCodec(level=_ZSTD_LEVEL), codecs.Crc32cCodec()],
                dimension_names=tuple(layout.axes),
                attributes=dict(placement.attributes) if number == 0 else {},
            )

    def check_origin(self, origin: Mapping[str, Any]) -> None:
        """Raise `ImageError` if the store was not made by this package as `origin` says."""
        known = import_zarr().open_group(str(self.path), mode="r").attrs.asdict().get(_OWN, {})
        different = [name for name in origin if known.get(name) != origin[name]]
        if different:
            what = "was not written by zssr" if not known else f"has blocks of another {' and '.join(different)}"
            raise ImageError(f"{self.path}: {what}; --overwrite starts anew")

    def keep(self, content: bytes) -> None:
        """Keep bytes in the store, beside the levels."""
        group = import_zarr().open_group(str(self.path), mode="r+")
        group.create_array(_KEPT, data=np.frombuffer(content, np.uint8), overwrite=True)

    def kept(self) -> bytes | None:
        """Return the bytes that were kept; None if there are none."""
        try:
            return bytes(np.asarray(import_zarr().open_array(str(self.path / _KEPT), mode="r")[:]))
        except (OSError, KeyError, ValueError):
            return None

    def finish(self) -> None:
        """Note that all blocks are there."""
        attributes = import_zarr().open_group(str(self.path), mode="r+").attrs
        attributes[_OWN] = {**attributes.asdict()[_OWN], _FINISHED: True}

    def _open(self, number: int) -> Any:  # noqa: ANN401
        path = self.path / str(number)
        return _open_level(path, (path / "zarr.json").stat().st_mtime_ns)

    def blocks(self, number: int) -> list[tuple[Plane, Region]]:
        """Return the blocks of all images of a level."""
        layout = self.levels[number]
        whole = Region.whole(layout.size)
        rows, columns = (_tile(one, side) for one, side in zip((whole.rows, whole.columns), self.block, strict=True))
        return [(plane, Region(row, column)) for plane in layout.planes for row in rows for column in columns]

    def holds(self, number: int, plane: Plane, block: Region) -> bool:
        """Tell whether a block is there, and whole by its checksum."""
        array, layout = self._open(number), self.levels[number]
        rest = iter(plane)
        place = {"y": block.rows.start // self.block[0], "x": block.columns.start // self.block[1], "c": 0}
        key = array.metadata.encode_chunk_key(tuple(place[a] if a in place else next(rest) for a in layout.axes))
        if not (self.path / str(number) / key).is_file():
            return False
        try:
            self.read(number, plane, block)
        except Exception:  # codecs raise what they like
            return False
        return True

    def read(self, number: int, plane: Plane, region: Region) -> NDArray[Any]:
        """Read a region of a level, (C, h, w)."""
        layout = self.levels[number]
        return layout.to_channels_first(np.asarray(self._open(number)[layout.locate(plane, region)]))

    def write(self, number: int, plane: Plane, block: Region, pixels: NDArray[Any]) -> None:
        """Write a block (C, h, w) of a level."""
        layout = self.levels[number]
        with _writing_empty_chunks():
            self._open(number)[layout.locate(plane, block)] = layout.from_channels_first(pixels)

    def write_coarser(self, number: int, plane: Plane, block: Region, *, averages: bool) -> bool:
        """Write a block of a level from the level before it, unless it is there; return whether it was not."""
        if self.holds(number, plane, block):
            return False
        height, width = self.levels[number - 1].size
        rows, columns = (
            Interval(2 * one.start, min(2 * one.stop, n), n)
            for one, n in zip((block.rows, block.columns), (height, width), strict=True)
        )
        finer = self.read(number - 1, plane, Region(rows, columns))
        self.write(number, plane, block, coarsen(finer, averages=averages))
        return True


@lru_cache(16)
def _open_level(path: Path, made: int) -> Any:  # noqa: ANN401
    """Open an array once, unless another comes to lie there, `made` at another time."""
    with _writing_empty_chunks():  # or an array keeps to what was said when it was opened
        return import_zarr().open_array(str(path), mode="r+")


@contextmanager
def _writing_empty_chunks() -> Iterator[None]:
    """Write chunks of zeros, too, so that what is not there is not done."""
    with import_zarr().config.set({"array.write_empty_chunks": True}):
        yield


def _tile(interval: Interval, side: int) -> list[Interval]:
    return [interval.cut(start, min(start + side, interval.stop)) for start in range(0, interval.stop, side)]
