"""The worker process of one job: reads the photo, upscales it, and sends progress, previews and the result."""

import logging
import math
import os
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from PIL import Image

from zssr.api import Result, Upscaler, estimate_kernel, find_method, is_kernel_name
from zssr.config import Config
from zssr.errors import ConfigError, ImageError, ZssrError, about
from zssr.io.formats import TIFF, detect_format
from zssr.io.limits import Limits
from zssr.io.picture import PixelFormat
from zssr.io.reading import open_picture
from zssr.request import Request
from zssr.web.clip_job import is_clip, upscale_clip_job
from zssr.web.messages import ErrorEvent, JobFacts, JobRequest, JobResult, Send, ServerLimits, WorkerMessage
from zssr.web.previews import crop_highest_contrast, to_jpeg, view_picture
from zssr.web.reporter import ProgressReporter

logger = logging.getLogger(__name__)


class _Input(NamedTuple):
    """The photo as an 8-bit image, its pixel format, and the color profile that the image is shown with."""

    view: Image.Image
    layout: PixelFormat
    profile: bytes | None


def run_one_job(connection: "Connection[WorkerMessage, tuple[JobRequest, Path]]", limits: ServerLimits) -> None:
    """Wait for a request and its folder, run the job there, and send what comes of it."""
    request, folder = connection.recv()
    os.chdir(folder)
    connection.send(_run_job(request, limits, connection.send))


def _run_job(job: JobRequest, limits: ServerLimits, send: Send) -> WorkerMessage:
    name = job.photo.name
    try:
        if is_clip(name):
            return upscale_clip_job(job, _configure(job, limits), _prepare(job, limits), limits, send)
        return (_upscale_crop if job.crop_only else _upscale_photo)(job, limits, send)
    except ZssrError as error:
        sentence = about(name, error)
        return ErrorEvent(sentence if ": " in sentence else f"{name}: {sentence}")
    except Exception as error:  # a bug of zssr; the server goes on
        logger.exception("a job failed")
        return ErrorEvent(f"{name}: could not be done, for no reason that zssr knows of ({type(error).__name__})")


def _upscale_photo(job: JobRequest, limits: ServerLimits, send: Send) -> JobResult:
    start = time.perf_counter()
    config = _configure(job, limits)
    photo = _read(job, config)
    reporter = ProgressReporter(send, config, (photo.view.height, photo.view.width), photo.layout)
    reporter.show(photo.view)
    output, request = Path(job.output), _prepare(job, limits)
    upscaler, name = Upscaler(config), job.photo.name
    result = upscaler.run_file(job.photo.content, output, request, progress=reporter, name=name, keep=job.keep)
    seconds = time.perf_counter() - start
    with open_picture(output, Limits(math.inf, math.inf)) as made:
        _write_comparison(photo.view, view_picture(made), photo.profile)
    return JobResult(job.output, "before.jpg", "after.jpg", _list_facts(result, seconds))


def _upscale_crop(job: JobRequest, limits: ServerLimits, send: Send) -> JobResult:
    """Upscale a crop with the preset "fast"; the kernel is estimated from the whole photo."""
    start = time.perf_counter()
    config = _configure(job, limits)
    photo, request = _read(job, config), _prepare(job, limits)
    scale, size = request.output_size((photo.view.height, photo.view.width))
    if request.kernel == "auto":
        estimate = estimate_kernel(photo.view.convert("RGB"), scale)
        request = replace(request, kernel=estimate.assumed)
    crop = crop_highest_contrast(photo.view).convert("RGB")
    config = config.replace(self_ensemble=config.choose_self_ensemble(math.prod(size)))
    reporter = ProgressReporter(send, config, (crop.height, crop.width), PixelFormat("rgb", 3, np.dtype(np.uint8)))
    reporter.show(crop)
    result = Upscaler(config).run(np.asarray(crop), replace(request, scale=scale, size=None), progress=reporter)
    seconds = time.perf_counter() - start
    _write_comparison(crop, Image.fromarray(result.image), photo.profile)
    return JobResult(None, "before.jpg", "after.jpg", _list_facts(result, seconds))


def _configure(job: JobRequest, limits: ServerLimits) -> Config:
    """Return the settings of a job; those that its method brings are above those of the preset."""
    preset = Config.preset("fast" if job.crop_only else job.preset)
    return preset.replace(method=job.method, **find_method(job.method).settings).replace(
        max_MB=limits.max_MB,
        max_pixels=limits.max_pixels,
        max_output_pixels=limits.max_output_pixels,
        adversarial=job.adversarial,
        wrap="off" if job.crop_only else job.wrap,
        content=job.content,
        measure_gain=not job.crop_only,
    )


def _read(job: JobRequest, config: Config) -> _Input:
    """Read the photo; raises `ImageError` if it is none."""
    name, content = job.photo
    if detect_format(content) is TIFF:
        raise ImageError(f"{name}: is a TIFF picture, which the page cannot show; the command takes it")
    with open_picture(content, Limits(config.max_MB, config.max_pixels), name) as picture:
        profile = picture.metadata.icc if picture.pixel_format.colors == "rgb" else None  # the view is in RGB
        return _Input(view_picture(picture), picture.pixel_format, profile)


def _prepare(job: JobRequest, limits: ServerLimits) -> Request:
    """Return the request with the server's device, and with the path of the kernel file, if there is one.

    That is written to the job's folder; of its name only the suffix is used.
    """
    kernel = job.request.kernel
    if job.kernel_file:
        path = Path("kernel" + Path(job.kernel_file.name).suffix.lower())
        path.write_bytes(job.kernel_file.content)
        kernel = path
    elif not (isinstance(kernel, str) and (kernel == "auto" or is_kernel_name(kernel))):
        raise ConfigError(f'kernel: "{kernel}" is neither "auto" nor the name of a kernel, such as "bicubic"')
    return replace(job.request, kernel=kernel, device=limits.device)


def _write_comparison(before: Image.Image, after: Image.Image, profile: bytes | None) -> None:
    """Write before.jpg, upscaled by bicubic interpolation, and after.jpg."""
    Path("before.jpg").write_bytes(to_jpeg(before.resize(after.size, Image.Resampling.BICUBIC), profile))
    Path("after.jpg").write_bytes(to_jpeg(after, profile))


def _list_facts(result: Result[object], seconds: float) -> JobFacts:
    kernel = None if result.kernel is None else np.round(result.kernel, 5).tolist()
    reason = result.kernel_estimates[-1].reason if result.kernel_estimates else None
    others = {"seconds": round(seconds, 3), "kernel": kernel, "reason": reason}
    return cast(JobFacts, result.to_dict() | others)
