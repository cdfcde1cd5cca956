"""JPEG compression that only the pixels tell of: how often it is found, and what its removal gains."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.gallery import draw_row, join
from benchmarks.protocol import Picture, compute_psnr_and_ssim, downsample, load_ground_truths, resize_bicubic
from zssr.api import Upscaler
from zssr.config import Config
from zssr.degradation.jpeg import Jpeg, Table, to_table
from zssr.estimation.jpeg_quality import estimate_jpeg
from zssr.request import Request

SETS = ("Set5", "Set14", "BSD100", "Urban100")
PHASES = ((0, 0), (1, 6), (2, 3), (3, 5), (4, 4), (5, 0), (6, 7), (7, 2))
QUALITIES = (30, 50, 70, 85)

OLD_PHOTOS = {
    "JFK": (95, 35),
    "Lincoln": (80, 65),
    "soldiers": (140, 175),
    "kenedys": (215, 95),
    "charlie": (230, 40),
    "cars": (85, 150),
    "trees": (200, 80),
}
"""Photos of the paper's web page that were JPEG files once, and the corner (left, top) of the part that is shown."""

_PART = (140, 140)  # width and height in pixels of the result

_ROWS, _COLUMNS = np.mgrid[:8, :8]
TABLES: dict[str, tuple[Table, Table] | None] = {
    "libjpeg": None,
    "flat": (to_table([24.0] * 64), to_table([36.0] * 64)),
    "own": tuple(  # type: ignore[dict-item]
        to_table((start + step * (_ROWS + _COLUMNS) + _ROWS * _COLUMNS / 2).ravel().tolist())
        for start, step in ((8, 5), (14, 8))
    ),
}
"""Tables for luma and chroma at quality 50, which are scaled as libjpeg scales its own."""


def run(data: Path, what: str, config: Config, limit: int | None) -> None:
    """Print one table: how many photos are recognized, the gains of three photos, or what is found in real ones."""
    WHAT[what](data, config, limit)


def count_found(data: Path, _: Config, limit: int | None) -> None:
    """Print how often compression is found, and its phase right, in downsampled photos, which never were compressed."""
    photos = [small for name in SETS for _, truth in load_ground_truths(data / name) for small in [_halve(truth)]]
    photos = photos[:: max(1, len(photos) // limit)] if limit else photos
    print(f"{len(photos)} photos\n\n| tables | quality | found | phase right | strength: median ratio | 5 % | 95 % |")
    print("|---|---|---|---|---|---|---|")
    for name in TABLES:
        for quality in QUALITIES:
            jpegs = [replace(make_jpeg(name, quality), phase=phase) for phase in PHASES]
            pairs = [(jpeg, _estimate(_compress(photo, jpeg))) for photo in photos for jpeg in jpegs]
            found = [(jpeg, one) for jpeg, one in pairs if one]
            right = sum(jpeg.phase == one.phase for jpeg, one in found)
            ratios = np.exp([one.coarseness[0] - jpeg.coarseness[0] for jpeg, one in found])
            shares = f"{len(found) / len(pairs):.1%} | {right / len(pairs):.1%}"
            quantiles = " | ".join(f"{np.quantile(ratios, share):.2f}" for share in (0.5, 0.05, 0.95))
            print(f"| {name} | {quality} | {shares} | {quantiles} |", flush=True)
    never = sum(_estimate(photo) is not None for photo in photos)
    fine = sum(_estimate(_compress(photo, Jpeg.from_quality(97))) is not None for photo in photos)
    print(f"\nCalled compressed: {never} never compressed, {fine} of quality 97.")


def make_jpeg(name: str, quality: int) -> Jpeg:
    """Return the compression with one of `TABLES` at a quality."""
    tables = TABLES[name]
    if tables is None:
        return Jpeg.from_quality(quality)
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    luma, chroma = (to_table([step * percent / 100 for step in table]) for table in tables)
    return Jpeg(luma, chroma)


def measure_gains(data: Path, config: Config, limit: int | None) -> None:
    """Print what removal gains over leaving artifacts in, told and found, for photos with several histories."""
    truths = [data / "BSD100" / "007.png", data / "BSD100" / "012.png", data / "Set14" / "009.png"][:limit]
    print(
        "| history | found | told 50: gain dB | found: gain dB | share of the gain |\n|---|---|---|---|---|", flush=True
    )
    rows: dict[str, list[tuple[float, float]]] = {}
    seen: dict[str, list[str]] = {}
    for path in truths:
        truth = _load(path)[:320, :480]
        for name, photo, reference in _make_histories(truth):
            results = [_upscale(photo, config.replace(jpeg=jpeg)) for jpeg in ("off", 50, "auto")]
            off, told, auto = (compute_psnr_and_ssim(picture, reference, 2)[0] for picture, _ in results)
            rows.setdefault(name, []).append((told - off, auto - off))
            seen.setdefault(name, []).append(results[-1][1])
    for name, gains in rows.items():
        told, auto = np.mean(gains, axis=0)
        print(
            f"| {name} | {'; '.join(dict.fromkeys(seen[name]))} | {told:+.2f} | {auto:+.2f} | {auto / told:.0%} |",
            flush=True,
        )


def _upscale(photo: Picture, config: Config) -> tuple[Picture, str]:
    result = Upscaler(config).run(photo, Request(2, kernel="bicubic"))
    return np.asarray(result.image), str(result.jpeg)


def _make_histories(truth: Picture) -> Iterator[tuple[str, Picture, Picture]]:
    """Yield names, inputs and what they should become."""
    small, jpeg = _halve(truth), Jpeg.from_quality(55)
    truth = truth[: 2 * small.shape[0], : 2 * small.shape[1]]
    compressed = _compress(small, jpeg)
    yield "corner", compressed, truth
    yield "cropped", _compress(small, replace(jpeg, phase=(5, 3))), truth
    yield "another program's tables", _compress(small, make_jpeg("own", 55)), truth
    yield "saved twice, 55 and 90", _compress(compressed, Jpeg.from_quality(90)), truth
    yield (
        "saved twice, 45 cropped and 95",
        _compress(_compress(small, replace(Jpeg.from_quality(45), phase=(3, 5))), Jpeg.from_quality(95)),
        truth,
    )
    palette = Image.fromarray(compressed).quantize(256)
    yield "palette of 256", np.asarray(palette.convert("RGB")), truth
    yield "brighter", _brighten(compressed), _brighten(truth)
    size = (truth.shape[0] // 8 * 3, truth.shape[1] // 8 * 3)
    resized = resize_bicubic(compressed, size, 0.75)
    yield "made smaller by 3/4", resized, resize_bicubic(truth, (2 * size[0], 2 * size[1]), 0.75)


def _brighten(picture: Picture) -> Picture:
    return (255 * (picture / 255) ** 0.8).round().astype(np.uint8)


def describe_real(data: Path, _: Config, limit: int | None) -> None:
    """Print the compression that is found in real photos."""
    for path in sorted((data / "real").glob("*.png"))[:limit]:
        print(f"- {path.name}: {_estimate(_load(path))}", flush=True)


def draw_old_photos(data: Path, config: Config, limit: int | None) -> None:
    """Write docs/images/old_photos.png: parts of real photos that were compressed, beside bicubic."""
    rows = []
    for name, (left, top) in list(OLD_PHOTOS.items())[:limit]:
        photo = _load(data / "real" / f"{name}.png")
        large = Image.fromarray(photo).resize((2 * photo.shape[1], 2 * photo.shape[0]), Image.Resampling.BICUBIC)
        result = Upscaler(config).run(photo, Request(2))
        print(f"- {name}: {result.assumed}", flush=True)
        panels = {f"{name}, bicubic": np.asarray(large), "zssr": np.asarray(result.image)}
        rows.append(draw_row(panels, (2 * left, 2 * top, *_PART)))
    pairs = [join(rows[k : k + 2]) for k in range(0, len(rows), 2)]
    join(pairs, vertically=True).save("docs/images/old_photos.png", optimize=True)


WHAT: dict[str, Callable[[Path, Config, int | None], None]] = {
    "found": count_found,
    "gains": measure_gains,
    "real": describe_real,
    "pictures": draw_old_photos,
}


def _load(path: Path) -> Picture:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def _halve(truth: Picture) -> Picture:
    return downsample(truth, 2)[1]


def _compress(photo: Picture, jpeg: Jpeg) -> Picture:
    """Compress a picture as the center of a larger one, whose blocks begin elsewhere."""
    top, left = (-start % 8 for start in jpeg.phase)
    padded = np.pad(photo, ((top, 0), (left, 0), (0, 0)), "symmetric")
    file = io.BytesIO()
    tables: Sequence[Table] = (jpeg.luma, jpeg.chroma)
    Image.fromarray(padded).save(file, "JPEG", qtables=list(tables), subsampling=jpeg.subsampling)
    with Image.open(file) as opened:
        return np.asarray(opened)[top:, left:]


def _estimate(photo: Picture) -> Jpeg | None:
    return estimate_jpeg(torch.from_numpy(photo.copy()).permute(2, 0, 1)[None] / 255)
