"""Training the network on the pairs of one image."""

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from zssr.config import Config
from zssr.errors import ZssrError
from zssr.networks.sr import Network
from zssr.runtime import ComputeType
from zssr.training.pairs import Pairs
from zssr.training.schedule import schedule

logger = logging.getLogger(__name__)

_HELD_BACK_CROPS = 8
_BETAS = (0.8, 0.95)  # Adam's usual .9 and .999 cost 0.04 dB on Set5 x2, over two seeds
_MOST_RESTARTS = 3
_RESTART_RATE = 0.1

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)
OnStep = Callable[[int, int], None]


class DivergedError(ZssrError):
    """The loss became NaN or infinite, and stayed so at smaller learning rates."""


@dataclass
class TrainingHistory:
    """What a training has gone through: one loss and learning rate per step, and the held-back errors by step."""

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    errors: dict[int, float] = field(default_factory=dict)
    restarts: int = 0


def train(
    network: Network,
    pairs: Pairs,
    validation: Pairs,
    config: Config,
    rate: float,
    compute: ComputeType,
    generator: torch.Generator,
    on_step: OnStep,
    history: TrainingHistory | None = None,
) -> TrainingHistory:
    """Train `network` in place to make the residuals of `pairs` out of their sons: L1 loss, Adam (Kingma, Ba 2015).

    `rate` is the first learning rate, from which the schedule that `config` names goes on. `on_step` gets (steps done,
    most steps) and may stop the training by raising; `history`, which is returned, grows meanwhile. If the loss is no
    longer finite, the last good weights come back with a tenth of the learning rate, at most 3 times; then
    `DivergedError` is raised.
    """
    history = history or TrainingHistory()
    step = Step(network, compute)
    rule = schedule(config, rate)
    measured = [validation.draw(generator) for _ in range(max(1, _HELD_BACK_CROPS // validation.count))]
    good = step.weights()
    slower = 1.0
    pending: list[Tensor] = []
    for done in range(config.num_epochs):
        rule.advance(done)
        pending.append(step(*pairs.draw(generator), rule.rate * slower))
        history.rates.append(rule.rate * slower)
        if (done + 1) % config.lr_decay_step == 0 or done + 1 == config.num_epochs:
            history.losses += torch.stack(pending).tolist()
            pending.clear()
            error = sum(step.error(*crops) for crops in measured) / len(measured)
            logger.debug("step %d: error %.5f, rate %.1e", done + 1, error, rule.rate * slower)
            if math.isfinite(error) and math.isfinite(sum(history.losses[-config.lr_decay_step :])):
                history.errors[done + 1] = error
                good = step.weights()
                rule.observe(error)
            else:
                history.restarts += 1
                if history.restarts > _MOST_RESTARTS:
                    raise DivergedError(f"the loss was not finite after {done + 1} steps and {_MOST_RESTARTS} restarts")
                logger.warning("step %d: the loss is not finite; going back with a tenth of the rate", done + 1)
                slower *= _RESTART_RATE
                step.go_back(good)
        on_step(done + 1, config.num_epochs)
        if rule.finished:
            break
    return history


class Step(Generic[AnyNetwork]):
    """One optimizer step: forward, backward, Adam. On CUDA it is captured once and replayed as a graph.

    All weights lie in one fp32 vector, of which the parameters of `network` become views; a copy of the network in the
    compute's precision, its weights and gradients in one vector each too, does the convolutions. So Adam and the
    casts take one call each a step, and not one for every layer.

    Attributes
    ----------
    network
        The copy that computes.
    """

    def __init__(self, network: AnyNetwork, compute: ComputeType, betas: tuple[float, float] = _BETAS) -> None:
        self.network = copy.deepcopy(network).to(compute.dtype)
        self._weights = torch.empty(
            sum(weight.numel() for weight in network.parameters()), dtype=torch.float32, device=compute.device
        )
        for weight, view in zip(network.parameters(), _views(self._weights, network), strict=True):
            weight.data = view.copy_(weight.detach())
        self._weights.grad = self._gradient = torch.zeros_like(self._weights)
        self._copy = self._weights.to(compute.dtype, copy=True)
        self._copied_gradient = torch.zeros_like(self._copy)
        views = zip(_views(self._copy, network), _views(self._copied_gradient, network), strict=True)
        for weight, (view, gradient) in zip(self.network.parameters(), views, strict=True):
            weight.data, weight.grad = view, gradient
        self._rate = torch.tensor(0.0, dtype=torch.float32, device=compute.device)
        cuda = compute.device.type == "cuda"
        fused = compute.device.type in ("cpu", "cuda")
        self._adam = torch.optim.Adam([self._weights], self._rate, betas=betas, fused=fused, capturable=cuda)
        self._replay = _Graph(self._run, compute.device) if cuda else self._run

    def __call__(self, sons: Tensor, residuals: Tensor, rate: float) -> Tensor:
        """Learn from crops (N, C, h, w) and their residuals; return the loss before the step."""
        self._rate.fill_(rate)
        return self._replay(sons, residuals)

    @torch.no_grad()
    def error(self, sons: Tensor, residuals: Tensor) -> float:
        """Return the mean absolute error on `sons` (N, C, h, w), without learning from them."""
        return float(self._loss(sons, residuals))

    def weights(self) -> Tensor:
        """Return all weights as a vector."""
        return self._weights.clone()

    def go_back(self, weights: Tensor) -> None:
        """Set all weights, and start Adam's averages anew, in place."""
        self._weights.copy_(weights)
        self._copy.copy_(weights)
        for state in self._adam.state.values():
            for value in state.values():
                value.zero_()

    def averages(self) -> dict[str, Tensor]:
        """Return what Adam remembers, by name; nothing before the first step."""
        return {name: value.clone() for name, value in self._adam.state[self._weights].items()}

    def resume(self, weights: Tensor, averages: dict[str, Tensor]) -> None:
        """Go on from the weights and averages of an earlier training."""
        self.go_back(weights)
        self._adam.state[self._weights] = {name: value.clone() for name, value in averages.items()}

    def _run(self, sons: Tensor, residuals: Tensor) -> Tensor:
        self._copied_gradient.zero_()
        loss = self._loss(sons, residuals)
        loss.backward()  # type: ignore[no-untyped-call]
        self._gradient.copy_(self._copied_gradient)
        self._adam.step()
        self._copy.copy_(self._weights)
        return loss.detach()

    def _loss(self, sons: Tensor, residuals: Tensor) -> Tensor:
        return nn.functional.l1_loss(self.network(sons), residuals)


def _views(vector: Tensor, network: nn.Module) -> list[Tensor]:
    """Cut a vector into pieces of the shapes of the network's parameters, convolutions with their channels last."""
    parameters = list(network.parameters())
    pieces = torch.split(vector, [weight.numel() for weight in parameters])
    return [
        piece.view(len(weight), *weight.shape[2:], weight.shape[1]).movedim(-1, 1)
        if weight.ndim == 4
        else piece.view(weight.shape)
        for piece, weight in zip(pieces, parameters, strict=True)
    ]


class _Graph:
    """A step on tensors of one shape, captured as a CUDA graph, so that its many small kernels cost one launch."""

    _WARM_UP = 3

    def __init__(self, run: Callable[[Tensor, Tensor], Tensor], device: torch.device) -> None:
        self._run = run
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._calls = 0
        self._inputs: tuple[Tensor, Tensor] | None = None

    def __call__(self, sons: Tensor, residuals: Tensor) -> Tensor:
        self._calls += 1
        if self._calls <= self._WARM_UP:  # lazy initializations must not fall into the capture
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                loss = self._run(sons, residuals)
            torch.cuda.current_stream().wait_stream(self._stream)
            return loss
        if self._inputs is None:
            self._inputs = (sons.clone(), residuals.clone())
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._loss = self._run(*self._inputs)
        for static, new in zip(self._inputs, (sons, residuals), strict=True):
            static.copy_(new)
        self._graph.replay()
        return self._loss.clone()
