"""Seconds and peak memory of large photos: a phone's JPEG file of 12 megapixels, a TIFF file of 400."""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from benchmarks.protocol import ASTRONAUT, Picture, resize_bicubic
from zssr.api import Upscaler
from zssr.config import Config
from zssr.io.metadata import Metadata
from zssr.io.output_format import OutputFormat
from zssr.io.picture import PixelFormat, Pixels
from zssr.io.writing import write_picture
from zssr.request import Request

WHAT = ("phone", "giga")
_PHONE = (3024, 4032)
_GIGA = 20000


def run(config: Config, device: str, what: str) -> None:
    """Upscale by 2, each photo in a process of its own."""
    print("| photo | enlarged | training s | applying s | all but reading and writing s | peak GB |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / ("photo.jpg" if what == "phone" else "photo.tif")
        _write_phone(source) if what == "phone" else _write_giga(source)
        size, training, applying, seconds, peak = _measure_apart([str(source), asdict(config), device])
        small = _PHONE[::-1] if what == "phone" else (_GIGA, _GIGA)
        sizes = f"{small[0]}x{small[1]}, {source.suffix} | {size[1]}x{size[0]}"
        print(f"| {sizes} | {training:.1f} | {applying:.0f} | {seconds:.0f} | {peak:.2f} |", flush=True)


def _measure_apart(arguments: list[object]) -> list[Any]:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "benchmarks.large", json.dumps(arguments)], check=True, stdout=subprocess.PIPE, text=True
    )
    measured: list[Any] = json.loads(done.stdout)
    return measured


def measure_file(source: str, settings: dict[str, object], device: str) -> tuple[object, ...]:
    """Return the output's size, seconds of training, applying and all but files, and this process's peak in GB."""
    config = Config.from_dict(settings).replace(max_MB=1000, max_pixels=1e9, max_output_pixels=1e10)
    path = Path(source)
    result = Upscaler(config).run_file(path, path.with_stem("photo_x2"), Request(2, device=device))
    spent = result.seconds
    return result.size, spent["pairs"] + spent["train"], spent["apply"], sum(spent.values()), read_peak()


def read_peak() -> float:
    """Return the peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def make_photo(side: int) -> Picture:
    """Make a square photo (side, side, 3)."""
    small = np.asarray(Image.open(ASTRONAUT).convert("RGB"))
    return resize_bicubic(small, (side, side), side / small.shape[0])


def _write_phone(path: Path) -> None:
    """Write a JPEG file on its side, with a profile and EXIF, as phones do."""
    photo = np.tile(make_photo(1008), (_PHONE[0] // 1008, _PHONE[1] // 1008, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photo).save(path, quality=92, exif=exif, icc_profile=profile, dpi=(72, 72))


def _write_giga(path: Path) -> None:
    """Write a gray TIFF file, with some noise so that no pattern repeats."""
    layout = PixelFormat("gray", 1, np.dtype(np.uint8))
    tile = make_photo(1000).mean(2)
    generator = np.random.default_rng(0)

    def bands() -> Iterator[Pixels]:
        for _ in range(0, _GIGA, len(tile)):
            band = np.tile(tile, (1, _GIGA // len(tile)))
            yield (band + generator.normal(0, 1, band.shape)).round().clip(0, 255).astype(np.uint8)[..., None]

    size = (_GIGA, _GIGA)
    write_picture(path, OutputFormat.choose(path, layout, size), bands(), size, Metadata())


if __name__ == "__main__":
    print(json.dumps(measure_file(*json.loads(sys.argv[1]))))
