"""Reading blur kernels from files."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from zssr.degradation.named_kernels import NAMES
from zssr.degradation.resize import Floats
from zssr.errors import KernelError


def load_kernel(path: Path) -> Floats:
    """Load a kernel from `.npy`, `.mat` (the variable `Kernel`, or the only 2-D array) or an image such as `.png`.

    Nothing in the file is executed. Raises `KernelError` if the file is missing or holds no 2-D array of numbers.
    """
    if not path.is_file():
        names = ", ".join(NAMES)
        raise KernelError(f"{path}: no such kernel file; and the kernels with a name are {names}")
    loaders = {".npy": _load_npy, ".mat": _load_mat}
    try:
        kernel: Floats = np.asarray(loaders.get(path.suffix.lower(), _load_image)(path), dtype=np.float64)
        return kernel
    except KernelError:
        raise
    except Exception as error:
        kinds = "a 2-D array of numbers in .npy or .mat, or a picture"
        raise KernelError(f"{path}: cannot be read as a kernel, which is {kinds}") from error


def _load_npy(path: Path) -> ArrayLike:
    array: ArrayLike = np.load(path, allow_pickle=False)
    return array


def _load_mat(path: Path) -> ArrayLike:
    from scipy.io import loadmat

    arrays = {k: v for k, v in loadmat(path).items() if isinstance(v, np.ndarray) and (v.size > 1 or k == "Kernel")}
    if "Kernel" not in arrays and len(arrays) != 1:
        raise KernelError(f"{path}: holds no variable `Kernel` (found: {', '.join(sorted(arrays)) or 'nothing'})")
    kernel: ArrayLike = arrays.get("Kernel", next(iter(arrays.values())))
    return kernel


def _load_image(path: Path) -> ArrayLike:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("F"))
