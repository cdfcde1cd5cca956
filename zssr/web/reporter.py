"""Reports the progress of a run to the server: throttled, with previews and an estimate of the time left."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image
from torch import Tensor

from zssr.api import estimate_steps
from zssr.config import Config
from zssr.io.picture import PixelFormat
from zssr.progress import ProgressEvent, Stage
from zssr.web.messages import PreviewMessage, ProgressMessage, Send
from zssr.web.previews import to_jpeg, to_view


class ProgressReporter:
    """A progress callback that sends messages: progress five times a second, a preview once a second or less.

    Parameters
    ----------
    send
        Gets the messages.
    config
        The settings of the run.
    size, layout
        (H, W) of the photo, and how its pixels are laid out.
    """

    def __init__(self, send: Send, config: Config, size: tuple[int, int], layout: PixelFormat) -> None:
        self._send, self._config, self._layout, self._pixels = send, config, layout, math.prod(size)
        self._started: dict[tuple[Stage, float], float] = {}
        self._next_report = self._next_preview = -math.inf
        self._apply_seconds = 0.0  # that upscaling the photo will take, from the time that a preview takes

    def __call__(self, event: ProgressEvent) -> None:
        """Send what is due of an event."""
        now = time.monotonic()
        elapsed = now - self._started.setdefault((event.stage, event.scale), now)
        if event.preview and now >= self._next_preview:
            self._preview(event.preview, event.scale)
        if now >= self._next_report or event.done >= event.total:
            self._next_report = now + 0.2
            losses, rates = event.losses, event.learning_rates[: len(event.losses)]
            sent = replace(event, losses=_thin(losses), learning_rates=_thin(rates), preview=None)
            self._send(ProgressMessage(sent, self._estimate_left(event, elapsed)))

    def show(self, view: Image.Image) -> None:
        """Send a view as the preview."""
        self._send(PreviewMessage(to_jpeg(view)))

    def _preview(self, render: Callable[[], Tensor], scale: float) -> None:
        start = time.monotonic()
        center = render()  # (C, h, w)
        self.show(to_view(center.permute(1, 2, 0).numpy(), self._layout))
        seconds = time.monotonic() - start
        pixels = self._pixels * scale**2
        turns = self._config.choose_self_ensemble(pixels)
        self._apply_seconds = turns * seconds * max(1.0, pixels / (center.shape[1] * center.shape[2]))
        self._next_preview = time.monotonic() + max(1.0, 8 * seconds)

    def _estimate_left(self, event: ProgressEvent, elapsed: float) -> float | None:
        """Estimate the seconds until a stage ends and, while training, until its result was applied to the photo."""
        if elapsed < 1.0:
            return None
        if event.stage is not Stage.TRAIN:
            return elapsed / event.done * (event.total - event.done)
        steps = estimate_steps(self._config)
        steps = max(steps, event.done + steps // 10)  # it takes longer than usual
        return elapsed / event.done * (steps - event.done) + self._apply_seconds


def _thin(values: Sequence[float], points: int = 60) -> list[float]:
    """Average neighboring values, so that as many points are left as a plot shows."""
    parts = np.array_split(np.asarray(values), min(len(values), points)) if values else []
    return [float(part.mean()) for part in parts]
