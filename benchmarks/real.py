"""Contact sheet of photos without ground truth: bicubic, zssr, and zssr with the kernel file beside the photo."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from zssr.api import Upscaler
from zssr.config import Config
from zssr.model import Result
from zssr.request import Request

_CROP = 240  # in pixels of the result
_LABEL = 14


def run(data: Path, out: Path, scale: int, config: Config) -> None:
    """Upscale all photos in `data`/real, print the assumed degradations, and write the sheet to `out`."""
    rows = []
    for path in sorted((data / "real").glob("*.png")):
        given = sorted(path.parent.glob(f"{path.stem}_*.mat"))
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        size = (scale * picture.width, scale * picture.height)
        results = [Upscaler(config).run(path, scale)]
        results += [Upscaler(config).run(path, Request(scale, kernel=kernel)) for kernel in given]
        print(
            f"- {path.name}, {picture.width}x{picture.height}: " + "; ".join(_describe(result) for result in results),
            flush=True,
        )
        pictures = [picture.resize(size, Image.Resampling.BICUBIC)] + [
            Image.fromarray(np.asarray(r.image)) for r in results
        ]
        top_left = find_highest_contrast(picture, _CROP // scale)
        labels = ["bicubic", "zssr", "zssr, kernel given"]
        rows.append(
            [
                crop_with_label(p, top_left, scale, f"{path.stem}: {name}", _CROP)
                for p, name in zip(pictures, labels, strict=False)
            ]
        )
    width = max(len(row) for row in rows)
    sheet = Image.new("RGB", (width * _CROP, len(rows) * (_CROP + _LABEL)), "white")
    for y, row in enumerate(rows):
        for x, crop in enumerate(row):
            sheet.paste(crop, (x * _CROP, y * (_CROP + _LABEL)))
    sheet.save(out)


def _describe(result: Result[object]) -> str:
    return f"{result.assumed}, expected gain {result.expected_gain or 0:+.1f} dB"


def find_highest_contrast(picture: Image.Image, side: int) -> tuple[int, int]:
    """Return the corner (left, top) of the square with the most variance, on a coarse grid."""
    gray = np.asarray(picture.convert("L"), np.float64)
    step = max(1, side // 2)
    tops = range(0, max(1, gray.shape[0] - side + 1), step)
    lefts = range(0, max(1, gray.shape[1] - side + 1), step)
    best = max((gray[top : top + side, left : left + side].var(), left, top) for top in tops for left in lefts)
    return best[1], best[2]


def crop_with_label(picture: Image.Image, top_left: tuple[int, int], scale: int, label: str, side: int) -> Image.Image:
    """Return a square crop of an upscaled picture under a label; `top_left` is in pixels of the small picture."""
    left, top = (scale * c for c in top_left)
    crop = Image.new("RGB", (side, side + _LABEL), "white")
    crop.paste(picture.crop((left, top, left + side, top + side)), (0, _LABEL))
    ImageDraw.Draw(crop).text((2, 1), label[:38], fill="black")
    return crop
