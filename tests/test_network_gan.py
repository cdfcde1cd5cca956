"""SRGAN: the network itself is trained against a discriminator, after its own training."""

import numpy as np
import torch
from skimage import data

from zssr import Config, Upscaler
from zssr.degradation import Degradation
from zssr.methods import find_method
from zssr.training.network_gan import train_network_gan
from zssr.training.pairs import make_training_pairs

PHOTO = data.astronaut()[:40, 200:240]
CONFIG = Config(
    method="srgan:blocks=1", num_epochs=1, noise=0, jpeg="off", crop_size=24, precision="fp32", adversarial=0.5
)


def make_network_and_pairs(crop_size=24):
    image, generator = torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255, torch.Generator().manual_seed(0)
    degradation = Degradation(None, (2, 2))
    pairs, _ = make_training_pairs([[image]], degradation, 2, crop_size, generator)
    network = find_method("srgan:blocks=1").make_network(3, 2, CONFIG, generator)
    return network, pairs, degradation, generator


def test_the_game_is_that_of_the_paper_and_the_network_srresnet():
    gan, plain = find_method("srgan"), find_method("srresnet")
    config = gan.adapt(Config())
    assert (config.gan_loss, config.adversarial > 0, config.self_ensemble) == ("bce", True, 1)
    assert (gan.network, gan.objective) == (plain.network, plain.objective)


def test_the_network_is_trained_further():
    gan = Upscaler(CONFIG).run(PHOTO)
    plain = Upscaler(CONFIG.replace(method="srresnet:blocks=1", self_ensemble=1)).run(PHOTO)
    assert gan.steps == plain.steps
    assert len(gan.history.adversarial_losses) == len(gan.history.discriminator_losses) > 0
    assert gan.model.texture is None
    assert gan.warnings == []
    assert not np.array_equal(gan.image, plain.image)
    assert np.abs(np.asarray(gan.image, float) - plain.image).mean() < 20


def test_a_network_learns_what_it_is_held_to():
    network, pairs, degradation, generator = make_network_and_pairs()
    sons, residuals = pairs.draw(generator)
    config = CONFIG.replace(adversarial=1e-9, num_epochs=180, perceptual="off")

    def measure_error():
        with torch.no_grad():
            return float((network(sons) - residuals).abs().mean())

    before = measure_error()
    history = train_network_gan(network, pairs, degradation, 1e-3, config, generator, lambda done, most: None)
    assert history.failure is None
    assert measure_error() < 0.95 * before
    network.eval()  # with the statistics of the averaged weights
    assert measure_error() < 0.95 * before


def test_small_crops_leave_the_network():
    network, pairs, degradation, generator = make_network_and_pairs(16)
    before = [weight.detach().clone() for weight in network.parameters()]
    history = train_network_gan(network, pairs, degradation, 1e-3, CONFIG, generator, lambda done, most: None)
    assert "too small" in history.failure
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), before, strict=True))
    warnings = Upscaler(CONFIG.replace(crop_size=16)).run(PHOTO).warnings
    assert ["too small" in warning and "pixel loss alone" in warning for warning in warnings] == [True]
