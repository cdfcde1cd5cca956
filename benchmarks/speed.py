"""The training step against a plain reference loop and the machine's peak; seconds to the same PSNR."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.protocol import Picture, compute_psnr_and_ssim, downsample, load_ground_truths
from benchmarks.reference import CROP, ReferenceLoop
from zssr.config import Config
from zssr.cores import count_cores
from zssr.degradation import Degradation
from zssr.inference.tiles import add_residual
from zssr.networks.sr import Convolution, Network
from zssr.runtime import ComputeType, Runtime, run_single_threaded, single_threaded
from zssr.training.pairs import Pairs, make_training_pairs
from zssr.training.schedule import SlopeRule, make_schedule
from zssr.training.train_step import TrainStep
from zssr.training.trainer import train

SCALE = 2
GOALS = (36.7, 37.0)
_ROUNDS, _STEPS = 15, 6
_FIRST_MEASUREMENT, _MEASUREMENT_RATIO = 20, 1.1  # optimizer steps to the first one of PSNR, then times so many
_REFERENCE_STEPS = 3000  # as the papers


def run(data: Path, config: Config, device: str) -> None:
    """Print the two tables; both loops start from random weights."""
    config = config.replace(init="random")
    runtime = Runtime.resolve(device, config)
    pairs = [downsample(truth, SCALE) for _, truth in load_ground_truths(data / "Set5")]
    measure_step_time(to_tensor(pairs[0][1]), config, runtime)
    measure_time_to_goals(pairs, config, runtime.compute)


def to_tensor(small: Picture) -> Tensor:
    """Return a picture (H, W, C) as a photo (1, C, H, W)."""
    return torch.from_numpy(small / np.float32(255)).permute(2, 0, 1)[None]


def measure_step_time(photo: Tensor, config: Config, runtime: Runtime) -> None:
    """Measure both loops in turns, and the convolutions' rate against the best that the machine does."""
    compute = runtime.compute
    reference = ReferenceLoop(photo, SCALE, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    rate = make_schedule(config, "random").rate
    loops: list[tuple[str, float, Callable[[], object]]] = [
        ("reference loop, fp32, 1 of 128 x 128", 0.0, lambda: reference.step(rate))
    ]
    for count, crop in ((1, CROP), (1, 64), (runtime.batch_size, config.crop_size)):
        network, pairs, _ = _prepare(photo.to(compute.device), config.replace(crop_size=crop), count)
        step = TrainStep(network.to(compute.device), compute)
        name = f"zssr, {compute}, {count} of {crop} x {crop}"
        loops.append(
            (name, count_step_flop(network, pairs), partial(_one_step, step, pairs.draw_steps(generator), rate))
        )
    seconds = []
    for _ in range(_ROUNDS):
        reference_time = _time(loops[0][2], compute)  # torch has all threads
        with single_threaded():
            seconds.append([reference_time] + [_time(work, compute) for _, _, work in loops[1:]])
    medians = np.median(seconds[1:], axis=0)
    with single_threaded():
        best = measure_best_convolution(compute)
    print("### Training step, x2, both loops in turns, median\n")
    print("| | ms per step | times faster | GFLOP/s | of the best |\n|---|---|---|---|---|")
    for (name, flop, _), median in zip(loops, medians, strict=True):
        rate = flop / median / 1e9
        roofline = f"{rate:.0f} | {rate / best:.0%}" if flop else "|"
        print(f"| {name} | {1e3 * median:.1f} | {medians[0] / median:.1f} | {roofline} |")
    print(
        f"\nThe best is this machine's best large convolution (forward) in the same dtype: {best:.0f} GFLOP/s.\n",
        flush=True,
    )


def _one_step(step: TrainStep, crops: Iterator[tuple[Tensor, Tensor]], rate: float) -> None:
    step(*next(crops), rate)


def count_step_flop(network: Network, pairs: Pairs) -> float:
    """Count the operations of a step's convolutions: forward, and twice that backward (the first layer once)."""
    weights = [weight.numel() for name, weight in network.named_parameters() if name.endswith("weight")]
    return 2.0 * (3 * sum(weights) - weights[0]) * pairs.count * pairs.side**2


def measure_best_convolution(compute: ComputeType) -> float:
    """Return the highest GFLOP/s of some large 3x3 convolutions, forward, on all threads at once; the best of ten."""
    best = 0.0
    for channels, side in ((64, 256), (128, 128), (256, 64), (256, 128)):
        layer = Convolution(channels, channels, 3)
        layer = layer.to(compute.device, compute.dtype).to(memory_format=torch.channels_last)
        image = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0))
        image = image.to(compute.device, compute.dtype).contiguous(memory_format=torch.channels_last)
        apply = torch.no_grad()(partial(layer, image))
        calls = [apply] * (2 * count_cores() if compute.device.type == "cpu" else 1)
        for _ in range(10):
            seconds = _time(lambda: list(run_single_threaded(calls, compute.device)), compute)  # noqa: B023
            best = max(best, 2 * 9 * channels**2 * side**2 * len(calls) / seconds / 1e9)
    return best


def _time(work: Callable[[], object], compute: ComputeType) -> float:
    def settle() -> None:
        if compute.device.type == "cuda":
            torch.cuda.synchronize()

    settle()
    start = time.perf_counter()
    for _ in range(_STEPS):
        work()
    settle()
    return (time.perf_counter() - start) / _STEPS


def _prepare(photo: Tensor, config: Config, count: int) -> tuple[Network, Pairs, Pairs]:
    generator = torch.Generator().manual_seed(0)
    pairs, validation = make_training_pairs([[photo]], Degradation(), SCALE, config.crop_size, generator, count)
    return Network(photo.shape[1], SCALE, config.shape, generator), pairs, validation


@dataclass
class Timeline:
    """PSNR over the seconds spent on one photo; measuring it is not counted."""

    truth: Picture
    seconds: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    steps: int = 0
    _next: int = _FIRST_MEASUREMENT
    _spent: float = 0.0
    _since: float = field(default_factory=time.perf_counter)

    def measure(self, steps: int, result: Callable[[], Tensor], *, last: bool = False) -> None:
        """Record the PSNR of the result if it is due after so many steps."""
        self.steps = steps
        if steps < self._next and not last:
            return
        self._next = math.ceil(_MEASUREMENT_RATIO * steps)
        self._spent += time.perf_counter() - self._since
        picture = (255 * result()[0].clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        self.seconds.append(self._spent)
        self.psnr.append(compute_psnr_and_ssim(picture, self.truth, SCALE)[0])
        self._since = time.perf_counter()

    def psnr_at(self, seconds: float) -> float:
        """Return the PSNR reached by then."""
        known = [psnr for when, psnr in zip(self.seconds, self.psnr, strict=True) if when <= seconds]
        return known[-1] if known else 0.0


def measure_time_to_goals(pairs: list[tuple[Picture, Picture]], config: Config, compute: ComputeType) -> None:
    """Train on every photo with both loops, and find when their mean PSNR reaches the goals."""
    print("### Seconds of training a photo until the mean PSNR of Set5 x2 is reached\n")
    print("| | " + " | ".join(f"{goal} dB" for goal in GOALS) + " | final dB | steps | seconds in all |")
    print("|---" * (len(GOALS) + 4) + "|", flush=True)
    reached = []
    for name, timeline in (("zssr", _train_zssr), ("reference loop", _train_reference)):
        timelines = [timeline(truth, to_tensor(small), config, compute) for truth, small in pairs]
        reached.append([_time_to(goal, timelines) for goal in GOALS])
        times = " | ".join("never" if when == np.inf else f"{when:.2f}" for when in reached[-1])
        final, steps, seconds = np.mean([(c.psnr[-1], c.steps, c.seconds[-1]) for c in timelines], axis=0)
        print(f"| {name} | {times} | {final:.2f} | {steps:.0f} | {seconds:.1f} |", flush=True)
    ratios = " | ".join(f"{theirs / ours:.1f}" for ours, theirs in zip(*reached, strict=True))
    print(f"| times faster | {ratios} | | | |\n", flush=True)


def _time_to(goal: float, timelines: list[Timeline]) -> float:
    times = sorted({seconds for timeline in timelines for seconds in timeline.seconds})
    return next((t for t in times if np.mean([timeline.psnr_at(t) for timeline in timelines]) >= goal), np.inf)


def _train_zssr(truth: Picture, photo: Tensor, config: Config, compute: ComputeType) -> Timeline:
    timeline = Timeline(truth)
    photo = photo.to(compute.device)
    runtime = Runtime.resolve(compute.device, config)
    network, pairs, validation = _prepare(photo, config, runtime.batch_size)
    network, degradation = network.to(compute.device), Degradation()

    def result() -> Tensor:
        large = degradation.upsample(photo, (truth.shape[0], truth.shape[1]))
        add_residual(network, photo, large, degradation, runtime, lambda: None, self_ensemble=8)
        return degradation.back_project(large, photo, config.back_projection)

    generator = torch.Generator().manual_seed(1)
    schedule = make_schedule(config, config.init, runtime.batch_size)

    def measure(done: int, _: int) -> None:
        timeline.measure(done, result)

    with single_threaded():
        train(network, pairs, validation, config, schedule, compute, generator, measure)
        timeline.measure(timeline.steps, result, last=True)
    return timeline


def _train_reference(truth: Picture, photo: Tensor, config: Config, compute: ComputeType) -> Timeline:
    """Follow the papers: the slope rule looks at the photo's own reconstruction every 60 steps, over 5 values."""
    del compute
    rule = SlopeRule(config.replace(lr_decay_step=60, lr_decay_range=5), 1e-3, _REFERENCE_STEPS)
    timeline = Timeline(truth)
    loop = ReferenceLoop(photo, SCALE, torch.Generator().manual_seed(0))
    for done in range(1, _REFERENCE_STEPS + 1):
        loop.step(rule.rate)
        if done % 60 == 0:
            rule.observe(loop.error())
        timeline.measure(done, loop.upscale)
        if rule.finished:
            break
    timeline.measure(timeline.steps, loop.upscale, last=True)
    return timeline
