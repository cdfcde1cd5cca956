"""The standard protocol of super-resolution: ground truth, its downsampled input, PSNR and SSIM on the Y channel."""

import io
import os
import platform
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity
from torch import Tensor

from zssr.degradation import Degradation, resize
from zssr.degradation.forward_model import Sampling
from zssr.degradation.resamplers import Resampler
from zssr.degradation.resize import Floats

Picture = NDArray[np.uint8]

ASTRONAUT = Path(__file__).parent / "images" / "astronaut.png"


def load_ground_truths(folder: Path) -> list[tuple[str, Picture]]:
    """Return names and pictures (H, W, 3) of the PNG files in `folder`, by name."""
    files = sorted(folder.glob("*.png"))
    if not files:
        raise SystemExit(f"{folder}: holds no PNG files")
    return [(file.stem, np.asarray(Image.open(file).convert("RGB"))) for file in files]


def downsample(
    truth: Picture, scale: float, kernel: Floats | Resampler | None = None, sampling: Sampling = "center"
) -> tuple[Picture, Picture]:
    """Cut the truth to multiples of `scale`, and downsample it by bicubic or another kernel; both in 8 bits."""
    height, width = (int(length // scale) for length in truth.shape[:2])
    truth = truth[: round(height * scale), : round(width * scale)]
    planes = torch.from_numpy(truth.astype(np.float64)).permute(2, 0, 1)[None]
    small = Degradation(kernel, (scale, scale), sampling).downsample(planes, (height, width))
    return truth, to_picture(small[0])


def crop_middle(picture: Picture, side: int) -> Picture:
    """Crop to even sides of at most `side`."""
    top, left = (max(0, length - side) // 2 for length in picture.shape[:2])
    height, width = (min(length, side) // 2 * 2 for length in picture.shape[:2])
    return picture[top : top + height, left : left + width]


def add_gaussian_noise(picture: Picture, sigma: float, seed: int) -> Picture:
    """Add Gaussian noise of standard deviation `sigma`, rounded to 8 bits."""
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return (picture + noise).round().clip(0, 255).astype(np.uint8)


def compress_jpeg(picture: Picture, quality: int) -> Image.Image:
    """Compress by Pillow's JPEG encoder, with its usual 4:2:0, and open the file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return Image.open(file)


def resize_bicubic(picture: Picture, size: tuple[int, int], scale: float) -> Picture:
    """Resize to `size` (H, W) by MATLAB's bicubic, rounded to 8 bits."""
    planes = torch.from_numpy(picture.astype(np.float64)).permute(2, 0, 1)
    return to_picture(resize(planes, size, (scale, scale)))


def to_picture(planes: Tensor) -> Picture:
    """Round planes (3, H, W) in 0 to 255 to a picture."""
    return planes.round().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)


def to_y_channel(picture: Picture) -> NDArray[np.float64]:
    """Return studio-range Y of ITU-R BT.601, 16 to 235, as MATLAB's `rgb2ycbcr` computes it; not rounded."""
    y: NDArray[np.float64] = 16 + picture.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255
    return y


def compute_psnr_and_ssim(result: Picture, truth: Picture, shave: int) -> tuple[float, float]:
    """Return PSNR in dB and SSIM (Wang et al. 2004: 11x11 Gaussian, sigma 1.5) on Y, without a border of `shave` px."""
    inner = (slice(shave, -shave or None),) * 2
    ours, theirs = to_y_channel(result)[inner], to_y_channel(truth)[inner]
    psnr = 10 * np.log10(255**2 / np.mean((ours - theirs) ** 2))
    ssim = structural_similarity(  # type: ignore[no-untyped-call]
        ours, theirs, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(psnr), float(ssim)


def describe_machine() -> str:
    """Describe the machine in one line, with the load from other work at the start."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    load = f"{os.getloadavg()[0]:.1f}"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{cpu}, {torch.get_num_threads()} threads{gpu}, {versions}, load average at the start {load}"
