"""The start weights in a file: reading, writing, and putting them into a network."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from zssr.config import Config
from zssr.errors import ConfigError
from zssr.image_io import write_whole
from zssr.network import Network

CHANNELS = 3
PRIOR_FILE = "prior.safetensors"
BUILT_IN = Path(__file__).with_name(PRIOR_FILE)

_NAME = re.compile(r"x([2-9])\.convolutions\.(\d+)\.(weight|bias)")
_STORED = torch.float16
_SHAPE = "model_width {}, model_depth {} and model_kernel_size {}"


@dataclass(frozen=True)
class Prior:
    """Weights of networks of one shape, for images of 3 channels, by the factor that each enlarges by.

    `shape` is the networks' width, depth and kernel size.
    """

    name: str
    shape: tuple[int, int, int]
    weights: Mapping[int, Mapping[str, Tensor]]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Prior":
        """Read a file that `write_prior` made; nothing in it is executed.

        Raises `ConfigError`, one sentence, if it cannot be read, is cut short, or holds something else.
        """
        try:
            tensors = load_file(path)
        except (OSError, safetensors.SafetensorError) as error:
            reason = "it is not a whole safetensors file" if Path(path).is_file() else "there is no such file"
            raise ConfigError(f"{path}: the prior cannot be read: {reason}") from error
        weights: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            match = _NAME.fullmatch(name)
            if match is None:
                raise ConfigError(f'{path}: is not a prior of zssr: it holds "{name}"')
            weights.setdefault(int(match[1]), {})[name.split(".", 1)[1]] = tensor.float()
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ConfigError(f"{path}: is not a prior of zssr: some of its weights are not finite")
        shapes = {_checked(path, factor, weights[factor]) for factor in sorted(weights)}
        if len(shapes) != 1:
            raise ConfigError(f"{path}: is not a prior of zssr: it holds networks of {len(shapes)} shapes, not of one")
        return cls(str(path), shapes.pop(), weights)

    def start(self, network: Network) -> bool:
        """Put the weights for the network's factor into it, if there are any; tell whether there were.

        A network for one channel becomes what the one for three channels does to an image of three equal ones.
        """
        weights = self.weights.get(network.factor)
        if weights is None or network.channels not in (1, CHANNELS):
            return False
        if network.channels == 1:
            weights = _for_one_channel(weights, network.factor)
        network.load_state_dict(dict(weights))
        return True


def load_prior(config: Config) -> Prior | None:
    """Read the prior that `config` asks for; None for random start weights.

    Raises `ConfigError` like `Prior.read`, and if the prior's networks are of another shape than the settings say.
    """
    if config.init == "random":
        return None
    prior = Prior.read(config.prior or BUILT_IN)
    if prior.shape != config.shape:
        has, says = (_SHAPE.format(*shape) for shape in (prior.shape, config.shape))
        raise ConfigError(f"{prior.name}: this prior has {has}, but the settings say {says}")
    return prior


def write_prior(path: Path, networks: Mapping[int, Network]) -> None:
    """Write the weights of trained networks, by their factors, to a safetensors file in half precision."""
    tensors = {
        f"x{factor}.{name}": tensor.to(_STORED).contiguous()
        for factor, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    write_whole(path, save(tensors))


def _for_one_channel(weights: Mapping[str, Tensor], factor: int) -> dict[str, Tensor]:
    """Sum the first layer over the input's channels, and average the last layer over the output's."""
    first, last = "convolutions.0.weight", f"convolutions.{len(weights) // 2 - 1}"
    one = dict(weights)
    one[first] = one[first].sum(1, keepdim=True)
    for name in (f"{last}.weight", f"{last}.bias"):
        one[name] = one[name].reshape(CHANNELS, factor**2, *one[name].shape[1:]).mean(0)
    return one


def _checked(path: str | os.PathLike[str], factor: int, weights: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Return the shape of the network that `weights` belong to; raise `ConfigError` if they fit none."""
    depth = len(weights) // 2
    try:
        width, *_, kernel_size = weights["convolutions.0.weight"].shape
        widths = [CHANNELS, *[width] * (depth - 1), CHANNELS * factor**2]
        sides = (kernel_size, kernel_size)
        wanted: dict[str, tuple[int, ...]] = {}
        for k, (a, b) in enumerate(pairwise(widths)):
            wanted |= {f"convolutions.{k}.weight": (b, a, *sides), f"convolutions.{k}.bias": (b,)}
        fits = {name: tuple(tensor.shape) for name, tensor in weights.items()} == wanted
    except (KeyError, ValueError):
        fits = False
    if not fits:
        raise ConfigError(f"{path}: is not a prior of zssr: the tensors of x{factor} are those of another network")
    return width, depth, kernel_size
