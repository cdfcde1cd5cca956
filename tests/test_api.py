import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from zssr.inference.ensemble import enlarge

from zssr import Config, ConfigError, ImageError, KernelError, Upscaler, upscale
from zssr.degradation import Degradation, resize
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import add_noise
from zssr.request import output_size
from zssr.training.pairs import make_training_pairs
from zssr.training.trainer import DivergedError, train

SLANTED = np.eye(7) / 7


def bicubic(array, scale):
    planes = torch.from_numpy(array.astype(np.float64)).permute(2, 0, 1)
    size = (round(array.shape[0] * scale), round(array.shape[1] * scale))
    return resize(planes, size, (scale, scale)).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("scale", [1.5, 2, 2.7, 3, (1, 2), (3, 1.25)])
def test_sizes_are_the_rounded_products(astronaut, quick, scale):
    pair = scale if isinstance(scale, tuple) else (scale, scale)
    out = upscale(astronaut, scale, config=quick)
    assert out.shape == (round(48 * pair[0]), round(64 * pair[1]), 3)
    assert out.dtype == np.uint8


def test_size_instead_of_scale(astronaut, quick):
    assert upscale(astronaut, size=(100, 150), config=quick).shape == (100, 150, 3)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_any_number_of_channels(quick, channels):
    image = np.random.default_rng(0).random((32, 40, channels)).astype(np.float32)
    out = upscale(image, 2, config=quick)
    assert out.shape == (64, 80, channels)
    assert out.min() >= 0
    assert out.max() <= 1


def test_kinds_of_image_give_the_same_pixels(astronaut, quick, tmp_path):
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


def test_result_tells_how_it_came_about(astronaut, quick):
    result = Upscaler(quick).run(astronaut, 4, seed=3, device="cpu")
    assert result.steps == len(result.losses) == len(result.learning_rates) == 24
    assert [after for after, _ in result.validation_errors] == [4, 8, 12, 16, 20, 24]
    assert set(result.seconds) == {"estimate", "pairs", "train", "apply"}
    assert (result.scale, result.device, result.precision, result.seed) == ((4.0, 4.0), "cpu", "fp32", 3)
    assert result.kernel is None
    assert result.warnings == []
    assert result.image.shape == (192, 256, 3)


def test_learnt_is_nearer_to_the_truth_than_interpolated(quick):
    y, x = np.mgrid[:96, :96]
    truth = np.repeat((255 / (1 + np.exp(-8 * np.sin(np.hypot(y - 20, x - 30) / 5))))[..., None], 3, axis=2)
    small = bicubic(truth, 0.5).round().clip(0, 255).astype(np.uint8)
    out = upscale(small, 2, kernel="bicubic", config=quick.replace(num_epochs=150, lr=3e-3, lr_schedule="cosine"))

    def error(image):
        return np.sqrt(np.mean((image.astype(float) - truth) ** 2))

    assert error(out) < 0.8 * error(bicubic(small, 2).clip(0, 255))


@pytest.mark.parametrize("sampling", ["center", "top_left"])
def test_result_shrinks_back_to_the_photo(astronaut, quick, sampling):
    kernel = np.outer([1, 3, 3, 1], [1, 2, 2, 1]) / 48
    image = astronaut.astype(np.float32) / 255
    out = upscale(image, 2, kernel=kernel, config=quick, sampling=sampling, back_projection=20)
    pixels = torch.from_numpy(out).permute(2, 0, 1)[None]
    back = Degradation(kernel, (2.0, 2.0), sampling).downsample(pixels, (48, 64))[0].permute(1, 2, 0).numpy()
    assert np.abs(back - image).mean() < 0.003


def test_kernel_is_told_and_may_come_from_a_file(astronaut, quick, tmp_path):
    np.save(tmp_path / "k.npy", 5 * SLANTED)
    from_array = Upscaler(quick).run(astronaut, 2, kernel=SLANTED)
    from_file = Upscaler(quick).run(astronaut, 2, kernel=tmp_path / "k.npy")
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
    assert np.abs(result.image - bicubic(astronaut, 2).clip(0, 255)).mean() < 5


def test_a_rate_that_is_far_too_high_still_gives_an_image(astronaut, quick):
    out = upscale(astronaut, 2, config=quick, lr=1.0, num_epochs=60)
    assert out.shape == (96, 128, 3)
    assert np.abs(out.mean() - astronaut.mean()) < 3  # back-projection holds it to the photo


def test_progress_tells_and_may_stop(astronaut, quick):
    calls = []
    upscale(astronaut, 4, config=quick, progress=lambda *call: calls.append(call))
    assert [what for _, _, what in calls] == sorted(
        (what for _, _, what in calls),
        key=["learning x2", "applying x2", "learning x4", "applying x4"].index,
    )
    assert all(0 < done <= total for done, total, _ in calls)

    class StopError(Exception):
        pass

    def stop(_done, _total, _what):
        raise StopError

    with pytest.raises(StopError):
        upscale(astronaut, 2, config=quick, progress=stop)


@pytest.mark.parametrize("scale", [0.5, 0, -2, float("nan"), float("inf"), "2", (2,), (1, 2, 3), (2, 0.5), None])
def test_impossible_scales(astronaut, quick, scale):
    with pytest.raises(ConfigError, match="scale"):
        upscale(astronaut, scale, config=quick)


@pytest.mark.parametrize("size", [(100,), (100.5, 200), 64, "9x9"])
def test_what_is_no_size(astronaut, quick, size):
    with pytest.raises(ConfigError, match="size"):
        upscale(astronaut, size=size, config=quick)


@pytest.mark.parametrize("size", [(10, 200), (0, 0), (48, 63)])
def test_sizes_below_the_images(astronaut, quick, size):
    with pytest.raises(ImageError, match="48 x 64"):
        upscale(astronaut, size=size, config=quick)


def test_numpys_numbers_are_numbers(astronaut, quick):
    assert upscale(astronaut, np.float32(1.5), config=quick, seed=np.int64(3)).shape == (72, 96, 3)
    assert upscale(astronaut, size=(np.int64(50), np.int32(70)), config=quick).shape == (50, 70, 3)


@pytest.mark.parametrize("seed", [1.5, "a", None, 2**64])
def test_what_is_no_seed(astronaut, quick, seed):
    with pytest.raises(ConfigError, match="seed"):
        upscale(astronaut, config=quick, seed=seed)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_learns_whatever_the_caller_works_under(astronaut, quick, context):
    expected = upscale(astronaut, config=quick)
    with context():
        image = torch.from_numpy(astronaut / 255).permute(2, 0, 1).float() * 1.0
        assert np.array_equal(upscale(astronaut, config=quick), expected)
        assert upscale(image, config=quick).shape == (3, 96, 128)


def test_kernel_as_large_as_the_photo(quick):
    result = Upscaler(quick).run(np.zeros((25, 25), np.uint8), 2, kernel=np.ones((25, 25)))
    assert any("too small to learn from" in warning for warning in result.warnings)
    assert result.image.shape == (50, 50)


def test_kernel_for_one_axis(astronaut, quick):
    assert upscale(astronaut, (1, 2), kernel=np.ones((1, 4)), config=quick).shape == (48, 128, 3)


_NO_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def test_where_memory_runs_out_crops_are_halved(astronaut, quick, monkeypatch):
    def train_if_small(network, pairs, *others):
        tried.append(pairs.side * pairs.factor)
        if tried[-1] > allowed:
            raise _NO_MEMORY
        return train(network, pairs, *others)

    monkeypatch.setattr("zssr.fit.train", train_if_small)
    tried, allowed = [], 16
    assert upscale(astronaut, config=quick).shape == (96, 128, 3)
    assert tried == [24, 16]  # the smallest father has 24 pixels
    tried, allowed = [], 0
    with pytest.raises(ImageError, match="memory runs out even with tiles of 384 and crops of 8 pixels"):
        upscale(astronaut, config=quick)
    assert len(tried) == 7


def test_where_memory_runs_out_tiles_are_halved_to_the_same_result(astronaut, quick, monkeypatch):
    def enlarge_if_small(network, image, *others):
        sides.append(max(image.shape[-2:]))
        if sides[-1] > allowed:
            raise _NO_MEMORY
        return enlarge(network, image, *others)

    image = np.tile(astronaut, (4, 3, 1))
    expected = upscale(image, config=quick)
    monkeypatch.setattr("zssr.inference.cascade.enlarge", enlarge_if_small)
    sides, allowed = [], 170
    halved = upscale(image, config=quick)
    assert sides[0] == 192
    assert np.abs(halved.astype(int) - expected).max() <= 1
    allowed = 0
    with pytest.raises(ImageError, match="memory runs out even with tiles of 8 and crops of 32 pixels"):
        upscale(image, config=quick)


def test_errors_that_are_no_lack_of_memory_are_not_tried_again(astronaut, quick, monkeypatch):
    calls = []

    def fail(*_):
        calls.append(None)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("zssr.fit.train", fail)
    with pytest.raises(RuntimeError, match="illegal"):
        upscale(astronaut, config=quick)
    assert len(calls) == 1


@pytest.mark.parametrize("scale", [2, 4])
def test_learning_can_be_watched_and_is_not_changed_by_that(astronaut, scale):
    config = Config(num_epochs=6, lr_decay_step=2, model_width=8, model_depth=3, init="random", crop_size=24)
    config = config.replace(scale_factor=2, scale_times=scale // 2)
    seen = []

    def watch(result, glimpse):
        seen.append((result.steps, result.losses[:], result.learning_rates[:], glimpse()))

    watched = Upscaler(config).run(astronaut, scale, watch=watch)
    alone = Upscaler(config).run(astronaut, scale)
    assert np.array_equal(watched.image, alone.image)
    steps = 6 * (2 if scale == 4 else 1)
    assert [known for known, *_ in seen] == [step // 2 * 2 for step in range(1, steps + 1)]
    for _, losses, rates, glimpse in seen:
        assert losses == alone.losses[: len(losses)]
        assert rates == alone.learning_rates[: len(rates)]
        assert glimpse.dtype == torch.uint8
    assert [tuple(glimpse.shape) for *_, glimpse in seen[:6]] == [(3, 96, 128)] * 6
    assert tuple(seen[-1][-1].shape) == (3, 48 * scale, 64 * scale)


def test_a_glimpse_is_the_photo_by_the_weights_of_the_moment(astronaut):
    config = Config(num_epochs=4, model_width=8, model_depth=3, init="random", crop_size=24, self_ensemble=False)
    seen = []
    result = Upscaler(config).run(astronaut, 2, watch=lambda _, glimpse: seen.append(glimpse()))
    assert np.array_equal(seen[-1].permute(1, 2, 0).numpy(), result.image)
    assert not np.array_equal(seen[0].numpy(), seen[-1].numpy())


@pytest.mark.parametrize(
    "error", [MemoryError("mine"), RuntimeError("can't allocate memory"), ImageError("image: mine")]
)
def test_what_a_callback_raises_is_passed_on(astronaut, quick, error):
    def fail(*_):
        raise error

    for callback in ("progress", "watch"):
        with pytest.raises(type(error)) as caught:
            Upscaler(quick).run(astronaut, **{callback: fail})
        assert caught.value is error


def test_settings_may_be_given_by_name(astronaut, quick):
    assert Upscaler(quick.replace(num_epochs=5)).run(astronaut).steps == 5
    with pytest.raises(ConfigError, match="num_epochs"):
        upscale(astronaut, num_epoch=5)


def test_presets_are_told_from_whole_configurations(astronaut, quick):
    assert np.array_equal(
        upscale(astronaut, preset="fast", num_epochs=2), upscale(astronaut, config=Config.preset("fast"), num_epochs=2)
    )
    with pytest.raises(ConfigError, match='"slow" is not one of fast, default, best'):
        upscale(astronaut, preset="slow")
    with pytest.raises(ConfigError, match="beside config"):
        upscale(astronaut, preset="fast", config=quick)


def test_channels_are_checked(astronaut, quick):
    with pytest.raises(ImageError, match="3 channels, but in_channels is 1"):
        upscale(astronaut, config=quick, in_channels=1)


def test_kernel_larger_than_the_image(quick):
    with pytest.raises(KernelError, match="larger than the image"):
        upscale(np.zeros((30, 60), np.uint8), 2, kernel=np.ones((31, 31)), config=quick)


def test_plan_by_hand_is_followed(astronaut, quick):
    result = Upscaler(quick.replace(scale_factor=1.5, scale_times=2)).run(astronaut, 2.25)
    assert result.steps == 24
    assert result.image.shape == (108, 144, 3)


def test_output_size_is_pythons_round():
    assert output_size((5, 9), 1.5, None) == ((1.5, 1.5), (round(7.5), round(13.5)))
    assert output_size((5, 9), 2, (10, 27)) == ((2.0, 3.0), (10, 27))


def test_noise_setting_changes_the_result(astronaut, quick):
    assert not np.array_equal(upscale(astronaut, config=quick, noise=20.0), upscale(astronaut, config=quick))


def test_defaults_are_settings_of_their_own(astronaut):
    assert Upscaler().config == Config()


def test_auto_measures_the_noise_of_each_image(quick):
    clean = torch.full((1, 3, 150, 150), 0.5)
    noisy = add_noise(clean, 20.0, torch.Generator().manual_seed(0))
    batch = torch.cat([clean, noisy.clamp(0, 1)])
    result = Upscaler(quick).run(batch)
    assert result.noise == pytest.approx(20, rel=0.1)  # the last image's
    assert torch.equal(result.image[:1], Upscaler(quick.replace(noise=0)).run(clean).image)


def test_a_jpeg_file_is_known_as_one(astronaut, quick, tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(astronaut).save(path, quality=40)
    result = Upscaler(quick).run(path)
    assert str(result.jpeg) == "q40 4:2:0"
    pixels = np.asarray(Image.open(path))
    told = Upscaler(quick.replace(jpeg=40)).run(pixels)
    assert np.array_equal(np.asarray(result.image), told.image)
    assert np.array_equal(np.asarray(upscale(Image.open(path), config=quick)), told.image)
    assert np.array_equal(upscale(pixels, config=quick), told.image)  # by what the pixels tell
    off = Upscaler(quick.replace(jpeg="off")).run(path)
    assert off.jpeg is None
    assert np.array_equal(np.asarray(off.image), upscale(pixels, config=quick, jpeg="off"))
    assert not np.array_equal(told.image, np.asarray(off.image))


def test_fine_jpeg_is_clean_unless_it_is_said_to_be_jpeg(astronaut, quick, tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(astronaut).save(path, quality=97)
    assert Upscaler(quick).run(path).jpeg is None
    assert str(Upscaler(quick.replace(jpeg=97)).run(path).jpeg) == "q97 4:2:0"


def test_after_the_first_step_the_photo_is_clean(astronaut, quick, monkeypatch):
    seen = []

    def pairs(fathers, degradation, *others):
        seen.append((len(fathers), fathers[0][0].shape[-1], degradation.noise, degradation.jpeg))
        return make_training_pairs(fathers, degradation, *others)

    monkeypatch.setattr("zssr.fit.make_training_pairs", pairs)
    jpeg = Jpeg.from_quality(50)
    assert upscale(astronaut, 4, config=quick, noise=9.0, jpeg=50).shape == (192, 256, 3)
    assert seen == [(1, 64, 9.0, jpeg), (1, 128, 0.0, None)]


def test_expected_gain_is_that_of_the_photo_shrunk_and_enlarged_again():
    truth = data.astronaut()[:128, 150:310]
    config = Config(num_epochs=5, lr_schedule="cosine", precision="fp32")
    result = Upscaler(config.replace(measure_gain=True)).run(truth, kernel="bicubic")
    planes = torch.from_numpy(truth.astype(np.float32) / 255).permute(2, 0, 1)[None]
    small = (255 * Degradation(None, (2.0, 2.0)).downsample(planes, (64, 80))).round().clip(0, 255)
    small = small[0].permute(1, 2, 0).numpy().astype(np.uint8)

    def error(image):
        return np.square(((image.astype(float) - truth) @ [0.299, 0.587, 0.114])[2:-2, 2:-2]).mean()

    ours = upscale(small, kernel="bicubic", config=config)
    expected = 10 * np.log10(error(bicubic(small, 2).clip(0, 255)) / error(ours))
    assert result.expected_gain == pytest.approx(expected, abs=0.1)
    assert expected > 1
    assert np.array_equal(result.image, upscale(truth, kernel="bicubic", config=config))


def test_expected_gain_of_what_is_too_small_is_none(quick):
    assert Upscaler(quick.replace(measure_gain=True)).run(data.astronaut()[:40, :40]).expected_gain is None
    assert Upscaler(quick).run(data.astronaut()[:64, :64]).expected_gain is None


def test_what_was_learnt_serves_photos_that_are_alike(astronaut, quick):
    one, other = astronaut[:, :40], astronaut[:, 24:]
    first = Upscaler(quick).run(one, 4)
    again = Upscaler(quick).run(one, 4, model=first.model)
    assert again.steps == 0
    assert np.array_equal(again.image, first.image)
    assert again.assumed == first.assumed
    shared = Upscaler(quick).run(other, 4, model=first.model)
    assert shared.image.shape == (192, 160, 3)
    assert not np.array_equal(shared.image, Upscaler(quick).run(other, 4).image)
    with pytest.raises(ImageError, match="has 1 channels, but what was learnt is for 3"):
        Upscaler(quick).run(one[..., 0], 4, model=first.model)
    with pytest.raises(ImageError, match="learnt is for the scale 4 x 4"):
        Upscaler(quick).run(one, 2, model=first.model)


def test_learning_from_several_files(astronaut, quick, tmp_path):
    for name, part in (("a.png", astronaut[:, :40]), ("b.png", astronaut[:, 24:]), ("gray.png", astronaut[..., 0])):
        Image.fromarray(part).save(tmp_path / name)
    upscaler = Upscaler(quick)
    from_one = upscaler.learn([tmp_path / "a.png"], 2)
    from_both = upscaler.learn([tmp_path / "a.png", tmp_path / "b.png"], 2)
    weights = [torch.cat([w.flatten() for w in model.networks[0].parameters()]) for model in (from_one, from_both)]
    assert not torch.equal(*weights)
    assert np.array_equal(
        np.asarray(upscaler.run(tmp_path / "a.png", 2, model=from_one).image),
        np.asarray(upscale(tmp_path / "a.png", 2, config=quick)),
    )
    Image.fromarray(np.tile(astronaut, (2, 2, 1))).save(tmp_path / "large.png")
    with pytest.raises(ImageError, match="need a scale, not a size"):
        upscaler.learn([tmp_path / "a.png", tmp_path / "large.png"], size=(150, 150))
    assert upscaler.learn([tmp_path / "a.png"], 1).networks == []
    with pytest.raises(ImageError, match=r"gray\.png: has 1 channels, and .*a\.png 3"):
        upscaler.learn([tmp_path / "a.png", tmp_path / "gray.png"], 2)


def test_outputs_over_the_limit_are_refused(astronaut, quick, tmp_path):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    for image in (astronaut, tmp_path / "a.png"):
        with pytest.raises(ImageError, match="would have 128x96 pixels, more than max_output_pixels = 12287"):
            upscale(image, 2, config=quick, max_output_pixels=12287)
    with pytest.raises(ImageError, match="64x48 pixels, more than max_pixels = 3071"):
        upscale(tmp_path / "a.png", 2, config=quick, max_pixels=3071)


def test_forecast_tells_without_writing(astronaut, quick, tmp_path):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    forecast = Upscaler(quick).forecast(tmp_path / "a.png", 3, kernel="bicubic")
    assert (forecast.small, forecast.size, forecast.assumed) == ((48, 64), (144, 192), "kernel: bicubic")
    assert forecast.seconds > 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert Upscaler(quick).forecast(tmp_path / "a.png", 1).size == (48, 64)
    steps = [Upscaler(quick.replace(num_epochs=n)).forecast(tmp_path / "a.png", 3).seconds for n in (0, 10**9)]
    assert steps[0] < steps[1]


def test_settings_of_another_kind_are_refused():
    with pytest.raises(ConfigError, match="config: a Config is needed, not dict"):
        Upscaler({"lr": 1})


def test_names_of_files_are_said_as_they_are(astronaut, quick, tmp_path):
    path = tmp_path / r"a\1\d.png"
    Image.fromarray(astronaut).save(path)
    with pytest.raises(ImageError) as caught:
        Upscaler(quick.replace(in_channels=1)).run_file(path, tmp_path / "b.png")
    assert str(caught.value).startswith(f"{path}: has 3 channels")
    assert not (tmp_path / "b.png").exists()
