"""What is asked for of a burst beside what is asked for of single images."""

from dataclasses import dataclass
from typing import get_args

from zssr.errors import ConfigError
from zssr.multiframe.fusion import Reconstruction
from zssr.multiframe.registration import Motion


@dataclass(frozen=True)
class BurstOptions:
    """How the frames of a burst become one image. Raises `ConfigError` for what is none of the choices.

    Attributes
    ----------
    reference
        The number of the frame that the result looks like, 1 for the first; None is the sharpest.
    motion
        How the frames moved: "translation", "rigid", "affine", "homography", or "flow" where the scene moves, too.
    reconstruction
        "map" is the likeliest image under a prior that keeps edges, "ibp" iterative back-projection, and "pocs"
        projections onto convex sets.
    """

    reference: int | None = None
    motion: Motion = "homography"
    reconstruction: Reconstruction = "map"

    def __post_init__(self) -> None:
        for name, choices in (("motion", get_args(Motion)), ("reconstruction", get_args(Reconstruction))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name}: {getattr(self, name)!r} is not one of {', '.join(choices)}")
