"""What is not photo: margins and grounds, narrow ranges, no data and graphics, against the same photo by itself."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

from benchmarks.protocol import Picture, downsample, load_ground_truths
from zssr import Upscaler
from zssr.config import Config
from zssr.estimation.parametric_kernels import Gaussian
from zssr.geometry import Region
from zssr.graphics import is_graphics
from zssr.images import load
from zssr.io.limits import Limits
from zssr.model import Result

WHAT = ("margins", "range", "nodata", "graphics")
SIDE = 192  # pixels of the truth that is cut out
Framed = tuple[object, tuple[slice, slice], NDArray[np.bool_], Picture | None]
"""An image, where the photo is in it, what of that is seen, and the photo by itself if it is another one."""


def run(data: Path, what: str, sets: list[str], limit: int, config: Config) -> None:
    """Print the table of one group."""
    photos = [photo for name in sets for photo in load_ground_truths(data / name)]
    if what == "graphics":
        _run_graphics(photos)
        return
    chosen = photos[:: max(1, len(photos) // limit)][:limit]
    {"margins": _run_margins, "range": _run_range, "nodata": _run_nodata}[what](chosen, config)


def _degrade(truth: Picture, kind: str) -> tuple[Picture, Picture]:
    """Return the truth and a photo made of it, with noise 10 or blurred by 1.8 pixels."""
    truth = truth[40 : 40 + SIDE, 40 : 40 + SIDE]
    blurred = gaussian_filter(truth.astype(float), (1.8, 1.8, 0)) if kind == "blur" else truth.astype(float)
    truth, small = downsample(truth, 2)[0], downsample(blurred.round().astype(np.uint8), 2)[1].astype(float)
    noisy = small + np.random.default_rng(0).normal(0, 10, small.shape) if kind == "noise" else small
    return truth, noisy.round().clip(0, 255).astype(np.uint8)


def _frame(photo: Picture) -> Iterator[tuple[str, Framed]]:
    height, width = photo.shape[:2]
    y, x = np.mgrid[:height, :width]
    disc = ((y / height - 0.5) / 0.46) ** 2 + ((x / width - 0.5) / 0.46) ** 2 < 1
    everywhere, seen = (slice(None), slice(None)), np.ones((height, width), bool)
    for share in (0.05, 0.1, 0.25, 0.4):
        pad = round(share * height)
        inside = (slice(pad, pad + height), slice(pad, pad + width))
        for gray in (3, 128, 245):
            framed = np.pad(photo, ((pad, pad), (pad, pad), (0, 0)), constant_values=gray)
            yield f"{share:.0%} of {gray}", (framed, inside, seen, None)
            if gray == 245:
                yield f"{share:.0%} of {gray}, JPEG q97", (_compress(framed), inside, seen, _compress(photo))
        across = np.linspace(40, 120, width + 2 * pad).round().astype(np.uint8)[:, None]
        gradient = np.broadcast_to(across, (height + 2 * pad, width + 2 * pad, 3)).copy()
        gradient[inside] = photo
        yield f"{share:.0%} of a gradient", (gradient, inside, seen, None)
    turned = Image.fromarray(photo).rotate(3, Image.Resampling.BICUBIC, expand=True, fillcolor=(250, 250, 250))
    margin = 2 + round(0.06 * height)
    core = (slice(margin, -margin), slice(margin, -margin))
    yield "turned by 3 degrees", (np.asarray(turned), everywhere, seen, np.asarray(turned)[core])
    yield "object on 255", (np.where(disc[..., None], photo, 255).astype(np.uint8), everywhere, disc, None)
    cut_out = np.dstack([np.where(disc[..., None], photo, 0), 255 * disc]).astype(np.uint8)
    yield "object on transparent", (Image.fromarray(cut_out), everywhere, disc, None)


def _compress(picture: Picture) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=97, subsampling=0)
    return np.asarray(Image.open(file))


def _run_margins(photos: list[tuple[str, Picture]], config: Config) -> None:
    print("| photo | frame | noise alone | framed | blur alone | framed | PSNR alone | framed |\n" + "|---" * 8 + "|")
    for name, truth in photos:
        noise, blur = ({k: f for k, f in _frame(_degrade(truth, kind)[1])} for kind in ("noise", "blur"))
        whole, photo = _degrade(truth, "noise")
        alone = np.asarray(Upscaler(config).run(photo, 2).image)
        for frame, (image, inside, seen, other) in noise.items():
            levels = [_assume(one).noise for one in (photo if other is None else other, image)]
            soft, _, _, other_soft = blur[frame]
            sharp = _degrade(truth, "blur")[1] if other_soft is None else other_soft
            widths = [_width(_assume(one)) for one in (sharp, soft)]
            psnrs = [float("nan")] * 2
            if other is None:
                large = np.asarray(Upscaler(config).run(image, 2).image)[..., :3]  # type: ignore[call-overload]
                cut = large[tuple(slice(one.start and 2 * one.start, one.stop and 2 * one.stop) for one in inside)]
                mask = np.kron(binary_erosion(seen, iterations=2, border_value=1), np.ones((2, 2), bool))
                psnrs = [_psnr(one, whole, mask) for one in (alone, cut)]
            figures = " | ".join([f"{one:.1f}" for one in levels] + [f"{one:.2f}" for one in (*widths, *psnrs)])
            print(f"| {name} | {frame} | {figures} |", flush=True)


def _assume(image: object) -> Result[object]:
    return Upscaler(Config(num_epochs=0, self_ensemble=1)).run(image, 2)  # type: ignore[call-overload,no-any-return]


def _width(result: Result[object]) -> float:
    """Return the standard deviation of the assumed blur, in pixels of the result; 0 is a resampler."""
    estimate = result.kernel_estimates[0]
    return float(np.sqrt(estimate.blur.along * estimate.blur.across)) if isinstance(estimate.blur, Gaussian) else 0.0


def _psnr(large: object, truth: Picture | NDArray[np.float64], mask: NDArray[np.bool_] | None = None) -> float:
    errors = (np.asarray(large, float) - truth)[4:-4, 4:-4] ** 2
    return float(10 * np.log10(255**2 / (errors if mask is None else errors[mask[4:-4, 4:-4]]).mean()))


def _run_range(photos: list[tuple[str, Picture]], config: Config) -> None:
    print(
        "| photo | degradation | 0 to 65535 | 29000 to 30700 | 0.01 to 0.05 | a pixel of 60000 |\n" + "|---" * 6 + "|"
    )
    for name, whole in photos:
        for kind in ("noise", "blur"):
            truth, photo = (one[..., 1].astype(float) for one in _degrade(whole, kind))
            row = []
            for low, gain, dtype in (
                (0.0, 240.0, "u2"),
                (29000.0, 6.0, "u2"),
                (0.01, 0.04 / 270, "f4"),
                (0.0, 12.0, "u2"),
            ):
                image = (low + gain * (photo + 8)).round(0 if dtype == "u2" else 9).astype(dtype)
                if gain == 12:
                    image[4, 4] = 60000
                large = np.asarray(Upscaler(config).run(image, 2).image, float)
                row.append(_psnr(np.delete((large - low) / gain - 8, np.s_[:10], 0), truth[10:]))
            print(f"| {name} | {kind} | " + " | ".join(f"{psnr:.2f}" for psnr in row) + " |", flush=True)


def _run_nodata(photos: list[tuple[str, Picture]], config: Config) -> None:
    columns = "photo | degradation | without holes | with | error near holes | change there"
    print(f"| {columns} |\n" + "|---" * 6 + "|")
    for name, whole in photos:
        for kind in ("noise", "blur", "none"):
            truth, photo = (one[..., 1].astype(float) for one in _degrade(whole, kind))
            voids = np.zeros(photo.shape, bool)
            voids[:, :12] = voids[50:56, 50:56] = True
            voids[np.random.default_rng(0).random(photo.shape) < 0.001] = True
            alone, holed = (
                np.asarray(Upscaler(config).run(np.ma.masked_array(photo.astype(np.float32), mask), 2).image, float)
                for mask in (np.zeros_like(voids), voids)
            )
            valid = np.kron(~voids, np.ones((2, 2), bool))
            near = valid & binary_dilation(~valid, np.ones((9, 9), bool))
            error, change = (np.abs(one - alone)[near].mean() for one in (truth, holed))
            figures = (
                f"{_psnr(alone, truth, valid):.2f} | {_psnr(holed, truth, valid):.2f} | {error:.2f} | {change:.2f}"
            )
            print(f"| {name} | {kind} | {figures} |", flush=True)


def _run_graphics(photos: list[tuple[str, Picture]]) -> None:
    called, grounds = [], []
    for factor in (2, 4):
        for name, truth in photos:
            small = downsample(truth, factor)[1]
            photo = load(small, Limits()).photos[0]
            called += [f"{name} /{factor}"] * is_graphics(photo.stored_center(1024))
            content = photo.content_in(Region.whole(photo.size))
            grounds += (
                [f"{name} /{factor} ({float(content.float().mean()):.0%} content)"] if content is not None else []
            )
    print(f"Of {2 * len(photos)} reductions {len(called)} are called graphics. {', '.join(called)}\n")
    print(f"{len(grounds)} have a ground: {', '.join(grounds)}")
