import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from zssr.content import find_judgeable
from zssr.degradation import Degradation
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import WHITE, Grain, add_noise, quantize
from zssr.estimation.noise_grain import estimate_grain
from zssr.estimation.noise_level import estimate_noise_level, resolve_noise
from zssr.geometry import SYMMETRIES


@pytest.fixture(scope="module")
def photo():
    """A clean photo: the half of a larger one, whose own noise is less than a level."""
    planes = torch.from_numpy(data.astronaut().astype(np.float32) / 255).permute(2, 0, 1)[None]
    return quantize(Degradation().downsample(planes, (256, 256)))


def add_quantized_noise(image, sigma):
    return quantize(add_noise(image, sigma, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("sigma", [1, 2, 5, 15, 25])
def test_noise_on_a_flat_image_is_measured(sigma):
    assert estimate_noise_level(add_quantized_noise(torch.full((1, 1, 200, 200), 0.5), sigma)) == pytest.approx(
        sigma, rel=0.1
    )


@pytest.mark.parametrize("sigma", [2, 5, 15, 25])
def test_noise_on_a_photo_is_measured(photo, sigma):
    assert estimate_noise_level(add_quantized_noise(photo, sigma)) == pytest.approx(sigma, rel=0.15)


def cut_small(name, size, gray):
    """Return nine crops (1, C, size, size) of a photo of half its size."""
    picture = Image.fromarray(getattr(data, name)()[..., :3])
    picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)
    planes = torch.from_numpy(np.array(picture.convert("L" if gray else "RGB"), np.float32) / 255)
    planes = planes[None, None] if gray else planes.permute(2, 0, 1)[None]
    tops, lefts = ([k * (side - size) // 2 for k in range(3)] for side in planes.shape[-2:])
    return [planes[..., top : top + size, left : left + size] for top in tops for left in lefts]


@pytest.mark.parametrize(
    ("size", "gray", "most_off", "most_false"), [(64, False, 2, 1), (96, False, 0, 0), (96, True, 1, 0)]
)
@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket"])
def test_noise_of_small_photos_is_measured_and_clean_ones_have_none(name, size, gray, most_off, most_false):
    crops = cut_small(name, size, gray)
    levels = [resolve_noise("auto", add_quantized_noise(crop, 10.0))[0] for crop in crops]
    assert np.median(levels) == pytest.approx(10, rel=0.1)
    assert sum(abs(level - 10) > 2 for level in levels) <= most_off
    assert sum(resolve_noise("auto", crop)[0] > 0 for crop in crops) <= most_false


@pytest.mark.parametrize("kind", ["margin", "gradient", "object"])
@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket"])
def test_noise_of_a_small_photo_is_the_same_in_a_frame(name, kind):
    for crop in cut_small(name, 96, gray=False)[::2]:
        noisy = add_quantized_noise(crop, 10.0)
        alone = resolve_noise("auto", noisy)[0]
        framed = torch.nn.functional.pad(noisy, (12,) * 4, value=128 / 255)
        if kind == "gradient":
            shades = torch.linspace(40, 120, 120).round() / 255
            framed = torch.where(torch.nn.functional.pad(torch.ones(96, 96), (12,) * 4) > 0, framed, shades[:, None])
        if kind == "object":
            at = torch.linspace(-1.1, 1.1, 96)
            framed = torch.where(at[:, None] ** 2 + at**2 < 1, noisy, torch.ones(()))
        assert resolve_noise("auto", framed, find_judgeable(framed))[0] == pytest.approx(alone, rel=0.2)


def test_texture_is_not_noise(photo):
    assert estimate_noise_level(photo) < 0.8
    y, x = torch.meshgrid(torch.arange(120.0), torch.arange(100.0), indexing="ij")
    assert estimate_noise_level(quantize(0.5 + 0.3 * torch.sin(0.4 * x + 0.7 * y))[None, None]) < 0.5


def test_rotations_flips_and_the_negative_have_the_same_noise(photo):
    noisy = add_quantized_noise(photo, 6.0)
    level = estimate_noise_level(noisy)
    assert estimate_noise_level(1 - noisy) == pytest.approx(level, rel=1e-3)
    for symmetry in SYMMETRIES:
        assert estimate_noise_level(symmetry(noisy)) == pytest.approx(level, rel=0.05)


def test_clipped_parts_do_not_count(photo):
    noisy = add_quantized_noise(photo, 8.0)
    noisy[..., :100, :] = 1
    noisy[..., 220:, :] = 0
    assert estimate_noise_level(noisy) == pytest.approx(8, rel=0.15)


def test_a_batch_has_the_noise_of_its_images(photo):
    batch = torch.cat([add_quantized_noise(photo, 10.0), add_quantized_noise(photo.flip(-1), 10.0)])
    assert estimate_noise_level(batch) == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    "image", [torch.zeros(1, 3, 99, 99), torch.eye(60)[None, None], torch.eye(300)[None, None, :7]]
)
def test_images_without_flat_blocks_have_none(image):
    assert estimate_noise_level(image) == 0


# other kinds of noise

GRAY = torch.full((1, 3, 200, 200), 0.5)


def add_grain(image, sigma, grain, seed=1):
    return quantize(add_noise(image, sigma, torch.Generator().manual_seed(seed), grain))


@pytest.mark.parametrize("blur", [0.7, 0.9, 1.2])
def test_blurred_noise_has_the_correlation_of_blurred_white_noise(blur):
    noise = 255 * (add_noise(GRAY, 10.0, torch.Generator().manual_seed(1), Grain(blur)) - GRAY)
    assert float(noise.std()) == pytest.approx(10, rel=0.03)
    for distance in (1, 2):
        expected = np.exp(-(distance**2) / (4 * blur**2))  # the Gaussian with itself
        for axis in (2, 3):
            near = noise.narrow(axis, 0, 198), noise.narrow(axis, distance, 198)
            assert float((near[0] * near[1]).mean()) / 100 == pytest.approx(expected, abs=0.04)


def test_noise_is_gray_or_grows_with_brightness_if_its_grain_says_so():
    gray = add_noise(GRAY, 10.0, torch.Generator().manual_seed(1), Grain(correlation=1.0))
    assert torch.allclose(gray[:, 0], gray[:, 2])
    half = 255 * (add_noise(GRAY, 10.0, torch.Generator().manual_seed(1), Grain(correlation=0.5)) - GRAY)
    assert float(half.std()) == pytest.approx(10, rel=0.03)
    assert float((half[:, 0] * half[:, 1]).mean()) == pytest.approx(50, rel=0.1)
    for level in (0.1, 0.5, 0.8):
        image = torch.full((1, 1, 200, 200), level)
        shot = 255 * (add_noise(image, 10.0, torch.Generator().manual_seed(1), Grain(shot=1.0)) - image)
        assert float(shot.var()) == pytest.approx(200 * level, rel=0.05)
    again = [add_noise(GRAY, 10.0, torch.Generator().manual_seed(1), grain) for grain in (WHITE, Grain())]
    assert torch.equal(*again)


KINDS = {
    "film": Grain(0.7, 1.0),
    "developed": Grain(0.6),
    "coarse": Grain(1.0),
    "scanned gray": Grain(0.8, 0.95),
}


def halve(picture):
    picture = picture if picture.ndim == 3 else picture[..., None]
    planes = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    return quantize(Degradation().downsample(planes, (planes.shape[2] // 2, planes.shape[3] // 2)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket"])
def test_the_kind_of_noise_is_estimated(name, kind):
    grain = KINDS[kind]
    sigma, found = resolve_noise("auto", add_grain(halve(getattr(data, name)()), 10.0, grain))
    assert sigma == pytest.approx(10, rel=0.25)
    assert found.blur == pytest.approx(grain.blur, abs=0.16)
    assert found.correlation == pytest.approx(grain.correlation, abs=0.15)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_noise_of_an_enlarged_photo_is_blurred(name):
    small = add_grain(halve(getattr(data, name)()), 12.0, WHITE)
    planes = (255 * small[0]).round().to(torch.uint8).numpy()
    size = [round(1.25 * length) for length in planes.shape[:0:-1]]
    large = np.stack([Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC) for plane in planes])
    sigma, found = resolve_noise("auto", torch.from_numpy(large)[None] / 255)
    assert 0.45 < found.blur < 0.9
    assert 7 < sigma < 12


def test_noise_of_photons_grows_with_brightness():
    sigma, found = resolve_noise("auto", add_grain(halve(data.rocket()), 10.0, Grain(shot=1.0)))
    assert found.shot > 0.6
    assert sigma == pytest.approx(10, rel=0.25)


@pytest.mark.parametrize(
    "name", ["astronaut", "chelsea", "coffee", "rocket", "grass", "gravel", "brick", "camera", "moon"]
)
def test_texture_is_not_blurred_noise(name):
    assert resolve_noise("auto", halve(getattr(data, name)()[:512, :512])) == (0.0, WHITE)


def test_compressed_photos_have_no_blurred_noise(photo):
    noisy = add_grain(photo, 10.0, Grain(0.7))
    assert resolve_noise("auto", noisy)[1].blur > 0
    assert resolve_noise("auto", noisy, is_compressed=True)[1].blur == 0
    assert resolve_noise(7, noisy) == (7.0, WHITE)
    assert estimate_grain(Jpeg.from_quality(50).compress(photo)) is None
    assert estimate_grain(photo[..., :40, :40]) is None


def test_kinds_of_noise_are_told_in_words():
    assert str(WHITE) == ""
    assert str(Grain(0.7, 0.96, 1.0)) == " (blurred by 0.7 px, 96% gray, 100% with brightness)"
