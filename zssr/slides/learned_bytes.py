"""What was learned from a slide as bytes, so that a run that is resumed does not learn again."""

import io
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct, scalar
from torch.serialization import safe_globals

from zssr.degradation import Degradation
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import Grain
from zssr.degradation.resamplers import Resampler
from zssr.estimation.blur_kernel import KernelEstimate
from zssr.estimation.parametric_kernels import Gaussian
from zssr.method import ResidualNetwork
from zssr.model import Model
from zssr.photo import Photo
from zssr.pipeline import RunContext
from zssr.slides.learning import Learned, no_rows
from zssr.value_range import ValueRange

_TRUSTED: list[Any] = [Learned, Photo, ValueRange, Model, Degradation, Resampler, Jpeg, Grain, KernelEstimate, Gaussian]
_TRUSTED += [no_rows, _reconstruct, scalar, np.ndarray, np.dtype, type(np.dtype(np.float64))]


def encode_learned(learned: Learned) -> bytes | None:
    """Encode what was learned; None if it has texture generators, which are learned again."""
    if any(model.texture for model in learned.models):
        return None
    bare = [replace(one, networks=()) for one in learned.models]
    networks = [
        [(network.channels, network.factor, network.state_dict()) for network in one.networks] for one in learned.models
    ]
    file = io.BytesIO()
    torch.save({"learned": replace(learned, models=tuple(bare)), "networks": networks}, file)
    return file.getvalue()


def decode_learned(content: bytes, context: RunContext) -> Learned | None:
    """Decode what `encode_learned` made, executing nothing of it; None if it is of another version."""
    try:
        with safe_globals(_TRUSTED):
            known = torch.load(io.BytesIO(content), weights_only=True)
        learned: Learned = known["learned"]
        networks = [[_build(context, *part) for part in parts] for parts in known["networks"]]
    except (pickle.UnpicklingError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, EOFError):
        return None
    pairs = zip(learned.models, networks, strict=True)
    return replace(learned, models=tuple(replace(model, networks=tuple(parts)) for model, parts in pairs))


def _build(context: RunContext, channels: int, factor: int, state: dict[str, torch.Tensor]) -> ResidualNetwork:
    network = context.method.make_network(channels, factor, context.config, torch.Generator())
    network.load_state_dict(state)
    return network
