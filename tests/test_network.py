import pytest
import torch
from helpers import randomize_weights

from zssr.config import NetworkShape
from zssr.networks.sr import Network


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_output_is_factor_times_larger(factor, blocks, generator):
    out = Network(4, factor, NetworkShape(8, 4, 3, blocks), generator)(torch.rand(2, 4, 9, 11, generator=generator))
    assert out.shape == (2, 4, 9 * factor, 11 * factor)


@pytest.mark.parametrize("blocks", [False, True])
def test_margin_is_the_receptive_radius(blocks, generator):
    network = randomize_weights(Network(1, 2, NetworkShape(8, 4, 5, blocks), generator), generator)
    image = torch.rand(1, 1, 41, 41, generator=generator, requires_grad=True)
    network(image)[0, 0, 40, 40].backward()  # comes from pixel (20, 20)
    assert image.grad is not None
    rows, columns = image.grad[0, 0].nonzero(as_tuple=True)
    assert (rows - 20).abs().max() == (columns - 20).abs().max() == network.margin == 8


@pytest.mark.parametrize("shape", [NetworkShape(64, 8), NetworkShape(64, 34, blocks=True)], ids=str)
def test_start_weights_predict_small_residuals(shape, generator):
    network = Network(3, 2, shape, generator)
    assert network(torch.rand(1, 3, 24, 24, generator=generator)).abs().mean() < 0.05


@pytest.mark.parametrize("width", [2, 8, 9])
def test_start_weights_are_linear_and_odd(width, generator):
    network = Network(3, 2, NetworkShape(width, 5, 3), generator)
    a, b = torch.rand(2, 1, 3, 20, 20, generator=generator)
    with torch.no_grad():
        mean = network((a + b) / 2)
        assert torch.allclose(mean, (network(a) + network(b)) / 2, atol=1e-6)
        assert torch.allclose(network(1 - a), -network(a), atol=1e-6)
        assert mean.abs().max() > 1e-4


def test_start_weights_predict_nothing_in_a_flat_image(generator):
    network = Network(3, 2, NetworkShape(8, 3, 3), generator)
    color = torch.rand(1, 3, 1, 1, generator=generator)
    inside = network(color.expand(1, 3, 12, 12))[..., 6:-6, 6:-6]  # beyond the border is gray
    assert inside.abs().max() < 1e-6


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_every_layer_has_a_gradient_at_the_start(kernel_size, blocks, generator):
    network = Network(3, 2, NetworkShape(8, 4, kernel_size, blocks), generator)
    network(torch.rand(1, 3, 20, 20, generator=generator)).abs().sum().backward()
    for weight in network.parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 1e-6


def test_weights_follow_the_generator_alone():
    def weights(seed):
        return torch.cat(
            [
                w.flatten()
                for w in Network(3, 2, NetworkShape(8, 3, 3), torch.Generator().manual_seed(seed)).parameters()
            ]
        )

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_shape_follows_the_settings(generator):
    network = Network(3, 2, NetworkShape(10, 5, 3), generator)
    shapes = [tuple(w.shape) for name, w in network.named_parameters() if name.endswith("weight")]
    assert shapes == [(10, 3, 3, 3), *[(10, 10, 3, 3)] * 3, (12, 10, 3, 3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("side", [5, 40])
def test_output_is_the_same_with_and_without_gradients(side, blocks, dtype, generator):
    network = randomize_weights(Network(3, 2, NetworkShape(16, 4, blocks=blocks), generator), generator).to(dtype)
    image = torch.rand(1, 3, side, side, generator=generator)
    expected = network(image)
    with torch.no_grad():
        assert torch.allclose(network(image), expected, atol=1e-6 if dtype != torch.bfloat16 else 1e-2)
