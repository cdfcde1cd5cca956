"""Where and how torch computes: device, precision, sizes that fit into memory, and torch's modes."""

import ctypes
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Literal, Self, TypeVar

import torch

from zssr.config import Config
from zssr.cores import count_cores
from zssr.errors import ConfigError, ImageError, about
from zssr.progress import CallbackError

logger = logging.getLogger(__name__)

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Value = TypeVar("Value")

BATCH_SIZES = {"cuda": 8}
"""Crops in a training step, by the type of device; 2 on others. A GPU is idle with less."""

_SMALLEST = 8  # pixels
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str | torch.device) -> torch.device:
    """Resolve `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; raise `ConfigError` for an unknown or absent one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        if "forked" in str(error):
            other = 'start processes by "spawn", or take the device "cpu"'
            raise ConfigError(f"device: a process forked after CUDA was used cannot use it; {other}") from error
        reason = str(error).splitlines()[0].split(". ")[0][:120]
        raise ConfigError(f'device: "{name}" cannot be used here ({reason}); "auto" takes the best there is') from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f'device: "{name}" is not one of "auto", "cpu", "cuda" and "mps"')
    return device


@dataclass(frozen=True)
class ComputeType:
    """A device and the precision of the convolutions on it; weights and sums stay in fp32."""

    device: torch.device
    dtype: torch.dtype

    def __str__(self) -> str:
        return next(name for name, dtype in _DTYPES.items() if dtype == self.dtype)


def resolve_precision(device: torch.device, precision: Precision) -> ComputeType:
    """Choose the precision that the device multiplies fastest, unless `precision` says which."""
    return ComputeType(device, _fastest_dtype(device) if precision == "auto" else _DTYPES[precision])


def _fastest_dtype(device: torch.device) -> torch.dtype:
    """Return what a device multiplies in hardware: bf16 (a CPU by AVX512-BF16 or AMX), or else fp16, or else fp32."""
    if device.type == "cuda":
        generation = torch.cuda.get_device_capability(device)[0]  # tensor cores came with 7, bf16 with 8
        return torch.bfloat16 if generation >= 8 else torch.float16 if generation == 7 else torch.float32
    if device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return torch.bfloat16
    return torch.float32


@dataclass
class Runtime:
    """Where a run computes, and how much at once: sizes are halved when memory runs out, six times in all.

    Attributes
    ----------
    compute
        Device and precision.
    tile_size, crop_size
        Sides in pixels of the tiles that networks are applied in, and of the crops that they are trained on.
    batch_size
        Crops in a training step.
    """

    compute: ComputeType
    tile_size: int
    crop_size: int
    batch_size: int = 1
    _halvings_left: int = 6

    @classmethod
    def resolve(cls, device: str | torch.device, config: Config) -> Self:
        """Begin with what `config` says; raises `ConfigError` for a device that is not there."""
        compute = resolve_precision(resolve_device(device), config.precision)
        usual = BATCH_SIZES.get(compute.device.type, 2)
        batch_size = usual if config.batch_size == "auto" else config.batch_size
        return cls(compute, config.patch_size, config.crop_size, batch_size)

    def shrink(self, size: Literal["tile_size", "crop_size"], error: BaseException) -> None:
        """Halve a size; raises `error` if it is not lack of memory, `ImageError` if nothing is left to halve."""
        if not is_out_of_memory(error):
            raise error
        if self._halvings_left == 0:
            sizes = f"tiles of {self.tile_size} and crops of {self.crop_size} pixels"
            raise ImageError(f"image: memory runs out even with {sizes}; a smaller scale needs less") from error
        self._halvings_left -= 1
        setattr(self, size, max(_SMALLEST, getattr(self, size) // 2))

    def retry_smaller_crops(self, work: Callable[[], Value]) -> Value:
        """Return what `work` returns, called again with halved crops as often as memory runs out."""
        while True:
            try:
                return work()
            except (MemoryError, RuntimeError) as error:
                self.shrink("crop_size", error)


def run_single_threaded(
    calls: Iterable[Callable[[], Value]], device: torch.device, most: int | None = None
) -> Iterator[Value]:
    """Yield what the calls return, in their order; on a CPU each of them computes with torch on one thread.

    As many run at once as `single_threaded` allows; outside of it, as torch has threads; and no more than `most`.
    """
    if device.type != "cpu":
        yield from (call() for call in calls)
        return
    count = _parallel_calls.get() or torch.get_num_threads()
    count = min(count, most or count)
    if count == 1 == torch.get_num_threads():
        yield from (call() for call in calls)
        return
    pool = _make_single_threads(os.getpid(), count)
    running: deque[Future[Value]] = deque()
    try:
        for call in calls:
            if len(running) == 2 * count:  # some wait, so that no thread does
                yield running.popleft().result()
            running.append(pool.submit(call))
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Compute with torch on one thread on the calling thread; other threads do only what `run_single_threaded` does.

    So oneDNN and MKL, which round long sums by the number of threads, round them alike for any number. And no OpenMP
    team waits by spinning: two processes on the same cores would be stopped by that for minutes. As many calls run at
    once as torch had threads, but no more than there are cores for this process.
    """
    count = torch.get_num_threads()
    token = _parallel_calls.set(_parallel_calls.get() or min(count, count_cores()))
    _set_own_threads(1)
    try:
        yield
    finally:
        _set_own_threads(count)
        _parallel_calls.reset(token)


_parallel_calls: ContextVar[int] = ContextVar("_parallel_calls", default=0)


_default_threads = Lock()  # or a thread would take for the default what another has just set


def _set_own_threads(count: int) -> None:
    """Set the number of torch's threads for the calling thread alone.

    torch takes a number for the calling thread, and as the default of those that it has not seen yet, which is set back
    at once.
    """
    torch.get_num_threads()  # has this thread seen, so that it does not take the default later
    with _default_threads, ThreadPoolExecutor(1) as other:
        default = other.submit(torch.get_num_threads).result()
        torch.set_num_threads(count)
        other.submit(torch.set_num_threads, default).result()


@cache
def _make_single_threads(process: int, count: int) -> ThreadPoolExecutor:  # threads do not survive a fork
    return ThreadPoolExecutor(count, "zssr", _set_own_threads, (1,))


def release_memory() -> None:
    """Give memory that is free back to the system: glibc keeps what lies between memory that is used."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        logger.debug("this C library gives memory back by itself")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, on a processor or a GPU; any other error of theirs is not to be tried again."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    signs = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


@contextmanager
def torch_modes(name: str) -> Iterator[None]:
    """Work under torch's usual modes, whatever the caller's are.

    What a callback raised is passed on as it was. Lack of memory becomes an `ImageError` about the image called `name`.
    """
    try:
        with torch.inference_mode(False), torch.enable_grad(), single_threaded():
            yield
    except CallbackError as error:
        raise error.error from None
    except ImageError as error:
        raise ImageError(about(name, error)) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ImageError(f"{name}: too large for the memory there is; a smaller scale needs less") from error
