import numpy as np
import pytest
import torch
from helpers import gaussian_kernel, upscale_bicubic
from PIL import Image

from zssr import Config, ConfigError, ImageError, KernelError, Request, Upscaler, upscale
from zssr.degradation import Degradation
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import add_noise
from zssr.training.divergence import DivergedError
from zssr.training.pairs import make_training_pairs

SLANTED = np.eye(7) / 7


@pytest.mark.parametrize("scale", [1.5, 2, 2.7, 3, (1, 2), (3, 1.25)])
def test_sizes_are_the_rounded_products(astronaut, quick, scale):
    pair = scale if isinstance(scale, tuple) else (scale, scale)
    out = upscale(astronaut, scale, config=quick)
    assert out.shape == (round(48 * pair[0]), round(64 * pair[1]), 3)
    assert out.dtype == np.uint8


def test_size_instead_of_scale(astronaut, quick):
    assert upscale(astronaut, size=(100, 150), config=quick).shape == (100, 150, 3)
    assert upscale(astronaut, size=(None, 128), config=quick).shape == (96, 128, 3)
    assert upscale(astronaut, size=(500, 128), fit="contain", config=quick).shape == (96, 128, 3)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_any_number_of_channels(quick, channels):
    image = np.random.default_rng(0).random((32, 40, channels)).astype(np.float32)
    out = upscale(image, 2, config=quick)
    assert out.shape == (64, 80, channels)
    assert out.min() >= 0
    assert out.max() <= 1


def test_paths_pillow_arrays_and_tensors_give_the_same_pixels(astronaut, quick, tmp_path):
    picture = Image.fromarray(astronaut)
    picture.save(tmp_path / "a.png")
    tensor = torch.from_numpy(astronaut).permute(2, 0, 1)
    expected = upscale(astronaut, 2, config=quick)
    for image in (picture, tmp_path / "a.png", str(tmp_path / "a.png")):
        out = upscale(image, 2, config=quick)
        assert isinstance(out, Image.Image)
        assert np.array_equal(np.asarray(out), expected)
    out = upscale(tensor, 2, config=quick)
    assert np.array_equal(out.permute(1, 2, 0).numpy(), expected)
    assert torch.equal(upscale(tensor[None], 2, config=quick)[0], out)


def test_input_is_not_modified(astronaut, quick):
    image = astronaut.copy()
    upscale(image, 2, config=quick)
    assert np.array_equal(image, astronaut)
    tensor = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    before = tensor.clone()
    upscale(tensor, 2, config=quick)
    assert torch.equal(tensor, before)


def test_each_image_of_a_batch_is_upscaled_by_itself(quick):
    batch = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    together = upscale(batch, 2, config=quick)
    for image, out in zip(batch, together, strict=True):
        assert torch.equal(upscale(image, 2, config=quick), out)


def test_same_seed_same_pixels(astronaut, quick):
    one, same, other = (upscale(astronaut, 2, config=quick, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_fitted_result_is_nearer_to_the_truth_than_bicubic(quick):
    y, x = np.mgrid[:96, :96]
    truth = np.repeat((255 / (1 + np.exp(-8 * np.sin(np.hypot(y - 20, x - 30) / 5))))[..., None], 3, axis=2)
    small = upscale_bicubic(truth, 0.5).round().clip(0, 255).astype(np.uint8)
    out = upscale(small, 2, kernel="bicubic", config=quick.replace(num_epochs=150, lr=3e-3, lr_schedule="cosine"))

    def error(image):
        return np.sqrt(np.mean((image.astype(float) - truth) ** 2))

    assert error(out) < 0.8 * error(upscale_bicubic(small, 2).clip(0, 255))


@pytest.mark.parametrize("sampling", ["center", "top_left"])
def test_result_downsamples_to_the_photo(astronaut, quick, sampling):
    kernel = np.outer([1, 3, 3, 1], [1, 2, 2, 1]) / 48
    image = astronaut.astype(np.float32) / 255
    out = upscale(image, 2, kernel=kernel, config=quick, sampling=sampling, back_projection=20)
    pixels = torch.from_numpy(out).permute(2, 0, 1)[None]
    back = Degradation(kernel, (2.0, 2.0), sampling).downsample(pixels, (48, 64))[0].permute(1, 2, 0).numpy()
    assert np.abs(back - image).mean() < 0.003


def test_kernel_from_an_array_equals_kernel_from_a_file(astronaut, quick, tmp_path):
    np.save(tmp_path / "k.npy", 5 * SLANTED)
    from_array = Upscaler(quick).run(astronaut, Request(2, kernel=SLANTED))
    from_file = Upscaler(quick).run(astronaut, Request(2, kernel=tmp_path / "k.npy"))
    assert np.allclose(from_file.kernel, SLANTED)
    assert np.array_equal(from_file.image, from_array.image)
    assert not np.array_equal(from_array.image, upscale(astronaut, 2, config=quick))
    assert np.array_equal(upscale(astronaut, 2, kernel="bicubic", config=quick), upscale(astronaut, 2, config=quick))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (5, 3), (23, 23)])
@pytest.mark.parametrize("scale", [2, 4, 1.5])
def test_too_small_an_image_is_interpolated_with_a_warning(quick, size, scale):
    image = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
    result = Upscaler(quick).run(image, scale)
    assert result.image.shape == (round(size[0] * scale), round(size[1] * scale), 3)
    assert result.steps == 0
    assert any("too small to learn from" in warning for warning in result.warnings)
    assert np.isfinite(result.image).all()


def test_a_constant_image_stays_constant(quick):
    out = upscale(np.full((40, 40, 3), 77, np.uint8), 2, config=quick)
    assert np.abs(out.astype(int) - 77).max() <= 1


def test_scale_one_gives_the_image_back(astronaut, quick):
    result = Upscaler(quick).run(astronaut, 1)
    assert np.array_equal(result.image, astronaut)
    assert any("nothing to enlarge" in warning for warning in result.warnings)


def test_divergence_falls_back_to_interpolation(astronaut, quick, monkeypatch):
    def diverge(*_):
        raise DivergedError("the loss was not finite")

    monkeypatch.setattr("zssr.fit.train", diverge)
    result = Upscaler(quick).run(astronaut, 2)
    assert result.warnings == ["the loss was not finite: interpolated instead"]
    assert np.abs(result.image - upscale_bicubic(astronaut, 2).clip(0, 255)).mean() < 5


def test_a_rate_that_is_far_too_high_still_gives_an_image(astronaut, quick):
    out = upscale(astronaut, 2, config=quick, lr=1.0, num_epochs=60)
    assert out.shape == (96, 128, 3)
    assert np.abs(out.mean() - astronaut.mean()) < 3  # back-projection holds it to the photo


@pytest.mark.parametrize("scale", [0.5, 0, -2, float("nan"), float("inf"), "2", (2,), (1, 2, 3), (2, 0.5), None])
def test_impossible_scales_are_refused(astronaut, quick, scale):
    with pytest.raises(ConfigError, match="scale"):
        upscale(astronaut, scale, config=quick)


@pytest.mark.parametrize("size", [(100,), (100.5, 200), 64, "9x9", (None, None)])
def test_sizes_that_are_no_pair_of_whole_numbers_are_refused(astronaut, quick, size):
    with pytest.raises(ConfigError, match="size"):
        upscale(astronaut, size=size, config=quick)


@pytest.mark.parametrize("size", [(10, 200), (0, 0), (48, 63)])
def test_sizes_below_the_image_are_refused(astronaut, quick, size):
    with pytest.raises(ImageError, match="64x48"):
        upscale(astronaut, size=size, config=quick)


def test_numpy_numbers_are_accepted(astronaut, quick):
    assert upscale(astronaut, np.float32(1.5), config=quick, seed=np.int64(3)).shape == (72, 96, 3)
    assert upscale(astronaut, size=(np.int64(50), np.int32(70)), config=quick).shape == (50, 70, 3)


@pytest.mark.parametrize("seed", [1.5, "a", None, 2**64])
def test_seeds_that_are_no_64_bit_integers_are_refused(astronaut, quick, seed):
    with pytest.raises(ConfigError, match="seed"):
        upscale(astronaut, config=quick, seed=seed)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_training_works_under_no_grad_and_inference_mode(astronaut, quick, context):
    expected = upscale(astronaut, config=quick)
    with context():
        image = torch.from_numpy(astronaut / 255).permute(2, 0, 1).float() * 1.0
        assert np.array_equal(upscale(astronaut, config=quick), expected)
        assert upscale(image, config=quick).shape == (3, 96, 128)


def test_kernel_as_large_as_the_photo_is_interpolated(quick):
    result = Upscaler(quick).run(np.zeros((25, 25), np.uint8), Request(2, kernel=gaussian_kernel(25, (2.0, 2.0))))
    assert any("too small to learn from" in warning for warning in result.warnings)
    assert result.image.shape == (50, 50)


def test_kernel_for_one_axis_upscales_that_axis(astronaut, quick):
    assert upscale(astronaut, (1, 2), kernel=np.ones((1, 4)), config=quick).shape == (48, 128, 3)


def test_settings_are_given_by_name(astronaut, quick):
    assert Upscaler(quick.replace(num_epochs=5)).run(astronaut).steps == 5
    with pytest.raises(ConfigError, match="num_epochs"):
        upscale(astronaut, num_epoch=5)


def test_preset_and_config_exclude_each_other(astronaut, quick):
    assert np.array_equal(
        upscale(astronaut, preset="fast", num_epochs=2), upscale(astronaut, config=Config.preset("fast"), num_epochs=2)
    )
    with pytest.raises(ConfigError, match='"slow" is not one of fast, default, best'):
        upscale(astronaut, preset="slow")
    with pytest.raises(ConfigError, match="beside config"):
        upscale(astronaut, preset="fast", config=quick)


def test_in_channels_is_checked(astronaut, quick):
    with pytest.raises(ImageError, match="3 channels, but in_channels is 1"):
        upscale(astronaut, config=quick, in_channels=1)


def test_kernel_larger_than_the_image_is_refused(quick):
    with pytest.raises(KernelError, match="larger than the image"):
        upscale(np.zeros((30, 60), np.uint8), 2, kernel=np.ones((31, 31)), config=quick)


def test_scale_plan_by_hand_is_followed(astronaut, quick):
    result = Upscaler(quick.replace(scale_factor=1.5, scale_times=2)).run(astronaut, 2.25)
    assert result.steps == 24
    assert result.image.shape == (108, 144, 3)


def test_output_size_is_rounded_as_python_does():
    assert Request(1.5).output_size((5, 9)) == ((1.5, 1.5), (round(7.5), round(13.5)))
    assert Request(size=(10, 27)).output_size((5, 9)) == ((2.0, 3.0), (10, 27))


def test_noise_setting_changes_the_result(astronaut, quick):
    assert not np.array_equal(upscale(astronaut, config=quick, noise=20.0), upscale(astronaut, config=quick))


def test_noise_is_measured_for_each_image_of_a_batch(quick):
    clean = torch.full((1, 3, 150, 150), 0.5)
    noisy = add_noise(clean, 20.0, torch.Generator().manual_seed(0))
    batch = torch.cat([clean, noisy.clamp(0, 1)])
    result = Upscaler(quick).run(batch)
    assert result.noise == pytest.approx(20, rel=0.1)  # the last image's
    assert torch.equal(result.image[:1], Upscaler(quick.replace(noise=0)).run(clean).image)


def test_jpeg_compression_is_read_from_the_file_or_the_pixels(astronaut, quick, tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(astronaut).save(path, quality=40)
    result = Upscaler(quick).run(path)
    assert str(result.jpeg) == "q40 4:2:0"
    pixels = np.asarray(Image.open(path))
    given = Upscaler(quick.replace(jpeg=40)).run(pixels)
    assert np.array_equal(np.asarray(result.image), given.image)
    assert np.array_equal(np.asarray(upscale(Image.open(path), config=quick)), given.image)
    assert np.array_equal(upscale(pixels, config=quick), given.image)  # estimated from the pixels
    off = Upscaler(quick.replace(jpeg="off")).run(path)
    assert off.jpeg is None
    assert np.array_equal(np.asarray(off.image), upscale(pixels, config=quick, jpeg="off"))
    assert not np.array_equal(given.image, np.asarray(off.image))


def test_high_jpeg_quality_is_ignored_unless_it_is_given(astronaut, quick, tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(astronaut).save(path, quality=97)
    assert Upscaler(quick).run(path).jpeg is None
    assert str(Upscaler(quick.replace(jpeg=97)).run(path).jpeg) == "q97 4:2:0"


def test_only_the_first_scale_step_sees_noise_and_jpeg(astronaut, quick, monkeypatch):
    seen = []

    def pairs(fathers, degradation, *others):
        seen.append((len(fathers), fathers[0][0].shape[-1], degradation.noise, degradation.jpeg))
        return make_training_pairs(fathers, degradation, *others)

    monkeypatch.setattr("zssr.fit.make_training_pairs", pairs)
    jpeg = Jpeg.from_quality(50)
    assert upscale(astronaut, 4, config=quick, noise=9.0, jpeg=50).shape == (192, 256, 3)
    assert seen == [(1, 64, 9.0, jpeg), (1, 128, 0.0, None)]
