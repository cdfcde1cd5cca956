"""The errors that zssr raises for input it cannot use.

Every message is one sentence that names the file or argument, says what is wrong and what would be right.
"""


class ZssrError(Exception):
    """Base of every error that zssr raises on purpose."""


class ConfigError(ZssrError, ValueError):
    """A setting is unknown, has the wrong type, or an impossible value."""


class ImageError(ZssrError, ValueError):
    """An image cannot be read, written, or does not have the shape or values that are needed."""


class KernelError(ZssrError, ValueError):
    """A blur kernel cannot be read or is not a kernel."""


def about(name: str, error: Exception) -> str:
    """Return the sentence of an error; what it says about an "image" is said about the file called `name`."""
    sentence = str(error)
    return name + sentence.removeprefix("image") if sentence.startswith("image:") else sentence
