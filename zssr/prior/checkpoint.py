"""The prior as a file: read it, write it, and initialize networks from it."""

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
from zssr.networks.film import (
    CHANNELS,
    DEGRADATION_KINDS,
    ConditionedNetwork,
    DegradationKind,
    degradation_embedding,
    degradation_kind,
)
from zssr.networks.sr import Network

PRIOR_FILE = "prior.safetensors"
BUILT_IN = Path(__file__).with_name(PRIOR_FILE)
BUILT_IN_DEEP = Path(__file__).with_name("deep.safetensors")


@dataclass(frozen=True)
class Prior:
    """Trained networks of one shape for images of 3 channels.

    Attributes
    ----------
    name
        The file that they were read from.
    shape
        Width, depth and kernel size of the networks.
    networks
        The networks by (kind of degradation, factor).
    """

    name: str
    shape: tuple[int, int, int]
    networks: Mapping[tuple[DegradationKind, int], ConditionedNetwork]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Prior":
        """Read a file that `write_prior` made; nothing in it is executed.

        Raises `ConfigError` if the file cannot be read, is cut short, or holds something else.
        """
        try:
            tensors = load_file(path)
        except (OSError, safetensors.SafetensorError) as error:
            reason = "it is not a whole safetensors file" if Path(path).is_file() else "there is no such file"
            raise ConfigError(f"{path}: the prior cannot be read: {reason}") from error
        weights: dict[tuple[DegradationKind, int], dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            match = re.fullmatch(rf"({'|'.join(DEGRADATION_KINDS)})\.x([2-9])\.(.+)", name)
            if match is None:
                raise ConfigError(f'{path}: is not a prior of zssr: it holds "{name}"')
            weights.setdefault((cast(DegradationKind, match[1]), int(match[2])), {})[match[3]] = tensor
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ConfigError(f"{path}: is not a prior of zssr: some of its weights are not finite")
        networks = {
            (kind, factor): _build_network(path, kind, factor, weights[kind, factor])
            for kind, factor in sorted(weights)
        }
        shapes = {network.shape for network in networks.values()}
        if len(shapes) != 1:
            raise ConfigError(f"{path}: is not a prior of zssr: it holds networks of {len(shapes)} shapes, not of one")
        return cls(str(path), shapes.pop(), networks)

    def supports(self, factor: int) -> bool:
        """Return whether there are weights for upscaling by `factor`."""
        return any(known == factor for _, known in self.networks)

    @torch.no_grad()
    def initialize(self, network: Network, degradation: Degradation) -> None:
        """Load the weights for the network's factor and for `degradation`, at that scale, into `network`.

        Where there are none for this kind of degradation, those for another kind are taken. A network for one channel
        computes what the one for three channels does to an image of three equal ones, averaged.
        """
        factor = network.factor
        kinds = (degradation_kind(degradation), degradation_kind(degradation.without_noise()), *DEGRADATION_KINDS)
        nearest = next(self.networks[kind, factor] for kind in kinds if (kind, factor) in self.networks)
        weights = nearest.weights(degradation_embedding(degradation))
        network.load_state_dict(_fold_channels(weights, factor) if network.channels == 1 else weights)


def load_prior(config: Config) -> Prior | None:
    """Read the prior that `config` names, or else the built-in one for its depth; None if it asks for random weights.

    Raises `ConfigError` like `Prior.read`, and if the prior's networks do not have the shape in the settings.
    """
    if config.init == "random":
        return None
    built_in = BUILT_IN_DEEP if config.model_depth == PRESETS["best"]["model_depth"] else BUILT_IN
    prior = Prior.read(config.prior or built_in)
    if prior.shape != config.shape:
        has, says = (
            "model_width {}, model_depth {} and model_kernel_size {}".format(*shape)
            for shape in (prior.shape, config.shape)
        )
        raise ConfigError(f'{prior.name}: this prior has {has}, but the settings say {says}; init="random" needs none')
    return prior


def write_prior(path: Path, networks: Mapping[tuple[DegradationKind, int], ConditionedNetwork]) -> None:
    """Write the weights of trained networks, by (kind, factor), to a safetensors file in half precision."""
    tensors = {
        f"{kind}.x{factor}.{name}": tensor.half().contiguous()
        for (kind, factor), network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    with atomic_write(path) as file:
        file.write(save(tensors))


def _fold_channels(weights: Mapping[str, Tensor], factor: int) -> dict[str, Tensor]:
    """Sum the first layer over the input channels, and average the last layer over the output channels."""
    first, last = "convolutions.0.weight", f"convolutions.{len(weights) // 2 - 1}"
    folded = dict(weights)
    folded[first] = folded[first].sum(1, keepdim=True)
    for name in (f"{last}.weight", f"{last}.bias"):
        folded[name] = folded[name].reshape(CHANNELS, factor**2, *folded[name].shape[1:]).mean(0)
    return folded


def _build_network(
    path: str | os.PathLike[str], kind: DegradationKind, factor: int, weights: Mapping[str, Tensor]
) -> ConditionedNetwork:
    """Make the network that has these weights; raise `ConfigError` if they are not those of one."""
    try:
        width, _, kernel_size, _ = weights["network.convolutions.0.weight"].shape
        depth = sum(tensor.ndim == 4 for tensor in weights.values())
        shape = Config(model_width=width, model_depth=depth, model_kernel_size=kernel_size).shape
        network = ConditionedNetwork(factor, shape, torch.Generator())
        network.load_state_dict(dict(weights))
    except (KeyError, ValueError, RuntimeError, ConfigError) as error:
        raise ConfigError(
            f"{path}: is not a prior of zssr: the tensors of {kind}.x{factor} are those of another network"
        ) from error
    return network
