"""Reading blur kernels from files."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from zssr.degradation.resize import Floats
from zssr.errors import KernelError


def read_kernel(path: Path) -> Floats:
    """Read a kernel from `.npy`, `.mat` (the variable `Kernel`, or the only 2-D array) or an image such as `.png`.

    Nothing in the file is executed. Raises `KernelError` if the file is missing or holds no 2-D array of numbers.
    """
    if not path.is_file():
        raise KernelError(f"{path}: no such kernel file")
    readers = {".npy": _read_npy, ".mat": _read_mat}
    try:
        kernel: Floats = np.asarray(readers.get(path.suffix.lower(), _read_picture)(path), dtype=np.float64)
        return kernel
    except KernelError:
        raise
    except Exception as error:
        raise KernelError(f"{path}: cannot be read as a kernel (.npy, .mat or .png): {error}") from error


def _read_npy(path: Path) -> ArrayLike:
    array: ArrayLike = np.load(path, allow_pickle=False)
    return array


def _read_mat(path: Path) -> ArrayLike:
    from scipy.io import loadmat

    arrays = {k: v for k, v in loadmat(path).items() if isinstance(v, np.ndarray) and (v.size > 1 or k == "Kernel")}
    if "Kernel" not in arrays and len(arrays) != 1:
        raise KernelError(f"{path}: holds no variable `Kernel` (found: {', '.join(sorted(arrays)) or 'nothing'})")
    kernel: ArrayLike = arrays.get("Kernel", next(iter(arrays.values())))
    return kernel


def _read_picture(path: Path) -> ArrayLike:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("F"))
