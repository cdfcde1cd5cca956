"""The forward model of super-resolution: blur, sampling, noise, rounding and JPEG as operations on images."""

from zssr.degradation.forward_model import Degradation
from zssr.degradation.resize import resize

__all__ = ["Degradation", "resize"]
