"""A training step as a CUDA graph, and eagerly where that cannot be."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor

from zssr.runtime import is_out_of_memory

logger = logging.getLogger(__name__)

_EAGER_CALLS = 1  # before the capture: lazy initializations must not be captured

Step = Callable[..., Tensor]


class CudaGraph:
    """Replays a step on tensors of the same shapes as a CUDA graph, so that its many small kernels cost one launch.

    If it cannot be captured or replayed, for any reason but lack of memory, the step is run eagerly from then on.

    Attributes
    ----------
    failure
        Why the step is run eagerly; None if it is not.
    """

    def __init__(self, device: torch.device) -> None:
        self.failure: str | None = None
        self._device, self._calls = device, 0
        self._stream: torch.cuda.Stream | None = None
        self._captured: _CapturedStep | None = None

    def __call__(self, run: Step, *inputs: Tensor) -> Tensor:
        """Take the step `run` on crops and what else it needs; return its loss."""
        if self.failure is None:
            try:
                with torch.cuda.device(self._device):
                    return self._replay(run, inputs)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                logger.debug("the step is run eagerly", exc_info=True)
                self.failure = str(error).partition("\n")[0]
                self._captured = self._stream = None
        return run(*inputs)

    def _replay(self, run: Step, inputs: Sequence[Tensor]) -> Tensor:
        self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._calls += 1
        if self._calls <= _EAGER_CALLS:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                loss = run(*inputs)
            torch.cuda.current_stream().wait_stream(self._stream)
            return loss
        if self._captured is None:
            self._captured = _capture(run, [one.clone() for one in inputs], self._stream)
        for own, one in zip(self._captured.inputs, inputs, strict=True):
            own.copy_(one)
        self._captured.graph.replay()
        return self._captured.loss.clone()


class _CapturedStep(NamedTuple):
    """A graph, and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: Sequence[Tensor]
    loss: Tensor


def _capture(run: Step, inputs: Sequence[Tensor], stream: torch.cuda.Stream) -> _CapturedStep:
    """Capture a step on the stream that it ran on before; other threads may use the GPU meanwhile."""
    graph = torch.cuda.CUDAGraph()
    with ExitStack() as stack:
        stack.enter_context(
            torch.cuda.stream(torch.cuda.current_stream())
        )  # which a capture that fails does not restore
        stack.enter_context(torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"))
        loss = run(*inputs)
    return _CapturedStep(graph, inputs, loss)
