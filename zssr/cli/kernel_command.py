"""The command `python -m zssr kernel`: estimates a photo's blur kernel, saves and draws it."""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.cli.plan import unwritable
from zssr.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from zssr.estimation.blur_kernel import KernelEstimate


def run(arguments: Sequence[str]) -> str:
    """Parse, estimate, save and draw; return what to tell. Raises `ZssrError`."""
    options = _parser().parse_args(arguments)
    if options.output and options.output == options.plot:
        raise ConfigError(f"--plot: {options.plot} is where --output goes; another name is needed")
    for path in (options.output, options.plot):
        _check(path, overwrite=options.overwrite)
    from zssr.api import estimate_kernel
    from zssr.io.atomic import atomic_write

    estimate = estimate_kernel(options.photo, options.scale)
    contents = []  # all are made before the first is written
    if options.output:
        contents.append((options.output, _as_file(estimate, options.output)))
    if options.plot:
        contents.append((options.plot, _drawn(options.photo, estimate, options.plot)))
    for path, content in contents:
        with atomic_write(path) as file:
            file.write(content)
    return f"{options.photo}: kernel: {estimate} for x{options.scale:g}; {estimate.reason}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zssr kernel", description="Estimate the blur kernel that made a photo small."
    )
    parser.add_argument("photo", type=Path, metavar="PHOTO")
    parser.add_argument("-s", "--scale", type=float, default=2.0, help="what the kernel is for; default 2")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="save the kernel: .npy or .png")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw kernel, spectrum and fit: .png, .pdf, .svg")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return parser


def _check(path: Path | None, *, overwrite: bool) -> None:
    if path is None:
        return
    if path.exists() and not overwrite:
        raise ImageError(f"{path}: exists already; --overwrite replaces it")
    fault = unwritable(path)
    if fault:
        raise ImageError(fault)


def _as_file(estimate: "KernelEstimate", path: Path) -> bytes:
    import numpy as np
    from PIL import Image

    content = io.BytesIO()
    if path.suffix.lower() == ".npy":
        np.save(content, estimate.kernel)
    elif path.suffix.lower() == ".png":
        if estimate.kernel.min() < 0:
            raise ConfigError(f"--output: {path} cannot hold the kernel's negative weights; .npy can")
        levels = (65535 * estimate.kernel / estimate.kernel.max()).round().astype(np.uint16)
        Image.fromarray(levels).save(content, format="PNG")
    else:
        raise ConfigError(f"--output: a kernel is saved as .npy or .png, not as {path.suffix or 'a file of no suffix'}")
    return content.getvalue()


def _drawn(photo: Path, estimate: "KernelEstimate", path: Path) -> bytes:
    """Draw the kernel, and the photo's spectrum with the fits of the estimate and of bicubic."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("--plot: needs matplotlib: pip install 'zssr[plot]'") from error
    from zssr.api import fit_spectra

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    height, width = estimate.kernel.shape
    left.imshow(estimate.kernel, cmap="gray", extent=(-width / 2, width / 2, height / 2, -height / 2))
    left.set(title=str(estimate), xlabel="pixels of the large image")
    curves = fit_spectra(photo, estimate)
    if curves is not None:
        frequency, measured, assumed, bicubic = curves
        right.plot(frequency, measured, ".", color="0.6", markersize=3, label="photo")
        right.plot(frequency, bicubic, ".", color="tab:blue", markersize=3, label="bicubic, fitted")
        if estimate.blur is not None:
            right.plot(frequency, assumed, ".", color="tab:red", markersize=3, label="estimate, fitted")
        right.legend()
    right.set(title="power spectrum", xlabel="cycles per pixel of the photo", ylabel="natural logarithm of the power")
    content = io.BytesIO()
    try:
        figure.savefig(content, format=path.suffix.lower().lstrip(".") or "png")
    except ValueError as error:
        raise ConfigError(f"--plot: {path.suffix} is no format of pictures that can be drawn; .png is") from error
    return content.getvalue()
