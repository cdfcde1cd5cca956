import pytest
import torch

from zssr.network import Network


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_output_is_factor_times_larger(factor, generator):
    out = Network(4, factor, 8, 3, 3, generator)(torch.rand(2, 4, 9, 11, generator=generator))
    assert out.shape == (2, 4, 9 * factor, 11 * factor)


def test_an_output_depends_on_the_margin_and_not_beyond(generator):
    network = Network(1, 2, 8, 4, 5, generator)
    image = torch.rand(1, 1, 41, 41, generator=generator, requires_grad=True)
    network(image)[0, 0, 40, 40].backward()  # comes from pixel (20, 20)
    assert image.grad is not None
    rows, columns = image.grad[0, 0].nonzero(as_tuple=True)
    assert (rows - 20).abs().max() == (columns - 20).abs().max() == network.margin == 8


def test_start_is_nearly_the_interpolation(generator):
    network = Network(3, 2, 64, 8, 3, generator)
    assert network(torch.rand(1, 3, 24, 24, generator=generator)).abs().mean() < 0.05


def test_weights_follow_the_generator_alone():
    def weights(seed):
        return torch.cat(
            [w.flatten() for w in Network(3, 2, 8, 3, 3, torch.Generator().manual_seed(seed)).parameters()]
        )

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_shape_follows_the_settings(generator):
    network = Network(3, 2, 10, 5, 3, generator)
    shapes = [tuple(w.shape) for name, w in network.named_parameters() if name.endswith("weight")]
    assert shapes == [(10, 3, 3, 3), *[(10, 10, 3, 3)] * 3, (12, 10, 3, 3)]
