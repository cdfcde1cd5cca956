"""The networks of adversarial training: the texture generator, the discriminator and their losses."""

import math

import pytest
import torch
from helpers import make_noise_image

from zssr.geometry import Interval, Region
from zssr.networks.discriminator import CHANCE_LOSS, DISCRIMINATOR_LOSSES, GENERATOR_LOSSES, Discriminator
from zssr.networks.texture import TextureGenerator, hash_normal, local_std, weakest_gradient


def region(top, bottom, left, right):
    return Region(Interval(top, bottom, 1000), Interval(left, right, 1000))


def randomized_generator(generator):
    texture = TextureGenerator(3, generator)
    torch.nn.init.normal_(texture.convolutions[-1].weight, generator=generator)
    return texture


def test_noise_depends_on_the_place_and_not_on_the_region():
    whole = hash_normal(region(0, 300, 0, 200), 5)
    assert torch.equal(hash_normal(region(37, 150, 11, 200), 5), whole[..., 37:150, 11:200])
    assert abs(float(whole.mean())) < 0.02
    assert float(whole.std()) == pytest.approx(1, abs=0.02)
    assert float((whole.abs() < 0.6745).float().mean()) == pytest.approx(0.5, abs=0.01)
    for other in (whole.roll(1, -1), whole.roll(1, -2), whole.mT[..., :200, :], hash_normal(region(0, 300, 0, 200), 6)):
        height = min(whole.shape[-2], other.shape[-2])
        assert abs(float((whole[..., :height, :200] * other[..., :height, :200]).mean())) < 0.02


def test_local_std_is_the_standard_deviation_of_fine_detail():
    assert local_std(torch.full((1, 3, 20, 20), 0.3)).max() < 1e-6
    kept = 1 - 2 / 4 + (6 / 16) ** 2  # of the variance of white noise, less its mean over [1 2 1] / 4 along both axes
    std = local_std(make_noise_image(128, 128))
    assert std.shape == (1, 1, 128, 128)
    assert float(std.square().mean()) == pytest.approx(kept * 0.1**2 / 3, rel=0.03)


def test_weakest_gradient_is_that_of_the_lower_of_crossed_waves():
    place = 2 * math.pi / 7 * torch.arange(42.0)
    for down, right in ((0.3, 0.1), (0.1, 0.3), (0.2, 0.0)):
        waves = down * torch.sin(place)[:, None] + right * torch.sin(place)
        gradient = weakest_gradient(waves.expand(1, 3, 42, 42), 7)[..., 4:-4, 4:-4]
        expected = torch.full_like(gradient, min(down, right) * math.sin(2 * math.pi / 7) / math.sqrt(2))
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 160])
def test_texture_is_small_along_edges_and_beside_them(degrees, generator):
    texture = randomized_generator(generator)
    y, x = torch.meshgrid(torch.arange(-24.0, 24), torch.arange(-24.0, 24), indexing="ij")
    across = math.cos(math.radians(degrees)) * y + math.sin(math.radians(degrees)) * x
    edge = torch.sigmoid(across).expand(1, 3, 48, 48)
    noise = torch.randn(1, 1, 48, 48, generator=generator)
    std = torch.full((1, 1, 48, 48), 0.1)
    inner = (..., slice(texture.margin, -texture.margin), slice(texture.margin, -texture.margin))
    on_edge, on_noise = (texture(image, std, noise)[inner].abs().max() for image in (edge, make_noise_image(48, 48)))
    assert on_edge < 0.1 * on_noise


def test_start_weights_add_nothing_and_flat_regions_stay_flat(generator):
    texture = TextureGenerator(3, generator)
    image, noise = torch.rand(1, 3, 20, 20, generator=generator), torch.randn(1, 1, 20, 20, generator=generator)
    assert not texture(image, local_std(image), noise).any()
    texture = randomized_generator(generator)
    assert texture(image, local_std(image), noise).any()
    assert not texture(image, torch.zeros(1, 1, 20, 20), noise).any()


def test_texture_is_equivariant_to_shifts(generator):
    texture = randomized_generator(generator)
    image, noise = torch.rand(1, 3, 41, 40, generator=generator), torch.randn(1, 1, 41, 40, generator=generator)
    std = local_std(image)
    whole, m = texture(image, std, noise), texture.margin
    for down, right in ((1, 0), (0, 1), (3, 2)):
        part = texture(*(each[..., down:, right:].contiguous() for each in (image, std, noise)))
        torch.testing.assert_close(
            part[..., m:-m, m:-m], whole[..., down + m : -m, right + m : -m], rtol=1e-4, atol=1e-5
        )


def test_spectral_norm_of_the_discriminators_layers_is_one(generator):
    discriminator = Discriminator(3, generator)
    with torch.no_grad():
        for weight in discriminator.weights:
            weight.mul_(7)
    for _ in range(50):
        discriminator.power_iteration()
    for weight, u in zip(discriminator.weights, discriminator.u, strict=True):
        matrix = weight.detach().flatten(1)
        norm = (matrix.mT @ u.detach()).norm()
        assert float(torch.linalg.matrix_norm(matrix / norm, 2)) == pytest.approx(1, abs=0.02)


def test_discriminator_does_not_depend_on_coarse_structure(generator):
    discriminator = Discriminator(1, generator)
    fine = make_noise_image(40, 40)[:, :1]
    ramp = torch.linspace(0, 0.4, 40).expand(1, 1, 40, 40)
    inner = (..., slice(4, -4), slice(4, -4))
    scores = [discriminator(image)[-1][inner] for image in (fine, fine + ramp)]
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(GENERATOR_LOSSES))
def test_gradients_of_the_losses_have_opposite_signs_for_both_networks(kind):
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    assert float(DISCRIMINATOR_LOSSES[kind](real, fake).detach()) == pytest.approx(CHANCE_LOSS[kind])
    up, down = torch.autograd.grad(DISCRIMINATOR_LOSSES[kind](real + 0.2, fake + 0.2), (real, fake))
    assert (up < 0).all()
    assert (down > 0).all()
    (better,) = torch.autograd.grad(GENERATOR_LOSSES[kind](real.detach(), fake), fake)
    assert (better < 0).all()
    far = torch.full((4,), 30.0)
    assert float(DISCRIMINATOR_LOSSES[kind](far, -far)) < 1e-6
