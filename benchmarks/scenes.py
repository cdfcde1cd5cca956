"""The numbers of `zssr/estimation/scene_spectra.py`: the spectra of photos that were downsampled by bicubic."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.protocol import downsample, load_ground_truths
from zssr.color import luma
from zssr.degradation.resize import Floats
from zssr.estimation.periodogram import SMALLEST_SIDE, frequencies
from zssr.estimation.scene_spectra import ORDERS, RADIAL_BINS, evaluate_basis
from zssr.estimation.spectrum import deviation_from_bicubic


def run(data: Path) -> None:
    """Print mean and covariance of the deviation of Set5's and Set14's spectra from a power law, as Python."""
    deviations = np.stack([deviation_from_bicubic(photo) for photo in _load_photos(data)])
    basis = evaluate_basis(*frequencies())
    weights = np.linalg.solve(basis.T @ basis + 1e-3 * np.eye(basis.shape[1]), basis.T @ deviations.T).T
    print(f"NOISE_VARIANCE = {(deviations - weights @ basis.T).var():.3f}\n")
    harmonics = weights.reshape(len(weights), -1, RADIAL_BINS)
    mean = harmonics.mean(0)
    print(f"MEAN = {_format(np.stack([mean[0], mean[_cosine(4)]]))}\n")
    covariances = []
    for order in ORDERS:
        columns = [_cosine(order), _cosine(order) + 1] if order else [0]
        means = mean[columns] * (np.array([order in (0, 4), False])[: len(columns), None])
        parts = (harmonics[:, columns] - means).swapaxes(0, 1)
        covariances.append(np.mean([(part.T @ part) / len(part) for part in parts], 0))
    print(f"COVARIANCE = {_format(np.stack(covariances))}")


def _load_photos(data: Path) -> list[Floats]:
    """Return luma (H, W) of the photos of both sets, downsampled by 2, 3 and 4, where they are large enough."""
    truths = [truth for name in ("Set5", "Set14") for _, truth in load_ground_truths(data / name)]
    small = [downsample(truth, scale)[1] for truth in truths for scale in (2, 3, 4)]
    planes = [luma(torch.from_numpy(photo).permute(2, 0, 1) / 255) for photo in small]
    return [photo for photo in planes if min(photo.shape) >= SMALLEST_SIDE]


def _cosine(order: int) -> int:
    """Return where in the basis the cosine of an order stands; its sine is next."""
    return 2 * ORDERS.index(order) - 1


def _format(array: Floats) -> str:
    text = np.array2string(array, separator=", ", precision=3, suppress_small=True, floatmode="fixed")
    return f"np.array({text})"
