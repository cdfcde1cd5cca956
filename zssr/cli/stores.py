"""Zarr stores among the files: folders that count as one picture."""

import json
from pathlib import Path

_OME = ".ome.zarr"


def is_store(path: Path | None) -> bool:
    """Return whether a path is named as a Zarr store."""
    return path is not None and path.suffix.lower() == ".zarr"


def is_finished(path: Path) -> bool:
    """Return whether what is at a path was written to its end; a file always is."""
    if not is_store(path):
        return True
    try:
        return bool(json.loads((path / "zarr.json").read_text())["attributes"]["zssr"]["is_finished"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def name_store(path: Path, scale_suffix: str) -> str:
    """Return the name of a store's output: slide_x2.ome.zarr for slide.ome.zarr."""
    suffix = path.name[-len(_OME) :] if path.name.lower().endswith(_OME) else path.suffix
    return f"{path.name.removesuffix(suffix)}_{scale_suffix}{suffix}"
