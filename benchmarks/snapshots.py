"""PSNR over the steps of a prior's training, unadapted and without self-ensemble: a table and a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.protocol import compute_psnr_and_ssim, downsample, load_ground_truths
from zssr.api import Upscaler
from zssr.config import Config
from zssr.errors import ConfigError
from zssr.prior.checkpoint import Prior
from zssr.request import Request


def run(data: Path, folder: Path, sets: Sequence[str], device: str, out: Path) -> None:
    """Measure the snapshots in a folder, at the scales of their networks, and draw a curve for each set and scale."""
    from matplotlib.figure import Figure

    files = sorted(folder.glob("*_*.safetensors"), key=_read_step)
    if not files:
        raise ConfigError(f"{folder}: holds no snapshots, such as bicubic_10000.safetensors")
    factors = next(iter(Prior.read(files[0]).networks.values())).factors
    keys = [(name, factor) for name in sets for factor in factors]
    print(f"| step | {' | '.join(f'{name} x{factor}' for name, factor in keys)} |\n|---{'|---' * len(keys)}|")
    means = np.zeros((len(files), len(keys)))
    for k, file in enumerate(files):
        means[k] = [measure(data / name, factor, file, device) for name, factor in keys]
        print(f"| {_read_step(file)} | {' | '.join(f'{mean:.3f}' for mean in means[k])} |", flush=True)
    figure = Figure((6.4, 2.4 * len(keys)), layout="constrained")
    for axes, (name, factor), curve in zip(np.ravel(figure.subplots(len(keys))), keys, means.T, strict=True):
        axes.plot([_read_step(file) for file in files], curve, "o-")
        axes.set(xlabel="steps", ylabel=f"PSNR on Y of {name} x{factor}, dB")
        axes.grid(alpha=0.3)
    figure.savefig(out, dpi=100)


def measure(folder: Path, factor: int, file: Path, device: str) -> float:
    """Return the mean PSNR of a set at a scale that is reached in one step."""
    config = Config(prior=str(file), num_epochs=0, self_ensemble=1, scale_factor=float(factor))
    upscaler, psnr = Upscaler(config), []
    for _, truth in load_ground_truths(folder):
        cropped, small = downsample(truth, factor)
        image = upscaler.run(small, Request(factor, kernel=None, device=device)).image
        psnr.append(compute_psnr_and_ssim(np.asarray(image), cropped, factor)[0])
    return float(np.mean(psnr))


def _read_step(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])
