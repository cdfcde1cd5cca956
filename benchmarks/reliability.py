"""Whether the confidence of kernel estimates is right: how many of a confidence are, over resamplers and blurs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.blind import Case, load_cases, measure_covariance
from benchmarks.resamplers import NAMES, make_cases
from zssr import KernelEstimate, estimate_kernel
from zssr.degradation.resamplers import BICUBIC, Resampler
from zssr.degradation.resize import Floats
from zssr.estimation.parametric_kernels import Gaussian, ParametricKernel

_BINS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
_WIDTH = 0.15  # pixels by which the width of a right kernel may be off
_SHAPES = ("disc:2.5", "line:6,30", "gaussian:0.8*bicubic")
_ALIASED = ("linear", "cubic", "lanczos4", "nearest")


def run(data: Path, sets: list[str], scales: list[int], limit: int | None, plot: Path | None) -> None:
    """Print the share of right estimates in bins of confidence, and draw it if there is a file for that."""
    found = [
        (estimate.confidence, is_right(estimate, case))
        for case, scale in _draw_cases(data, sets, scales, limit)
        for estimate in [estimate_kernel(case.small, scale)]
    ]
    confidences, rights = np.array(found, float).T
    which = np.clip(np.searchsorted(_BINS, confidences, side="right") - 1, 0, len(_BINS) - 2)
    print("| confidence | estimates | mean confidence | right |\n|---|---|---|---|")
    for k in np.unique(which):
        inside = which == k
        shares = f"{confidences[inside].mean():.2f} | {rights[inside].mean():.2f}"
        print(f"| {_BINS[k]:g} to {_BINS[k + 1]:g} | {inside.sum()} | {shares} |")
    if plot:
        _draw([(confidences[which == k].mean(), rights[which == k].mean()) for k in np.unique(which)], plot)


def is_right(estimate: KernelEstimate, case: Case) -> bool:
    """Tell whether an estimate is the right resampler, or as wide as the right kernel, in pixels of the photo at x2.

    The mean of two resamplers is right for both.
    """
    found, true = estimate.blur or BICUBIC, BICUBIC if case.kernel is None else case.kernel
    if isinstance(true, Resampler) and isinstance(found, Resampler) and true in found.parts:
        return True
    if _is_aliased(found) != _is_aliased(true) or "nearest" in (str(found), str(true)):
        return False
    scale = estimate.scale[0] / 2
    roots = [_root_covariance(estimate.kernel), _root_covariance(_to_array(true, estimate))]
    return bool(np.abs(np.linalg.eigvalsh(roots[0] - roots[1])).max() <= _WIDTH * scale)


def _draw_cases(data: Path, sets: list[str], scales: list[int], limit: int | None) -> Iterator[tuple[Case, int]]:
    for name in sets:
        for scale in scales:
            for kernel in (*NAMES, *_SHAPES):
                yield from ((case, scale) for case in make_cases(data / name, scale, kernel)[:limit])
            yield from ((case, scale) for case in load_cases(data, name, scale, 0)[:limit])


def _is_aliased(kernel: Resampler | ParametricKernel | Floats) -> bool:
    return isinstance(kernel, Resampler) and kernel.name in _ALIASED


def _to_array(kernel: Resampler | Floats, estimate: KernelEstimate) -> Floats:
    return kernel.to_kernel(estimate.scale) if isinstance(kernel, Resampler) else kernel


def _root_covariance(kernel: Floats) -> Floats:
    return Gaussian.from_covariance(measure_covariance(kernel)).covariance_root


def _draw(shares: list[tuple[float, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7")
    axes.plot(*zip(*shares, strict=True), "o-", color="tab:red")
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    figure.savefig(path, dpi=80)
