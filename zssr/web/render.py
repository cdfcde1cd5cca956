"""What the page draws: how far the work is, curves, kernels, and sentences, as HTML that needs nothing else."""

import base64
import html
import math
from collections.abc import Sequence
from typing import Any

from zssr.progress import format_duration
from zssr.web.jobs import Job

_WIDTH, _HEIGHT, _EDGE = 300, 90, 4  # of a curve's drawing
_CELL = 8  # side of a kernel's number


def state_of(job: Job, before: int) -> str:
    """Return how far a job is: in words, as a bar, and as curves of loss and learning rate."""
    if job.state == "waiting":
        return _bar(f"Waiting: {before} {'photo comes' if before == 1 else 'photos come'} before yours", None)
    if job.state == "failed":
        return alert(job.error or "")
    if job.state == "stopped":
        return _said("Stopped")
    if job.state == "done":
        return _bar("Done", 1.0)
    step = job.step
    if step is None:
        return _bar("Looking at the photo", None)
    left = "" if step.left is None else f", about {format_duration(step.left)} left"
    learns = step.what.startswith("learning x")
    count = f"step {step.done}" if learns else f"{step.done} of {step.total}"
    words = f"{step.what[:1].upper()}{step.what[1:]}: {count}{left}"
    losses, rates = step.curves
    drawn = _curve("Loss", losses) + _curve("Learning rate", rates) if losses else ""
    return _bar(words, None if learns else step.done / step.total) + f'<div class="curves">{drawn}</div>'


def glimpse_of(job: Job) -> str:
    """Return the middle of the photo as it is by now."""
    if job.glimpse is None:
        return ""
    source = "data:image/jpeg;base64," + base64.b64encode(job.glimpse).decode("ascii")
    return f'<figure class="glimpse"><img src="{source}" alt="The middle of the photo as it is by now"></figure>'


def details_of(facts: dict[str, Any]) -> str:
    """Return what was assumed of a photo, what is to be expected, and what else should be known."""
    gain = facts["expected_gain"]
    rows = [
        ("Size", f"{facts['width']} x {facts['height']} pixels"),
        ("Assumed", facts["assumed"]),
        ("Because", facts["reason"]),
        ("Expected gain", None if gain is None else f"{gain:+.1f} dB over bicubic, tested on the photo made smaller"),
        (
            "Work",
            f"{facts['steps']} steps in {format_duration(facts['seconds'])} on {facts['device']}, seed {facts['seed']}",
        ),
        *(("Note", warning) for warning in facts["warnings"]),
    ]
    cells = "".join(f"<dt>{name}</dt><dd>{html.escape(str(value))}</dd>" for name, value in rows if value)
    kernel = _kernel(facts["kernel"]) if facts["kernel"] else ""
    return f'<div class="details"><dl>{cells}</dl>{kernel}</div>'


def alert(sentence: str) -> str:
    """Return a sentence about what went wrong."""
    return f'<p class="alert" role="alert">{html.escape(sentence)}</p>'


def _bar(words: str, share: float | None) -> str:
    """Return a bar with words above; without a share it is striped."""
    value = "" if share is None else f' value="{share:.3f}"'
    return f'{_said(words)}<progress max="1"{value} aria-label="Progress"></progress>'


def _said(words: str) -> str:
    return f'<p class="state" role="status">{html.escape(words)}</p>'


def _curve(name: str, values: Sequence[float]) -> str:
    """Return a curve on a logarithmic axis."""
    logs = [math.log10(max(value, 1e-12)) for value in values]
    low, high = min(logs), max(max(logs), min(logs) + 1e-6)
    points = " ".join(
        f"{_EDGE + k * (_WIDTH - 2 * _EDGE) / max(1, len(logs) - 1):.1f},"
        f"{_HEIGHT - _EDGE - (one - low) / (high - low) * (_HEIGHT - 2 * _EDGE):.1f}"
        for k, one in enumerate(logs)
    )
    caption = f"{name}: {values[-1]:.2g}"
    return (
        f'<figure><figcaption>{caption}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{name}, from {values[0]:.2g} to {values[-1]:.2g}"><polyline points="{points}"/></svg></figure>'
    )


def _kernel(numbers: Sequence[Sequence[float]]) -> str:
    """Return a kernel's numbers as gray cells."""
    most = max(max(row) for row in numbers)
    height, width = len(numbers), len(numbers[0])
    cells = "".join(
        f'<rect x="{x}" y="{y}" width="1" height="1" fill-opacity="{max(0.0, value) / most:.3f}"/>'
        for y, row in enumerate(numbers)
        for x, value in enumerate(row)
        if value > 0.005 * most
    )
    return (
        f'<figure class="kernel"><svg viewBox="0 0 {width} {height}" style="max-width: {width * _CELL}px" role="img" '
        f'aria-label="The blur kernel, {height} by {width} pixels of the output">{cells}</svg>'
        f"<figcaption>blur kernel</figcaption></figure>"
    )
