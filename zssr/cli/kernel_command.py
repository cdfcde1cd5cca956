"""The command `python -m zssr kernel`: estimate a photo's blur kernel, save it and draw it."""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.cli.arguments import parse_scale
from zssr.cli.imports import importing_torch
from zssr.cli.plan import find_write_error
from zssr.errors import ConfigError, ImageError
from zssr.request import Request

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from zssr import KernelEstimate


def run_kernel_command(arguments: Sequence[str]) -> str:
    """Parse, estimate, save and draw; return what the estimate is, in one or two lines. Raises `ZssrError`."""
    options = _build_parser().parse_args(arguments)
    if options.output and options.output == options.plot:
        raise ConfigError(f"--plot: {options.plot} is where --output goes; another name is needed")
    for path in filter(None, (options.output, options.plot)):
        _check_output(path, overwrite=options.overwrite)
    with importing_torch():
        from zssr.api import estimate_kernel
        from zssr.io.atomic import atomic_write

    estimate = estimate_kernel(options.photo, options.scale)
    contents = []  # all are made before the first is written
    if options.output:
        contents.append((options.output, _encode_kernel(estimate, options.output)))
    if options.plot:
        contents.append((options.plot, _draw_kernel(options.photo, estimate, options.plot)))
    for path, content in contents:
        with atomic_write(path) as file:
            file.write(content)
    found = f"{options.photo}: kernel: {estimate} for {Request(options.scale).suffix}; {estimate.reason}"
    ranks = ", ".join(f"{name} {probability:.2f}" for name, probability in estimate.likeliest)
    return f"{found}\nlikeliest: {ranks}" if ranks else found


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zssr kernel", description="Estimate the blur kernel that made a photo small."
    )
    parser.add_argument("photo", type=Path, metavar="PHOTO")
    scale_help = "what the kernel is for: 2, 1.5, ... or HORIZONTALxVERTICAL; default 2"
    parser.add_argument("-s", "--scale", type=parse_scale, default=2.0, help=scale_help)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="save the kernel: .npy or .png")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw kernel, spectrum and fit: .png, .pdf, .svg")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return parser


def _check_output(path: Path, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise ImageError(f"{path}: exists already; --overwrite replaces it")
    if error := find_write_error(path):
        raise ImageError(error)


def _encode_kernel(estimate: "KernelEstimate", path: Path) -> bytes:
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


def _draw_kernel(photo: Path, estimate: "KernelEstimate", path: Path) -> bytes:
    """Draw the kernel, and the photo's spectrum with the fits of the estimate and of bicubic."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("--plot: needs matplotlib: pip install 'zssr[plot]'") from error

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    height, width = estimate.kernel.shape
    left.imshow(estimate.kernel, cmap="gray", extent=(-width / 2, width / 2, height / 2, -height / 2))
    left.set(title=str(estimate), xlabel="pixels of the large image")
    _draw_spectra(right, photo, estimate)
    content = io.BytesIO()
    try:
        figure.savefig(content, format=path.suffix.lower().lstrip(".") or "png")
    except ValueError as error:
        raise ConfigError(f"--plot: {path.suffix} is no format of pictures that can be drawn; .png is") from error
    return content.getvalue()


def _draw_spectra(axes: "Axes", photo: Path, estimate: "KernelEstimate") -> None:
    from zssr.api import fit_spectra

    curves = fit_spectra(photo, estimate)
    if curves is not None:
        frequency, measured, assumed, bicubic = curves
        axes.plot(frequency, measured, ".", color="0.6", markersize=3, label="photo")
        axes.plot(frequency, bicubic, ".", color="tab:blue", markersize=3, label="bicubic, fitted")
        if estimate.blur is not None:
            axes.plot(frequency, assumed, ".", color="tab:red", markersize=3, label="estimate, fitted")
        axes.legend()
    axes.set(title="power spectrum", xlabel="cycles per pixel of the photo", ylabel="natural logarithm of the power")
