"""The prior as a file: read it, write it, and initialize networks from it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from zssr.config import Config, NetworkShape
from zssr.degradation import Degradation
from zssr.errors import ConfigError
from zssr.io.atomic import atomic_write
from zssr.method import ResidualNetwork
from zssr.networks.film import (
    CHANNELS,
    DEGRADATION_KINDS,
    ConditionedNetwork,
    DegradationKind,
    degradation_embedding,
    degradation_kind,
)

PRIOR_FILE = "prior.safetensors"
BUILT_IN = Path(__file__).with_name(PRIOR_FILE)

_BLOCKS = "model_blocks"  # the setting, in a file's metadata


@dataclass(frozen=True)
class Prior:
    """Trained networks of one shape for images of 3 channels.

    Attributes
    ----------
    name
        The file that they were read from.
    shape
        Width, depth, kernel size and form of the networks.
    networks
        The networks by kind of degradation.
    """

    name: str
    shape: NetworkShape
    networks: Mapping[DegradationKind, ConditionedNetwork]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Prior":
        """Read a file that `write_prior` made; nothing in it is executed.

        Raises `ConfigError` if the file cannot be read, is cut short, or holds something else.
        """
        metadata, tensors = read_tensors(path)
        blocks = metadata.get(_BLOCKS) == "true"
        weights: dict[DegradationKind, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind not in DEGRADATION_KINDS:
                raise ConfigError(f'{path}: is not a prior of zssr: it holds "{name}"')
            weights.setdefault(kind, {})[rest] = tensor
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ConfigError(f"{path}: is not a prior of zssr: some of its weights are not finite")
        networks = {kind: _build_network(path, kind, weights[kind], blocks) for kind in sorted(weights)}
        shapes = {network.shape for network in networks.values()}
        if len(shapes) != 1:
            raise ConfigError(f"{path}: is not a prior of zssr: it holds networks of {len(shapes)} shapes, not of one")
        return cls(str(path), shapes.pop(), networks)

    def supports(self, factor: int) -> bool:
        """Return whether there are weights for upscaling by `factor`."""
        return any(factor in network.factors for network in self.networks.values())

    @torch.no_grad()
    def initialize(self, network: ResidualNetwork, degradation: Degradation) -> None:
        """Load the weights for the network's factor and for `degradation`, at that scale, into `network`.

        Where there are none for this kind of degradation, those for another kind are taken. A network for one channel
        computes what the one for three channels does to an image of three equal ones, averaged.
        """
        factor = network.factor
        kinds = (degradation_kind(degradation), degradation_kind(degradation.without_noise()), *DEGRADATION_KINDS)
        known = [self.networks[kind] for kind in kinds if kind in self.networks]
        nearest = next(conditioned for conditioned in known if factor in conditioned.factors)
        weights = nearest.weights(degradation_embedding(degradation), factor)
        network.load_state_dict(_fold_channels(weights, factor) if network.channels == 1 else weights)


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read the metadata and the tensors of a safetensors file; raises `ConfigError` if it is none."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        reason = "it is not a whole safetensors file" if Path(path).is_file() else "there is no such file"
        raise ConfigError(f"{path}: the prior cannot be read: {reason}") from error


def load_prior(config: Config) -> Prior | None:
    """Read the prior that `config` names, or else the built-in one; None if it asks for random weights.

    Raises `ConfigError` like `Prior.read`, and if the prior's networks do not have the shape in the settings.
    """
    if config.init == "random":
        return None
    prior = Prior.read(config.prior or BUILT_IN)
    if prior.shape != (asked := config.take_shape(prior.shape)):
        shapes = f"this prior has {prior.shape}, but the settings say {asked}"
        raise ConfigError(f'{prior.name}: {shapes}; init="random" needs none')
    return prior


def write_prior(path: Path, networks: Mapping[DegradationKind, ConditionedNetwork]) -> None:
    """Write the weights of trained networks of one form, by kind, to a safetensors file in half precision."""
    tensors = {
        f"{kind}.{name}": tensor.half().contiguous()
        for kind, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    blocks = any(network.shape.blocks for network in networks.values())
    with atomic_write(path) as file:
        file.write(save(tensors, {_BLOCKS: str(blocks).lower()}))


def _fold_channels(weights: Mapping[str, Tensor], factor: int) -> dict[str, Tensor]:
    """Sum the first layer over the input channels, and average the last layer over the output channels."""
    first, last = "convolutions.0.weight", f"convolutions.{len(weights) // 2 - 1}"
    folded = dict(weights)
    folded[first] = folded[first].sum(1, keepdim=True)
    for name in (f"{last}.weight", f"{last}.bias"):
        folded[name] = folded[name].reshape(CHANNELS, factor**2, *folded[name].shape[1:]).mean(0)
    return folded


def _build_network(
    path: str | os.PathLike[str], kind: DegradationKind, weights: Mapping[str, Tensor], blocks: bool
) -> ConditionedNetwork:
    """Make the network that has these weights; raise `ConfigError` if they are not those of one."""
    try:
        width, _, kernel_size, _ = weights["trunk.0.weight"].shape
        depth = 1 + sum(name.startswith("trunk.") and tensor.ndim == 4 for name, tensor in weights.items())
        config = Config(model_width=width, model_depth=depth, model_kernel_size=kernel_size, model_blocks=blocks)
        factors = [factor for factor in range(2, 10) if f"tails.x{factor}.weight" in weights]
        network = ConditionedNetwork(factors, config.shape, torch.Generator())
        network.load_state_dict(dict(weights))
    except (KeyError, IndexError, ValueError, RuntimeError, ConfigError) as error:
        raise ConfigError(
            f"{path}: is not a prior of zssr: the tensors of {kind} are those of another network"
        ) from error
    return network
