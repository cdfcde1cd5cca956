"""Every setting of zssr, in one frozen dataclass that validates itself and round-trips to JSON."""

import dataclasses
import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar

from zssr.errors import ConfigError

Value = TypeVar("Value")
Predicate = Callable[[Any], bool]


def _setting(default: Value, kinds: tuple[type, ...], allowed: str, test: Predicate = lambda _: True) -> Value:
    """Declare a field: its default, the types it may have, and the allowed values in words and as a test."""
    if default is None:
        kinds, allowed = (*kinds, type(None)), f"{allowed}, or null"
    return field(default=default, metadata={"kinds": kinds, "allowed": allowed, "test": test})


def _number(default: Value, low: float, high: float = math.inf, kinds: tuple[type, ...] = (int, float)) -> Value:
    kind, top = "number" if float in kinds else "whole number", f"to {high:g}" if high < math.inf else "or more"
    return _setting(default, kinds, f"a {kind}, {low:g} {top}", lambda v: v is None or low <= v <= high)


def _count(default: Value, low: int, high: float = math.inf) -> Value:
    return _number(default, low, high, (int,))


def _choice(default: Value, *names: str) -> Value:
    return _setting(default, (str,), "one of " + ", ".join(f'"{name}"' for name in names), names.__contains__)


def _flag(default: Value) -> Value:
    return _setting(default, (bool,), "true or false")


def _path() -> str | None:
    return _setting(None, (str,), "a path")


PRESETS: Mapping[str, Mapping[str, object]] = {
    "fast": {"num_epochs": 20, "self_ensemble": "auto"},
    "default": {},
    "best": {"num_epochs": 240, "self_ensemble": 8},
}
"""Points on the curve of quality against time, as settings that differ from the defaults."""

_MOST_AVERAGED = 2**19  # pixels of all results that "auto" averages: half a second (`python -m benchmarks apply`)


class NetworkShape(NamedTuple):
    """Channels of the hidden layers, number of convolutions, side of their kernels, and whether they form blocks."""

    width: int = 64
    depth: int = 8
    kernel_size: int = 3
    blocks: bool = False

    def __str__(self) -> str:
        blocks = str(self.blocks).lower()
        return "model_width {}, model_depth {}, model_kernel_size {} and model_blocks {}".format(*self[:3], blocks)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one upscaler; docs/settings.md is made from the text below each field.

    Raises `ConfigError`, one sentence with the key, the value and what is allowed, for a wrong type or an impossible
    value.
    """

    image: str | None = _path()
    """Input of the command when it is given none."""
    output: str | None = _path()
    """Output file or folder of the command, like `-o`."""
    max_MB: float = _number(100.0, 0.001)  # noqa: N815
    """Largest input file in megabytes; larger ones are refused."""
    max_pixels: float = _number(100e6, 1.0)
    """Most pixels of an input, read from its header; larger ones are refused before they are decoded."""
    max_output_pixels: float = _number(500e6, 1.0)
    """Most pixels of a result; a photo that would have more is refused before any work."""
    base64: bool = _flag(False)
    """The command prints the output file as base64 text; it writes a file too only if an output is named."""
    in_channels: int | None = _count(None, 1)
    """Refuse images with another number of channels; `null` accepts any."""

    method: str = _setting("zssr", (str,), "the name of a method")
    """Method of super-resolution, with its options after a colon: `"zssr"`, `"vdsr"`, `"edsr:width=256,blocks=32"`.
    `python -m zssr methods` lists them. Some bring their own defaults of settings below."""
    examples: str | None = _path()
    """Folder of photos of your own that the methods by examples learn from, beside the photo itself."""
    init: Literal["prior", "random"] = _choice("prior", "prior", "random")
    """Start weights: `"prior"`, trained on procedurally drawn pictures, or `"random"`, plain zero-shot training, which
    needs more steps."""
    prior: str | None = _path()
    """File of start weights for `init="prior"`; `null` is the built-in one."""
    model_width: int | None = _count(None, 2, 1024)
    """Channels of the network's layers. More fit finer rules and are slower. `null`, here and in the next three, is
    what the start weights have, which is 64 for the built-in ones, or else 64."""
    model_depth: int | None = _count(None, 2, 64)
    """Number of convolutions. More see a larger neighborhood and are slower. `null` is 34 from the built-in start
    weights, and 8 from random ones."""
    model_kernel_size: int | None = _setting(
        None, (int,), "an odd number, 1 to 15", lambda v: v in (None, *range(1, 16, 2))
    )
    """Side of the convolutions. Larger sees a larger neighborhood and is slower. `null` is 3."""
    model_blocks: bool | None = _flag(None)
    """Residual blocks of two convolutions instead of a plain chain: better for deep networks, whose depth is even.
    `null` is `true` from the built-in start weights, and `false` from random ones."""

    lr: float | None = _number(None, 1e-9, 1.0)
    """Initial learning rate of Adam. Higher is faster until the loss diverges. `null` is what suits the start
    weights: 0.0002 by default."""
    lr_stop: float = _number(1e-5, 0.0, 1.0)
    """Training ends when the learning rate falls below this. Lower trains longer."""
    lr_schedule: Literal["auto", "slope", "cosine"] = _choice("auto", "auto", "slope", "cosine")
    """`"cosine"` lowers the learning rate along half a cosine over `num_epochs` steps; `"slope"` lowers it when the
    validation error no longer improves, and ends by itself. `"auto"` is the cosine from the prior, and the slope rule
    from random weights."""
    lr_decay: float = _setting(0.1, (int, float), "a number between 0 and 1", lambda v: 0 < v < 1)
    """Factor of the slope rule at each cut of the learning rate. Higher cuts more gently and trains longer."""
    lr_decay_ratio: float = _number(1.5, 0.0)
    """Patience of the slope rule: cut the learning rate when `ratio * fitted improvement < residual noise`. Higher
    waits longer."""
    lr_decay_range: int = _count(10, 3)
    """Number of last validation errors that the slope rule fits its line to. More react later and more surely."""
    lr_decay_step: int | None = _count(None, 1)
    """Optimizer steps between two measurements of the validation error. More react later and cost less. `null` is 40,
    or 20 with 8 crops or more in a step."""
    num_epochs: int | None = _count(None, 0)
    """Most optimizer steps of each scale step. More are better, up to a point. 0 applies the start weights as they are.
    `null` is 60 with the cosine, and 4000 with the slope rule."""
    batch_size: int | Literal["auto"] = _setting(
        "auto",
        (int, str),
        '"auto", or a whole number, 1 or more',
        lambda v: v == "auto" if isinstance(v, str) else v >= 1,
    )
    """Crops in an optimizer step: `"auto"` is 2 on a CPU and 8 on a CUDA GPU. More are steadier, and slower where there
    are fewer cores."""
    crop_size: int = _count(64, 8, 1024)
    """Side in pixels of the fathers' crops that are trained on. Larger is steadier and slower."""

    adversarial: float = _number(0.0, 0.0, 1000.0)
    """Weight of the adversarial loss while the texture network, or that of `srgan`, is trained. 0 trains none; 1
    balances it with the pixel loss; higher adds more texture and is less exact."""
    gan_loss: Literal["hinge", "bce"] = _choice("hinge", "hinge", "bce")
    """Adversarial loss of the texture network and its discriminator."""
    perceptual: Literal["features", "vgg", "off"] = _choice("features", "features", "vgg", "off")
    """Perceptual loss of the texture network: `"features"` of the discriminator, of `"vgg"` (torchvision's VGG19, whose
    weights you download yourself), or `"off"`."""
    pixel_weight: float = _number(1.0, 0.0, 1000.0)
    """Weight of the pixel loss while the texture network is trained. Higher is more exact; 0 leaves the adversarial
    loss alone."""
    texture: float = _number(1.0, 0.0, 1.0)
    """Strength of the trained texture when it is applied: 0 is the exact result, 1 adds all of it. It needs no new
    training."""

    noise: float | Literal["auto"] = _setting(
        "auto",
        (int, float, str),
        '"auto", or a number, 0 to 255',
        lambda v: v == "auto" if isinstance(v, str) else 0 <= v <= 255,
    )
    """Standard deviation of the photo's noise, which is removed. Higher smooths more. `"auto"` estimates it; 0 keeps
    the grain."""
    jpeg: int | Literal["auto", "off"] = _setting(
        "auto",
        (int, str),
        '"auto", "off", or a whole number, 1 to 100',
        lambda v: v in ("auto", "off") if isinstance(v, str) else 1 <= v <= 100,
    )
    """JPEG quality of the photo, whose artifacts are removed. Lower removes more. `"auto"` takes the coarser of what
    the file says and what the pixels tell; `"off"` keeps the artifacts."""
    sharpening: Literal["auto", "keep"] = _choice("auto", "auto", "keep")
    """What to do with a photo that was sharpened after it was made small: `"auto"` undoes it, so its halos go; `"keep"`
    upscales it as it is."""
    sampling: Literal["center", "top_left"] = _choice("center", "center", "top_left")
    """Position of the photo's samples in each block of output pixels. The wrong one shifts the result by half a pixel
    and costs decibels."""
    wrap: Literal["off", "x", "y", "xy"] = _choice("off", "off", "x", "y", "xy")
    """Sides of the photo that join, as those of seamless textures and panoramas do: left and right (`"x"`), top and
    bottom (`"y"`), or both. They join in the result, too."""
    content: Literal["auto", "photo", "graphics", "labels"] = _choice("auto", "auto", "photo", "graphics", "labels")
    """What the image is. `"graphics"` get no colors beyond those around them, and their flat ground stays flat;
    `"labels"` keep their values, by nearest neighbor; `"auto"` tells photos from graphics."""
    palette: bool = _flag(False)
    """Graphics keep to their colors: each pixel has one of those around it."""
    measure_gain: bool = _flag(False)
    """Measure the expected gain over bicubic interpolation on the photo itself; a second or two more."""

    scale_factor: float | None = _setting(
        None, (int, float), "a number over 1, at most 16", lambda v: v is None or 1 < v <= 16
    )
    """Factor of each scale step, with `scale_times`; `null` doubles until the scale is reached. Smaller steps take
    longer."""
    scale_times: int = _count(1, 1, 16)
    """Number of scale steps, with `scale_factor`."""
    patch_size: int = _count(384, 8)
    """Side in pixels of the tiles that the network is applied to. Smaller needs less memory; the result is the same."""
    self_ensemble: int | Literal["auto"] = _setting(
        4, (int, str), '1, 2, 4, 8 or "auto"', (1, 2, 4, 8, "auto").__contains__
    )
    """Rotations and flips of the photo whose results are averaged. More are more accurate, and as many times slower to
    apply; 1 is the photo as it is, 4 are the rotations. `"auto"` is 4 for results of up to 131 072 pixels, 2 up to
    262 144, and 1 for larger ones and for videos."""
    back_projection: int = _count(4, 0)
    """Iterations of back-projection, which correct the result until it shrinks back to the photo. 0 is none."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _choice("auto", "auto", "fp32", "bf16", "fp16")
    """Data type of the convolutions; `"auto"` is the fastest one of the processor or GPU. `"fp16"` is for GPUs without
    bf16."""

    def __post_init__(self) -> None:
        for key in dataclasses.fields(self):
            value, rule = getattr(self, key.name), key.metadata
            is_kind = isinstance(value, rule["kinds"]) and (not isinstance(value, bool) or bool in rule["kinds"])
            if not is_kind or not rule["test"](value):
                raise ConfigError(f"{key.name}: {json.dumps(value, default=repr)} is not {rule['allowed']}")
        if self.shape.blocks and self.shape.depth % 2:
            raise ConfigError(f"model_depth: {self.shape.depth} is not even, which residual blocks of two need")

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return one of the `PRESETS`; raises `ConfigError` for another name."""
        if name not in PRESETS:
            raise ConfigError(f'preset: "{name}" is not one of {", ".join(PRESETS)}')
        return cls.from_dict(PRESETS[name])

    @classmethod
    def choose(cls, preset: str, config: "Config | None", settings: Mapping[str, object]) -> "Config":
        """Return `config`, or else a preset, with some settings changed; raises `ConfigError` if both are given."""
        if not isinstance(config, (Config, type(None))):
            raise ConfigError(f"config: a Config is needed, not {type(config).__name__}; Config.from_dict makes one")
        if config is not None and preset != "default":
            raise ConfigError(f'preset: "{preset}" is given beside config, which holds all settings already')
        return (cls.preset(preset) if config is None else config).replace(**settings)

    def validation_interval(self, batch_size: int) -> int:
        """Return the optimizer steps between two measurements of the validation error."""
        return self.lr_decay_step or (20 if batch_size >= 8 else 40)

    def choose_self_ensemble(self, pixels: float) -> int:
        """Return `self_ensemble`, or for "auto" the one for results of so many pixels in all."""
        if self.self_ensemble != "auto":
            return self.self_ensemble
        return next((count for count in (4, 2) if count * pixels <= _MOST_AVERAGED), 1)

    @property
    def shape(self) -> NetworkShape:
        """Return the shape of the network; what the settings leave open is as from random weights."""
        return self.take_shape(NetworkShape())

    def take_shape(self, shape: NetworkShape) -> NetworkShape:
        """Return `shape` with what the settings say of it."""
        said = {name: getattr(self, f"model_{name}") for name in NetworkShape._fields}
        return shape._replace(**{name: value for name, value in said.items() if value is not None})

    def fill_shape(self, shape: NetworkShape) -> Self:
        """Return a copy whose networks have `shape` where the settings leave it open."""
        return self.replace(**{f"model_{name}": value for name, value in self.take_shape(shape)._asdict().items()})

    @classmethod
    def from_dict(cls, settings: Mapping[str, object]) -> Self:
        """Build from a mapping; an unknown key raises `ConfigError` that names the nearest known one."""
        return cls().replace(**settings)

    @classmethod
    def from_json(cls, path: str | Path, preset: str = "default") -> Self:
        """Read a JSON object from the file at `path`; keys that it lacks keep the values of the preset."""
        try:
            settings = json.loads(Path(path).read_bytes())  # which finds its encoding, with a BOM or without
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

    def replace(self, /, **settings: object) -> Self:
        """Return a copy with some settings changed; raises `ConfigError` like the constructor."""
        known = [key.name for key in dataclasses.fields(self)]
        for key in settings:
            if key not in known:
                lower = {name.lower(): name for name in known}
                near = difflib.get_close_matches(key.lower(), lower, n=1, cutoff=0.4)
                hint = f'did you mean "{lower[near[0]]}"?' if near else f"known are {', '.join(known)}"
                raise ConfigError(f'"{key}" is not a setting; {hint}')
        values: dict[str, Any] = settings
        return dataclasses.replace(self, **values)
