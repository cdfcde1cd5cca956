"""The networks of the literature: numbers of weights, receptive fields, shared layers, and what they start as."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from skimage import data
from torch import nn
from torch.nn.functional import mse_loss

from zssr import Config, ConfigError, Upscaler, upscale
from zssr.methods import find_method, list_methods
from zssr.networks.drcn import supervise_recursions
from zssr.networks.lapsrn import charbonnier, supervise_levels
from zssr.networks.layers import Deconvolution, upsample_cubic
from zssr.networks.srresnet import Normalization
from zssr.runtime import resolve_precision
from zssr.training.train_step import TrainStep

NETWORKS = [
    name
    for name, method in list_methods().items()
    if method.network and not method.learn and not method.adversarial_rate and name != "zssr"
]
PHOTO = data.astronaut()[:40, 200:240]
COMPUTE = resolve_precision(torch.device("cpu"), "fp32")
LIGHT = {
    "vdsr": "vdsr:depth=4",
    "drcn": "drcn:recursions=3,width=8",
    "red": "red:layers=10",
    "drrn": "drrn:units=9,width=8",
    "lapsrn": "lapsrn:depth=2",
    "srdensenet": "srdensenet:blocks=1",
    "srresnet": "srresnet:blocks=2",
    "edsr": "edsr:width=8,blocks=2",
    "mdsr": "mdsr:width=8,blocks=2",
}
"""The methods with fewer layers, for tests that train."""


def make(text, channels=1, factor=2):
    method = find_method(text)
    factor = 1 if method.on_interpolated else factor
    return method.make_network(channels, factor, Config(), torch.Generator().manual_seed(0)).eval()


def count(network, *kinds):
    """Count the weights, without biases, of the layers of some kinds; each object once."""
    layers = [module for module in network.modules() if isinstance(module, kinds or (nn.Conv2d, nn.ConvTranspose2d))]
    return sum(layer.weight.numel() for layer in layers)


# numbers without biases and activations; those with a paper's name stand there, the others follow from its text
@pytest.mark.parametrize(
    ("text", "channels", "factor", "weights"),
    [
        ("srcnn", 1, 1, 8032),  # Dong et al. 2016, section 4.3
        ("srcnn:middle=5", 1, 1, 57184),  # Dong et al. 2016, section 4.3.3
        ("fsrcnn", 1, 3, 12464),  # Dong, Loy and Tang 2016, table 1
        ("espcn", 1, 3, 64 * 25 + 32 * 64 * 9 + 9 * 32 * 9),  # text
        ("vdsr", 1, 1, 664704),  # 665K: Tai et al. 2017, figure 1
        ("drcn", 1, 1, 1774080),  # 1,774K: Tai et al. 2017, figure 1
        ("red", 1, 1, 2 * 9 * 64 + 28 * 9 * 64**2),  # text; 30 layers
        ("red:layers=20", 1, 1, 2 * 9 * 64 + 18 * 9 * 64**2),
        ("red:layers=10", 1, 1, 2 * 9 * 64 + 8 * 9 * 64**2),
        ("drrn", 1, 1, 297216),  # 297K: Tai et al. 2017, figure 1
        ("drrn:units=9", 1, 1, 297216),  # recursions cost none
        ("lapsrn", 1, 2, 9 * 64 + 10 * 9 * 64**2 + 16 * 64**2 + 16 + 9 * 64),  # text of 2017, one level
        ("lapsrn", 1, 8, 9 * 64 + 10 * 9 * 64**2 + 16 * 64**2 + 16 + 9 * 64),  # levels share all
        (
            "srdensenet",  # text
            1,
            4,
            9 * 128 + 8 * sum(9 * (128 + 16 * k) * 16 for k in range(8)) + 1152 * 256 + 2 * 9 * 256**2 + 9 * 256,
        ),
        ("srresnet", 3, 4, 2 * 81 * 3 * 64 + 33 * 9 * 64**2 + 2 * 9 * 64 * 256),  # text
        ("edsr", 3, 2, 2 * 27 * 64 + 33 * 9 * 64**2 + 9 * 64 * 256),  # 1.37M with biases (the authors' baseline)
        ("edsr:width=256,blocks=32", 3, 4, 2 * 27 * 256 + 65 * 9 * 256**2 + 2 * 9 * 256 * 1024),  # 43M: table 1
        # 8.0M in table 1 with 80 blocks: all heads and tails
        (
            "mdsr:blocks=80",
            3,
            2,
            27 * 64 + 161 * 9 * 64**2 + 3 * 4 * 25 * 64**2 + 9 * 64 * (256 + 576 + 512) + 3 * 27 * 64,
        ),
    ],
)
def test_number_of_weights(text, channels, factor, weights):
    assert count(make(text, channels, factor)) == weights


@pytest.mark.parametrize(
    ("text", "factor", "millions"),
    [("edsr", 2, 1.37), ("edsr:width=256,blocks=32", 4, 43.1), ("mdsr:blocks=80", 2, 8.0)],
)
def test_totals_in_the_paper_of_edsr(text, factor, millions):
    total = sum(weight.numel() for weight in make(text, 3, factor).parameters())
    assert total / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("srcnn", 13),  # 9 + 1 + 5 - 2
        ("srcnn:middle=5", 17),
        ("vdsr", 41),  # Kim et al. 2016, section 3.1
        ("drcn:width=8", 41),  # Kim et al. 2016 (recursive), section 3.1
        ("red:layers=10", 21),
        ("drrn:width=8", 105),  # 52 layers
        ("drrn:units=9,width=8", 41),
        ("espcn", 9),
        ("edsr:width=8", 73),  # 36 layers, the last of which sees half a pixel, rounded up
    ],
)
def test_receptive_field(text, side):
    network = make(text)
    assert 2 * network.margin + 1 == side
    for weight in network.parameters():
        weight.data.abs_().clamp_min_(1e-3)
    network = network.double()
    image = torch.full((1, 1, side + 4, side + 4), 0.6, dtype=torch.float64, requires_grad=True)
    out = network.predict(image)
    middle = out.shape[-1] // 2
    block = network.factor
    out[..., middle // block * block :, :][..., middle // block * block :][..., :block, :block].sum().backward()
    reached = (image.grad[0, 0] != 0).nonzero()
    extent = (reached.max(0).values - reached.min(0).values + 1).tolist()
    assert extent == [side, side]


@pytest.mark.parametrize("text", sorted(LIGHT.values()))
@pytest.mark.parametrize("factor", [2, 4])
def test_results_depend_on_nothing_beyond_the_margin(text, factor):
    network = make(text, 3, factor)
    margin, scale = network.margin, network.factor
    image = torch.rand(1, 3, 2 * margin + 8, 9, generator=torch.Generator().manual_seed(1))
    changed = image.clone()
    changed[..., -1, :] += 1
    with torch.no_grad():
        one, other = (network.predict(each) for each in (image, changed))
    rows = (one != other).any(-1).any(1)[0].nonzero()
    assert len(rows)
    assert int(rows.min()) >= scale * (image.shape[-2] - 1 - margin)


def test_espcn_is_a_convolution_and_a_periodic_shuffle():
    network = make("espcn", 1, 3)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.2, generator=torch.Generator().manual_seed(weight.numel()))
    photo = np.random.default_rng(0).random((7, 6))
    features = [photo]
    for k, layer in enumerate(network.layers):
        weights, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
        features = [
            sum(correlate2d(each, kernel, "same") for each, kernel in zip(features, kernels, strict=True)) + shift
            for kernels, shift in zip(weights, bias, strict=True)
        ]
        features = features if k == 2 else [np.tanh(each) for each in features]
    shuffled = np.empty((21, 18))
    for y in range(21):
        for x in range(18):
            shuffled[y, x] = features[3 * (y % 3) + x % 3][y // 3, x // 3]
    ours = network.predict(torch.from_numpy(photo).float()[None, None])[0, 0].detach().numpy()
    assert np.abs(ours - shuffled).max() < 1e-4


@pytest.mark.parametrize(("text", "uses"), [("drcn", {"recursion": 16}), ("drrn", {"one": 25, "two": 25})])
def test_shared_layers_are_one_object(text, uses):
    network, calls = make(text), {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.update({name: calls.get(name, 0) + 1}))
    with torch.no_grad():
        network.predict(torch.full((1, 1, 4, 4), 0.5))
    assert {name: calls[name] for name in uses} == uses


def test_levels_of_the_pyramid_share_their_layers():
    network = make("lapsrn", 1, 8)
    with torch.no_grad():
        levels = list(network.pyramid(torch.full((1, 1, 5, 6), 0.5)))
    assert [tuple(level.shape[-2:]) for level in levels] == [(10, 12), (20, 24), (40, 48)]


def test_lapsrn_doubles_only():
    with pytest.raises(ConfigError, match="lapsrn doubles, so it has no step of x3"):
        make("lapsrn", 1, 3)


@pytest.mark.parametrize("text", ["srcnn:middle=5", *NETWORKS])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_networks_start_nearly_as_interpolation(text, factor):
    if text == "lapsrn" and factor == 3:
        return
    image = torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        residual = make(text, 3, factor)(image)
    assert float(residual[..., 6:-6, 6:-6].abs().mean()) < 0.02


@pytest.mark.parametrize("text", ["srcnn", "lapsrn", "srdensenet", "edsr:width=32,blocks=1"])
def test_layers_on_images_respond_to_edges_and_others_are_local(text):
    network = make(text, 3)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size[0] > 1:
            weight, middle = layer.weight.detach()[6:], layer.kernel_size[0] // 2
            if layer.in_channels == 3:
                assert float(weight.sum((2, 3)).abs().max()) < 1e-5
            elif layer.out_channels > 3:
                others = weight.clone()
                others[:, :, middle, middle] = 0
                carried = 12 if layer.out_channels == 128 else 0  # by the layer before a pixel shuffle
                assert not others[max(0, carried - 6) :].any()
                assert weight.any()


def test_normalization_uses_running_statistics_and_has_their_gradient():
    generator = torch.Generator().manual_seed(7)
    one, plain = Normalization(4), nn.BatchNorm2d(4)
    features = 3 + 2 * torch.randn(2, 4, 8, 8, generator=generator)
    first = one(features)  # whose statistics are taken as they are
    assert torch.allclose(first, plain(features), atol=1e-5)
    other = 1 + torch.randn(2, 4, 8, 8, generator=generator)
    assert torch.allclose(one(other), one.eval()(other), atol=1e-5)
    one.train()
    for _ in range(60):
        one(features)
    inputs = [features.clone().requires_grad_() for _ in range(2)]
    for norm, image in zip((one, plain), inputs, strict=True):
        (norm(image) ** 3).sum().backward()
    assert torch.allclose(inputs[0].grad, inputs[1].grad, atol=1e-2)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("side", [3, 4, 9])
def test_deconvolution_upscales_by_a_whole_number(side, factor):
    if side < factor:
        return
    assert Deconvolution(2, 3, side, factor)(torch.zeros(1, 2, 5, 6)).shape == (1, 3, 5 * factor, 6 * factor)


def test_supervision_of_recursions_decays():
    network = make("drcn:recursions=3,width=8", 3).train()
    sons, residuals = torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(3)).unbind()
    with torch.no_grad():
        network.shares.copy_(torch.tensor([0.0, 0.0, 1.0]))
        each = [float(mse_loss(one, residuals)) for one in network.predictions(sons)]
        first, last = (float(supervise_recursions(network, sons, residuals, torch.tensor(s))) for s in (0.0, 1.0))
        mean = float(mse_loss(network(sons), residuals))
    assert first == pytest.approx(np.mean(each), rel=1e-4)
    assert last == pytest.approx(each[-1], rel=1e-4)
    assert mean == pytest.approx(each[-1], rel=1e-4)


def test_every_level_is_supervised():
    network = make("lapsrn:depth=2", 1, 4)
    sons = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        *_, top = network.pyramid(sons)
        residuals = top - upsample_cubic(sons, 4)  # of a father that the last level makes exactly
        loss = float(supervise_levels(network, sons, residuals, torch.tensor(0.0)))
    assert loss > 2 * float(charbonnier(top, top))


def test_clip_times_rate_bounds_the_gradient():
    network = make("vdsr:depth=3", 3).train()
    for clip in (None, 1e-9):
        step = TrainStep(network, COMPUTE, find_method("vdsr").objective, clip)
        sons, residuals = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(5)).unbind()
        before = step.weights()
        step(sons, residuals, 1e-3)
        moved = (step.weights() - before).abs()
        # Adam divides by the gradient's size plus 1e-8: with gradients of 1e-6 that is felt
        assert (float(moved.max()) > 9.99e-4) == (clip is None)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_trains_on_a_photo_and_gains(name):
    config = Config(method=LIGHT.get(name, name), num_epochs=20, noise=0, crop_size=24, self_ensemble=1)
    result = Upscaler(config).run(PHOTO)
    assert result.steps == 20
    assert result.image.shape == (80, 80, 3)
    assert result.warnings == []
    assert np.abs(result.image[::2, ::2].astype(float) - PHOTO).mean() < 6


def test_previews_of_normalized_networks_have_their_statistics():
    previews = []
    config = Config(method="srresnet:blocks=1", num_epochs=12, noise=0, crop_size=24, self_ensemble=1, lr_decay_step=6)
    result = Upscaler(config).run(PHOTO, progress=lambda event: previews.append(event.preview and event.preview()))
    before, last = (np.asarray(previews[k], float).transpose(1, 2, 0) for k in (4, 10))
    errors = [np.abs(one - result.image).mean() for one in (before, last)]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("name", ["srcnn", "vdsr", "red", "drrn", "drcn"])
@pytest.mark.parametrize("scale", [1.5, (3, 2)])
def test_networks_on_the_interpolated_image_reach_any_scale_in_one_step(name, scale):
    config = Config(
        method=LIGHT.get(name, name), num_epochs=2, noise=0, crop_size=16, precision="fp32", self_ensemble=1
    )
    result = Upscaler(config).run(PHOTO, scale)
    assert len(result.model.networks) == 1
    tiled = upscale(PHOTO, scale, config=config.replace(patch_size=16))
    assert np.abs(tiled.astype(int) - result.image).max() <= 1


@pytest.mark.parametrize("name", ["fsrcnn", "lapsrn", "srresnet"])
def test_others_take_gradual_steps(name):
    config = Config(method=LIGHT.get(name, name), num_epochs=2, noise=0, crop_size=16)
    result = Upscaler(config).run(PHOTO[:24, :24], 3)
    assert [network.factor for network in result.model.networks] == [2, 2]
    assert result.image.shape == (72, 72, 3)


@pytest.mark.parametrize("name", list_methods())
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_photos_smaller_than_a_patch_are_interpolated(name, bands):
    tiny = np.dstack([PHOTO, PHOTO])[:6, :7, :bands].astype(np.uint16) * 257
    large = upscale(tiny, 2, method=name, noise=0)
    assert (large.shape, large.dtype) == ((12, 14, bands), tiny.dtype)
    assert np.abs(large[::2, ::2].astype(float) - tiny).mean() < 20 * 257


@pytest.mark.parametrize("image", [PHOTO[..., 0], np.dstack([PHOTO, PHOTO[..., :1]]), PHOTO.astype(np.uint16) * 257])
@pytest.mark.parametrize("name", ["srcnn", "edsr"])
def test_images_of_other_kinds(name, image):
    large = upscale(image, 2, method=LIGHT.get(name, name), num_epochs=2, noise=0, crop_size=16)
    assert large.dtype == image.dtype
    assert large.shape == (80, 80, *image.shape[2:])
