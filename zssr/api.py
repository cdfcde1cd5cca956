"""The method, top to bottom: `upscale` one image, or set up an `Upscaler` for more."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import torch

from zssr.config import Config
from zssr.errors import ConfigError, ImageError
from zssr.forecast import Forecast, expected_gain, forecast
from zssr.images import ImageLike, load, photo_of
from zssr.io.limits import Limits
from zssr.io.metadata import Keep
from zssr.io.output_format import OutputFormat
from zssr.io.reading import open_picture
from zssr.io.writing import write_picture
from zssr.model import Model, Result
from zssr.pipeline import Method, Progress, Watch
from zssr.request import KernelLike, Request, Scale
from zssr.runtime import torch_modes


def upscale(
    image: ImageLike,
    scale: Scale = 2,
    *,
    size: tuple[int, int] | None = None,
    preset: str = "default",
    config: Config | None = None,
    kernel: KernelLike | None = "auto",
    device: str | torch.device = "auto",
    seed: int = 0,
    progress: Progress | None = None,
    **settings: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Enlarge one image by a network that is trained on this image alone (Shocher, Cohen, Irani 2018).

    Parameters
    ----------
    image
        A path, a PIL image, a numpy array (H, W) or (H, W, C), or a torch tensor (C, H, W) or (N, C, H, W) with any
        number of channels; uint8, uint16 or floats in [0, 1]. It is not modified. Each image of a batch is learned
        from by itself.
    scale
        A number of at least 1, or a pair (vertical, horizontal); fractions are welcome. The output has
        `round(scale * H)` x `round(scale * W)` pixels.
    size
        The output size (H, W) instead of `scale`.
    preset
        "fast", "default" or "best": the settings to start from, a choice between time and quality.
    config
        All settings, instead of a preset.
    kernel
        The blur that made the image small: "auto" estimates it from the image (see `estimate_kernel`); None or
        "bicubic" is MATLAB's anti-aliased bicubic; otherwise a 2-D array or a path to `.npy`, `.mat` (variable
        `Kernel`) or `.png`. It belongs to `scale` and is in pixels of the output. Its center of mass lies, as the
        setting `sampling` says, on the "center" of each `scale` x `scale` block of output pixels or on the block's
        first pixel ("corner").
    device
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    seed
        All randomness comes from it: the same seed, device and versions give the same pixels on a CPU.
    progress
        Called with (done, total, what) as the work goes on; may stop it by raising.
    **settings
        Single settings that replace those of `config`, such as `num_epochs=500`.

    Returns
    -------
    The enlarged image: of the same kind (a PIL image for a path), dtype and device as `image`.

    Raises
    ------
    ZssrError
        One sentence about what is wrong: `ImageError`, `KernelError` or `ConfigError`.
    """
    if config and preset != "default":
        raise ConfigError(f'preset: "{preset}" is given beside config, which holds all settings already')
    upscaler = Upscaler((config or Config.preset(preset)).replace(**settings))
    return upscaler.run(image, scale, size=size, kernel=kernel, device=device, seed=seed, progress=progress).image


class Upscaler:
    """Enlarges images with one set of settings."""

    def __init__(self, config: Config | None = None) -> None:
        if not isinstance(config, (Config, type(None))):
            raise ConfigError(f"config: a Config is needed, not {type(config).__name__}; Config.from_dict makes one")
        self.config = config or Config()

    def run(
        self,
        image: ImageLike,
        scale: Scale = 2,
        *,
        size: tuple[int, int] | None = None,
        kernel: KernelLike | None = "auto",
        device: str | torch.device = "auto",
        seed: int = 0,
        progress: Progress | None = None,
        watch: Watch | None = None,
        model: Model | None = None,
    ) -> Result:
        """Enlarge one image and tell how; the arguments are those of `upscale`, and two more.

        `watch` is called after each step of learning with the result as it grows, and with a function that returns the
        middle of the photo (C, h, w) as the network would enlarge it by now. `model` is what was learned from others.
        """
        order, result = Request(scale, size, kernel, device, seed), Result()
        with torch_modes("image"):
            loaded = load(image, _limits(self.config))
            enlarged = []
            for photo in loaded.photos:
                self._check_size(order, photo.size)
                method = Method(self.config, order, progress, result, watch)
                enlarged.append(torch.cat(list(method.enlarge(photo, model)), dim=-2))
            if self.config.measure_gain:
                result.expected_gain = expected_gain(method, loaded.photos[-1])
            result.image = loaded.restore(enlarged)
        return result

    def run_file(
        self,
        source: Path | bytes,
        output: Path | BinaryIO,
        scale: Scale = 2,
        *,
        size: tuple[int, int] | None = None,
        kernel: KernelLike | None = "auto",
        device: str | torch.device = "auto",
        seed: int = 0,
        progress: Progress | None = None,
        watch: Watch | None = None,
        model: Model | None = None,
        name: str | None = None,
        suffix: str | None = None,
        keep: Keep = "all",
        allow_loss: bool = False,
    ) -> Result:
        """Enlarge a picture file into another, whole or not at all, with everything around its pixels.

        Parameters
        ----------
        source
            A path, or the bytes of a picture file; `name` says what to call these in messages.
        output
            A path, or a binary file to write to; the format of that is given by `suffix`, such as ".png".
        scale, size, kernel, device, seed, progress, watch, learnt
            As in `run`.
        keep
            What of all around the pixels (profile, EXIF, XMP, resolution, texts, place on the map): "all", what says
            how the "colors" are to look, or "nothing".
        allow_loss
            Go on if the output's format cannot hold the picture's transparency, bit depth or colors.

        Raises
        ------
        ZssrError
            One sentence about what is wrong, before any work if it can be known; an existing file stays as it was.
        """
        order, result = Request(scale, size, kernel, device, seed), Result()
        with open_picture(source, _limits(self.config), name) as picture, torch_modes(picture.name):
            factors, size = order.target(picture.size)
            self._check_size(order, picture.size)
            where = output if isinstance(output, Path) else Path(picture.name + (suffix or ""))
            target = OutputFormat.of(where, picture.layout, size, allow_loss)
            for note in picture.notes:
                result.warn(note)
            photo = photo_of(picture)
            method = Method(self.config, order, progress, result, watch)
            bands = (band.permute(1, 2, 0).numpy() for band in method.enlarge(photo, model))
            write_picture(output, target, bands, size, picture.metadata.only(keep).enlarged(factors, size))
            if self.config.measure_gain:
                result.expected_gain = expected_gain(method, photo)
        return result

    def learn(
        self,
        sources: Sequence[Path],
        scale: Scale = 2,
        *,
        size: tuple[int, int] | None = None,
        kernel: KernelLike | None = "auto",
        device: str | torch.device = "auto",
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Model:
        """Learn once from photos that are alike, such as frames or tiles; the arguments are those of `run`.

        How they were made small is estimated from the first. Raises `ImageError` if they differ in their channels.
        """
        with ExitStack() as open_files, torch_modes("image"):
            pictures = [open_files.enter_context(open_picture(source, _limits(self.config))) for source in sources]
            photos = [photo_of(picture) for picture in pictures]
            for picture, photo in zip(pictures, photos, strict=True):
                if photo.channels != photos[0].channels:
                    has = f"has {photo.channels} channels, and {pictures[0].name} {photos[0].channels}"
                    raise ImageError(f"{picture.name}: {has}; photos that share weights have as many")
            return Method(self.config, Request(scale, size, kernel, device, seed), progress, Result()).learn(photos)

    def forecast(
        self,
        source: Path | bytes,
        scale: Scale = 2,
        *,
        size: tuple[int, int] | None = None,
        kernel: KernelLike | None = "auto",
        device: str | torch.device = "auto",
        name: str | None = None,
    ) -> Forecast:
        """Tell what enlarging a picture file would give and how long it would take, by a brief trial."""
        order = Request(scale, size, kernel, device)
        with open_picture(source, _limits(self.config), name) as picture, torch_modes(picture.name):
            self._check_size(order, picture.size)
            return forecast(Method(self.config, order, None, Result()), photo_of(picture))

    def _check_size(self, order: Request, small: tuple[int, int]) -> None:
        """Raise `ImageError` if an image of size `small` (H, W) would become too large."""
        _, (height, width) = order.target(small)
        if height * width > self.config.max_output_pixels:
            allowed = f"max_output_pixels = {self.config.max_output_pixels:.0f} allows"
            raise ImageError(f"image: would have {width}x{height} pixels, more than {allowed}")


def _limits(config: Config) -> Limits:
    return Limits(config.max_MB, config.max_pixels)
