import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage import data

from zssr import Upscaler, estimate_kernel
from zssr.color import luma
from zssr.config import Config
from zssr.content import erode, find_content
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import add_noise, is_quantized, quantize
from zssr.degradation.resamplers import Resampler
from zssr.estimation import blur_kernel
from zssr.estimation.blur_kernel import KernelEstimate, estimate_blur
from zssr.estimation.jpeg_quality import estimate_jpeg
from zssr.estimation.noise_level import estimate_noise_level
from zssr.estimation.parametric_kernels import Gaussian
from zssr.estimation.periodogram import measure_spectrum
from zssr.geometry import Region
from zssr.images import load
from zssr.io.limits import Limits
from zssr.rectangles import find_rectangles

CAT = torch.from_numpy(data.chelsea()[60:204, 100:268].astype(np.float32) / 255).permute(2, 0, 1)[None]


def pad(image, margin, value):
    """Return an image (1, C, H, W) in a frame, and where it is content (H, W)."""
    sides = (margin, margin, margin, margin)
    content = torch.nn.functional.pad(torch.ones(image.shape[-2:], dtype=torch.bool), sides)
    return torch.nn.functional.pad(image, sides, value=value), content


@pytest.mark.parametrize("value", [0.0, 0.5, 0.97])
def test_estimates_look_at_the_content_only(value, generator):
    noisy = quantize(add_noise(CAT, 10.0, generator))
    framed, content = pad(noisy, 24, value)  # of whole blocks
    assert estimate_noise_level(framed, content) == pytest.approx(estimate_noise_level(noisy), rel=0.1)
    compressed, content = pad(Jpeg.from_quality(60).compress(CAT), 24, value)
    assert estimate_jpeg(compressed, content) == Jpeg.from_quality(60)
    blurred = luma(torch.from_numpy(gaussian_filter(CAT[0].numpy(), (0, 1, 1)))).copy()
    inside = np.pad(blurred, 24, constant_values=value)
    np.testing.assert_allclose(
        measure_spectrum(inside, content.numpy()).power, measure_spectrum(blurred).power, rtol=0.2
    )
    found, alone = (estimate_blur(*one).blur for one in ((inside, (2.0, 2.0), content.numpy()), (blurred, (2.0, 2.0))))
    assert found.along == pytest.approx(alone.along, abs=0.15)


def test_little_content_is_not_judged_and_less_of_it_is_less_sure():
    blurred = luma(torch.from_numpy(gaussian_filter(CAT[0].numpy(), (0, 1, 1))))
    content = np.zeros(blurred.shape, bool)
    content[:31, :31] = True
    estimate = estimate_blur(blurred, (2.0, 2.0), content)
    assert estimate.confidence < 0.1  # it is that of the whole, whose edges are as soft
    sharp = np.where(content, blurred, (np.add.outer(*map(np.arange, content.shape)) // 9 % 2) * 0.9)
    estimate = estimate_blur(sharp, (2.0, 2.0), content)
    assert (estimate.confidence, estimate.blur) == (0.0, None)
    assert "too little content" in estimate.reason
    content[40:88, 40:88] = True
    assert estimate_blur(blurred, (2.0, 2.0), content).confidence < estimate_blur(blurred, (2.0, 2.0)).confidence
    assert is_quantized(torch.tensor([[0.3, 1.0]]), torch.tensor([[False, True]]))


GAUSSIAN, WIDER = Gaussian(1.2, 1.0, 0.0), Gaussian(1.6, 1.0, 0.0)


@pytest.mark.parametrize(
    ("blurs", "confidences", "whole_agrees", "answer"),
    [
        ((GAUSSIAN, WIDER), (0.4, 0.9), True, WIDER),
        ((None, WIDER), (0.4, 0.9), True, None),  # both cues say that the content is sharp
        ((GAUSSIAN, WIDER), (0.6, 0.9), True, GAUSSIAN),
        ((GAUSSIAN, WIDER), (0.4, 0.3), True, GAUSSIAN),
        ((GAUSSIAN, WIDER), (0.4, 0.9), False, GAUSSIAN),
        ((GAUSSIAN, Resampler("box")), (0.4, 0.9), True, GAUSSIAN),
    ],
)
def test_the_whole_image_is_asked_where_the_content_is_not_sure(monkeypatch, blurs, confidences, whole_agrees, answer):
    def estimate(image, scale, content, is_compressed):
        kind = int(content is None)
        cues = {"spectrum": True, "edges": bool(whole_agrees or not kind)}
        return KernelEstimate(np.ones((1, 1)), scale, blurs[kind], confidences[kind], cues, "")

    monkeypatch.setattr(blur_kernel, "_estimate_blur", estimate)
    content = np.arange(40) < 30
    found = estimate_blur(np.zeros((40, 40)), (2.0, 2.0), np.broadcast_to(content, (40, 40)))
    assert found.blur == answer
    assert found.confidence == pytest.approx(0.75 * 0.9 if answer == WIDER else confidences[0])


# where content is

PIXELS = (255 * CAT[0].permute(1, 2, 0).numpy()).round().astype(np.uint8)
Y, X = np.mgrid[: PIXELS.shape[0], : PIXELS.shape[1]]
DISC = ((Y - 72) / 66) ** 2 + ((X - 84) / 78) ** 2 < 1


def compress(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(file))


def to_images(pixels):
    return torch.from_numpy(np.atleast_3d(pixels).astype(np.float32) / 255).permute(2, 0, 1)[None]


def scan(pixels, value, noise):
    """Return pixels in a margin of 20 pixels that has some noise."""
    framed = np.pad(pixels, ((20, 20), (20, 20), (0, 0)), constant_values=value).astype(float)
    outside = np.pad(np.zeros(pixels.shape[:2], bool), 20, constant_values=True)
    framed[outside] += np.random.default_rng(0).normal(0, noise, (outside.sum(), 3))
    return framed.round().clip(0, 255).astype(np.uint8)


def lay_on_gradient(pixels, slope, curvature=0.0, noise=0.0):
    """Return pixels on a ground of 20 pixels whose brightness climbs by `slope` levels a pixel."""
    y, x = np.mgrid[: pixels.shape[0] + 40, : pixels.shape[1] + 40]
    ground = 40 + slope * (x + y) + curvature * (x - 100) ** 2
    ground = np.repeat(ground[..., None], 3, 2) + np.random.default_rng(0).normal(0, noise, (*x.shape, 3))
    framed = ground.round().clip(0, 255).astype(np.uint8)
    framed[20:-20, 20:-20] = pixels
    return framed


@pytest.mark.parametrize(
    "image",
    [
        PIXELS,
        lay_on_gradient(PIXELS, 0.4, noise=0.7),  # as a sky is
        data.astronaut()[:200:2, :400:2],
        data.coffee()[:200, :300],
        data.camera()[::2, ::2],
        data.moon()[::3, ::3],
    ],
)
def test_photos_are_content_everywhere(image):
    assert find_content(to_images(image)) is None


@pytest.mark.parametrize("value", [0, 3, 16, 128, 245, 255])
@pytest.mark.parametrize("margin", [5, 8, 60])
def test_margins_are_found_to_the_pixel(value, margin):
    framed, expected = pad(to_images(PIXELS), margin, value / 255)
    assert torch.equal(find_content(framed), expected)


@pytest.mark.parametrize(
    ("make", "inside"),
    [
        (lambda: compress(scan(PIXELS, 245, 0), 97), np.s_[20:-20, 20:-20]),
        (lambda: compress(scan(PIXELS, 20, 0), 75), np.s_[20:-20, 20:-20]),
        (lambda: scan(PIXELS, 250, 1.2), np.s_[20:-20, 20:-20]),  # paper on a scanner
        (lambda: np.pad(PIXELS, ((24, 24), (0, 0), (0, 0)), constant_values=16), np.s_[24:-24]),  # bars of a film
        (lambda: np.where(DISC[..., None], PIXELS, 255), DISC),  # a product
        (lambda: lay_on_gradient(PIXELS, 0.4), np.s_[20:-20, 20:-20]),
        (lambda: lay_on_gradient(PIXELS, 0.1, 0.005), np.s_[20:-20, 20:-20]),
        (lambda: compress(lay_on_gradient(PIXELS, 0.2), 97), np.s_[20:-20, 20:-20]),
        (lambda: np.where(DISC[..., None], PIXELS, 0), DISC),  # a microscope's field
        (
            lambda: np.where((X > 30 + 0.3 * Y)[..., None], PIXELS, 0),
            X > 30 + 0.3 * Y,
        ),  # the edge of a satellite's scene
    ],
)
def test_grounds_of_all_kinds_are_found(make, inside):
    image = make()
    expected = np.zeros(image.shape[:2], bool)
    expected[inside] = True
    content = find_content(to_images(image)).numpy()
    assert (content & expected).sum() > 0.84 * expected.sum()  # in a JPEG without the blocks at its borders
    assert not (erode(torch.from_numpy(content)).numpy() & ~expected).any()


def test_soft_shadows_belong_to_the_ground():
    shadow = 255 - 80 * np.exp(-(((Y - 120) / 24) ** 2) - ((X - 84) / 60) ** 2)
    image = np.where(((Y - 60) / 50) ** 2 + ((X - 84) / 60) ** 2 < 1, PIXELS[..., 1], shadow).astype(np.uint8)
    content = find_content(to_images(image))
    assert not content[115:125, 70:100].any()
    assert content[40:80, 50:110].all()


@pytest.mark.parametrize("image", [np.full((60, 80), 30), np.eye(2) * 255, np.zeros((1, 1)), np.pad([[255]], 40)])
def test_where_there_is_next_to_nothing_all_of_it_is_looked_at(image):
    assert find_content(to_images(image)) is None
    photo = load(image.astype(np.uint8), Limits()).photos[0]
    assert photo.content_regions == [photo.whole]


def test_content_of_all_bands_and_of_photos_that_are_rolled():
    framed, expected = pad(CAT, 12, 0.2)
    assert torch.equal(find_content(torch.cat([framed, framed.flip(1), 0 * framed], 1)), expected)
    rolled = framed.roll((37, 50), (2, 3))
    assert torch.equal(find_content(rolled, (True, True)), expected.roll((37, 50), (0, 1)))


@pytest.mark.parametrize("noise", [0.0, 10.0])
@pytest.mark.parametrize("kind", ["plain", "gradient", "jpeg", "object", "transparent"])
def test_assumed_degradation_is_that_of_the_photo_alone(kind, noise):
    blurred = gaussian_filter(PIXELS.astype(float), (0.9, 0.9, 0)) + np.random.default_rng(0).normal(
        0, noise, PIXELS.shape
    )
    photo = blurred.round().clip(0, 255).astype(np.uint8)
    alone = Upscaler(Config(num_epochs=0)).run(compress(photo, 97) if kind == "jpeg" else photo, 2)
    image = {
        "plain": lambda: np.pad(photo, ((20, 20), (20, 20), (0, 0)), constant_values=200),
        "gradient": lambda: lay_on_gradient(photo, 0.3, 0.002),
        "jpeg": lambda: compress(np.pad(photo, ((20, 20), (20, 20), (0, 0)), constant_values=245), 97),
        "object": lambda: np.where(DISC[..., None], photo, 255).astype(np.uint8),
        "transparent": lambda: Image.fromarray(np.dstack([photo * DISC[..., None], (255 * DISC).astype(np.uint8)])),
    }[kind]()
    result = Upscaler(Config(num_epochs=0)).run(image, 2)
    assert result.noise == pytest.approx(alone.noise, rel=0.2)
    if not noise:
        found, true = (one.model.kernel_estimate.blur for one in (result, alone))
        assert found.along == pytest.approx(true.along, abs=0.15)


def test_confidence_falls_with_the_content_that_is_left():
    blurred = gaussian_filter(PIXELS.astype(float), (0.9, 0.9, 0)).astype(np.uint8)
    small = [
        np.where((np.hypot(Y - 72, X - 84) < radius)[..., None], blurred, 255).astype(np.uint8)
        for radius in (66, 50, 20)
    ]
    confidences = [estimate_kernel(image).confidence for image in small]
    assert confidences[0] >= confidences[1] > confidences[2] == 0


# rectangles


@pytest.mark.parametrize("radius", [90, 45])
def test_rectangles_lie_in_the_mask_and_cover_most_of_it(radius):
    y, x = np.mgrid[:200, :260]
    mask = np.hypot(y - 100, x - 120) < radius
    covered = np.zeros_like(mask)
    for box in find_rectangles(mask, 24):
        assert mask[box].all()
        covered[box] = True
    assert covered.sum() > 0.8 * mask.sum()


def test_rectangle_of_a_rectangle_is_it():
    mask = np.zeros((203, 311), bool)
    mask[17:190, 33:299] = True
    assert find_rectangles(mask, 24) == [(slice(17, 190), slice(33, 299))]
    assert find_rectangles(np.ones((50, 7), bool), 8) == find_rectangles(np.zeros((50, 50), bool), 8) == []


def test_holes_are_not_learned_from():
    photo = load(np.where(DISC[..., None], PIXELS / np.float32(255), np.nan), Limits()).photos[0]
    assert len(photo.content_regions) > 1
    for region in photo.content_regions:
        rows, columns = region.slices_within(Region.whole(photo.size))
        assert DISC[rows, columns].mean() > 0.99


def test_what_is_learned_from_is_cut_to_the_box_of_the_content():
    """A ground in it does no harm: photos of objects on a ground gained less without it."""
    photo = load(np.where(DISC[..., None], PIXELS, 255).astype(np.uint8), Limits()).photos[0]
    (region,) = photo.content_regions
    for side, along in ((region.rows, DISC.any(1)), (region.columns, DISC.any(0))):
        used = np.flatnonzero(along)
        assert abs(side.start - used[0]) <= 4
        assert abs(side.stop - 1 - used[-1]) <= 4
