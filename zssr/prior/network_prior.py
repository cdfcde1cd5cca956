"""Start weights of a network of the literature, and the file of them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import save
from torch import Tensor, nn

from zssr.degradation import Degradation
from zssr.errors import ConfigError
from zssr.io.atomic import atomic_write
from zssr.method import Method, ResidualNetwork
from zssr.networks.film import CHANNELS
from zssr.prior.checkpoint import read_tensors

_METHOD = "method"  # in a file's metadata: the name with all options


@dataclass(frozen=True)
class NetworkPrior:
    """The weights of a method's networks for images of 3 channels, by factor."""

    weights: Mapping[int, Mapping[str, Tensor]]

    @classmethod
    def read(cls, path: str | os.PathLike[str], method: Method) -> Self:
        """Read a file that `write_network_prior` made; raises `ConfigError` if it is none, or of another method."""
        metadata, tensors = read_tensors(path)
        found = metadata.get(_METHOD, "zssr")
        if found != str(method):
            raise ConfigError(f"{path}: the prior is of the method {found}, not of {method}")
        weights: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            factor, _, rest = name.partition(".")
            weights.setdefault(int(factor.removeprefix("x")), {})[rest] = tensor.float()
        return cls(weights)

    def supports(self, factor: int) -> bool:
        """Return whether there are weights for upscaling by `factor`."""
        return factor in self.weights

    @torch.no_grad()
    def initialize(self, network: ResidualNetwork, degradation: Degradation) -> None:
        """Load the weights for the network's factor; a network for one channel takes three equal ones."""
        weights = self.weights[network.factor]
        turned = {f"{name}.weight" for name, one in network.named_modules() if isinstance(one, nn.ConvTranspose2d)}
        for name, own in network.state_dict().items():
            own.copy_(_fold_axes(weights[name], own.shape, 0 if name in turned else 1))


def _fold_axes(weight: Tensor, shape: torch.Size, input_axis: int) -> Tensor:
    """Sum the axis of the image's channels if it is an input, and average it if it is an output."""
    for axis, size in enumerate(shape):
        if weight.shape[axis] != size:
            parts = torch.unflatten(weight, axis, (CHANNELS, size))
            weight = parts.sum(axis) if axis == input_axis else parts.mean(axis)
    return weight


def write_network_prior(path: Path, method: Method, networks: Mapping[int, ResidualNetwork]) -> None:
    """Write the weights of networks by factor to a safetensors file in half precision."""
    tensors = {
        f"x{factor}.{name}": tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for factor, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    with atomic_write(path) as file:
        file.write(save(tensors, {_METHOD: str(method)}))
