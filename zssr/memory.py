"""What to do when memory runs out: halve tiles or crops, a bounded number of times."""

import torch

from zssr.config import Config
from zssr.errors import ImageError

_SIGNS = ("can't allocate memory", "not enough memory", "out of memory")
_MOST_HALVINGS = 6
_SMALLEST = 8


def is_lack_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, on a processor or a GPU; any other error of theirs is not to be tried again."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


class Thrift:
    """Settings whose sizes are halved when memory runs out, six times in all.

    Attributes
    ----------
    config
        The settings as they are now.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._left = _MOST_HALVINGS

    def halve(self, key: str, error: BaseException) -> None:
        """Halve "patch_size" or "crop_size"; raises `error` if it is another one, `ImageError` if nothing is left."""
        if not is_lack_of_memory(error):
            raise error
        if self._left == 0:
            sizes = f"tiles of {self.config.patch_size} and crops of {self.config.crop_size} pixels"
            raise ImageError(f"image: memory runs out even with {sizes}; a smaller scale needs less") from error
        self._left -= 1
        self.config = self.config.replace(**{key: max(_SMALLEST, getattr(self.config, key) // 2)})
