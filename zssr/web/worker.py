"""The process that does a job: reads the photo, enlarges it, and tells how that goes."""

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zssr.config import Config
from zssr.errors import ConfigError, ImageError, ZssrError, about
from zssr.io.formats import JPEG, PNG, WEBP, detect_format
from zssr.io.limits import Limits
from zssr.io.picture import Picture, PixelFormat
from zssr.io.reading import open_picture
from zssr.processes import exit_with_parent
from zssr.request import Request
from zssr.web.messages import ErrorEvent, Glimpse, JobResult, Message, ServerLimits, Step, Wish
from zssr.web.previews import jpeg_of, view_of, whole_view

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from zssr.model import Result
    from zssr.progress import ProgressEvent

logger = logging.getLogger(__name__)

_FORMATS = (PNG, JPEG, WEBP)  # that a page takes
_PIECE, _GRID = 96, 16  # pixels: side of what is tried, and what it begins on, as JPEG's blocks do
_CANDIDATES = 8  # places of which the one with the most contrast is tried

_SURE = 1.0  # seconds of work after which can be told how long it may take
_TOLD = 0.2  # seconds between two steps that are told
_SHOWN = 1.0  # seconds between two glimpses, or more:
_SHARE = 8  # times what a glimpse takes
_CURVE = 60  # points
_USUAL_STEPS = 1000  # until the learning of a network ends by itself
_TURNS = 8  # of the self-ensemble


def serve(connection: "Connection[Any, Any]", rules: ServerLimits) -> None:
    """Be a worker: get ready, wait for a wish and a folder, fulfil it there, and end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=exit_with_parent, daemon=True).start()
    import torch

    if rules.threads:
        torch.set_num_threads(rules.threads)
    try:
        wish, folder = connection.recv()
        os.chdir(folder)
        connection.send(_fulfilled(wish, rules, connection.send))
    except (EOFError, OSError):  # nobody is there any more
        return


def _fulfilled(wish: Wish, rules: ServerLimits, tell: Callable[[Message], None]) -> Message:
    name = wish.photo.name
    try:
        return (_piece_enlarged if wish.piece else _enlarged)(wish, rules, tell)
    except ZssrError as error:
        sentence = about(name, error)
        return ErrorEvent(sentence if ": " in sentence else f"{name}: {sentence}")
    except Exception as error:  # whatever it is, it is told, and the page lives on
        logger.exception("a job failed")
        return ErrorEvent(f"{name}: could not be done, for no reason that zssr knows of ({type(error).__name__})")


def _enlarged(wish: Wish, rules: ServerLimits, tell: Callable[[Message], None]) -> JobResult:
    from zssr.api import Upscaler

    start = time.perf_counter()
    config = _config(wish, rules)
    with _opened(wish, config) as picture:
        view, profile = whole_view(picture), _profile(picture)
        teller = _Teller(tell, config, picture.size, picture.pixel_format)
        teller.show(view)
    result = Upscaler(config).run_file(
        wish.photo.content,
        Path(wish.output),
        Request(wish.scale, wish.size, _kernel(wish), rules.device, wish.seed),
        progress=teller.step,
        name=wish.photo.name,
        keep=wish.keep,
    )
    seconds = time.perf_counter() - start
    with open_picture(Path(wish.output), Limits(math.inf, math.inf)) as made:
        return _outcome(wish.output, view, whole_view(made), profile, result, seconds)


def _piece_enlarged(wish: Wish, rules: ServerLimits, tell: Callable[[Message], None]) -> JobResult:
    """Try a piece with the preset "fast": what is assumed of the photo is estimated from all of it."""
    from zssr.api import Upscaler, estimate_kernel

    start = time.perf_counter()
    config = _config(wish, rules, preset="fast")
    with _opened(wish, config) as picture:
        view, profile = whole_view(picture), _profile(picture)
    scale = (wish.size[0] / view.height, wish.size[1] / view.width) if wish.size else wish.scale
    kernel = _kernel(wish)
    if kernel == "auto":
        estimate = estimate_kernel(view.convert("RGB"), scale)
        kernel = None if estimate.blur is None else estimate.kernel
    piece = _piece(view).convert("RGB")
    teller = _Teller(tell, config, (piece.height, piece.width), PixelFormat("rgb", 3, np.dtype(np.uint8)))
    teller.show(piece)
    request = Request(scale, kernel=kernel, device=rules.device, seed=wish.seed)
    result = Upscaler(config).run(piece, request, progress=teller.step)
    from PIL import Image

    return _outcome(
        None, piece, Image.fromarray(np.asarray(result.image)), profile, result, time.perf_counter() - start
    )


def _config(wish: Wish, rules: ServerLimits, preset: str | None = None) -> Config:
    return Config.preset(preset or wish.preset).replace(
        max_MB=rules.max_MB,
        max_pixels=rules.max_pixels,
        max_output_pixels=rules.max_output_pixels,
        adversarial=wish.adversarial,
        measure_gain=not wish.piece,
    )


def _opened(wish: Wish, config: Config) -> Picture:
    """Open the photo; raises `ImageError` for other formats than a page's."""
    name, content = wish.photo
    if content and detect_format(content) not in _FORMATS:
        raise ImageError(f"{name}: is not a PNG, JPEG or WebP picture")
    return open_picture(content, Limits(config.max_MB, config.max_pixels), name)


def _kernel(wish: Wish) -> Any:  # noqa: ANN401
    """Return the kernel for `upscale`; a file is laid into the job's folder, under a name that says its format only."""
    if isinstance(wish.kernel, str):
        if wish.kernel not in ("auto", "bicubic"):
            raise ConfigError(f'kernel: "{wish.kernel}" is neither "auto" nor "bicubic"')
        return wish.kernel
    path = Path("kernel" + Path(wish.kernel.name).suffix.lower())
    path.write_bytes(wish.kernel.content)
    return path


def _profile(picture: Picture) -> bytes | None:
    """Return the profile that a view is shown with; those of gray and CMYK are not for RGB."""
    return picture.metadata.icc if picture.pixel_format.colors == "rgb" else None


def _piece(view: "Image.Image") -> "Image.Image":
    """Return one of several random pieces, the one with the most contrast."""
    rng = np.random.default_rng()
    pieces = []
    for _ in range(_CANDIDATES):
        left, top = (
            int(rng.integers(0, max(0, length - _PIECE) // _GRID + 1)) * _GRID for length in (view.width, view.height)
        )
        pieces.append(view.crop((left, top, min(left + _PIECE, view.width), min(top + _PIECE, view.height))))
    return max(pieces, key=lambda piece: float(np.asarray(piece.convert("L")).std()))


def _outcome(
    file: str | None,
    view: "Image.Image",
    made: "Image.Image",
    profile: bytes | None,
    result: "Result[object]",
    seconds: float,
) -> JobResult:
    from PIL import Image

    Path("before.jpg").write_bytes(jpeg_of(view.resize(made.size, Image.Resampling.BICUBIC), profile))
    Path("after.jpg").write_bytes(jpeg_of(made, profile))
    facts: dict[str, Any] = result.to_dict() | {
        "width": made.width,
        "height": made.height,
        "seconds": round(seconds, 3),
    }
    facts["kernel"] = None if result.kernel is None else np.round(result.kernel, 5).tolist()
    facts["reason"] = result.kernel_estimates[-1].reason if result.kernel_estimates else None
    return JobResult(file, "before.jpg", "after.jpg", facts)


class _Teller:
    """Tells how the work goes: not too often, and how long it may still take."""

    def __init__(
        self, tell: Callable[[Message], None], config: Config, size: tuple[int, int], layout: PixelFormat
    ) -> None:
        self._tell, self._layout, self._pixels = tell, layout, math.prod(size)
        self._steps = config.num_epochs if config.lr_schedule == "cosine" else min(_USUAL_STEPS, config.num_epochs)
        self._begun: dict[str, float] = {}
        self._told = self._shown = -math.inf
        self._applying = 0.0  # seconds that all of the photo will take, as far as a glimpse tells

    def step(self, event: "ProgressEvent") -> None:
        """Send an event on, if the last one was some time ago."""
        if event.preview:
            self.watch(event.preview)
        done, total, what = event.done, event.total, _described(event)
        now = time.monotonic()
        begun = self._begun.setdefault(what, now)
        if now - self._told < _TOLD and done < total:
            return
        self._told = now
        learns = what.startswith("learning x")
        most = max(self._steps, done + self._steps // 10) if learns else total
        left = (now - begun) / done * (most - done) if now - begun > _SURE else None
        if left is not None and learns:
            left += self._applying
        losses, rates = event.losses, event.learning_rates[: len(event.losses)]
        self._tell(Step(done, total, what, left, (_thinned(losses), _thinned(rates))))

    def watch(self, glimpse: "Callable[[], Tensor]") -> None:
        """Show the preview, if the last one was some time ago."""
        start = time.monotonic()
        if start < self._shown:
            return
        self.show(view_of(glimpse().permute(1, 2, 0).numpy(), self._layout))
        took = time.monotonic() - start
        self._applying = _TURNS * took * max(1.0, self._pixels / 192**2)
        self._shown = start + max(_SHOWN, _SHARE * took)

    def show(self, view: "Image.Image") -> None:
        """Show what there is of the photo by now."""
        self._tell(Glimpse(jpeg_of(view)))


def _described(event: "ProgressEvent") -> str:
    words = {"train": f"learning x{event.scale:g}", "texture": "learning texture"}
    return words.get(event.stage, f"applying x{event.scale:g}")


def _thinned(values: Sequence[float]) -> list[float]:
    """Return the means of neighbors, such that a drawing has enough of them."""
    parts = np.array_split(np.asarray(values), min(len(values), _CURVE)) if values else []
    return [float(part.mean()) for part in parts]
