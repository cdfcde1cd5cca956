"""Helpers that several test modules share."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from zssr.cli.main import main
from zssr.config import Config
from zssr.degradation import resize
from zssr.degradation.blur import center_of_mass, validate_kernel
from zssr.networks.film import ConditionedNetwork
from zssr.prior.checkpoint import write_prior

Found = TypeVar("Found")

QUICK = [
    option
    for setting in ("init=random", "num_epochs=4", "model_width=8", "model_depth=3", "crop_size=32")
    for option in ("--set", setting)
]
"""Options of the command for tests of everything but quality."""

TINY = Config(num_epochs=2, init="random", model_width=8, model_depth=3, crop_size=32)
"""Settings for tests that run often."""


def run_command(*arguments: object) -> int:
    """Run the command, quickly, in this process; return its exit code."""
    return main([str(argument) for argument in (*arguments, *QUICK)])


def file_names(folder: Path) -> list[str]:
    """List what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def image_size(path: Path) -> tuple[int, int]:
    """Read the size (width, height) of a picture."""
    with Image.open(path) as picture:
        return picture.size


def gaussian_kernel(size, sigmas, angle=0.0, center=None):
    """Return a Gaussian kernel (size, size) with standard deviations along its axes, turned by `angle`."""
    center = (size - 1) / 2 if center is None else center
    y, x = np.mgrid[:size, :size] - center
    u, v = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    return validate_kernel(np.exp(-0.5 * ((u / sigmas[0]) ** 2 + (v / sigmas[1]) ** 2)))


def kernel_covariance(kernel):
    """Return the covariance (2, 2) of a kernel in (row, column)."""
    row, column = center_of_mass(kernel)
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]].astype(float)
    y, x = y - row, x - column
    mixed = (kernel * x * y).sum()
    return np.array([[(kernel * y * y).sum(), mixed], [mixed, (kernel * x * x).sum()]])


def upscale_bicubic(array, scale):
    """Resize an array (H, W, C) of any range by MATLAB's bicubic, to float64."""
    planes = torch.from_numpy(array.astype(np.float64)).permute(2, 0, 1)
    size = (round(array.shape[0] * scale), round(array.shape[1] * scale))
    return resize(planes, size, (scale, scale)).permute(1, 2, 0).numpy()


def randomize_weights(network, generator):
    """Give a network weights of the kind that training leads to: its start weights see one pixel only."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.1, generator=generator)
    return network


PRIOR_CONFIG = Config(model_width=8, model_depth=3, num_epochs=0)
"""Settings for the networks of `save_prior`, without training."""


def make_prior_networks():
    """Make the networks of a small prior with random weights, by kind; always the same."""
    generator = torch.Generator().manual_seed(0)
    factors = {"bicubic": (2, 3), "blurred": (2,), "noisy": (2,)}
    return {
        kind: randomize_weights(ConditionedNetwork(own, PRIOR_CONFIG.shape, generator), generator)
        for kind, own in factors.items()
    }


def save_prior(path):
    """Write the prior of `make_prior_networks` to a file; return its path."""
    write_prior(path, make_prior_networks())
    return path


def wait_until(condition: Callable[[], Found], seconds: float = 120.0) -> Found:
    """Call a condition until it gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} seconds")


def make_noise_image(height, width, seed=0):
    """Draw an image (1, 3, height, width) of gray with independent noise."""
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return (0.5 + 0.1 * noise).clamp(0, 1)
