"""How a photo was made small, as operations on images; knows nothing of networks."""

from zssr.degradation.forward_model import Degradation
from zssr.degradation.resize import resize

__all__ = ["Degradation", "resize"]
