"""Every setting of zssr, in one frozen dataclass that validates itself and round-trips to JSON."""

import dataclasses
import difflib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from zssr.errors import ConfigError

Test = Callable[[Any], bool]
_NUMBER = (int, float)


def _setting(default: Any, kinds: tuple[type, ...], allowed: str, test: Test = lambda _: True) -> Any:  # noqa: ANN401
    """Declare a field with its default, the types it may have, and what is allowed in words and as a test."""
    return field(default=default, metadata={"kinds": kinds, "allowed": allowed, "test": test})


def _number(default: float | None, low: float, high: float = math.inf) -> Any:  # noqa: ANN401
    kinds = (int, float) if default is not None else (int, float, type(None))
    top = f" to {high:g}" if high < math.inf else " or more"
    null = " or null" if default is None else ""
    return _setting(default, kinds, f"a number, {low:g}{top}{null}", lambda v: v is None or low <= v <= high)


def _count(default: int | None, low: int, high: float = math.inf) -> Any:  # noqa: ANN401
    kinds = (int,) if default is not None else (int, type(None))
    top = f" to {high:g}" if high < math.inf else " or more"
    null = " or null" if default is None else ""
    return _setting(default, kinds, f"a whole number, {low}{top}{null}", lambda v: v is None or low <= v <= high)


def _choice(default: str, *names: str) -> Any:  # noqa: ANN401
    return _setting(default, (str,), "one of " + ", ".join(f'"{name}"' for name in names), names.__contains__)


def _auto_or(allowed: str, kinds: tuple[type, ...], test: Test, *names: str) -> Any:  # noqa: ANN401
    """Declare a field that is "auto", one of `names`, or a number."""

    def is_allowed(value: Any) -> bool:  # noqa: ANN401
        return value in ("auto", *names) if isinstance(value, str) else test(value)

    return _setting("auto", (*kinds, str), f'"auto", {allowed}', is_allowed)


_FIRST_RATES = {"prior": 3e-4, "random": 1e-3}  # larger steps shake what the prior knows

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"lr_schedule": "cosine", "num_epochs": 100},
    "default": {},
    "best": {"model_depth": 16},
}
"""Points on the curve of quality against time, as settings that differ from the defaults."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one upscaling; README's table says what each does when it is turned.

    Raises `ConfigError`, one sentence with the key, the value and what is allowed, for a wrong type or an impossible
    value.
    """

    image: str | None = _setting(None, (str, type(None)), "a path or null")
    output: str | None = _setting(None, (str, type(None)), "a path or null")
    max_MB: float = _number(100.0, 0.001)  # noqa: N815
    max_pixels: float = _number(100e6, 1.0)
    max_output_pixels: float = _number(500e6, 1.0)
    base64: bool = _setting(False, (bool,), "true or false")
    in_channels: int | None = _count(None, 1)

    init: Literal["prior", "random"] = _choice("prior", "prior", "random")
    prior: str | None = _setting(None, (str, type(None)), "a path or null")
    model_width: int = _count(64, 2, 1024)
    model_depth: int = _count(8, 2, 64)
    model_kernel_size: int = _setting(3, (int,), "an odd number, 1 to 15", lambda v: v in range(1, 16, 2))

    lr: float | None = _number(None, 1e-9, 1.0)
    lr_stop: float = _number(1e-5, 0.0, 1.0)
    lr_schedule: Literal["slope", "cosine"] = _choice("slope", "slope", "cosine")
    lr_decay: float = _setting(0.1, _NUMBER, "a number between 0 and 1", lambda v: 0 < v < 1)
    lr_decay_ratio: float = _number(1.5, 0.0)
    lr_decay_range: int = _count(10, 3)
    lr_decay_step: int = _count(40, 1)
    num_epochs: int = _count(4000, 0)
    crop_size: int = _count(64, 8, 1024)

    adversarial: float = _number(0.0, 0.0, 1000.0)
    gan_loss: Literal["hinge", "bce"] = _choice("hinge", "hinge", "bce")
    perceptual: Literal["features", "vgg", "off"] = _choice("features", "features", "vgg", "off")
    pixel_weight: float = _number(1.0, 0.0, 1000.0)
    texture: float = _number(1.0, 0.0, 1.0)

    noise: float | Literal["auto"] = _auto_or("or a number, 0 to 255", _NUMBER, lambda v: 0 <= v <= 255)
    jpeg: int | Literal["auto", "off"] = _auto_or(
        '"off", or a whole number, 1 to 100', (int,), lambda v: 1 <= v <= 100, "off"
    )
    sampling: Literal["center", "top_left"] = _choice("center", "center", "top_left")

    measure_gain: bool = _setting(False, (bool,), "true or false")

    scale_factor: float | None = _setting(
        None, (*_NUMBER, type(None)), "a number over 1, at most 16, or null", lambda v: v is None or 1 < v <= 16
    )
    scale_times: int = _count(1, 1, 16)
    patch_size: int = _count(384, 8)
    self_ensemble: bool = _setting(True, (bool,), "true or false")
    back_projection: int = _count(4, 0)
    precision: Literal["auto", "fp32", "bf16"] = _choice("auto", "auto", "fp32", "bf16")

    def __post_init__(self) -> None:
        for key in dataclasses.fields(self):
            value, rule = getattr(self, key.name), key.metadata
            is_kind = isinstance(value, rule["kinds"]) and (not isinstance(value, bool) or bool in rule["kinds"])
            if not is_kind or not rule["test"](value):
                raise ConfigError(f"{key.name}: {json.dumps(value, default=repr)} is not {rule['allowed']}")

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return one of the `PRESETS`; raises `ConfigError` for another name."""
        if name not in PRESETS:
            raise ConfigError(f'preset: "{name}" is not one of {", ".join(PRESETS)}')
        return cls(**PRESETS[name])

    def first_rate(self, start: str) -> float:
        """Return the first learning rate from the start weights "prior" or "random"."""
        return _FIRST_RATES[start] if self.lr is None else self.lr

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return width, depth and kernel size of the network."""
        return self.model_width, self.model_depth, self.model_kernel_size

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """Build from a mapping; an unknown key raises `ConfigError` that names the nearest known one."""
        return cls().replace(**settings)

    @classmethod
    def from_json(cls, path: str | Path, preset: str = "default") -> Self:
        """Read a JSON object from the file at `path`; keys that it lacks keep the values of the preset."""
        try:
            settings = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: the configuration cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: the configuration is not JSON: {error}") from error
        if not isinstance(settings, dict):
            raise ConfigError(f"{path}: the configuration is not a JSON object of keys and values")
        return cls.preset(preset).replace(**settings)

    def to_json(self) -> str:
        """Return all settings as a JSON object, in the order of the fields."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def replace(self, /, **settings: Any) -> Self:  # noqa: ANN401
        """Return a copy with some settings changed; raises `ConfigError` like the constructor."""
        known = [key.name for key in dataclasses.fields(self)]
        for key in settings:
            if key not in known:
                lower = {name.lower(): name for name in known}
                near = difflib.get_close_matches(key.lower(), lower, n=1, cutoff=0.4)
                hint = f'did you mean "{lower[near[0]]}"?' if near else f"known are {', '.join(known)}"
                raise ConfigError(f'"{key}" is not a setting; {hint}')
        return dataclasses.replace(self, **settings)
