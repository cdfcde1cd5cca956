"""The numbers of `zssr/estimation/scene_spectra.py`: the spectra of photos that bicubic has made small."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.protocol import downsample, load_ground_truths
from zssr.color import luma
from zssr.degradation.resize import Floats
from zssr.estimation import periodogram, scene_spectra, spectrum

_SETS = ("Set5", "Set14")
_SCALES = (2, 3, 4)
_RIDGE = 1e-3


def run(data: Path) -> None:
    """Print the usual course of the spectra, and how far photos stray from it, as Python."""
    beside = np.stack([spectrum.deviation_from_bicubic(photo) for photo in _photos(data)])
    basis = scene_spectra.evaluate_basis(*periodogram.frequencies())
    weights = np.linalg.solve(basis.T @ basis + _RIDGE * np.eye(basis.shape[1]), basis.T @ beside.T).T
    print(f"NOISE_VARIANCE = {(beside - weights @ basis.T).var():.3f}\n")
    waves = weights.reshape(len(weights), -1, scene_spectra.RADIAL_BINS)
    usual = waves.mean(0)
    print(f"MEAN = {_text(np.stack([usual[0], usual[_cosine(4)]]))}\n")
    strays = []
    for wave in scene_spectra.ORDERS:
        columns = [_cosine(wave), _cosine(wave) + 1] if wave else [0]
        means = usual[columns] * (np.array([wave in (0, 4), False])[: len(columns), None])
        strays.append(np.mean([(part.T @ part) / len(part) for part in (waves[:, columns] - means).swapaxes(0, 1)], 0))
    print(f"COVARIANCE = {_text(np.stack(strays))}")


def _photos(data: Path) -> list[Floats]:
    """Return the brightness of the sets' photos, made small by all scales, where they are not too small to judge."""
    small = [
        downsample(truth, scale)[1]
        for name in _SETS
        for _, truth in load_ground_truths(data / name)
        for scale in _SCALES
    ]
    planes = [luma(torch.from_numpy(photo).permute(2, 0, 1) / 255) for photo in small]
    return [photo for photo in planes if min(photo.shape) >= periodogram.SMALLEST_SIDE]


def _cosine(wave: int) -> int:
    """Return where in the basis the cosine of a wave stands; its sine is next."""
    return 2 * scene_spectra.ORDERS.index(wave) - 1


def _text(array: Floats) -> str:
    return (
        "np.array(" + np.array2string(array, separator=", ", precision=3, suppress_small=True, floatmode="fixed") + ")"
    )
