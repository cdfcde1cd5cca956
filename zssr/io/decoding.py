"""Other libraries' decoders: their failures become `ImageError`s, and their logs go to zssr's debug log."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from zssr.errors import ImageError

logger = logging.getLogger(__name__)


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Turn whatever decoders raise for the damaged picture file `name` into an `ImageError` of one sentence."""
    try:
        with silence(name):
            yield
    except ImageError:
        raise
    except PermissionError as error:
        raise ImageError(f"{name}: cannot be read (no permission)") from error
    except MemoryError as error:
        raise ImageError(f"{name}: is too large for the memory there is") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ImageError(f"{name}: cannot be read; the file is damaged or incomplete ({reason})") from error


@contextmanager
def silence(name: str) -> Iterator[None]:
    """Pass what tifffile and imagecodecs log in this thread on to zssr's debug log, with the name of the picture.

    They log each oddity of a file as a warning or error, which Python prints even where nobody has configured logging.
    A handler or level would stay on another library's logger, so a filter is added for this call and this thread.
    """
    thread = threading.get_ident()

    def redirect(record: logging.LogRecord) -> bool:
        if record.thread not in (None, thread):
            return True
        logger.debug("%s: %s", name, record.getMessage())
        return False

    loggers = [logging.getLogger(library) for library in ("tifffile", "imagecodecs")]
    for each in loggers:
        each.addFilter(redirect)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(redirect)
