"""The start weights in a file: reading, writing, and putting them into a network."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from zssr.config import PRESETS, Config
from zssr.degradation import Degradation
from zssr.errors import ConfigError
from zssr.io.atomic import atomic_write
from zssr.networks.film import CHANNELS, KINDS, ConditionedNetwork, Kind, degradation_embedding, kind_of
from zssr.networks.sr import Network

PRIOR_FILE = "prior.safetensors"
BUILT_IN = Path(__file__).with_name(PRIOR_FILE)
DEEP = Path(__file__).with_name("deep.safetensors")

_DEEP = PRESETS["best"]["model_depth"]

_NAME = re.compile(r"(bicubic|blurred|noisy)\.x([2-9])\.(.+)")
_STORED = torch.float16
_SHAPE = "model_width {}, model_depth {} and model_kernel_size {}"

Role = tuple[Kind, int]
"""What a network is for: the kind of degradations, and the factor that it enlarges by."""


@dataclass(frozen=True)
class Prior:
    """Trained networks of one shape, for images of 3 channels, by what each is for.

    `shape` is the networks' width, depth and kernel size.
    """

    name: str
    shape: tuple[int, int, int]
    networks: Mapping[Role, ConditionedNetwork]

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
        weights: dict[Role, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            match = _NAME.fullmatch(name)
            if match is None:
                raise ConfigError(f'{path}: is not a prior of zssr: it holds "{name}"')
            weights.setdefault((cast(Kind, match[1]), int(match[2])), {})[match[3]] = tensor
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ConfigError(f"{path}: is not a prior of zssr: some of its weights are not finite")
        networks = {role: _network(path, role, weights[role]) for role in sorted(weights)}
        shapes = {network.shape for network in networks.values()}
        if len(shapes) != 1:
            raise ConfigError(f"{path}: is not a prior of zssr: it holds networks of {len(shapes)} shapes, not of one")
        return cls(str(path), shapes.pop(), networks)

    def knows(self, factor: int) -> bool:
        """Tell whether there are weights for enlarging by `factor`."""
        return any(enlarges == factor for _, enlarges in self.networks)

    @torch.no_grad()
    def start(self, network: Network, degradation: Degradation) -> None:
        """Put the weights for the network's factor, and for the degradation at that scale, into it.

        Where there are none for this kind of degradations, those for another will do. A network for one channel
        becomes what the one for three channels does to an image of three equal ones.
        """
        factor = network.factor
        kinds = (kind_of(degradation), kind_of(degradation.without_noise()), *KINDS)
        nearest = next(self.networks[kind, factor] for kind in kinds if (kind, factor) in self.networks)
        weights = nearest.weights(degradation_embedding(degradation))
        network.load_state_dict(_for_one_channel(weights, factor) if network.channels == 1 else weights)


def load_prior(config: Config) -> Prior | None:
    """Read the prior that `config` asks for, or the built-in one of its depth; None for random start weights.

    Raises `ConfigError` like `Prior.read`, and if the prior's networks are of another shape than the settings say.
    """
    if config.init == "random":
        return None
    prior = Prior.read(config.prior or (DEEP if config.model_depth == _DEEP else BUILT_IN))
    if prior.shape != config.shape:
        has, says = (_SHAPE.format(*shape) for shape in (prior.shape, config.shape))
        raise ConfigError(f'{prior.name}: this prior has {has}, but the settings say {says}; init="random" needs none')
    return prior


def write_prior(path: Path, networks: Mapping[Role, ConditionedNetwork]) -> None:
    """Write the weights of trained networks to a safetensors file in half precision."""
    tensors = {
        f"{kind}.x{factor}.{name}": tensor.to(_STORED).contiguous()
        for (kind, factor), network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    with atomic_write(path) as file:
        file.write(save(tensors))


def _for_one_channel(weights: Mapping[str, Tensor], factor: int) -> dict[str, Tensor]:
    """Sum the first layer over the input's channels, and average the last layer over the output's."""
    first, last = "convolutions.0.weight", f"convolutions.{len(weights) // 2 - 1}"
    one = dict(weights)
    one[first] = one[first].sum(1, keepdim=True)
    for name in (f"{last}.weight", f"{last}.bias"):
        one[name] = one[name].reshape(CHANNELS, factor**2, *one[name].shape[1:]).mean(0)
    return one


def _network(path: str | os.PathLike[str], role: Role, weights: Mapping[str, Tensor]) -> ConditionedNetwork:
    """Return the network that `weights` belong to; raise `ConfigError` if they fit none."""
    try:
        width, _, kernel_size, _ = weights["network.convolutions.0.weight"].shape
        depth = sum(tensor.ndim == 4 for tensor in weights.values())
        shape = Config(model_width=width, model_depth=depth, model_kernel_size=kernel_size).shape
        network = ConditionedNetwork(role[1], shape, torch.Generator())
        network.load_state_dict(dict(weights))
    except (KeyError, ValueError, RuntimeError, ConfigError) as error:
        raise ConfigError(
            f"{path}: is not a prior of zssr: the tensors of {role[0]}.x{role[1]} are those of another network"
        ) from error
    return network
