"""Named resamplers: the oracles are Pillow and torch, and OpenCV's definitions where these have none."""

import numpy as np
import pytest
import torch
from helpers import TINY, kernel_covariance
from PIL import Image
from scipy import ndimage
from torch.nn.functional import interpolate

from zssr import KernelError, Request, Upscaler
from zssr.degradation import Degradation
from zssr.degradation.kernel_shapes import disc_kernel, line_kernel
from zssr.degradation.named_kernels import is_kernel_name, parse_kernel
from zssr.degradation.resamplers import RESAMPLERS, Resampler
from zssr.geometry import SYMMETRIES, Region, relative_offset
from zssr.networks.film import EMBEDDING_SIZE, degradation_embedding

PICTURE = np.random.default_rng(0).random((72, 84))
SCALES = [(2.0, 2.0), (3.0, 3.0), (4.0, 4.0), (1.5, 2.5)]


def shrink(name, scale, picture=PICTURE, blur=0.0, **others):
    """Downsample by our resampler: (h, w)."""
    size = tuple(round(side / factor) for side, factor in zip(picture.shape, scale, strict=True))
    image = torch.from_numpy(picture.copy())[None, None]
    return Degradation(Resampler(name, blur), scale, **others).downsample(image, size)[0, 0].numpy()


def inner(small):
    """Leave out what the borders reach, which each software treats in its own way."""
    return small[8:-8, 8:-8]


def assert_alike(ours, theirs, tolerance=1e-5):
    assert ours.shape == theirs.shape
    assert inner(ours).size > 0
    assert np.abs(inner(ours) - inner(theirs)).max() < tolerance


PILLOW = {
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest-exact": Image.Resampling.NEAREST,
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", PILLOW)
def test_resamplers_of_pillow(name, scale):
    picture = np.random.default_rng(1).random((96, 120))
    size = (round(120 / scale[1]), round(96 / scale[0]))
    theirs = Image.fromarray(picture.astype(np.float32)).resize(size, PILLOW[name])
    assert_alike(shrink(name, scale, picture), np.asarray(theirs))


TORCH = {
    "linear": {"mode": "bilinear"},
    "cubic": {"mode": "bicubic"},
    "nearest": {"mode": "nearest"},
    "nearest-exact": {"mode": "nearest-exact"},
    "bilinear": {"mode": "bilinear", "antialias": True},
    "bicubic": {"mode": "bicubic", "antialias": True},
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", TORCH)
def test_resamplers_of_torch(name, scale):
    picture = np.random.default_rng(1).random((96, 120))
    size = [round(96 / scale[0]), round(120 / scale[1])]
    theirs = interpolate(torch.from_numpy(picture)[None, None], size=size, **TORCH[name])
    assert_alike(shrink(name, scale, picture), theirs[0, 0].numpy())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_area_is_the_mean_of_each_block(scale):
    means = PICTURE.reshape(72 // scale, scale, 84 // scale, scale).mean((1, 3))
    for name in ("area", "box"):
        assert shrink(name, (float(scale),) * 2) == pytest.approx(means)
    assert shrink("area", (1.5, 1.5), np.arange(72.0)[:, None] * np.ones(72))[1, 5] == pytest.approx((0.5 + 2) / 1.5)


def test_nearest_is_the_first_pixel_of_each_block():
    for scale in (2, 3, 4):
        assert shrink("nearest", (float(scale),) * 2) == pytest.approx(PICTURE[::scale, ::scale])
    assert Degradation(Resampler("nearest")).sampling == "top_left"


def test_lanczos4_takes_eight_pixels_as_opencv_does():
    at = np.arange(-3.5, 4)
    weights = np.sinc(at) * np.sinc(at / 4)
    small = PICTURE
    for _ in range(2):  # sample 2 takes pixels 1 to 8
        small = np.apply_along_axis(lambda line: np.convolve(line, weights / weights.sum(), "valid")[1::2], 1, small).T
    assert shrink("lanczos4", (2.0, 2.0))[2:-2, 2:-2] == pytest.approx(small)


@pytest.mark.parametrize("name", ["sharp-bicubic", "mitchell", "lanczos2"])
def test_other_kernels_are_what_their_papers_say(name):
    """At half a pixel from two pixels of a large image enlarged by 1, after anti-aliasing by 2."""
    x = (np.arange(8) - 3.5) / 2
    near, far = np.abs(x) <= 1, np.abs(x) > 1
    a, d = -0.75, np.abs(x)
    keys = near * ((a + 2) * d**3 - (a + 3) * d**2 + 1) + far * (a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a)
    inside = 7 / 6 * d**3 - 2 * d**2 + 8 / 9
    outside = -7 / 18 * d**3 + 2 * d**2 - 10 / 3 * d + 16 / 9
    expected = {
        "sharp-bicubic": keys,
        "mitchell": near * inside + far * outside,
        "lanczos2": np.sinc(x) * np.sinc(x / 2),
    }[name]
    assert Resampler(name).profile(2.0) == pytest.approx(expected / expected.sum())


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", [*RESAMPLERS, "box+cubic"])
def test_adjoint_is_exact_and_flat_ground_stays(name, scale, generator):
    degradation, small = Degradation(Resampler(name, 0.6), scale), (round(72 / scale[0]), round(84 / scale[1]))
    operator = degradation.operator((72, 84), small)
    x, y = (torch.randn(1, 1, *size, generator=generator, dtype=torch.float64) for size in ((72, 84), small))
    assert float((operator(x) * y).sum()) == pytest.approx(float((x * operator.adjoint(y)).sum()), rel=1e-9)
    assert operator(torch.ones_like(x)).numpy() == pytest.approx(1)


@pytest.mark.parametrize("name", [*RESAMPLERS, "bilinear+cubic"])
def test_a_resampler_is_its_kernel_at_whole_scales(name):
    for scale in ((2.0, 2.0), (3.0, 3.0), (4.0, 4.0)):
        resampler = Resampler(name, 0.4)
        if name != "nearest-exact":  # its kernel's center of mass would be laid on the center
            sampling = Degradation(resampler, scale).sampling
            kernel = Degradation(resampler.to_kernel(scale), scale, sampling)
            small = tuple(side // int(scale[0]) for side in PICTURE.shape)
            from_kernel = kernel.downsample(torch.from_numpy(PICTURE)[None, None], small)[0, 0].numpy()
            assert from_kernel == pytest.approx(shrink(name, scale, blur=0.4), abs=1e-4)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["box+cubic", "bicubic+bilinear", "area+lanczos4", "box+bilinear+cubic"])
def test_a_mean_of_resamplers_makes_the_mean_along_each_axis(name, scale):
    for one, picture in ((scale[0], PICTURE), (scale[1], PICTURE.T)):
        along = one, 1.0
        parts = [shrink(part, along, picture) for part in name.split("+")]
        assert shrink(name, along, picture) == pytest.approx(np.mean(parts, axis=0))


def test_a_blur_comes_before():
    blurred = ndimage.gaussian_filter(PICTURE, 0.7, mode="reflect", truncate=5)
    assert shrink("lanczos", (2.0, 2.0), blur=0.7) == pytest.approx(shrink("lanczos", (2.0, 2.0), blurred), abs=2e-4)


@pytest.mark.parametrize("name", [*RESAMPLERS, "bicubic+box"])
def test_a_region_is_resampled_as_in_the_whole(name):
    degradation, scale = Degradation(Resampler(name), (1.5, 2.5)), (1.5, 2.5)
    whole = shrink(name, scale)
    large, small = Region.whole((72, 84)), Region.whole(whole.shape)
    part = Region(small.rows.split(24)[1], small.columns.split(18)[1])
    read = part.expand(10).scaled(scale, large.size)
    offset = relative_offset(part, scale, read, (1, 1))
    image = read.take(torch.from_numpy(PICTURE)[None, None], large)
    ours = degradation.operator(read.size, part.size, offset)(image)[0, 0].numpy()
    rows, columns = part.slices_within(small)
    assert ours == pytest.approx(whole[rows, columns])


def test_symmetries_commute_with_resamplers():
    square = torch.from_numpy(PICTURE[:72, :72].copy())[None, None]
    for name in RESAMPLERS:
        degradation = Degradation(Resampler(name), (2.0, 2.0))
        if degradation.sampling == "center":
            assert len(degradation.symmetries()) == (1 if name == "nearest-exact" else 8)
            for symmetry in degradation.symmetries():
                one = symmetry(degradation.downsample(square, (36, 36)))
                assert torch.allclose(one, degradation.downsample(symmetry(square), (36, 36)))
    assert len(SYMMETRIES) == 8


def test_back_projection_reaches_the_photo():
    for name in RESAMPLERS:
        degradation = Degradation(Resampler(name), (2.0, 2.0))
        small = torch.from_numpy(shrink(name, (2.0, 2.0)))[None, None]
        large = degradation.upsample(small, (72, 84))
        back = degradation.downsample(degradation.back_project(large, small, 60), (36, 42))
        before = (degradation.downsample(large, (36, 42)) - small).abs().mean()
        assert (back - small).abs().mean() < 0.4 * before + 1e-12  # nearest has it at once


def test_a_blur_is_narrower_at_a_smaller_scale():
    half = Degradation(Resampler("box", 1.0), (4.0, 4.0)).at_scale((2.0, 2.0)).kernel
    assert half == Resampler("box", pytest.approx((3 / 15) ** 0.5))
    assert Degradation(Resampler("box"), (4.0, 4.0)).at_scale((2.0, 2.0)).kernel == Resampler("box")


def test_embeddings_tell_resamplers_apart():
    embeddings = torch.stack([degradation_embedding(Degradation(Resampler(name))) for name in RESAMPLERS])
    assert embeddings.shape == (len(RESAMPLERS), EMBEDDING_SIZE)
    same = {frozenset(("box", "area")), frozenset(("box", "linear")), frozenset(("area", "linear"))}
    for k, one in enumerate(RESAMPLERS):
        for m, other in enumerate(RESAMPLERS[:k]):
            distance = float((embeddings[k] - embeddings[m]).abs().max())
            assert (distance < 1e-6) == (frozenset((one, other)) in same), (one, other)


# shapes and names


def test_a_disc_is_flat_and_a_line_has_its_direction():
    disc = disc_kernel(3.0, (2.0, 2.0))
    assert disc[5, 5] == pytest.approx(1 / (np.pi * 9), rel=0.03)
    assert np.diag(kernel_covariance(disc)) == pytest.approx(9 / 4, rel=0.1)
    level = kernel_covariance(line_kernel(6.0, 0.0, (2.0, 2.0)))
    assert level[1, 1] == pytest.approx(36 / 12, rel=0.1)
    assert level[0, 0] < 0.3
    slanted = kernel_covariance(line_kernel(6.0, 45.0, (2.0, 2.0)))
    assert slanted[0, 1] == pytest.approx(-36 / 24, rel=0.1)  # up to the right: rows go down


def test_names_are_parsed():
    assert parse_kernel("box", (2.0, 2.0)) == Resampler("box")
    assert parse_kernel("gaussian:0.5 * box", (2.0, 2.0)) == Resampler("box", 0.5)
    product = parse_kernel("disc:2*box", (2.0, 2.0))
    assert kernel_covariance(product) == pytest.approx(
        kernel_covariance(disc_kernel(2.0, (2.0, 2.0))) + np.eye(2) / 4, abs=1e-6
    )
    wide = parse_kernel("gaussian:1.2*gaussian:0.9", (2.0, 2.0))
    assert np.diag(kernel_covariance(wide)) == pytest.approx(1.2**2 + 0.9**2, rel=0.02)
    assert parse_kernel("gaussian:0.5*box+cubic", (2.0, 2.0)) == Resampler("box+cubic", 0.5)
    assert is_kernel_name("line:3,20*lanczos")
    assert is_kernel_name("box+cubic")
    assert not is_kernel_name("box.npy")
    assert not is_kernel_name("folder/box")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("disc", "disc:RADIUS"),
        ("disc:-1", "sizes from 0 to 200"),
        ("line:4", "line:LENGTH,DEGREES"),
        ("gaussian:nan", "gaussian:SIGMA"),
        ("box*disc:2", "not the last"),
        ("box*cubic", "not the last"),
        ("box+nearest", "no mean of resamplers: these are bicubic, sharp-bicubic, box"),
        ("box+disc:2", "no mean of resamplers"),
        ("lancsoz", "no such kernel file; and the kernels with a name are bicubic, sharp-bicubic, box"),
        ("disc:90", "larger than the image"),
    ],
)
def test_wrong_names_are_refused(name, words):
    with pytest.raises(KernelError, match=words):
        Request(kernel=name).load_kernel((60, 60))


@pytest.mark.parametrize(
    "kernel", ["bilinear", Resampler("bilinear"), "nearest", "box+cubic", "gaussian:0.4*cubic", "disc:1.5"]
)
@pytest.mark.parametrize("scale", [2, 1.5])
def test_named_kernels_are_used(kernel, scale):
    picture = (255 * PICTURE[:48, :40]).astype(np.uint8)
    result = Upscaler(TINY).run(picture, Request(scale, kernel=kernel))
    name = {"disc:1.5": "as given", "gaussian:0.4*cubic": "cubic after a blur of 0.4 px"}.get(kernel, str(kernel))
    assert result.assumed == f"kernel: {name}"
    assert result.image.shape == (48 * scale, 40 * scale)
    assert result.kernel.sum() == pytest.approx(1)
    assert Upscaler(TINY).run(picture, Request(scale, kernel="bicubic")).kernel is None
