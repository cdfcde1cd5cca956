"""The page, and the endpoints for programs: all they do is to make wishes of what is asked, and to show jobs."""

import base64
import binascii
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from zssr.config import PRESETS
from zssr.errors import ConfigError, ImageError, ZssrError
from zssr.io.metadata import Keep
from zssr.web.jobs import Job, Jobs
from zssr.web.messages import JobResult, ServerLimits, Upload, Wish
from zssr.web.render import alert, details_of, glimpse_of, state_of

HERE = Path(__file__).parent
EXAMPLES = HERE / "examples"

_SCALES = [("2", "2"), ("3", "3"), ("4", "4"), ("1.5", "1.5"), ("to a size", "size")]
_KERNELS = [("estimated", "auto"), ("bicubic", "bicubic"), ("from a file", "file")]
_AT_ONCE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
_ABOUT = """# zssr
Makes one photo larger and sharper. A small network learns from **this photo alone**, here and now, and is thrown away
after that. Nothing leaves the machine that this page comes from."""


def page(jobs: Jobs) -> gr.Blocks:
    """Return the page."""
    rules = jobs.rules
    blocks = gr.Blocks(title="zssr", analytics_enabled=False)
    with blocks:
        gr.Markdown(_ABOUT)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                asked = _questions(rules)
                with gr.Row():
                    start = gr.Button("Enlarge", variant="primary", elem_id="enlarge", min_width=90)
                    trial = gr.Button("Try a piece", elem_id="try", min_width=110)
                    stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop", min_width=60)
            with gr.Column(scale=3, min_width=300):
                state = gr.HTML("<p>Drop a photo, and press <em>Enlarge</em>.</p>", elem_id="state")
                glimpse = gr.HTML(elem_id="glimpse", visible=False)
                slider = gr.ImageSlider(
                    label="Before (bicubic) and after (zssr)",
                    type="filepath",
                    interactive=False,
                    visible=False,
                    max_height=700,
                    elem_id="slider",
                )
                file = gr.DownloadButton("Download the photo", visible=False, variant="primary", elem_id="download")
                details = gr.HTML(elem_id="details", visible=False)
        job_now = gr.State(time_to_live=rules.kept)
        shown = [state, glimpse, slider, file, details, start, trial, stop, job_now]
        for button, is_piece in ((start, False), (trial, True)):
            button.click(
                _enlarging(jobs, shown, piece=is_piece),
                asked,
                shown,
                api_visibility="private",
                concurrency_limit=None,
                show_progress="hidden",
            )
        stop.click(lambda job: jobs.stop(job) if job else None, job_now, None, **_AT_ONCE)
        _add_endpoints(jobs, asked)
    return blocks


def _questions(rules: ServerLimits) -> list[gr.components.Component]:
    """Add what can be asked for."""
    photo = gr.File(label="Photo", elem_id="photo", height=160)
    limits = f"at most {rules.max_MB:g} MB and {rules.max_pixels / 1e6:g} megapixels"
    gr.Markdown(f"Drop, paste or choose a PNG, JPEG or WebP file, {limits}; or try an example:")
    with gr.Row(elem_id="examples"):
        for path in sorted(EXAMPLES.glob("*.[jp][pn]g")):
            example = gr.Button(path.stem, size="sm", min_width=80)
            example.click(lambda path=path: str(path), None, photo, **_AT_ONCE)
    scale = gr.Radio(_SCALES, value="2", label="How much larger", elem_id="scale")
    with gr.Row(visible=False) as sizes:
        width = gr.Number(value=None, label="Width, pixels", precision=0)
        height = gr.Number(value=None, label="Height, pixels", precision=0)
    scale.change(lambda scale: gr.Row(visible=scale == "size"), scale, sizes, **_AT_ONCE)
    preset = gr.Radio(list(PRESETS), value="default", label="Time or quality", elem_id="preset")
    adversarial = gr.Slider(
        0, 2, value=0, step=0.25, label="Texture (0: none, exact; 1: sharper, part of it invented)", elem_id="texture"
    )
    with gr.Accordion("More", open=False):
        kernel = gr.Radio(_KERNELS, value="auto", label="Blur kernel")
        kernel_file = gr.File(label="Kernel file: .npy, .mat or .png", visible=False, height=160)
        kernel.change(lambda kernel: gr.File(visible=kernel == "file"), kernel, kernel_file, **_AT_ONCE)
        seed = gr.Number(value=0, label="Seed", precision=0)
        keep = gr.Checkbox(value=False, label="Keep metadata (EXIF with place and time, XMP, texts)")
    return [photo, scale, width, height, preset, adversarial, kernel, kernel_file, seed, keep]


def _wish(
    photo: str | None,
    scale: str,
    width: float | None,
    height: float | None,
    preset: str,
    adversarial: float,
    kernel: str,
    kernel_file: str | None,
    seed: float | None,
    keep: bool,
    *,
    piece: bool = False,
) -> Wish:
    """Make a wish of the answers to all questions; raises `ZssrError`."""
    if not photo:
        raise ImageError("photo: there is none yet; drop one first")
    size = None
    if scale == "size":
        if not width or not height:
            raise ConfigError("size: width and height are needed, in pixels")
        size = (int(height), int(width))
    factor = 2.0 if size else float(scale)
    if kernel == "file" and not kernel_file:
        raise ConfigError("kernel: there is no file yet; choose one, or take another kernel")
    return Wish(
        _upload(photo),
        (factor, factor),
        size,
        preset,
        _upload(kernel_file) if kernel == "file" and kernel_file else kernel,
        float(adversarial),
        int(seed or 0),
        "all" if keep else "colors",
        piece,
    )


def _upload(path: str) -> Upload:
    return Upload.of(Path(path).name, Path(path).read_bytes())


def _enlarging(jobs: Jobs, shown: list[gr.components.Component], *, piece: bool) -> Any:  # noqa: ANN401
    """Return what a button does: queue a job, and show all that happens to it."""
    state, glimpse, slider, file, details, start, trial, stop, job_now = shown

    def busy(yes: bool) -> dict[Any, Any]:
        return {button: gr.Button(interactive=not yes) for button in (start, trial)} | {
            stop: gr.Button(interactive=yes)
        }

    def pressed(*answers: Any) -> Iterator[dict[Any, Any]]:  # noqa: ANN401
        try:
            job = jobs.submit(_wish(*answers, piece=piece))
        except ZssrError as error:
            yield {state: alert(str(error))}
            return
        hidden = {each: gr.update(visible=False) for each in (glimpse, slider, file, details)}
        yield hidden | busy(True) | {job_now: job}
        try:
            seen = None
            for now in jobs.follow(job):
                update: dict[Any, Any] = {state: state_of(now, jobs.before(now))}
                if now.glimpse is not seen and not now.is_over:
                    seen = now.glimpse
                    update[glimpse] = gr.HTML(glimpse_of(now), visible=True)
                yield update
            yield _result(job, shown) | busy(False)
        finally:
            jobs.stop(job)  # when the page was closed

    return pressed


def _result(job: Job, shown: list[gr.components.Component]) -> dict[Any, Any]:
    """Return what is shown of a job that is over."""
    _, glimpse, slider, file, details, *_ = shown
    outcome = job.outcome
    if outcome is None:
        return {glimpse: gr.HTML("", visible=False)}
    update = {
        glimpse: gr.HTML("", visible=False),
        slider: gr.ImageSlider((str(job.folder / outcome.before), str(job.folder / outcome.after)), visible=True),
        details: gr.HTML(details_of(outcome.facts), visible=True),
    }
    if outcome.file:
        update[file] = gr.DownloadButton(value=str(job.folder / outcome.file), visible=True)
    return update


def _add_endpoints(jobs: Jobs, asked: list[gr.components.Component]) -> None:
    """Add what programs call: with a file, and with base64."""

    @wraps(_wish, assigned=())  # for the names of the answers
    def enlarge(*answers: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401
        """Enlarge a photo; the file comes back, and what is known about it."""
        job, outcome = _done(jobs, lambda: _wish(*answers))
        return str(job.folder / str(outcome.file)), outcome.facts

    def enlarge_base64(
        photo: str,
        name: str = "photo.png",
        scale: float = 2.0,
        preset: str = "default",
        adversarial: float = 0.0,
        kernel: str = "auto",
        seed: int = 0,
        keep: bool = False,
    ) -> dict[str, Any]:
        """Enlarge a photo that comes as base64; so the result comes back, with what is known about it."""

        def wish() -> Wish:
            kept: Keep = "all" if keep else "colors"
            upload = Upload.of(name, _decoded(photo, jobs.rules))
            return Wish(upload, (scale, scale), None, preset, kernel, adversarial, seed, kept)

        job, outcome = _done(jobs, wish)
        made = job.folder / str(outcome.file)
        return {"name": made.name, "base64": base64.b64encode(made.read_bytes()).decode("ascii")} | outcome.facts

    with gr.Row(visible=False):
        file, facts = gr.File(label="The photo"), gr.JSON(label="What is known about it")
        gr.Button().click(enlarge, asked, [file, facts], api_name="enlarge", concurrency_limit=None)
    gr.events.api(enlarge_base64, api_name="enlarge_base64", concurrency_limit=None)


def _done(jobs: Jobs, wish: Callable[[], Wish]) -> tuple[Job, JobResult]:
    """Do a job and return it with what came of it; raises Gradio's error, which a program is told."""
    try:
        job = jobs.submit(wish())
    except ZssrError as error:
        raise gr.Error(str(error), print_exception=False) from error
    for _ in jobs.follow(job):
        pass
    if job.outcome is None:
        raise gr.Error(job.error or "zssr ended before the photo was done", print_exception=False)
    return job, job.outcome


def _decoded(text: str, rules: ServerLimits) -> bytes:
    if len(text) > 1.4e6 * rules.max_MB:
        raise ImageError(f"photo: has more than max_MB = {rules.max_MB:g}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"photo: is not base64 ({error})") from error
