"""Bursts made from pictures: registration, fusion beside single images and shift-and-add, what does not belong."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation

from benchmarks.bursts_of_pictures import BICUBIC, SCALE, Shake, gaussian_lens, shift_and_add, shoot, shoot_burst
from benchmarks.gallery import join
from benchmarks.protocol import Picture, compute_psnr_and_ssim, load_ground_truths, to_y_channel
from zssr import BurstOptions
from zssr.api import Upscaler
from zssr.config import Config
from zssr.degradation.resize import Floats
from zssr.estimation.parametric_kernels import Gaussian
from zssr.io.limits import Limits
from zssr.multiframe.alignment import align_frames
from zssr.multiframe.burst import run_burst
from zssr.multiframe.frames_of_burst import load_frames
from zssr.multiframe.registration import Motion, register
from zssr.multiframe.warping import Mask, make_grid, transform
from zssr.request import KernelLike, Request

WHAT = ("registration", "frames", "bicubic", "strangers")

SIGMA, NOISE = 0.5 * SCALE, 3.0
KERNEL = Gaussian(SIGMA, SIGMA, 0.0).to_kernel()
LENS = gaussian_lens(SIGMA)
MOTIONS: dict[Motion, Shake] = {
    "translation": Shake(8.0, 0.0),
    "rigid": Shake(8.0, 3.0),
    "affine": Shake(8.0, 3.0, 0.02),
    "homography": Shake(8.0, 3.0, 0.02),
}
"""Random motions, and the motion that is looked for: an affine one by a homography, too."""

SINGLES: dict[str, tuple[KernelLike, str]] = {
    "zssr": ("auto", "zssr"),
    "zssr, blur given": (KERNEL, "zssr"),
    "map, blur given": (KERNEL, "map"),
}
"""What the first frame is upscaled by alone: kernel and method."""

_FIRST = BurstOptions(reference=1)


@dataclass(frozen=True)
class Pictures:
    """The pictures of a folder by name, cut to the middle `side` pixels a side (0 for all) and whole frames."""

    folder: Path
    side: int
    limit: int | None

    def load(self) -> list[tuple[str, Picture]]:
        """Return them."""
        return [(name, self._cut(truth)) for name, truth in load_ground_truths(self.folder)[: self.limit]]

    def _cut(self, truth: Picture) -> Picture:
        sides = [min(self.side or n, n) // SCALE * SCALE for n in truth.shape[:2]]
        top, left = ((n - side) // 2 for n, side in zip(truth.shape, sides, strict=False))
        return truth[top : top + sides[0], left : left + sides[1]]


def add_options(command: ArgumentParser) -> None:
    """Add the options of the benchmark."""
    add = command.add_argument
    add("--what", nargs="+", default=WHAT, choices=WHAT, help="which tables; default: all")
    add("--side", type=int, default=0, help="cut the pictures of Set14 to this many pixels a side; default: none")
    add("--limit", type=int, help="use fewer pictures")
    add("--out", type=Path, help="a contact sheet of what moves, .png")


def run_command(options: Namespace, config: Config) -> None:
    """Print a table for each group that is asked for."""
    pictures, device = Pictures(options.data / "Set14", options.side, options.limit), options.device
    groups: dict[str, Callable[[], None]] = {
        "registration": lambda: _measure_registration(pictures),
        "frames": lambda: _compare_frames(pictures, config, device),
        "bicubic": lambda: _compare_without_aliasing(pictures, config, device),
        "strangers": lambda: _compare_strangers(pictures, options.out, config, device),
    }
    for name in options.what:
        groups[name]()
        print(flush=True)


def _measure_registration(pictures: Pictures, count: int = 40) -> None:
    """Print the mean distance between found and true positions over random motions, and that of the worst motion."""
    truths, generator = pictures.load(), np.random.default_rng(0)
    print("### Registration\n\n| motion | noise 0: mean px | worst px | noise 10: mean px | worst px |")
    print("|---|---|---|---|---|", flush=True)
    everything = []
    for motion, shake in MOTIONS.items():
        errors = []
        for k in range(count if motion == "homography" else -(-count // 3)):
            truth = truths[k % len(truths)][1]
            matrix = shake.draw((truth.shape[0] // SCALE, truth.shape[1] // SCALE), generator)
            errors.append([_register(truth, matrix, motion, noise, generator) for noise in (0.0, 10.0)])
        _print_errors(motion, errors)
        everything += errors if motion != "homography" else []
    _print_errors(f"**the first three, {len(everything)} motions**", everything)


def _register(truth: Picture, matrix: Floats, motion: Motion, noise: float, generator: np.random.Generator) -> float:
    """Return the mean distance of positions in two frames from the true ones, in pixels."""
    shots = (shoot(truth, one, LENS, noise, generator) for one in (np.eye(3), matrix))
    still, moved = ((to_y_channel(frame) - 16) / 219 for frame in shots)
    true = transform(matrix, make_grid(still.shape))
    return float(np.linalg.norm(register(moved, still, motion).positions - true, axis=0).mean())


def _print_errors(name: str, errors: list[list[float]]) -> None:
    clean, noisy = np.array(errors).T
    print(f"| {name} | {clean.mean():.4f} | {clean.max():.4f} | {noisy.mean():.4f} | {noisy.max():.4f} |", flush=True)


def _compare_frames(pictures: Pictures, config: Config, device: str) -> None:
    """Print PSNR of single images, shift-and-add, and bursts of 4, 8 and 16 frames."""
    head = [*SINGLES, "shift-and-add of 8", "burst of 4", "8", "16", "8, blur given", "estimated blur"]
    print(f"### Aliased frames\n\n| picture | {' | '.join(head)} |\n|{'---|' * (len(head) + 1)}", flush=True)
    rows = []
    for name, truth in pictures.load():
        frames = list(shoot_burst(truth, 16, LENS, NOISE, np.random.default_rng(1)))
        added = shift_and_add(list(align_frames(load_frames(frames[:8], Limits()), 0, "homography")))
        bursts, blur = _measure_bursts(frames, truth, config, device)
        rows.append([*_measure_singles(frames[0], truth, config, device), measure_psnr(added, truth), *bursts])
        print(f"| {name} | {' | '.join(f'{one:.2f}' for one in rows[-1])} | {blur} |", flush=True)
    mean = np.mean(rows, axis=0)
    print(f"| **mean** | {' | '.join(f'{one:.2f}' for one in mean)} | |")
    best = mean[: len(SINGLES)].max()
    gains = ", ".join(f"{one - best:+.2f}" for one in mean[len(SINGLES) + 1 :])
    print(f"\nBursts beside the best single image, {best:.2f} dB: {gains} dB.")
    print(f"8 frames beside shift-and-add: {mean[5] - mean[3]:+.2f} dB.")


def _measure_singles(photo: Picture, truth: Picture, config: Config, device: str) -> list[float]:
    figures = []
    for kernel, method in SINGLES.values():
        own = config.replace(method=method, noise=NOISE if method == "map" else "auto")
        figures.append(
            measure_psnr(np.asarray(Upscaler(own).run(photo, Request(SCALE, None, kernel, device)).image), truth)
        )
    return figures


def _measure_bursts(frames: list[Picture], truth: Picture, config: Config, device: str) -> tuple[list[float], str]:
    """Return PSNR of 4, 8 and 16 frames, and of 8 with the blur given; and the blur that 8 frames show."""
    blind, known = (Request(SCALE, None, kernel, device) for kernel in ("auto", KERNEL))
    runs = ((4, blind), (8, blind), (16, blind), (8, known))
    results = [fuse_frames(frames[:count], config, request) for count, request in runs]
    return [measure_psnr(image, truth) for image, _ in results], results[1][1]


def _compare_without_aliasing(pictures: Pictures, config: Config, device: str) -> None:
    """Print PSNR of frames that bicubic made small: the single image, and bursts of 8."""
    print("### Frames without aliasing\n\n| picture | zssr | burst of 8 | gain | noise 3: zssr | burst of 8 | gain |")
    print("|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for name, truth in pictures.load():
        row: list[float] = []
        for noise in (0.0, NOISE):
            frames = list(shoot_burst(truth, 8, BICUBIC, noise, np.random.default_rng(2)))
            single = Upscaler(config).run(frames[0], Request(SCALE, None, "auto", device)).image
            both = [
                measure_psnr(np.asarray(single), truth),
                measure_psnr(fuse_frames(frames, config, Request(SCALE))[0], truth),
            ]
            row += [*both, both[1] - both[0]]
        rows.append(row)
        print(f"| {name} | {' | '.join(f'{one:.2f}' for one in row)} |", flush=True)
    mean, least = np.mean(rows, axis=0), np.min(rows, axis=0)
    print(f"| **mean** | {' | '.join(f'{one:.2f}' for one in mean)} |")
    print(f"| least gain | | | {least[2]:.2f} | | | {least[5]:.2f} |")


def _compare_strangers(pictures: Pictures, out: Path | None, config: Config, device: str) -> None:
    """Print what a strange frame, and an object that moves, cost where the object never is; draw the results."""
    print("### Strangers: 8 frames, a ninth that shows something else, an object over 10 % of the picture that moves\n")
    print("| picture | without | with, outside the object | cost | frames used |\n|---|---|---|---|---|", flush=True)
    truths, rows, sheets = pictures.load(), [], []
    for k, (name, truth) in enumerate(truths):
        other = np.resize(truths[(k + 1) % len(truths)][1], truth.shape)
        track = ObjectTrack(truth, other)
        clean = list(shoot_burst(truth, 8, LENS, NOISE, np.random.default_rng(3)))
        spoiled = list(shoot_burst(truth, 8, LENS, NOISE, np.random.default_rng(3), track.place))
        spoiled.append(shoot(other, np.eye(3), LENS, NOISE, np.random.default_rng(4)))
        request, outside = Request(SCALE, None, "auto", device), track.outside
        without = fuse_frames(clean, config, request)[0]
        found = run_burst(spoiled, request, config, _FIRST)
        image = np.asarray(found.image)
        figures = [_psnr_where(one, truth, outside) for one in (without, image)]
        rows.append([*figures, figures[0] - figures[1]])
        print(f"| {name} | {figures[0]:.2f} | {figures[1]:.2f} | {rows[-1][2]:.2f} | {found.used} of 9 |", flush=True)
        sheets.append(join([Image.fromarray(one) for one in (track.place(0), image)]))
    mean = np.mean(rows, axis=0)
    print(f"| **mean** | {mean[0]:.2f} | {mean[1]:.2f} | {mean[2]:.2f} | |")
    if out:
        join(sheets, vertically=True).save(out, optimize=True)


@dataclass(frozen=True)
class ObjectTrack:
    """A part of another picture, over a tenth of this one, that moves by 3 pixels of it from frame to frame."""

    picture: Picture
    other: Picture

    def place(self, k: int) -> Picture:
        """Return the picture with the object where it is in frame k."""
        placed = self.picture.copy()
        placed[self._box(k)] = self.other[self._box(0)]
        return placed

    @property
    def outside(self) -> Mask:
        """Where the object never is, nor nearer than 8 pixels (H, W)."""
        inside = np.zeros(self.picture.shape[:2], bool)
        for k in range(8):
            inside[self._box(k)] = True
        return ~binary_dilation(inside, iterations=8)

    def _box(self, k: int) -> tuple[slice, slice]:
        height, width = (int(n * 0.1**0.5) for n in self.picture.shape[:2])
        top, left = self.picture.shape[0] // 4 + 3 * k, self.picture.shape[1] // 3 + 3 * k
        return slice(top, top + height), slice(left, left + width)


def fuse_frames(frames: list[Picture], config: Config, request: Request) -> tuple[Picture, str]:
    """Return the image of a burst, and its blur in words."""
    found = run_burst(frames, request, config, _FIRST)
    return np.asarray(found.image), str(found.blur or found.result.assumed)


def measure_psnr(image: Picture, truth: Picture) -> float:
    """Return PSNR on Y in dB, without a border of as many pixels as the scale."""
    return compute_psnr_and_ssim(image, truth, SCALE)[0]


def _psnr_where(image: Picture, truth: Picture, where: Mask) -> float:
    squares = (to_y_channel(image) - to_y_channel(truth))[where] ** 2
    return float(10 * np.log10(255**2 / squares.mean()))
