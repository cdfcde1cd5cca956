"""The pictures of README and docs/gallery.md: public-domain pictures, downsampled and upscaled again, side by side."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from skimage import data

from benchmarks.protocol import Picture, compute_psnr_and_ssim, downsample, resize_bicubic
from zssr import estimate_kernel, upscale
from zssr.degradation.named_kernels import parse_kernel

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


@dataclass(frozen=True)
class Study:
    """A picture of scikit-image's wheel, how its input is made, and the crops that are shown.

    Attributes
    ----------
    load
        Returns the picture: (H, W, 3), or (H, W) if it is gray.
    scale
        The picture is downsampled by this, and upscaled again.
    kernel
        What the picture is downsampled by; see `zssr.degradation.named_kernels`. zssr is not given it.
    crop, hero
        Part of the picture that its own file shows, and the one that hero.png shows, if any.
    """

    load: Callable[[], Picture]
    scale: int
    kernel: str
    crop: Box
    hero: Box | None = None


STUDIES = {
    "portrait": Study(data.astronaut, 3, "gaussian:1.5", (145, 0, 240, 220), (140, 0, 300, 220)),
    "slide": Study(data.immunohistochemistry, 2, "gaussian:1.2", (160, 130, 240, 200)),
    "galaxies": Study(data.hubble_deep_field, 4, "bicubic", (690, 440, 240, 200), (240, 40, 300, 130)),
    "page": Study(data.text, 4, "bicubic", (130, 0, 240, 168)),
    "motion": Study(data.chelsea, 2, "line:8,35", (110, 40, 240, 180)),
    "focus": Study(data.coffee, 2, "disc:2.7", (180, 60, 240, 200)),
}
"""By the name of the file. All are in the public domain or without known copyright restrictions (see `skimage.data`):
the astronaut Eileen Collins (NASA), colonic glands under a microscope (CMMI), the Hubble eXtreme Deep Field (NASA), a
page of handwriting (Wikipedia), the cat Chelsea (Stefan van der Walt), and a cup of coffee (Rachel Michetti)."""


def run(out: Path) -> None:
    """Write one PNG file for each study and hero.png into the folder `out`, and print a table."""
    print("| picture | input | scale | made by | estimated | bicubic PSNR | zssr PSNR | seconds |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for name, study in STUDIES.items():
        original = study.load()
        truth, small = make_input(to_rgb(original), study.scale, study.kernel)
        photo = small if original.ndim == 3 else small[..., 0]
        start = time.perf_counter()
        result = upscale(photo, study.scale)
        seconds = time.perf_counter() - start
        enlarged = small.repeat(study.scale, 0).repeat(study.scale, 1)
        pictures = (enlarged, resize_bicubic(small, truth.shape[:2], study.scale), to_rgb(result), truth)
        bicubic, zssr = (compute_psnr_and_ssim(picture, truth, study.scale)[0] for picture in pictures[1:3])
        labels = (f"input, x{study.scale}", f"bicubic, {bicubic:.2f} dB", f"zssr, {zssr:.2f} dB", "original")
        panels = dict(zip(labels, pictures, strict=True))
        draw_row(panels, study.crop).save(out / f"{name}.png", optimize=True)
        if study.hero:
            rows.append(draw_row({label: panels[label] for label in labels[:3]}, study.hero))
        size, estimate = f"{small.shape[1]}x{small.shape[0]}", estimate_kernel(photo, study.scale)
        figures = f"{bicubic:.2f} | {zssr:.2f} | {seconds:.1f}"
        print(f"| {name} | {size} | x{study.scale} | {study.kernel} | {estimate} | {figures} |", flush=True)
    join(rows, vertically=True).save(out / "hero.png", optimize=True)


def make_input(picture: Picture, scale: int, kernel: str) -> tuple[Picture, Picture]:
    """Cut a picture to multiples of `scale`, and downsample it by the kernel with this name."""
    return downsample(picture, float(scale), parse_kernel(kernel, (float(scale), float(scale))))


def to_rgb(picture: Picture) -> Picture:
    """Return (H, W, 3), also for gray (H, W)."""
    return picture if picture.ndim == 3 else picture[..., None].repeat(3, -1)


def draw_row(panels: Mapping[str, Picture], box: Box) -> Image.Image:
    """Put the same part of all pictures beside each other, each with its label in the lower left corner."""
    left, top, width, height = box
    row = []
    for label, picture in panels.items():
        panel = Image.fromarray(picture[top : top + height, left : left + width])
        draw, font = ImageDraw.Draw(panel), ImageFont.load_default(15)
        _, y0, x1, _ = draw.textbbox((6, height - 6), label, font, anchor="lb")
        draw.rectangle((0, y0 - 4, x1 + 6, height), "black")
        draw.text((6, height - 6), label, "white", font, anchor="lb")
        row.append(panel)
    return join(row)


def join(images: Sequence[Image.Image], *, vertically: bool = False) -> Image.Image:
    """Put images beside or below each other, with gaps of four pixels."""
    gap = 4
    width, height = sum(image.width + gap for image in images) - gap, max(image.height for image in images)
    if vertically:
        width, height = max(image.width for image in images), sum(image.height + gap for image in images) - gap
    sheet = Image.new("RGB", (width, height), "white")
    at = 0
    for image in images:
        sheet.paste(image, (0, at) if vertically else (at, 0))
        at += gap + (image.height if vertically else image.width)
    return sheet
