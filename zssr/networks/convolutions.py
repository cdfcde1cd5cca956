"""Convolutions whose gradients are the same for any number of threads."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_BLOCK = 1024  # pixels whose neighborhoods are unfolded at once
_MULTIPLE = 32  # matrices are padded to so many columns, for MKL to round all of them alike


def conv_chain(
    image: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *, deterministic: bool = True
) -> Tensor:
    """Apply convolutions that keep the size of `image` (N, C, H, W), with a ReLU between each two.

    oneDNN and MKL split the long sums of most weight gradients among the threads, and so round them differently for
    each number of threads. On a CPU these gradients are computed here as products of matrices over short sums, which
    are added up in a fixed order, unless that is not asked for: on one thread it takes longer.
    """
    if deterministic and image.device.type == "cpu" and torch.is_grad_enabled():
        result: Tensor = _Chain.apply(image, *weights, *biases)
        return result
    for output in _layer_outputs(image, weights, biases):
        image = output
    return image


def residual_blocks(
    image: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *, deterministic: bool = True
) -> Tensor:
    """Apply a convolution, residual blocks of two with a ReLU between them, and a last convolution.

    All of them keep the size of `image` (N, C, H, W). The gradients are computed as in `conv_chain`.
    """
    own = deterministic and image.device.type == "cpu" and torch.is_grad_enabled()
    convolve = _Convolution.apply if own else _conv2d
    first, *inner, last = zip(weights, biases, strict=True)
    features = convolve(image, *first)
    for one, two in zip(inner[::2], inner[1::2], strict=True):
        features = features + convolve(torch.relu_(convolve(features, *one)), *two)
    output: Tensor = convolve(features, *last)
    return output


def conv2d_deterministic(image: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """Apply one convolution to `image` (N, C, H, W); on a CPU its gradients are computed as in `conv_chain`."""
    if image.device.type == "cpu" and torch.is_grad_enabled():
        result: Tensor = _Layer.apply(image, weight, bias, stride, padding)
        return result
    return nn.functional.conv2d(image, weight, bias, stride, padding)


class BlockedLinear(nn.Linear):
    """A linear layer that computes 64 outputs at a time: more of them MKL splits among the threads."""

    def forward(self, values: Tensor) -> Tensor:
        """Apply the layer to `values` (C,)."""
        blocks = zip(torch.split(self.weight, 64), torch.split(self.bias, 64), strict=True)
        return torch.cat([nn.functional.linear(values, weight, bias) for weight, bias in blocks])


def _layer_outputs(image: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield the output of each layer."""
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        image = _conv2d(image, weight, bias)
        image = torch.relu_(image) if k < len(weights) - 1 else image
        yield image


def _conv2d(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return nn.functional.conv2d(image, weight, bias, padding=weight.shape[-1] // 2)


class _Convolution(torch.autograd.Function):
    """Differentiate one convolution that keeps the size of the image."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(image, weight)
        return _conv2d(image, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        image, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_image = _backward(image, gradient, weight, (True, False, False))[0] if ctx.needs_input_grad[0] else None
        scratch = torch.empty(max(_BLOCK, gradient.shape[-1]) * _columns(weight), dtype=gradient.dtype)
        return of_image, weight_grad(image, gradient, weight, scratch), gradient.sum((0, 2, 3))


class _Chain(torch.autograd.Function):
    """Differentiate the convolutions in one step."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, *parameters: Tensor) -> Tensor:  # noqa: ANN401
        weights, biases = parameters[: len(parameters) // 2], parameters[len(parameters) // 2 :]
        *features, last = image, *_layer_outputs(image, weights, biases)
        ctx.save_for_backward(*features, *weights)
        return last

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        depth = len(ctx.saved_tensors) // 2
        features, weights = ctx.saved_tensors[:depth], ctx.saved_tensors[depth:]
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        scratch = torch.empty(max(_BLOCK, gradient.shape[-1]) * max(map(_columns, weights)), dtype=gradient.dtype)
        of_weights, of_biases = [], []
        for k in reversed(range(depth)):
            of_weights.append(weight_grad(features[k], gradient, weights[k], scratch))
            of_biases.append(gradient.sum((0, 2, 3)))
            if k > 0 or ctx.needs_input_grad[0]:
                gradient = _backward(features[k], gradient, weights[k], (True, False, False))[0]
            if k > 0:
                gradient = torch.ops.aten.threshold_backward(gradient, features[k], 0)
        return gradient if ctx.needs_input_grad[0] else None, *reversed(of_weights), *reversed(of_biases)


class _Layer(torch.autograd.Function):
    """Differentiate one convolution of any stride and padding; meant for small images."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(image, weight)
        ctx.stride, ctx.padding = stride, padding
        return nn.functional.conv2d(image, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        image, weight = ctx.saved_tensors
        side, stride, padding = weight.shape[-1], ctx.stride, ctx.padding
        of_image = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_image = _input_grad(gradient, image, weight, stride, padding)
        if ctx.needs_input_grad[1]:
            of_weight = torch.zeros_like(weight)
            for one, outputs in zip(image.split(1), gradient.flatten(2), strict=True):
                inputs = nn.functional.unfold(one, side, padding=padding, stride=stride)[0]
                product = sum_products(pad_to_multiple(outputs.mT), pad_to_multiple(inputs.mT))
                of_weight += product[: len(outputs), : len(inputs)].reshape(weight.shape)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_image, of_weight, of_bias, None, None


def _input_grad(gradient: Tensor, image: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Return the gradient of a convolution's input, by a convolution: oneDNN splits transposed ones among threads."""
    side = weight.shape[-1]
    height, width = (length + 2 * padding - side + 1 for length in image.shape[-2:])
    dilated = gradient.new_zeros(*gradient.shape[:2], height, width)
    dilated[..., ::stride, ::stride] = gradient
    flipped = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
    return nn.functional.conv2d(dilated, flipped, padding=side - 1 - padding)


def pad_to_multiple(matrix: Tensor) -> Tensor:
    """Append columns of zeros up to a multiple of 32; the result is contiguous."""
    return nn.functional.pad(matrix, (0, -matrix.shape[1] % _MULTIPLE)).contiguous()


def weight_grad(features: Tensor, gradient: Tensor, weight: Tensor, scratch: Tensor) -> Tensor:
    """Return the gradient of a convolution's weight (O, C, K, K), given its input and the gradient of its output.

    `scratch` is working memory: allocating it for each layer would take longer than filling it.
    """
    if _is_deterministic(features, weight):
        return _backward(features, gradient, weight, (False, True, False))[1]
    out, channels, side, _ = weight.shape
    taps, columns = side * side * channels, _columns(weight)
    padded = nn.functional.pad(features, [side // 2] * 4).permute(0, 2, 3, 1).contiguous()
    below, beside = padded.stride()[1:3]
    total = torch.zeros(out, columns, dtype=torch.promote_types(weight.dtype, torch.float32))
    for image, outputs in zip(padded, gradient.permute(0, 2, 3, 1), strict=True):
        height = max(1, _BLOCK // outputs.shape[1])
        for k, rows in enumerate(outputs.split(height)):
            shape = (*rows.shape[:2], side, side * channels)
            neighborhoods = image[k * height :].as_strided(shape, (below, beside, below, 1))
            matrix = scratch[: rows[..., 0].numel() * columns].view(*rows.shape[:2], columns)
            matrix[..., taps:] = 0
            matrix[..., :taps].view(shape).copy_(neighborhoods)
            total += sum_products(rows.reshape(-1, out), matrix.view(-1, columns))
    return total[:, :taps].to(weight.dtype).view(out, side, side, channels).permute(0, 3, 1, 2)


def _is_deterministic(features: Tensor, weight: Tensor) -> bool:
    """Tell whether oneDNN sums a weight's gradient in one order: in fp32, for one image of 16 channels or more.

    torch passes images of 20480 values or fewer to MKL instead.
    """
    return weight.dtype == torch.float32 and len(features) == 1 and weight.shape[1] >= 16 and features.numel() > 20480


def sum_products(rows: Tensor, matrix: Tensor) -> Tensor:
    """Return `rows` (N, O), transposed, times `matrix` (N, C), rounded alike by any number of threads.

    Sums over N of this length and less were the same for 1 to 64 threads, with AVX-512 and with AMX.
    """
    longest = 1024 if rows.dtype == torch.bfloat16 else 256
    if len(rows) <= longest:
        return rows.t() @ matrix
    total = torch.zeros(rows.shape[1], matrix.shape[1], dtype=torch.promote_types(rows.dtype, torch.float32))
    for part, other in zip(torch.split(rows, longest), torch.split(matrix, longest), strict=True):
        total += part.t() @ other
    return total


def _columns(weight: Tensor) -> int:
    """Return the number of columns of a convolution's unfolded input."""
    return math.ceil(weight[0].numel() / _MULTIPLE) * _MULTIPLE


def _backward(
    features: Tensor, gradient: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of a convolution's input, weight and bias, as far as they are `wanted`."""
    pad = [weight.shape[-1] // 2] * 2
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, features, weight, None, [1, 1], pad, [1, 1], False, [0, 0], 1, wanted
    )
    return gradients
