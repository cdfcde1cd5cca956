"""Optimizer steps: forward, backward and Adam on one vector of weights; a CUDA graph on a GPU."""

import copy
from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from zssr.runtime import ComputeType
from zssr.training.cuda_graph import CudaGraph

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


class TrainStep(Generic[AnyNetwork]):
    """Takes optimizer steps with the L1 loss and Adam. On CUDA a step is captured once and replayed as a graph.

    All weights lie in one fp32 vector, and the parameters of `network` become views of it. A copy of the network in the
    compute's precision does the convolutions; its weights and gradients lie in one vector each too. So Adam and the
    casts take one call a step each, and not one for every layer.

    Attributes
    ----------
    network
        The copy that computes.
    """

    def __init__(self, network: AnyNetwork, compute: ComputeType, betas: tuple[float, float] = (0.8, 0.95)) -> None:
        # Adam's usual betas of 0.9 and 0.999 cost 0.04 dB on Set5 x2, over two seeds
        self.network = copy.deepcopy(network).to(compute.dtype)
        self._weights = torch.empty(
            sum(weight.numel() for weight in network.parameters()), dtype=torch.float32, device=compute.device
        )
        for weight, view in zip(network.parameters(), _split_vector(self._weights, network), strict=True):
            weight.data = view.copy_(weight.detach())
        self._weights.grad = self._gradient = torch.zeros_like(self._weights)
        self._copy = self._weights.to(compute.dtype, copy=True)
        self._copied_gradient = torch.zeros_like(self._copy)
        views = zip(_split_vector(self._copy, network), _split_vector(self._copied_gradient, network), strict=True)
        for weight, (view, gradient) in zip(self.network.parameters(), views, strict=True):
            weight.data, weight.grad = view, gradient
        self._rate = torch.tensor(0.0, dtype=torch.float32, device=compute.device)
        cuda = compute.device.type == "cuda"
        fused = compute.device.type in ("cpu", "cuda")
        self._adam = torch.optim.Adam([self._weights], self._rate, betas=betas, fused=fused, capturable=cuda)
        self._scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.dtype == torch.float16)
        self._graph = CudaGraph(compute.device) if cuda else None

    def __call__(self, sons: Tensor, residuals: Tensor, rate: float) -> Tensor:
        """Take a step on crops (N, C, h, w) and their residuals; return the loss before it."""
        self._rate.fill_(rate)
        return self._graph(self._run, sons, residuals) if self._graph else self._run(sons, residuals)

    @property
    def graph_failure(self) -> str | None:
        """Why steps are run eagerly on CUDA; None if they are replayed."""
        return self._graph.failure if self._graph else None

    @torch.no_grad()
    def measure_error(self, crops: Sequence[tuple[Tensor, Tensor]]) -> float:
        """Return the mean absolute error on sons (N, C, h, w) with their residuals; the device is waited for once."""
        return float(torch.stack([self._loss(*each) for each in crops]).mean())

    def weights(self) -> Tensor:
        """Return all weights as a vector."""
        return self._weights.clone()

    def restore(self, weights: Tensor) -> None:
        """Set all weights and reset Adam's averages, in place."""
        self._weights.copy_(weights)
        self._copy.copy_(weights)
        for state in self._adam.state.values():
            for value in state.values():
                value.zero_()

    def optimizer_state(self) -> dict[str, Tensor]:
        """Return Adam's averages by name; nothing before the first step."""
        return {name: value.clone() for name, value in self._adam.state[self._weights].items()}

    def resume(self, weights: Tensor, optimizer_state: dict[str, Tensor]) -> None:
        """Continue from the weights and the optimizer's state of an earlier training."""
        self.restore(weights)
        self._adam.state[self._weights] = {name: value.clone() for name, value in optimizer_state.items()}

    def _run(self, sons: Tensor, residuals: Tensor) -> Tensor:
        self._copied_gradient.zero_()
        loss = self._loss(sons, residuals)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._gradient.copy_(self._copied_gradient)
        self._scaler.step(self._adam)
        self._scaler.update()
        self._copy.copy_(self._weights)
        return loss.detach()

    def _loss(self, sons: Tensor, residuals: Tensor) -> Tensor:
        return nn.functional.l1_loss(self.network(sons), residuals)


def _split_vector(vector: Tensor, network: nn.Module) -> list[Tensor]:
    """Split a vector into views of the shapes of the network's parameters, convolutions with their channels last."""
    parameters = list(network.parameters())
    pieces = torch.split(vector, [weight.numel() for weight in parameters])
    return [
        piece.view(len(weight), *weight.shape[2:], weight.shape[1]).movedim(-1, 1)
        if weight.ndim == 4
        else piece.view(weight.shape)
        for piece, weight in zip(pieces, parameters, strict=True)
    ]
