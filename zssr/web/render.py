"""HTML for the state of a job: its progress, plots, the kernel, and facts. It needs no scripts or files."""

import base64
import html
import math
from collections.abc import Sequence

from zssr.progress import Stage, format_duration
from zssr.web.jobs import Job
from zssr.web.messages import JobFacts, ProgressMessage

_STAGES = {
    Stage.TRAIN: "Training x{:g}",
    Stage.TEXTURE: "Training the texture of x{:g}",
    Stage.APPLY: "Upscaling x{:g}",
    Stage.SCAN: "Looking at all frames",
    Stage.FRAMES: "Upscaling the frames x{:g}",
    Stage.REGISTER: "Registering",
    Stage.FUSE: "Fusing x{:g}",
}


def render_state(job: Job, ahead: int) -> str:
    """Render the state of a job: a sentence, a bar, and plots; `ahead` is the number of jobs before it."""
    if job.state == "waiting":
        return _render_bar(f"Waiting: {ahead} {'photo comes' if ahead == 1 else 'photos come'} before yours", None)
    if job.state == "failed":
        return render_error(job.error or "")
    if job.state == "stopped":
        return _render_sentence("Stopped")
    if job.state == "done":
        return _render_bar("Done", 1.0)
    return _render_progress(job.progress) if job.progress else _render_bar("Reading the photo", None)


def render_preview(job: Job) -> str:
    """Render the latest preview."""
    if job.preview is None:
        return ""
    source = "data:image/jpeg;base64," + base64.b64encode(job.preview).decode("ascii")
    return f'<figure class="preview"><img src="{source}" alt="The center of the photo as it is by now"></figure>'


def render_details(facts: JobFacts) -> str:
    """Render how a photo was upscaled: what was assumed and why, the expected gain, time, and warnings."""
    gain, seconds, steps = facts["expected_gain"], format_duration(facts["seconds"]), facts["steps"]
    work = "all frames" if steps is None else f"{steps} steps" if steps else "no training,"
    rows = [
        ("Size", f"{facts['width']} x {facts['height']} pixels"),
        ("Assumed", facts["assumed"]),
        ("Because", facts["reason"]),
        ("Expected gain", None if gain is None else f"{gain:+.1f} dB over bicubic, tested on the photo made smaller"),
        ("Work", f"{work} in {seconds} on {facts['device']}, seed {facts['seed']}"),
        *(("Note", warning) for warning in facts["warnings"]),
    ]
    cells = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in rows if value)
    kernel = _render_kernel(facts["kernel"]) if facts["kernel"] else ""
    return f'<div class="details"><dl>{cells}</dl>{kernel}</div>'


def render_error(sentence: str) -> str:
    """Render an error."""
    return f'<p class="alert" role="alert">{html.escape(sentence)}</p>'


def _render_progress(progress: ProgressMessage) -> str:
    event = progress.event
    is_training = event.stage is Stage.TRAIN  # it may end before its last step
    count = f"step {event.done}" if is_training else f"{event.done} of {event.total}"
    left = "" if progress.seconds_left is None else f", about {format_duration(progress.seconds_left)} left"
    bar = _render_bar(
        f"{_STAGES[event.stage].format(event.scale)}: {count}{left}", None if is_training else event.done / event.total
    )
    if not event.losses:
        return bar
    plots = _render_plot("Loss", event.losses) + _render_plot("Learning rate", event.learning_rates)
    return f'{bar}<div class="plots">{plots}</div>'


def _render_bar(sentence: str, share: float | None) -> str:
    """Render a progress bar below a sentence; striped if the share is unknown."""
    value = "" if share is None else f' value="{share:.3f}"'
    return f'{_render_sentence(sentence)}<progress max="1"{value} aria-label="Progress"></progress>'


def _render_sentence(sentence: str) -> str:
    return f'<p class="state" role="status">{html.escape(sentence)}</p>'


def _render_plot(name: str, values: Sequence[float]) -> str:
    """Plot values on a logarithmic axis."""
    width, height, margin = 300, 90, 4
    logs = [math.log10(max(value, 1e-12)) for value in values]
    low, high = min(logs), max(logs)
    if high - low < 1e-6:  # a constant is drawn in the middle
        low, high = low - 1, high + 1
    points = " ".join(
        f"{margin + k * (width - 2 * margin) / max(1, len(logs) - 1):.1f},"
        f"{height - margin - (log - low) / (high - low) * (height - 2 * margin):.1f}"
        for k, log in enumerate(logs)
    )
    return (
        f'<figure><figcaption>{name}: {values[-1]:.2g}</figcaption><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{name}, from {values[0]:.2g} to {values[-1]:.2g}"><polyline points="{points}"/></svg></figure>'
    )


def _render_kernel(kernel: Sequence[Sequence[float]]) -> str:
    """Draw a kernel as gray cells, each at most 8 pixels wide."""
    peak = max(max(row) for row in kernel)
    height, width = len(kernel), len(kernel[0])
    cells = "".join(
        f'<rect x="{x}" y="{y}" width="1" height="1" fill-opacity="{value / peak:.3f}"/>'
        for y, row in enumerate(kernel)
        for x, value in enumerate(row)
        if value > 0.005 * peak
    )
    return (
        f'<figure class="kernel"><svg viewBox="0 0 {width} {height}" style="max-width: {8 * width}px" role="img" '
        f'aria-label="The blur kernel, {height} by {width} pixels of the output">{cells}</svg>'
        f"<figcaption>blur kernel</figcaption></figure>"
    )
