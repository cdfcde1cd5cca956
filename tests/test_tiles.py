import pytest
import torch
from conftest import trained

from zssr.inference.tiles import apply_in_tiles, tile_count
from zssr.networks.sr import Network


@pytest.mark.parametrize("tile", [8, 11, 16, 23, 40, 64])
def test_tiled_equals_untiled(tile, generator):
    network = trained(Network(3, 2, 16, 8, 3, generator), generator)
    image = torch.rand(1, 3, 50, 67, generator=generator)
    tiles = []
    with torch.no_grad():
        whole = network(image)
        tiled = apply_in_tiles(network, image, 2, tile, network.margin, lambda: tiles.append(1))
    assert (tiled - whole).abs().max() < 1e-5
    assert len(tiles) == tile_count((50, 67), tile)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (8, 8), (9, 17)])
def test_any_size_works(size, generator):
    network = trained(Network(1, 3, 4, 3, 3, generator), generator)
    image = torch.rand(2, 1, *size, generator=generator)
    with torch.no_grad():
        tiled = apply_in_tiles(network, image, 3, 8, network.margin, lambda: None)
        assert torch.allclose(tiled, network(image), atol=1e-6)


def test_too_small_a_margin_would_show(generator):
    network = trained(Network(1, 2, 8, 8, 3, generator), generator)
    image = torch.rand(1, 1, 40, 40, generator=generator)
    with torch.no_grad():
        tiled = apply_in_tiles(network, image, 2, 16, network.margin // 2, lambda: None)
        assert (tiled - network(image)).abs().max() > 1e-4  # ten times what equal means
