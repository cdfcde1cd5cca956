"""Which device to compute on, and in which precision."""

from dataclasses import dataclass
from typing import Literal

import torch

from zssr.errors import ConfigError

Precision = Literal["auto", "fp32", "bf16"]


def pick_device(name: str | torch.device) -> torch.device:
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
class Arithmetic:
    """A device and the precision of the convolutions on it; weights and sums stay in fp32."""

    device: torch.device
    bf16: bool

    @property
    def dtype(self) -> torch.dtype:
        """Return the precision as torch calls it."""
        return torch.bfloat16 if self.bf16 else torch.float32


def pick_arithmetic(device: torch.device, precision: Precision) -> Arithmetic:
    """Choose bf16 where the device computes with it faster than with fp32, unless `precision` says which."""
    if precision != "auto":
        return Arithmetic(device, precision == "bf16")
    if device.type == "cuda":
        return Arithmetic(device, torch.cuda.is_bf16_supported(including_emulation=False))
    return Arithmetic(device, device.type == "cpu" and _cpu_has_bf16())


def _cpu_has_bf16() -> bool:
    """Tell whether the processor multiplies bf16 in hardware: AVX512-BF16 or AMX."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
