"""Train the networks of a prior, with checkpoints from which an interrupted training resumes."""

import copy
import io
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zssr.config import NetworkShape
from zssr.degradation import Degradation
from zssr.errors import ConfigError
from zssr.io.atomic import atomic_write
from zssr.networks.film import CHANNELS, ConditionedNetwork, DegradationKind, degradation_embedding
from zssr.networks.sr import Network
from zssr.prior.checkpoint import write_prior
from zssr.prior.dead_leaves import PICTURE_SIZE
from zssr.prior.muon import Muon
from zssr.prior.random_degradations import draw_degradations
from zssr.prior.training_pictures import TrainingPictures, check_range, fork_generator
from zssr.runtime import ComputeType, run_single_threaded
from zssr.training.cuda_graph import CudaGraph
from zssr.training.pairs import make_pair, randint

logger = logging.getLogger(__name__)

BUILT_IN_SHAPE = NetworkShape(64, 34, blocks=True)
"""Shape of the networks of the built-in prior."""


@dataclass(frozen=True)
class TrainingPlan:
    """How the networks of a prior are trained for one kind of degradation.

    Attributes
    ----------
    kind
        Of degradations: "bicubic", "blurred" for all kernels and samplings, or "noisy" for noise and JPEG too.
    shape
        Width, depth, kernel size and form of the networks.
    scales
        Factors by which they upscale; each step draws one of them.
    steps, crops, crop_size
        Optimizer steps; crops in each; side of a crop in pixels of the small image.
    rate, adam_rate
        Learning rates of Muon for the matrices between the first and the last layer, and of Adam for all the rest. They
        rise over the first 200 steps, and fall linearly to 0 over the last 30 % of all.
    seed
        Source of all randomness.
    degradations
        Number of random degradations to train for at each scale, unless the kind is "bicubic".
    checkpoint_steps, snapshot_steps
        Steps from one checkpoint, and one line of the log, to the next; from one file of the averaged weights, which is
        kept, to the next.
    """

    kind: DegradationKind = "bicubic"
    shape: NetworkShape = BUILT_IN_SHAPE
    scales: tuple[int, ...] = (2,)
    steps: int = 30_000
    crops: int = 8
    crop_size: int = 48
    rate: float = 6e-3
    adam_rate: float = 1e-3
    seed: int = 0
    degradations: int = 400
    checkpoint_steps: int = 500
    snapshot_steps: int = 10_000

    def __post_init__(self) -> None:
        for scale in self.scales:
            check_range("scale", scale, 2, 9)
        check_range("depth", self.shape.depth, 3, 64)
        check_range("steps", self.steps, 1, 10**9)
        check_range("crops", self.crops, 1, 4096)
        check_range("crop_size", self.crop_size, 16, PICTURE_SIZE // max(self.scales))
        check_range("seed", self.seed, 0, 2**32)

    @property
    def fixed_settings(self) -> str:
        """Return as JSON all that must not change when a training resumes."""
        return json.dumps({**asdict(self), "steps": None})

    def rate_factor(self, step: int) -> float:
        """Return the factor of the learning rates in a step, counted from 0."""
        return min(1.0, (step + 1) / 200, (1 - step / self.steps) / 0.3)

    def draw_fathers(self, pictures: TrainingPictures, scale: int, generator: torch.Generator) -> Tensor:
        """Draw the fathers (N, 3, H, W) of one step, with grain unless noise is to be removed."""
        return pictures.draw_fathers(self.crops, scale * self.crop_size, generator, grain=self.kind != "noisy")

    def draw_degradations(self, scale: int) -> list[Degradation]:
        """Draw the degradations to train for; they depend on the plan and the scale alone."""
        if self.kind == "bicubic":
            return [Degradation(None, (scale, scale), quantized=True)]
        return draw_degradations(self.degradations, self.seed, scale, noisy=self.kind == "noisy")


def train_prior(
    pictures: Sequence[Tensor],
    plan: TrainingPlan,
    compute: ComputeType,
    checkpoint: Path,
    start: ConditionedNetwork | None = None,
) -> ConditionedNetwork:
    """Train networks on `pictures`, each (3, H, W) in uint8; return them on the CPU.

    They start from the weights of `start`, or from random ones. If the file `checkpoint` exists, training resumes from
    there, and the result is that of an uninterrupted training; the plan may have another number of steps then. Raises
    `ConfigError` if that file is no checkpoint of the same plan.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    network = ConditionedNetwork(plan.scales, plan.shape, generator)
    if start:
        own = network.state_dict()
        network.load_state_dict({**own, **{name: w for name, w in start.state_dict().items() if name in own}})
    training = _Training(network.to(compute.device), plan, compute, generator)
    if checkpoint.exists():
        training.load(checkpoint)
    degradations = {scale: plan.draw_degradations(scale) for scale in plan.scales}
    embeddings = {scale: embed_degradations(degradations[scale]).to(compute.device) for scale in plan.scales}
    stored = TrainingPictures(pictures, compute.device)
    losses: list[Tensor] = []
    began = time.perf_counter()
    while training.steps < plan.steps:
        scale = plan.scales[randint(len(plan.scales), generator)]
        fathers = plan.draw_fathers(stored, scale, generator)
        k = randint(len(degradations[scale]), generator)
        sons, residuals = make_pair(fathers, degradations[scale][k], scale, fork_generator(generator, compute.device))
        losses += run_single_threaded(
            [partial(training.update, sons, residuals, embeddings[scale][k], scale)], compute.device
        )
        if training.steps % plan.checkpoint_steps == 0 or training.steps == plan.steps:
            loss, seconds = float(torch.stack(losses).mean()), time.perf_counter() - began
            logger.info("%s step %d of %d: loss %.5f, %.0f s", plan.kind, training.steps, plan.steps, loss, seconds)
            for failure in training.pop_graph_failures():
                logger.warning("the GPU's steps could not be captured, so they are slower (%s)", failure)
            losses.clear()
            training.save(checkpoint)
        if training.steps % plan.snapshot_steps == 0:
            snapshot = checkpoint.with_name(f"{checkpoint.stem}_{training.steps}.safetensors")
            write_prior(snapshot, {plan.kind: training.averaged_network()})
    return training.averaged_network()


def choose_start(
    networks: Mapping[DegradationKind, ConditionedNetwork], plan: TrainingPlan
) -> ConditionedNetwork | None:
    """Return the network that a training starts from: of the plan's kind, or else blurred, or else bicubic.

    If it is of another kind, what it never met in a degradation has no effect on it.
    """
    kinds: tuple[DegradationKind, ...] = (plan.kind, "blurred", "bicubic")
    kind = next((kind for kind in kinds if kind in networks), None)
    if kind is None or kind == plan.kind:
        return networks[kind] if kind else None
    start, trained = copy.deepcopy(networks[kind]), replace(plan, kind=kind)
    met = [one for scale in plan.scales for one in trained.draw_degradations(scale)]
    start.ignore_constants(embed_degradations(met))
    return start


def embed_degradations(degradations: Sequence[Degradation]) -> Tensor:
    """Return the embeddings (N, EMBEDDING_SIZE) of degradations."""
    calls = [partial(degradation_embedding, degradation) for degradation in degradations]
    return torch.stack(list(run_single_threaded(calls, torch.device("cpu"))))


class _Checkpoint(TypedDict):
    """What a checkpoint file holds."""

    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    momentum: Tensor
    adam: dict[str, Any]
    steps: int
    generator: Tensor
    settings: str


class _Training:
    """The state of a training: weights, optimizers, running average of the weights, steps done, random generator."""

    def __init__(
        self, network: ConditionedNetwork, plan: TrainingPlan, compute: ComputeType, generator: torch.Generator
    ) -> None:
        self.network, self.plan, self.compute, self.generator, self.steps = network, plan, compute, generator, 0
        self.average = {name: weight.detach().clone() for name, weight in network.named_parameters()}
        self.plain = {scale: Network(CHANNELS, scale, plan.shape, torch.Generator()) for scale in plan.scales}
        named = dict(network.named_parameters())
        inner = [f"trunk.{k}.weight" for k in range(1, len(network.trunk))]
        self.inner = [named[name] for name in inner]
        self.muon = Muon(self.inner)
        others = [weight for name, weight in named.items() if name not in inner]
        self.adam = torch.optim.Adam(others, plan.adam_rate, betas=(0.9, 0.99), fused=True)
        on_gpu = compute.device.type == "cuda"
        self.graphs = {scale: CudaGraph(compute.device) for scale in plan.scales} if on_gpu else {}
        self.gradients: dict[int, tuple[Tensor | None, ...]] = {}

    def update(self, sons: Tensor, residuals: Tensor, z: Tensor, scale: int) -> Tensor:
        """Do one optimizer step on sons (N, 3, h, w) of the degradation with the embedding `z`; return the loss."""
        differentiate = partial(self._differentiate, scale)
        graph = self.graphs.get(scale)
        loss = graph(differentiate, sons, residuals, z) if graph else differentiate(sons, residuals, z)
        for weight, gradient in zip(self.network.parameters(), self.gradients[scale], strict=True):
            weight.grad = gradient
        factor = self.plan.rate_factor(self.steps)
        self.muon.step([weight.grad for weight in self.inner if weight.grad is not None], self.plan.rate * factor)
        for group in self.adam.param_groups:
            group["lr"] = self.plan.adam_rate * factor
        self.adam.step()
        self.steps += 1
        share = max(2e-4, min(1.0, 10 / self.steps))
        weights = [weight.detach() for weight in self.network.parameters()]
        torch._foreach_lerp_(list(self.average.values()), weights, share)
        return loss

    def _differentiate(self, scale: int, sons: Tensor, residuals: Tensor, z: Tensor) -> Tensor:
        """Compute the gradients of the L1 loss for all weights that `scale` uses; return the loss.

        The convolutions take two crops at a time on a CPU: their features then stay in its cache.
        """
        weights = self.network.weights(z, scale)
        copies = {name: weight.detach().to(self.compute.dtype).requires_grad_() for name, weight in weights.items()}
        count = 2 if self.compute.device.type == "cpu" else len(sons)
        losses = []
        for son, residual in zip(torch.split(sons, count), torch.split(residuals, count), strict=True):
            predicted = functional_call(self.plain[scale], copies, (son,))
            part = nn.functional.l1_loss(predicted, residual, reduction="sum") / residuals.numel()
            part.backward()  # type: ignore[no-untyped-call]
            losses.append(part.detach())
        gradients = [copy.grad.float() for copy in copies.values() if copy.grad is not None]
        parameters = list(self.network.parameters())
        self.gradients[scale] = torch.autograd.grad(list(weights.values()), parameters, gradients, allow_unused=True)
        return torch.stack(losses).sum()

    def pop_graph_failures(self) -> list[str]:
        """Return why steps are run eagerly on a GPU, once for each scale; these have no graph any more."""
        failed = {scale: graph.failure for scale, graph in self.graphs.items() if graph.failure}
        self.graphs = {scale: graph for scale, graph in self.graphs.items() if scale not in failed}
        return list(failed.values())

    def averaged_network(self) -> ConditionedNetwork:
        """Return the network with averaged weights, on the CPU."""
        network = ConditionedNetwork(self.plan.scales, self.plan.shape, torch.Generator())
        network.load_state_dict({**network.state_dict(), **self.average})
        return network

    def save(self, path: Path) -> None:
        """Write a checkpoint atomically."""
        checkpoint = _Checkpoint(
            weights=self.network.state_dict(),
            average=self.average,
            momentum=self.muon.momentum,
            adam=self.adam.state_dict(),
            steps=self.steps,
            generator=self.generator.get_state(),
            settings=self.plan.fixed_settings,
        )
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with atomic_write(path) as file:
            file.write(content.getvalue())

    def load(self, path: Path) -> None:
        """Restore a checkpoint; raise `ConfigError` if it is none of this training."""
        try:
            checkpoint: _Checkpoint = torch.load(path, weights_only=True, map_location=self.compute.device)
            if set(checkpoint) != set(_Checkpoint.__annotations__):
                raise KeyError
        except (OSError, EOFError, RuntimeError, KeyError, TypeError, UnpicklingError) as error:
            raise ConfigError(f"{path}: is not a checkpoint of such a training; remove it to start anew") from error
        if checkpoint["settings"] != self.plan.fixed_settings:
            raise ConfigError(f"{path}: belongs to a training with other settings; remove it to start anew")
        self.network.load_state_dict(checkpoint["weights"])
        self.muon.momentum.copy_(checkpoint["momentum"])
        self.adam.load_state_dict(checkpoint["adam"])
        self.average, self.steps = checkpoint["average"], checkpoint["steps"]
        self.generator.set_state(checkpoint["generator"].cpu())
