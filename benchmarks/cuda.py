"""One CUDA GPU: the same results as on the CPU, seconds, steps a second, kernel launches and memory."""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from benchmarks.cuda_cases import CASES, LEAST_PSNR, MOST_GAIN_CHANGE, PRECISIONS, compare_devices, compare_seeds
from benchmarks.protocol import ASTRONAUT, Picture, describe_machine, resize_bicubic
from benchmarks.speed import count_step_flop
from zssr.api import Upscaler
from zssr.config import PRESETS, Config
from zssr.degradation import Degradation
from zssr.errors import ConfigError
from zssr.model import Result
from zssr.networks.sr import Network
from zssr.progress import Progress
from zssr.request import Request
from zssr.run_context import make_context
from zssr.runtime import ComputeType
from zssr.training.pairs import make_training_pairs
from zssr.training.schedule import count_most_steps
from zssr.training.train_step import TrainStep

_LAUNCHES = ("LaunchKernel", "GraphLaunch", "MemcpyAsync", "MemsetAsync")  # in the names of what CUDA's runtime does


@dataclass(frozen=True)
class Effort:
    """Sizes of photos in pixels, and how often what is done.

    Attributes
    ----------
    precisions
        Of the cases and of the training steps.
    case_side, case_steps
        Of the photos of the cases; training steps.
    side, most_steps, repeats
        Of the photo that each preset upscales; most training steps; times, of which the median counts.
    large
        (H, W) of the large photo.
    photos, photo_side
        How many small photos are upscaled one after the other.
    steps, matrix_side
        Training steps that are timed; side of the matrices whose product is the peak.
    """

    precisions: tuple[str, ...] = PRECISIONS
    case_side: int = 128
    case_steps: int = 100
    side: int = 256
    most_steps: int = 4000
    repeats: int = 3
    large: tuple[int, int] = (3024, 4032)
    photos: int = 100
    photo_side: int = 128
    steps: int = 200
    matrix_side: int = 8192


BRIEF = Effort(("bf16",), 40, 1, 32, 2, 1, (48, 64), 2, 26, 8, 64)
"""For a CPU: it shows that the command works, and measures nothing. Gains on smaller photos are off by rounding."""


def run(device: str, out: Path | None) -> None:
    """Print all tables, and write them to a file if one is named. Raises `ConfigError` where there is no CUDA GPU."""
    if device != "cpu" and not torch.cuda.is_available():
        raise ConfigError("device: there is no CUDA GPU here; --device cpu runs the command briefly without one")
    device = "cuda" if device == "auto" else device
    lines = [f"Machine: {describe_machine()}", ""]
    for line in measure(device, BRIEF if device == "cpu" else Effort()):
        print(line, flush=True)
        lines.append(line)
    if out:
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure(device: str, effort: Effort) -> Iterator[str]:
    """Yield the lines of all tables."""
    yield from ["### The same results as on the CPU", ""]
    lines, failures = compare_devices(device, effort.precisions, effort.case_side, effort.case_steps)
    yield from [*lines, ""]
    count = len(CASES) * len(effort.precisions)
    yield "PSNR in dB to the CPU's result in fp32, and gain over bicubic in dB. " + describe_failures(failures, count)
    yield f"Two seeds on the CPU, x2: {compare_seeds(effort.case_side, effort.case_steps):.1f} dB to each other."
    yield from ["", "### Seconds and memory", ""]
    yield "| | steps | estimating s | learning s | applying s | all s | peak GB |"
    yield "|---|---|---|---|---|---|---|"
    yield from measure_seconds(device, effort)
    yield from ["", "### Training step, x2", ""]
    yield "| precision | crops | steps per second | TFLOP/s | of the bf16 peak | launches per step |"
    yield "|---|---|---|---|---|---|"
    for precision in effort.precisions:
        yield measure_step(device, precision, effort)
    yield from ["", "The peak is what a large product of matrices in bf16 reaches on the same device."]


def describe_failures(failures: list[str], count: int) -> str:
    """Say which cases are off limits."""
    limits = f"at least {LEAST_PSNR:g} dB, and gains within {MOST_GAIN_CHANGE:g} dB"
    return f"Of {count} results {len(failures)} miss {limits}: {', '.join(failures) or 'none'}."


def measure_seconds(device: str, effort: Effort) -> Iterator[str]:
    """Yield a row for each preset, for the large photo and for many small ones."""
    photo = make_photo((effort.side, effort.side))
    for preset in PRESETS:
        config = limit_steps(Config.preset(preset), effort)
        Upscaler(config).run(photo, Request(2, device=device))  # warms up
        runs = [timed_run(config, photo, device) for _ in range(effort.repeats)]
        yield to_row(f"{effort.side}x{effort.side}, `{preset}`", runs[0][0], runs, device)
    fast, default = (limit_steps(Config.preset(name), effort) for name in ("fast", "default"))
    height, width = effort.large
    large = timed_run(default, make_photo(effort.large), device)
    yield to_row(f"{width}x{height}, `default`", large[0], [large], device)
    small = make_photo((effort.photo_side, effort.photo_side))
    shifted = [np.roll(small, k, 1) for k in range(effort.photos)]
    start = time.perf_counter()
    upscaler = Upscaler(fast)
    results = [upscaler.run(each, Request(2, device=device)) for each in shifted]
    whole = (time.perf_counter() - start) / effort.photos
    name = f"{effort.photos} photos of {effort.photo_side}x{effort.photo_side}, `fast`, per photo"
    yield to_row(name, results[-1], [(one, whole) for one in results], device)


def limit_steps(config: Config, effort: Effort) -> Config:
    """Return the settings with no more steps than the effort has."""
    return config.replace(num_epochs=min(count_most_steps(config, config.init), effort.most_steps))


def timed_run(config: Config, photo: Picture, device: str) -> tuple[Result[Picture], float]:
    """Upscale a photo by 2; return the result and the seconds."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    result = Upscaler(config).run(photo, Request(2, device=device))
    return result, time.perf_counter() - start


def to_row(name: str, result: Result[Picture], runs: list[tuple[Result[Picture], float]], device: str) -> str:
    """Return a row of the medians of the stages' seconds."""
    stages = [("estimate",), ("pairs", "train"), ("apply",)]
    seconds = [median(sum(one.seconds.get(stage, 0.0) for stage in group) for one, _ in runs) for group in stages]
    cells = " | ".join(f"{value:.3f}" for value in [*seconds, median(whole for _, whole in runs)])
    return f"| {name} | {result.steps} | {cells} | {read_peak_memory(device):.2f} |"


def read_peak_memory(device: str) -> float:
    """Return the peak of the GPU's memory, or of the process, in GB."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def measure_step(device: str, precision: str, effort: Effort) -> str:
    """Return a row about training steps in one precision."""
    context = make_context(Config(precision=precision), Request(2, device=device), Progress())  # type: ignore[arg-type]
    config, runtime = context.config, context.runtime
    generator = torch.Generator().manual_seed(0)
    photo = torch.from_numpy(make_photo((effort.side, effort.side)) / np.float32(255)).permute(2, 0, 1)[None]
    pairs, _ = make_training_pairs(
        [[photo.to(runtime.compute.device)]], Degradation(), 2, config.crop_size, generator, runtime.batch_size
    )
    network = Network(3, 2, config.shape, generator).to(runtime.compute.device)
    step, crops = TrainStep(network, runtime.compute), pairs.draw_steps(generator)

    def take_steps() -> None:
        for _ in range(effort.steps):
            step(*next(crops), 1e-4)

    take_steps()  # warms up, and captures
    seconds = time_work(take_steps, runtime.compute)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA][: 1 + (device != "cpu")]) as profiler:
        take_steps()
    launches = sum(event.count for event in profiler.key_averages() if any(name in event.key for name in _LAUNCHES))
    rate = count_step_flop(network, pairs) * effort.steps / seconds
    share = rate / measure_bf16_peak(runtime.compute, effort.matrix_side)
    numbers = f"{effort.steps / seconds:.0f} | {rate / 1e12:.2f} | {share:.0%} | {launches / effort.steps:.1f}"
    return f"| {precision} | {pairs.count} | {numbers} |"


def measure_bf16_peak(compute: ComputeType, side: int) -> float:
    """Return the operations per second of a product of matrices, the best of several runs."""
    matrix = torch.ones(side, side, device=compute.device, dtype=torch.bfloat16)
    return 2 * side**3 / min(time_work(partial(torch.mm, matrix, matrix), compute) for _ in range(5))


def time_work(work: Callable[[], object], compute: ComputeType) -> float:
    """Return the seconds of some work, to its end on the device."""
    is_cuda = compute.device.type == "cuda"
    if is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def make_photo(size: tuple[int, int]) -> Picture:
    """Return a photo of `size` (H, W), repeated if it is large."""
    photo = np.asarray(Image.open(ASTRONAUT).convert("RGB"))
    if max(size) < len(photo):
        return resize_bicubic(photo, size, size[0] / len(photo)) if size[0] == size[1] else photo[: size[0], : size[1]]
    repeats = [-(-length // own) for length, own in zip(size, photo.shape[:2], strict=True)]
    return np.tile(photo, (*repeats, 1))[: size[0], : size[1]]
