"""Endpoints for programs: one that takes and returns a file, and one that takes and returns base64."""

import base64
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec

import gradio as gr

from zssr.errors import ZssrError
from zssr.io.metadata import Keep
from zssr.request import Request
from zssr.web.form import decode_photo, parse_form
from zssr.web.jobs import Job, JobQueue
from zssr.web.messages import JobFacts, JobRequest, JobResult

Answers = ParamSpec("Answers")


class EncodedResult(JobFacts):
    """The facts of a job with its file: the name and the content in base64."""

    name: str
    base64: str


def add_endpoints(queue: JobQueue, questions: Sequence[gr.components.Component]) -> None:
    """Add the endpoints `enlarge`, whose parameters are the answers to all questions, and `enlarge_base64`."""
    with gr.Row(visible=False):
        outputs = [gr.File(label="The photo"), gr.JSON(label="How it was made")]
        click = gr.Button().click
        click(_handle_files(queue, parse_form), questions, outputs, api_name="enlarge", concurrency_limit=None)
    gr.events.api(_handle_base64(queue), api_name="enlarge_base64", concurrency_limit=None)


def _handle_files(queue: JobQueue, parse: Callable[Answers, JobRequest]) -> Callable[Answers, tuple[str, JobFacts]]:
    @wraps(parse, assigned=())  # Gradio names the parameters by its signature
    def enlarge(*answers: Answers.args, **named: Answers.kwargs) -> tuple[str, JobFacts]:
        """Upscale a photo; returns the file, and how it was made."""
        job, result = _complete(queue, lambda: parse(*answers, **named))
        return str(job.folder / str(result.file)), result.facts

    return enlarge


def _handle_base64(queue: JobQueue) -> Callable[..., EncodedResult]:
    def enlarge_base64(
        photo: str,
        name: str = "photo.png",
        scale: float = 2.0,
        preset: str = "default",
        adversarial: float = 0.0,
        kernel: str = "auto",
        seed: int = 0,
        keep: bool = False,
        wrap: str = "off",
        content: str = "auto",
        method: str = "zssr",
    ) -> EncodedResult:
        """Upscale a photo in base64; returns the result in base64, and how it was made."""

        def parse() -> JobRequest:
            upload, request = decode_photo(photo, name, queue.limits), Request(scale, kernel=kernel, seed=seed)
            metadata: Keep = "all" if keep else "colors"
            return JobRequest(upload, request, None, preset, adversarial, metadata, wrap, content, method)

        job, result = _complete(queue, parse)
        file = job.folder / str(result.file)
        return {"name": file.name, "base64": base64.b64encode(file.read_bytes()).decode("ascii"), **result.facts}

    return enlarge_base64


def _complete(queue: JobQueue, parse: Callable[[], JobRequest]) -> tuple[Job, JobResult]:
    """Run a job to its end. Raises `gradio.Error`, whose sentence the program gets."""
    try:
        job = queue.submit(parse())
    except ZssrError as error:
        raise gr.Error(str(error), print_exception=False) from error
    for _ in queue.follow(job):
        pass
    if job.result is None:
        raise gr.Error(job.error or "zssr ended before the photo was done", print_exception=False)
    return job, job.result
