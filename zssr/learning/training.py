"""Training the network on the pairs of one image."""

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zssr.config import Config
from zssr.device import Arithmetic
from zssr.errors import ZssrError
from zssr.learning.pairs import Pairs
from zssr.learning.schedule import schedule
from zssr.network import Network

logger = logging.getLogger(__name__)

_HELD_BACK_CROPS = 8
_BETAS = (0.5, 0.95)  # Adam's usual .9 and .999 cost 0.2 dB after 200 steps and gain 0.03 after 2000
_MOST_RESTARTS = 3
_RESTART_RATE = 0.1

OnStep = Callable[[int, int], None]


class DivergedError(ZssrError):
    """The loss became NaN or infinite, and stayed so at smaller learning rates."""


@dataclass
class History:
    """What a training went through: one loss and learning rate per step, and the held-back errors by step."""

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    errors: dict[int, float] = field(default_factory=dict)
    restarts: int = 0


def train(
    network: Network,
    pairs: Pairs,
    held_back: Pairs,
    config: Config,
    arithmetic: Arithmetic,
    generator: torch.Generator,
    on_step: OnStep,
) -> History:
    """Train `network` in place to make the residuals of `pairs` out of their sons: L1 loss, Adam (Kingma, Ba 2015).

    `on_step` gets (steps done, most steps) and may stop the training by raising. If the loss is no longer finite, the
    last good weights come back with a tenth of the learning rate, at most 3 times; then `DivergedError` is raised.
    """
    history = History()
    step = Step(network, arithmetic)
    rule = schedule(config)
    measured = [held_back.draw(generator) for _ in range(max(1, _HELD_BACK_CROPS // held_back.count))]
    good = copy.deepcopy(network.state_dict())
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
            if math.isfinite(error) and math.isfinite(sum(history.losses[-config.lr_decay_step :])):
                history.errors[done + 1] = error
                good = copy.deepcopy(network.state_dict())
                rule.observe(error)
            else:
                history.restarts += 1
                if history.restarts > _MOST_RESTARTS:
                    raise DivergedError(f"the loss was not finite after {done + 1} steps and {_MOST_RESTARTS} restarts")
                logger.warning("step %d: the loss is not finite; going back with a tenth of the rate", done + 1)
                slower *= _RESTART_RATE
                network.load_state_dict(good)
                step.forget()
        on_step(done + 1, config.num_epochs)
        if rule.finished:
            break
    return history


class Step:
    """One optimiser step: forward, backward, Adam. On CUDA it is captured once and replayed as a graph."""

    def __init__(self, network: Network, arithmetic: Arithmetic) -> None:
        self._network = network
        self._arithmetic = arithmetic
        cuda = arithmetic.device.type == "cuda"
        fused = arithmetic.device.type in ("cpu", "cuda")
        self._rate = torch.tensor(0.0, dtype=torch.float32, device=arithmetic.device)
        self._adam = torch.optim.Adam(network.parameters(), self._rate, betas=_BETAS, fused=fused, capturable=cuda)
        self._replay = _Graph(self._run, arithmetic.device) if cuda else self._run

    def __call__(self, sons: Tensor, residuals: Tensor, rate: float) -> Tensor:
        """Learn from crops (N, C, h, w) and their residuals; return the loss before the step."""
        self._rate.fill_(rate)
        return self._replay(sons, residuals)

    @torch.no_grad()
    def error(self, sons: Tensor, residuals: Tensor) -> float:
        """Return the mean absolute error on `sons` (N, C, h, w), without learning from them."""
        return float(self._loss(sons, residuals))

    def forget(self) -> None:
        """Start Adam's averages anew, in place."""
        for state in self._adam.state.values():
            for value in state.values():
                value.zero_()

    def _run(self, sons: Tensor, residuals: Tensor) -> Tensor:
        self._adam.zero_grad()
        loss = self._loss(sons, residuals)
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        return loss.detach()

    def _loss(self, sons: Tensor, residuals: Tensor) -> Tensor:
        with self._arithmetic.autocast():
            predicted = self._network(sons.contiguous(memory_format=torch.channels_last))
        return torch.nn.functional.l1_loss(predicted.float(), residuals)


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
        if self._calls <= self._WARM_UP:  # lazy initialisations must not fall into the capture
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
