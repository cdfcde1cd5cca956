"""The answers that users give on the page and programs send to its endpoints, made into requests."""

import base64
import binascii
from pathlib import Path

from zssr.errors import ConfigError, ImageError
from zssr.io.metadata import Keep
from zssr.request import Request
from zssr.web.messages import JobRequest, ServerLimits, Upload


def parse_form(
    photo: str | None,
    scale: str | None,
    width: float | None,
    height: float | None,
    preset: str,
    adversarial: float,
    kernel: str,
    kernel_file: str | None,
    seed: float | None,
    keep: bool,
    wrap: str,
    content: str,
    method: str | None,
) -> JobRequest:
    """Make a request of all answers; `photo` and `kernel_file` are paths of uploaded files.

    Raises `ZssrError`, with one sentence about the first wrong answer.
    """
    if not photo:
        raise ImageError("photo: there is none yet; drop one first")
    if not scale:
        raise ConfigError("scale: there is none; choose one")
    if not isinstance(method, str):
        raise ConfigError("method: its name is needed")
    size = None
    if scale == "size":
        if not width and not height:
            raise ConfigError("size: width and height are needed, in pixels, or one of them")
        size = (int(height) if height else None, int(width) if width else None)
    upload = None
    if kernel == "file":
        if not kernel_file:
            raise ConfigError("kernel: there is no file yet; choose one, or take another kernel")
        kernel, upload = "auto", _read_upload(kernel_file)
    request = Request(2.0 if size else float(scale), size, kernel=kernel, seed=int(seed or 0))
    metadata: Keep = "all" if keep else "colors"
    return JobRequest(_read_upload(photo), request, upload, preset, float(adversarial), metadata, wrap, content, method)


def decode_photo(text: str, name: str, limits: ServerLimits) -> Upload:
    """Decode a photo in base64. Raises `ImageError` if it is too long or not in base64."""
    if len(text) > 1.4e6 * limits.max_MB:  # 4/3 as many characters as bytes, and some more
        raise ImageError(f"photo: has more than max_MB = {limits.max_MB:g}")
    try:
        return Upload.sanitize(name, base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"photo: is not base64 ({error})") from error


def _read_upload(path: str) -> Upload:
    return Upload.sanitize(Path(path).name, Path(path).read_bytes())
