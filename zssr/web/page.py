"""The page: what can be asked for, and how a job is shown."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import gradio as gr

from zssr.api import list_methods
from zssr.config import PRESETS
from zssr.errors import ZssrError
from zssr.web.endpoints import Answers, add_endpoints
from zssr.web.form import parse_form
from zssr.web.jobs import Job, JobQueue
from zssr.web.messages import JobRequest, ServerLimits
from zssr.web.render import render_details, render_error, render_preview, render_state

EXAMPLES = Path(__file__).parent / "examples"

Update: TypeAlias = dict[gr.components.Component, object]


class _Outputs(NamedTuple):
    """All that a job changes on the page."""

    state: gr.HTML
    preview: gr.HTML
    slider: gr.ImageSlider
    download: gr.DownloadButton
    details: gr.HTML
    start: gr.Button
    crop: gr.Button
    stop: gr.Button
    job: gr.State


def build_page(queue: JobQueue) -> gr.Blocks:
    """Build the page and its endpoints."""
    blocks = gr.Blocks(title="zssr", analytics_enabled=False)
    with blocks:
        gr.Markdown(
            "# zssr\nMakes one photo larger and sharper. A small network is trained on **this photo alone**, on the "
            "machine that serves this page, and deleted afterwards. Nothing is sent anywhere else."
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                questions = _add_questions(queue.limits)
                with gr.Row():
                    start = gr.Button("Enlarge", variant="primary", elem_id="enlarge", min_width=90)
                    crop = gr.Button("Try a crop", elem_id="try", min_width=110)
                    stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop", min_width=60)
            with gr.Column(scale=3, min_width=300):
                state = gr.HTML("<p>Drop a photo, and press <em>Enlarge</em>.</p>", elem_id="state")
                preview = gr.HTML(elem_id="preview", visible=False)
                slider = gr.ImageSlider(
                    label="Before (bicubic) and after",
                    type="filepath",
                    interactive=False,
                    visible=False,
                    max_height=700,
                    elem_id="slider",
                )
                download = gr.DownloadButton("Download the photo", visible=False, variant="primary", elem_id="download")
                details = gr.HTML(elem_id="details", visible=False)
        job = gr.State(time_to_live=queue.limits.kept)
        outputs = _Outputs(state, preview, slider, download, details, start, crop, stop, job)
        _handle_buttons(queue, questions, outputs)
        add_endpoints(queue, questions)
    return blocks


def _add_questions(limits: ServerLimits) -> list[gr.components.Component]:
    """Add what can be asked for; returns what `parse_form` takes."""
    photo = gr.File(label="Photo", elem_id="photo", height=160)
    most = f"at most {limits.max_MB:g} MB and {limits.max_pixels / 1e6:g} megapixels"
    clip = f"a clip of at most {limits.max_frames} frames"
    gr.Markdown(f"Drop, paste or choose a photo in any usual format but TIFF, or {clip}, {most}; or try an example:")
    with gr.Row(elem_id="examples"):
        for path in sorted(EXAMPLES.glob("*.[jp][pn]g")):
            example = gr.Button(path.stem, size="sm", min_width=80)
            _handle_at_once(example.click, lambda path=path: str(path), None, photo)
    scales = [("2", "2"), ("3", "3"), ("4", "4"), ("1.5", "1.5"), ("to a size", "size")]
    scale = gr.Radio(scales, value="2", label="How much larger", elem_id="scale")
    with gr.Row(visible=False) as size:
        width = gr.Number(value=None, label="Width, pixels", precision=0)
        height = gr.Number(value=None, label="Height, pixels", precision=0)
    _handle_at_once(scale.change, lambda scale: gr.Row(visible=scale == "size"), scale, size)
    preset = gr.Radio(list(PRESETS), value="default", label="Time or quality, of zssr", elem_id="preset")
    texture = "Texture (0: none, exact; 1: sharper, part of it invented)"
    adversarial = gr.Slider(0, 2, value=0, step=0.25, label=texture, elem_id="texture")
    with gr.Accordion("More", open=False):
        resamplers = [("area, box", "box"), ("triangle", "bilinear"), ("Lanczos", "lanczos"), ("nearest", "nearest")]
        plain = [("cubic, not anti-aliased", "cubic")]
        kernels = [("estimated", "auto"), ("bicubic", "bicubic"), *resamplers, *plain, ("from a file", "file")]
        kernel = gr.Radio(kernels, value="auto", label="Made small by")
        kernel_file = gr.File(label="Kernel file: .npy, .mat or .png", visible=False, height=160)
        _handle_at_once(kernel.change, lambda kernel: gr.File(visible=kernel == "file"), kernel, kernel_file)
        names = [(f"{one.name}: {one.summary}", one.name) for one in list_methods().values()]
        told = "Method; its options come after a colon, such as edsr:width=32"
        method = gr.Dropdown(names, value=names[0][1], label=told, allow_custom_value=True, elem_id="method")
        seed = gr.Number(value=0, label="Seed", precision=0)
        keep = gr.Checkbox(value=False, label="Keep metadata (EXIF with place and time, XMP, texts)")
        sides = [("none", "off"), ("left and right", "x"), ("top and bottom", "y"), ("all", "xy")]
        wrap = gr.Radio(sides, value="off", label="Sides that join: of seamless textures, panoramas")
        kinds = [("told apart", "auto"), ("a photo", "photo"), ("graphics", "graphics"), ("labels", "labels")]
        content = gr.Radio(
            kinds, value="auto", label="What it is: graphics get no new colors, labels keep their values"
        )
    return [photo, scale, width, height, preset, adversarial, kernel, kernel_file, seed, keep, wrap, content, method]


def _handle_at_once(
    event: Callable[..., object], handler: Callable[..., object], inputs: object, outputs: object
) -> None:
    """Handle an event without queueing it."""
    event(handler, inputs, outputs, api_visibility="private", show_progress="hidden", queue=False)


def _handle_buttons(queue: JobQueue, questions: list[gr.components.Component], outputs: _Outputs) -> None:
    for button, crop_only in ((outputs.start, False), (outputs.crop, True)):
        button.click(
            _show_job(queue, parse_form, outputs, crop_only),
            questions,
            list(outputs),
            api_visibility="private",
            concurrency_limit=None,
            show_progress="hidden",
        )
    _handle_at_once(outputs.stop.click, lambda job: queue.stop(job) if job else None, outputs.job, None)


def _show_job(
    queue: JobQueue, parse: Callable[Answers, JobRequest], outputs: _Outputs, crop_only: bool
) -> Callable[Answers, Iterator[Update]]:
    """Return a handler that submits a job and shows its states until it is finished."""

    def show(*answers: Answers.args, **named: Answers.kwargs) -> Iterator[Update]:
        try:
            job = queue.submit(replace(parse(*answers, **named), crop_only=crop_only))
        except ZssrError as error:
            yield {outputs.state: render_error(str(error))}
            return
        hidden = (outputs.preview, outputs.slider, outputs.download, outputs.details)
        yield {one: gr.update(visible=False) for one in hidden} | _set_busy(outputs, True) | {outputs.job: job}
        try:
            shown = None
            for _ in queue.follow(job):
                update: Update = {outputs.state: render_state(job, queue.count_ahead(job))}
                if job.preview is not shown and not job.is_finished:
                    shown = job.preview
                    update[outputs.preview] = gr.HTML(render_preview(job), visible=True)
                yield update
            yield _show_result(job, outputs) | _set_busy(outputs, False)
        finally:
            queue.stop(job)  # if the page was closed

    return show


def _set_busy(outputs: _Outputs, busy: bool) -> Update:
    """Enable the stop button, or those that start a job."""
    start, stop = gr.Button(interactive=not busy), gr.Button(interactive=busy)
    return {outputs.start: start, outputs.crop: start, outputs.stop: stop}


def _show_result(job: Job, outputs: _Outputs) -> Update:
    update: Update = {outputs.preview: gr.HTML("", visible=False)}
    if job.result:
        images = (str(job.folder / job.result.before), str(job.folder / job.result.after))
        update[outputs.slider] = gr.ImageSlider(images, visible=True)
        update[outputs.details] = gr.HTML(render_details(job.result.facts), visible=True)
        if job.result.file:
            update[outputs.download] = gr.DownloadButton(value=str(job.folder / job.result.file), visible=True)
    return update
