"""Where and how torch computes: device, precision, what to do when memory runs out, and torch's modes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from zssr.config import Config
from zssr.errors import ConfigError, ImageError, about

Precision = Literal["auto", "fp32", "bf16"]


def resolve_device(name: str | torch.device) -> torch.device:
    """Resolve `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; raise `ConfigError` for an unknown or absent one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0].split(". ")[0][:120]
        raise ConfigError(f'device: "{name}" cannot be used here ({reason}); "auto" takes the best there is') from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f'device: "{name}" is not one of "auto", "cpu", "cuda" and "mps"')
    return device


@dataclass(frozen=True)
class ComputeType:
    """A device and the precision of the convolutions on it; weights and sums stay in fp32."""

    device: torch.device
    bf16: bool

    @property
    def dtype(self) -> torch.dtype:
        """Return the precision as torch calls it."""
        return torch.bfloat16 if self.bf16 else torch.float32


def resolve_precision(device: torch.device, precision: Precision) -> ComputeType:
    """Choose bf16 where the device computes with it faster than with fp32, unless `precision` says which."""
    if precision != "auto":
        return ComputeType(device, precision == "bf16")
    if device.type == "cuda":
        return ComputeType(device, torch.cuda.is_bf16_supported(including_emulation=False))
    return ComputeType(device, device.type == "cpu" and _cpu_has_bf16())


def _cpu_has_bf16() -> bool:
    """Tell whether the processor multiplies bf16 in hardware: AVX512-BF16 or AMX."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


_SIGNS = ("can't allocate memory", "not enough memory", "out of memory")
_MOST_HALVINGS = 6
_SMALLEST = 8


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, on a processor or a GPU; any other error of theirs is not to be tried again."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


class MemoryBackoff:
    """Settings whose sizes are halved when memory runs out, six times in all.

    Attributes
    ----------
    config
        The settings as they are now.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._left = _MOST_HALVINGS

    def halve(self, key: str, error: BaseException) -> None:
        """Halve "patch_size" or "crop_size"; raises `error` if it is another one, `ImageError` if nothing is left."""
        if not is_out_of_memory(error):
            raise error
        if self._left == 0:
            sizes = f"tiles of {self.config.patch_size} and crops of {self.config.crop_size} pixels"
            raise ImageError(f"image: memory runs out even with {sizes}; a smaller scale needs less") from error
        self._left -= 1
        self.config = self.config.replace(**{key: max(_SMALLEST, getattr(self.config, key) // 2)})


class CallbackError(Exception):
    """Carries what the caller's progress callback raised past everything that would handle it as an error of ours."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def torch_modes(name: str) -> Iterator[None]:
    """Work under torch's usual modes, whatever the caller's are; lack of memory becomes one sentence about `name`."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    except CallbackError as error:
        raise error.error from None
    except ImageError as error:
        raise ImageError(about(name, error)) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ImageError(f"{name}: too large for the memory there is; a smaller scale needs less") from error
