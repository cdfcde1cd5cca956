import numpy as np
import pytest
import torch
from helpers import randomize_weights

from zssr.config import Config, NetworkShape
from zssr.degradation import Degradation
from zssr.degradation.jpeg import Jpeg
from zssr.geometry import Interval, Region
from zssr.images import load, photo_of
from zssr.inference.blockwise import upscale_blocks
from zssr.inference.cascade import Cascade
from zssr.inference.regions import RegionUpsampler
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.picture import InMemoryPicture, PixelFormat
from zssr.networks.sr import METHOD, Network
from zssr.networks.texture import hash_normal
from zssr.runtime import Runtime

SLANTED = np.eye(5) / 5
ROUND = np.outer([1, 2, 1], [1, 2, 1]) / 16


@pytest.fixture
def image(astronaut):
    return np.tile(astronaut, (3, 3, 1))[:130, :171].astype(np.float32) / 255


def ignore(*_):
    """Take no notice."""


def upsampler_of(image, scale, degradation, **settings):
    photo = load(image, Limits()).photos[0]
    pair = scale if isinstance(scale, tuple) else (scale, scale)
    return plan(photo, pair, degradation, **settings)


def plan(photo, scale, degradation, warn=ignore, **settings):
    config = Config(precision="fp32", **settings)
    size = (round(scale[0] * photo.size[0]), round(scale[1] * photo.size[1]))
    cascade = Cascade.plan(photo.size, scale, size, degradation, config)
    return RegionUpsampler(photo, cascade, False, config, Runtime.resolve("cpu", config), warn, METHOD)


def random_networks(upsampler, generator):
    steps = upsampler.cascade.steps
    return [randomize_weights(Network(3, step.factor, NetworkShape(6, 3), generator), generator) for step in steps]


def upscale_all(upsampler, networks, previous=None, on_tile=ignore, texture=None):
    return torch.cat(list(upscale_blocks(upsampler, networks, texture, previous, on_tile)), dim=-2)


@pytest.mark.parametrize(
    ("scale", "degradation"),
    [
        (2, Degradation()),
        (1.5, Degradation(None, (1.5, 1.5))),
        (2.7, Degradation(None, (2.7, 2.7))),
        ((2, 3), Degradation(None, (2, 3))),
        (4, Degradation(None, (4, 4))),
        (3, Degradation(ROUND, (3, 3))),
        (2, Degradation(SLANTED, (2, 2))),
        (2.5, Degradation(ROUND, (2.5, 2.5), "top_left")),
        (4, Degradation(None, (4, 4), noise=5.0)),
        (2, Degradation(jpeg=Jpeg.from_quality(50))),
    ],
)
def test_blocks_equal_the_whole(image, scale, degradation, generator):
    turns = {"self_ensemble": 8 if scale == 2 else 1}
    upsampler = upsampler_of(image, scale, degradation, **turns)
    networks = random_networks(upsampler, generator)
    whole = upsampler.upscale(Region.whole(upsampler.photo.size), networks)
    for region in (
        Region(Interval(50, 71, 130), Interval(60, 92, 171)),
        Region(Interval(0, 33, 130), Interval(101, 171, 171)),
    ):
        part = upsampler.upscale(region, networks)
        rows, columns = upsampler.cascade.scaled(region).slices_within(
            upsampler.cascade.scaled(Region.whole(upsampler.photo.size))
        )
        assert (part - whole[..., rows, columns]).abs().max() < 2e-5
    small = upsampler_of(image, scale, degradation, patch_size=20, **turns)
    assert (upscale_all(small, networks) - upscale_all(upsampler, networks)).abs().max() < 2e-5
    if not degradation.has_zeros:  # else it is reconstructed, in test_reconstruction.py
        without = (upscale_all(one, []) for one in (small, upsampler))
        assert torch.allclose(*without, atol=2e-5)


def test_too_small_a_margin_would_show(image, generator, monkeypatch):
    upsampler = upsampler_of(image, 2, Degradation())
    networks = random_networks(upsampler, generator)
    whole = upsampler.upscale(Region.whole(upsampler.photo.size), networks)
    monkeypatch.setattr(Cascade, "margins", lambda *_: [(4, 2)])
    part = upsampler.upscale(Region(Interval(50, 71, 130), Interval(60, 92, 171)), networks)
    assert (part - whole[..., 100:142, 120:184]).abs().max() > 2e-4  # ten times what equal means


def test_known_input_of_the_last_step_saves_tiles(image, generator):
    upsampler = upsampler_of(image, 4, Degradation(None, (4, 4)))
    networks = random_networks(upsampler, generator)
    whole = Region.whole(upsampler.photo.size)
    before = upsampler.apply_networks(whole, networks[:-1], ignore)
    calls = {True: [], False: []}
    known = upscale_all(upsampler, networks, before, lambda *call: calls[True].append(call))
    assert torch.equal(known, upscale_all(upsampler, networks, None, lambda *call: calls[False].append(call)))
    assert all(done == total for done, total in (calls[True][-1], calls[False][-1]))
    assert len(calls[True]) < len(calls[False])


def test_progress_ends_at_its_total(image, generator):
    calls = []
    upsampler = upsampler_of(image, 3, Degradation(None, (3, 3)), patch_size=32, self_ensemble=2)
    upscale_all(upsampler, random_networks(upsampler, generator), None, lambda *call: calls.append(call))
    assert [done for done, _ in calls] == list(range(1, calls[-1][1] + 1))


def test_results_that_are_not_finite_are_interpolated_with_a_warning(image, generator):
    warnings = []
    upsampler = upsampler_of(image, 2, Degradation(), warn=warnings.append)
    networks = random_networks(upsampler, generator)
    with torch.no_grad():
        networks[0].convolutions[1].weight.fill_(torch.nan)
    assert torch.equal(upscale_all(upsampler, networks), upscale_all(upsampler, []))
    assert any("not finite" in warning for warning in warnings)


class Grain:
    """Texture that is noise, everywhere alike."""

    strength, seed, margin = 1.0, 0, 1

    def __call__(self, large, std, noise):
        return 0.3 * noise


def test_clipped_texture_is_back_projected_after_each_clip(generator):
    signs = torch.randint(2, (24, 32, 1), generator=generator).float().repeat_interleave(3, 0).repeat_interleave(3, 1)
    upsampler = upsampler_of(signs.expand(-1, -1, 3).numpy(), 2, Degradation())
    degradation, whole = Degradation(), Region.whole(upsampler.photo.size)

    def error(large):
        return float((degradation.downsample(large, upsampler.photo.size)[0].permute(1, 2, 0) - signs).square().mean())

    grainy = upsampler.upscale(whole, []) + 0.3 * hash_normal(whole.scaled((2, 2), (144, 192)), 0)
    clipped_once = degradation.back_project(grainy, upsampler.to_images(whole), Config().back_projection).clamp(0, 1)
    assert error(upscale_all(upsampler, [], texture=Grain())[None]) < 0.5 * error(clipped_once)


def picture(pixels, **layout):
    return InMemoryPicture("disc.png", pixels, PixelFormat("rgb", 4, pixels.dtype, **layout), Metadata())


def disc(side, radius, dtype=np.uint8):
    """A white disc, softly cut out; what is hidden around it is black."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    opacity = np.clip(radius - np.hypot(y, x) + 0.5, 0, 1)
    colors = np.where(opacity[..., None] > 0, 255, 0) * np.ones(3)
    return np.dstack([colors, 255 * opacity]).round().astype(dtype)


@pytest.mark.parametrize("learns", [False, True])
def test_hidden_colors_do_not_bleed(learns, generator):
    photo = photo_of(picture(disc(48, 15), alpha="straight"))
    upsampler = plan(photo, (2.0, 2.0), Degradation())
    networks = [Network(3, 2, NetworkShape(8, 3), generator)]
    large = upscale_all(upsampler, networks if learns else []).permute(1, 2, 0).numpy()
    seen = large[..., 3] > 0
    assert large[seen][:, :3].min() >= 250  # no dark fringe
    outside = np.hypot(*(np.mgrid[:96, :96] - 47.5)) > 2 * 20
    assert large[48, 48, 3] == 255
    assert not large[outside, 3].any()  # no haze
    expected = disc(96, 30)[..., 3].astype(float)
    assert np.abs(large[..., 3] - expected).mean() < 3


def test_premultiplied_colors_come_back_premultiplied():
    straight = disc(48, 15)
    multiplied = straight.copy()
    multiplied[..., :3] = (straight[..., :3] * (straight[..., 3:] / 255)).round()
    photos = [photo_of(picture(p, alpha=kind)) for p, kind in ((straight, "straight"), (multiplied, "premultiplied"))]
    regions = [photo.region(Region.whole((48, 48))) for photo in photos]
    assert (regions[0][0] - regions[1][0]).abs().max() < 0.02
    assert torch.equal(regions[0][1], regions[1][1])
    back = photos[1].to_pixels(*regions[1]).permute(1, 2, 0).numpy()
    assert np.abs(back.astype(int) - multiplied).max() <= 1


def test_full_opacity_is_no_image_and_stays():
    pixels = disc(48, 15)
    pixels[..., 3] = 255
    photo = photo_of(picture(pixels, alpha="straight"))
    colors, opacity = photo.region(Region.whole((48, 48)))
    assert opacity is None
    assert np.array_equal(photo.to_pixels(colors, None).permute(1, 2, 0).numpy(), pixels)


def test_opacity_stays_between_those_around_it(generator):
    """However bad the network: full and no opacity stay what they are, in blocks as in the whole."""
    photo = photo_of(picture(disc(48, 15), alpha="straight"))
    results = []
    for tile in (8, 64):
        upsampler = plan(photo, (2.5, 2.5), Degradation(None, (2.5, 2.5)), patch_size=tile)
        networks = [
            randomize_weights(Network(3, 2, NetworkShape(6, 3), torch.Generator().manual_seed(0)), generator)
            for _ in range(2)
        ]
        results.append(upscale_all(upsampler, networks).permute(1, 2, 0).numpy())
        generator.manual_seed(0)
        distance = np.hypot(*(np.mgrid[:120, :120] - 59.5))
        assert not results[-1][distance > 2.5 * 20, 3].any()
        assert (results[-1][distance < 2.5 * 11, 3] == 255).all()
