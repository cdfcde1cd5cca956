"""The gradual scale steps by which a scale is reached."""

import math
from dataclasses import dataclass

from zssr.config import Config
from zssr.errors import ConfigError

_FACTOR = 2.0


@dataclass(frozen=True)
class ScaleStep:
    """One step of a gradual enlargement.

    Attributes
    ----------
    factor
        The whole number of times that the network enlarges in this step.
    scale, size
        What the step's result is brought to: factors (vertical, horizontal) relative to the step's input, and (H, W).
    reached
        Factors (vertical, horizontal) of the result relative to the photo.
    """

    factor: int
    scale: tuple[float, float]
    size: tuple[int, int]
    reached: tuple[float, float]


def plan_scale_steps(
    size: tuple[int, int], target: tuple[int, int], scale: tuple[float, float], config: Config
) -> list[ScaleStep]:
    """Plan how an image of `size` reaches the size `target` at `scale` (vertical, horizontal).

    Without a plan by hand (`scale_factor` and `scale_times`), the steps double the size, and the last one goes to the
    target exactly: x4 is 2 x 2, x3 is 2 x 1.5. Raises `ConfigError` if a plan by hand ends short of `scale`.
    """
    whole = max(scale)
    factor = config.scale_factor or _FACTOR
    count = config.scale_times if config.scale_factor else math.ceil(math.log(whole, factor) - 1e-9)
    if factor**count < whole * (1 - 1e-6):
        raise ConfigError(
            f"scale_factor: {factor:g} taken {count} times reaches x{factor**count:g}, short of the scale x{whole:g}"
        )
    steps = []
    before = (1.0, 1.0)
    for k in range(1, count + 1):
        last = k == count or factor**k >= whole
        reached = scale if last else tuple(min(factor**k, s) for s in scale)
        step_scale = (reached[0] / before[0], reached[1] / before[1])
        sides = target if last else (round(size[0] * reached[0]), round(size[1] * reached[1]))
        steps.append(ScaleStep(math.ceil(max(step_scale) - 1e-6), step_scale, sides, (reached[0], reached[1])))
        before = (reached[0], reached[1])
        if last:
            break
    return steps if whole > 1 else []
