"""Optimizer steps: forward, backward and Adam on one vector of weights; a CUDA graph on a GPU."""

import copy
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from zssr.method import L1, Objective, ResidualNetwork
from zssr.runtime import ComputeType, run_single_threaded
from zssr.training.cuda_graph import CudaGraph

_MOST_REPLICAS = 4  # small crops, of which there are many in a step, are faster together
_BETAS = (0.8, 0.95)  # Adam's usual 0.9 and 0.999 cost 0.04 dB on Set5 x2, over two seeds


class TrainStep:
    """Takes optimizer steps with Adam (Kingma, Ba 2015). On CUDA a step is replayed as a graph.

    All weights lie in one fp32 vector, and the parameters of `network` become views of it. Replicas in the compute's
    precision do the convolutions; they share one vector of weights, and each has one of gradients. So Adam and the
    casts take one call a step each, and not one for every layer.

    On a CPU the crops are shared out to replicas, each of which works on one thread. Their gradients are added up in a
    fixed order.

    Attributes
    ----------
    network
        The first replica.
    """

    def __init__(
        self, network: ResidualNetwork, compute: ComputeType, objective: Objective = L1, clip: float | None = None
    ) -> None:
        self._compute, self._objective, self._clip = compute, objective, clip
        size = sum(weight.numel() for weight in network.parameters())
        self._weights, self._mean, self._square, self._gradient = torch.zeros(4, size, device=compute.device).unbind()
        for weight, view in zip(network.parameters(), _split_vector(self._weights, network), strict=True):
            weight.data = view.copy_(weight.detach())
        self._copy = self._weights.to(compute.dtype, copy=True)
        self._replicas: list[tuple[ResidualNetwork, Tensor]] = []
        self.network = self._add_replica(network)
        self._rate, self._steps, self._share = torch.zeros(3, device=compute.device).unbind()
        self._loss_scale = torch.ones((), device=compute.device)
        if compute.dtype == torch.float16:
            self._loss_scale.fill_(4096)  # smaller gradients are 0
        self._graph = CudaGraph(compute.device) if compute.device.type == "cuda" else None

    def __call__(self, sons: Tensor, residuals: Tensor, rate: float, share: float = 0.0) -> Tensor:
        """Take a step on crops (N, C, h, w) and their residuals; return the loss before it.

        `share` is how much of the training is done, which the objective may depend on.
        """
        self._rate.fill_(rate)
        self._share.fill_(share)
        return self._graph(self._run, sons, residuals) if self._graph else self._run(sons, residuals)

    @property
    def graph_failure(self) -> str | None:
        """Why steps are run eagerly on CUDA; None if they are replayed."""
        return self._graph.failure if self._graph else None

    @torch.no_grad()
    def measure_error(self, crops: Sequence[tuple[Tensor, Tensor]]) -> float:
        """Return the mean absolute error on sons (N, C, h, w) with their residuals; the device is waited for once."""
        if self._graph and next(self.network.buffers(), None) is None:  # a GPU computes them together as fast as one
            sons, residuals = (torch.cat(parts) for parts in zip(*crops, strict=True))
            crops = [(sons, residuals)]
        losses = [nn.functional.l1_loss(self.network(sons), residuals) for sons, residuals in crops]
        return float(torch.stack(losses).mean())

    @torch.no_grad()
    def copy_statistics(self, network: ResidualNetwork) -> None:
        """Copy the running statistics of batch normalization, if there is any, to `network`."""
        for own, running in zip(network.buffers(), self.network.buffers(), strict=True):
            own.copy_(running)

    def weights(self) -> Tensor:
        """Return all weights as a vector."""
        return self._weights.clone()

    def restore(self, weights: Tensor) -> None:
        """Set all weights and reset Adam's averages, in place."""
        self._weights.copy_(weights)
        self._copy.copy_(weights)
        for state in (self._mean, self._square, self._steps):
            state.zero_()

    def _add_replica(self, network: ResidualNetwork) -> ResidualNetwork:
        """Make a replica with gradients of its own."""
        replica, gradient = copy.deepcopy(network).to(self._compute.dtype), torch.zeros_like(self._copy)
        views = zip(_split_vector(self._copy, network), _split_vector(gradient, network), strict=True)
        for weight, (view, of_weight) in zip(replica.parameters(), views, strict=True):
            weight.data, weight.grad = view, of_weight
        self._replicas.append((replica, gradient))
        return replica

    def _run(self, sons: Tensor, residuals: Tensor) -> Tensor:
        device = self._compute.device
        parts = min(len(sons), _MOST_REPLICAS) if device.type == "cpu" else 1
        while len(self._replicas) < parts:
            self._add_replica(self.network)
        crops = zip(self._replicas, sons.chunk(parts), residuals.chunk(parts), strict=False)
        calls = [
            partial(self._differentiate, *replica, son, residual, len(son) / len(sons))
            for replica, son, residual in crops
        ]
        losses = list(run_single_threaded(calls, device))
        (_, first), *others = self._replicas[: len(losses)]
        self._gradient.copy_(first)
        for _, gradient in others:
            self._gradient.add_(gradient)
        self._take_adam_step()
        self._copy.copy_(self._weights)
        return torch.stack(losses).sum()

    def _take_adam_step(self) -> None:
        """Update the weights, in one pass; called directly, since torch's optimizers take over a second to import."""
        if self._clip is not None:
            limit = self._clip / self._rate * self._loss_scale
            self._gradient.clamp_(-limit, limit)
        self._steps += 1
        torch._fused_adam_(
            [self._weights],
            [self._gradient],
            [self._mean],
            [self._square],
            [],
            [self._steps],
            lr=self._rate,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
            grad_scale=self._loss_scale,
        )

    def _differentiate(
        self, network: ResidualNetwork, gradient: Tensor, sons: Tensor, residuals: Tensor, share: float
    ) -> Tensor:
        """Compute a network's gradients, times the loss scale, which `gradient` holds; return the loss.

        `share` is that of the crops in the step.
        """
        gradient.zero_()
        loss = share * self._objective(network, sons, residuals, self._share)
        (loss * self._loss_scale).backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def _split_vector(vector: Tensor, network: ResidualNetwork) -> list[Tensor]:
    """Split a vector into views of the shapes of the network's parameters, convolutions with their channels last."""
    parameters = list(network.parameters())
    pieces = torch.split(vector, [weight.numel() for weight in parameters])
    return [
        piece.view(len(weight), *weight.shape[2:], weight.shape[1]).movedim(-1, 1)
        if weight.ndim == 4
        else piece.view(weight.shape)
        for piece, weight in zip(pieces, parameters, strict=True)
    ]
