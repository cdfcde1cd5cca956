"""What lies between the caller and the work: the caller's modes of torch, his exceptions, and lack of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from zssr.errors import ImageError, about
from zssr.memory import is_lack_of_memory


class CallerError(Exception):
    """Carries what the caller's progress callback raised past everything that would handle it as an error of ours."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def at_the_door(name: str) -> Iterator[None]:
    """Work under torch's usual modes, whatever the caller's are; lack of memory becomes one sentence about `name`."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    except CallerError as error:
        raise error.error from None
    except ImageError as error:
        raise ImageError(about(name, error)) from error
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        raise ImageError(f"{name}: too large for the memory there is; a smaller scale needs less") from error
