"""The unknown degradation of an image of any kind: its blur kernel, and the spectra that it was chosen by."""

import math
from contextlib import closing

from zssr.color import luma
from zssr.degradation.resamplers import BICUBIC
from zssr.degradation.resize import Floats
from zssr.errors import ImageError
from zssr.estimation.blur_kernel import KernelEstimate
from zssr.estimation.estimate import estimate_photo_blur
from zssr.estimation.jpeg_quality import resolve_jpeg
from zssr.estimation.parametric_kernels import SCALE
from zssr.estimation.spectrum import fitted_spectra
from zssr.images import ImageLike, load
from zssr.io.limits import Limits
from zssr.request import Request, Scale


def estimate_kernel(image: ImageLike, scale: Scale = 2, *, max_megabytes: float = 100.0) -> KernelEstimate:
    """Estimate from one image of any kind the blur kernel by which it was made small.

    Resamplers, some 1000 Gaussians, discs, lines, lens blurs and unsharp masks are compared by the image's power
    spectrum and the profiles of its edges. The answer is the kernel with the smallest expected loss, so where these say
    little it is bicubic, or at large scales what does less harm.

    Parameters
    ----------
    image
        As in `upscale`, but no batch.
    scale
        A number of at least 1, or a pair (vertical, horizontal), that the kernel is for.
    max_megabytes
        Larger files are refused.

    Raises
    ------
    ZssrError
        One sentence about what is wrong: `ImageError` or `ConfigError`.
    """
    with closing(load(image, Limits(max_megabytes))) as batch:
        if len(batch.photos) != 1:
            raise ImageError(f"image: a batch of {len(batch.photos)} has no one kernel; give its images one by one")
        (photo,) = batch.photos
        image, content = photo.center()
    factors, _ = Request(scale).output_size(photo.size)
    is_compressed = resolve_jpeg("auto", image, photo.jpeg, content) is not None
    return estimate_photo_blur(image, factors, content, is_compressed=is_compressed)


def fit_spectra(image: ImageLike, estimate: KernelEstimate) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Return cycles per pixel, and log power of an image: measured, fitted by `estimate`, by bicubic; None if flat."""
    with closing(load(image, Limits(math.inf, math.inf))) as batch:
        image, content = batch.photos[0].center()
    mask = None if content is None else content.numpy()
    return fitted_spectra(luma(image[0]), estimate.blur or BICUBIC, max(SCALE, *estimate.scale), mask)
