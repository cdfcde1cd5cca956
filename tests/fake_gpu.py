"""A GPU that is not there: tensors on it have a shape, a dtype and a device, and no values (torch's `FakeTensorMode`).

Everything else is computed as usual. An operation on tensors of several devices fails, as it does on a GPU. What comes
back from the GPU is made up: 0.5, true, or 1. Gradients are made up, too: autograd wants a real GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")

aten = torch.ops.aten
VALUES = (aten._local_scalar_dense.default, aten.allclose.default)
COPIES = (aten._to_copy.default, aten.copy_.default)
IN_PLACE = (aten._fused_adam_.tensor_lr,)  # they change values alone, and have no form for fake tensors


class FakeGpu(TorchDispatchMode):
    """Does all that concerns tensors on the GPU with fake ones.

    Attributes
    ----------
    waits
        What would wait for the GPU: values read from it, and copies that are not asynchronous.
    float64
        Operations that made float64 on the GPU, which those of Apple do not have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.float64 = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        if not any(is_on_gpu(leaf) for leaf in leaves):
            with _disable_current_modes():
                return func(*args, **kwargs)
        if func in VALUES:
            self.waits.append("value")
            return make_up_value(torch.bool if func is aten.allclose.default else tensors[0].dtype)
        if func in IN_PLACE:
            assert all(map(is_on_gpu, tensors))
            return None
        out = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor) and is_on_gpu(leaf)]
        if func in COPIES and not (made and all(map(is_on_gpu, tensors))) and not kwargs.get("non_blocking"):
            self.waits.append("copy")
        self.float64 += [str(func) for tensor in made if tensor.dtype == torch.float64]
        return tree_map_only(torch.Tensor, lambda tensor: tensor if is_on_gpu(tensor) else make_up(tensor), out)


def is_on_gpu(value: object) -> bool:
    """Tell whether a tensor is on the GPU, or a device is one."""
    device = value.device if isinstance(value, torch.Tensor) else value
    return isinstance(device, torch.device) and device.type == "cuda"


def make_up(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor with values for one that has none."""
    with _disable_current_modes():
        return torch.full(tuple(tensor.shape), make_up_value(tensor.dtype), dtype=tensor.dtype)


def make_up_value(dtype: torch.dtype) -> float | int | bool:
    """Return a value that the pipeline could meet."""
    return 0.5 if dtype.is_floating_point else dtype == torch.bool or 1


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    """Work with a fake GPU, "cuda"."""
    backward, grad = torch.Tensor.backward, torch.autograd.grad

    def fake_backward(tensor, *args, **kwargs):
        if not is_on_gpu(tensor):
            return backward(tensor, *args, **kwargs)
        for leaf in find_leaves(tensor.grad_fn):
            leaf.grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad

    def fake_grad(outputs, inputs, *args, **kwargs):
        if any(map(is_on_gpu, tree_leaves(outputs))):
            return [torch.zeros_like(one) for one in inputs]
        return grad(outputs, inputs, *args, **kwargs)

    def fake_apply(module, function, recurse=True):
        for part in module.modules():
            for name, weight in part._parameters.items():
                part._parameters[name] = torch.nn.Parameter(function(weight.detach()), weight.requires_grad)
        return module

    with fake_tensor.FakeTensorMode(allow_non_fake_inputs=True), FakeGpu() as gpu, monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", fake_backward)
        patch.setattr(torch.autograd, "grad", fake_grad)
        patch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
        patch.setattr(torch.nn.Module, "_apply", fake_apply)  # torch's own does not convert fake tensors in use
        yield gpu


def find_leaves(function: object) -> list[torch.Tensor]:
    """Return the leaf tensors that a backward pass reaches."""
    pending, seen, leaves = [function], set(), []
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            leaves += [node.variable] if hasattr(node, "variable") else []
            pending += [following for following, _ in node.next_functions]
    return leaves
