import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import randomize_weights

from zssr.config import NetworkShape
from zssr.degradation import Degradation
from zssr.degradation.blur import validate_kernel
from zssr.degradation.jpeg import Jpeg
from zssr.networks.film import (
    EMBEDDING_SIZE,
    WAVES,
    ConditionedNetwork,
    degradation_embedding,
    sample_transfer_function,
)
from zssr.networks.sr import Network

SHAPE = NetworkShape(8, 4)
BICUBIC = Degradation(quantized=True)
KERNEL = validate_kernel(np.outer([1, 2, 4, 2, 1], [1, 4, 6, 4, 1]))
BLURRED = Degradation(KERNEL, (2, 2), "top_left", quantized=True)


@pytest.mark.parametrize("sampling", ["center", "top_left"])
def test_transfer_function_of_a_gaussian_is_the_analytic_one(sampling):
    y, x = np.mgrid[-10:11, -10:11] if sampling == "top_left" else np.mgrid[-10:10, -10:10] + 0.5
    variances = {"down": 1.2, "right": 2.1}
    kernel = np.exp(-0.5 * (y**2 / variances["down"] + x**2 / variances["right"]))
    measured = sample_transfer_function(Degradation(validate_kernel(kernel), (2, 2), sampling)).reshape(2, 5, 4).numpy()
    shift = 0 if sampling == "center" else -0.5  # of the block's first pixel from its middle
    for i, radius in enumerate((0.25, 0.5, 0.75, 1.0, 1.5)):
        for k in range(4):
            down, right = (0.25 * radius * part(math.pi * k / 4) for part in (math.cos, math.sin))
            power = down**2 * variances["down"] + right**2 * variances["right"]
            expected = np.exp(-2 * math.pi**2 * power + 2j * math.pi * shift * (down + right))
            assert complex(*measured[:, i, k]) == pytest.approx(expected, abs=2e-3)


def test_bicubic_passes_low_waves_and_stops_high_ones():
    cosines, sines = sample_transfer_function(BICUBIC).reshape(2, 5, 4)
    assert sines.abs().max() < 1e-6
    assert (cosines[0] - 1).abs().max() < 0.03
    assert cosines[-1].abs().max() < 0.2
    assert len(sample_transfer_function(BLURRED)) == WAVES


def test_embedding_ends_with_scale_noise_and_jpeg():
    clean = degradation_embedding(BLURRED)
    assert len(clean) == EMBEDDING_SIZE
    assert torch.equal(clean[:WAVES], sample_transfer_function(BLURRED))
    assert (clean[WAVES:] == 0).all()
    assert degradation_embedding(replace(BLURRED, scale=(4, 4)))[WAVES] == 1
    levels = [degradation_embedding(replace(BLURRED, noise=sigma))[WAVES + 1] for sigma in (1.0, 5.0, 25.0)]
    assert 0 < levels[0] < levels[1] < levels[2]
    coarse, fine = (
        degradation_embedding(replace(BLURRED, jpeg=Jpeg.from_quality(quality)))[WAVES + 2 :] for quality in (40, 90)
    )
    assert (coarse[:2] > fine[:2]).all()
    assert coarse[2] == fine[2] > 0
    assert (degradation_embedding(replace(BLURRED, jpeg=Jpeg.from_quality(100, "4:4:4"))) == clean).all()


def apply(network, degradation, image):
    """Apply a conditioned network's plain one for a degradation."""
    factor = int(degradation.scale[0])
    plain = Network(3, factor, network.shape, torch.Generator())
    with torch.no_grad():
        plain.load_state_dict(network.weights(degradation_embedding(degradation), factor))
        return plain(image)


@pytest.mark.parametrize("blocks", [False, True])
def test_initially_the_degradation_has_no_effect(blocks, generator):
    network = ConditionedNetwork((2, 3), SHAPE._replace(blocks=blocks), generator)
    image = torch.rand(1, 3, 9, 8, generator=generator)
    for scale in ((2, 2), (3, 3)):
        bicubic, blurred = (apply(network, replace(one, scale=scale), image) for one in (BICUBIC, BLURRED))
        assert bicubic.shape[-1] == 8 * scale[0]
        assert torch.equal(bicubic, blurred)


def test_factors_share_all_layers_but_the_last(generator):
    network = ConditionedNetwork((2, 3), SHAPE, generator)
    embedding = degradation_embedding(BICUBIC)
    two, three = (network.weights(embedding, factor) for factor in (2, 3))
    same = {name for name in two if two[name].shape == three[name].shape and torch.equal(two[name], three[name])}
    assert same == {f"convolutions.{k}.{part}" for k in range(3) for part in ("weight", "bias")}


def test_degradations_and_factors_have_weights_of_their_own(generator):
    network = randomize_weights(ConditionedNetwork((2, 3), SHAPE, generator), generator)
    image = torch.rand(1, 3, 9, 8, generator=generator)
    outputs = [apply(network, one, image) for one in (BICUBIC, BLURRED, replace(BLURRED, noise=20))]
    assert all(not torch.allclose(outputs[0], other, atol=1e-4) for other in outputs[1:])
    assert not torch.equal(outputs[1], outputs[2])
