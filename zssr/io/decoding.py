"""What other libraries log about a picture file is passed on, quietly."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

_LIBRARIES = ("tifffile", "imagecodecs")


@contextmanager
def silence(name: str) -> Iterator[None]:
    """Pass what tifffile and imagecodecs log in this thread on to zssr's debug log, with the name of the picture.

    They log each oddity of a file as a warning or error, which Python prints even where nobody has configured logging.
    A handler or level would stay on another library's logger, so a filter is lent to it, for this call and this thread.
    """
    thread = threading.get_ident()

    def hush(record: logging.LogRecord) -> bool:
        if record.thread not in (None, thread):
            return True
        logger.debug("%s: %s", name, record.getMessage())
        return False

    theirs = [logging.getLogger(library) for library in _LIBRARIES]
    for each in theirs:
        each.addFilter(hush)
    try:
        yield
    finally:
        for each in theirs:
            each.removeFilter(hush)
