import gc
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from helpers import upscale_bicubic
from PIL import Image
from skimage import data

from zssr import Config, ConfigError, ImageError, Request, Stage, Upscaler, estimate_kernel, upscale
from zssr.degradation import Degradation
from zssr.inference.tiles import add_residual
from zssr.prior.checkpoint import load_prior
from zssr.training.trainer import train

OPEN_FILES = Path("/proc/self/fd")
NO_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def test_default_config(astronaut):
    assert Upscaler().config == Config()


def test_model_of_another_type_is_refused(astronaut, quick):
    with pytest.raises(ConfigError, match="model: a Model is needed, not str"):
        Upscaler(quick).run(astronaut, model="model.pt")


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="no list of open files")
@pytest.mark.parametrize(
    "use", [lambda path, config: Upscaler(config).run(path), lambda path, _: estimate_kernel(path)]
)
def test_file_is_closed_afterward(use, astronaut, quick, tmp_path):
    path = tmp_path / "photo.tif"
    tifffile.imwrite(path, astronaut, photometric="rgb")
    gc.disable()
    try:
        use(path, quick)
        assert path not in [file.resolve() for file in OPEN_FILES.iterdir()]
    finally:
        gc.enable()


def test_events_and_results_print_in_a_line(astronaut, quick):
    events = []
    result = Upscaler(quick).run(astronaut, progress=events.append)
    assert all(len(text) < 700 for text in map(repr, (result, result.model, *events)))


def test_bad_images_are_refused_before_start_weights_are_read(tmp_path, astronaut):
    upscaler = Upscaler(Config(prior=str(tmp_path / "absent.safetensors")))
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="not a PNG"):
        upscaler.run(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="absent"):
        upscaler.run(astronaut)


def test_fit_without_pictures_is_refused(quick):
    with pytest.raises(ImageError, match="a list of picture files is needed"):
        Upscaler(quick).fit([])
    with pytest.raises(ImageError, match="a list of picture files is needed"):
        Upscaler(quick).fit("a.png")


def test_config_of_another_type_is_refused():
    with pytest.raises(ConfigError, match="config: a Config is needed, not dict"):
        Upscaler({"lr": 1})


def test_result_reports_steps_stages_and_request(astronaut, quick):
    result = Upscaler(quick).run(astronaut, Request(4, kernel="bicubic", seed=3, device="cpu"))
    assert result.steps == len(result.history.losses) == len(result.history.learning_rates) == 24
    assert [after for after, _ in result.history.validation_errors] == [4, 8, 12, 16, 20, 24]
    assert set(result.seconds) == {"estimate", "pairs", "train", "apply"}
    assert (result.scale, result.device, result.precision, result.seed) == ((4.0, 4.0), "cpu", "fp32", 3)
    assert result.kernel is None
    assert result.warnings == []
    assert result.image.shape == (192, 256, 3)


def test_result_of_a_batch_joins_the_histories(quick):
    batch = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    together = Upscaler(quick).run(batch)
    apart = [Upscaler(quick).run(image) for image in batch]
    assert together.history.losses == apart[0].history.losses + apart[1].history.losses
    steps = apart[0].steps
    assert together.history.validation_errors == [
        *apart[0].history.validation_errors,
        *((steps + after, error) for after, error in apart[1].history.validation_errors),
    ]
    assert len(together.models) == len(together.kernel_estimates) == 2


def test_facts_are_ready_for_json(astronaut, quick):
    facts = json.loads(json.dumps(Upscaler(quick).run(astronaut, Request((2, 3), kernel="bicubic")).to_dict()))
    assert (facts["width"], facts["height"], facts["scale"]) == (192, 96, [3, 2])
    assert facts["assumed"].startswith("kernel: bicubic")
    assert (facts["jpeg"], facts["noise"], facts["warnings"]) == (None, 0, [])


def test_start_weights_are_read_once(astronaut, monkeypatch):
    reads = []

    def count(config):
        reads.append(config)
        return load_prior(config)

    monkeypatch.setattr("zssr.run_context.load_prior", count)
    upscaler = Upscaler(Config(num_epochs=1))
    batch = torch.from_numpy(np.stack([astronaut, astronaut])).permute(0, 3, 1, 2)
    for _ in range(2):
        upscaler.run(batch)
    assert len(reads) == 1


def test_start_weights_read_in_inference_mode_serve_outside_of_it(astronaut):
    config = Config(num_epochs=2, lr_schedule="cosine")
    upscaler, expected = Upscaler(config), upscale(astronaut, config=config)
    with torch.inference_mode():
        assert np.array_equal(upscaler.run(astronaut).image, expected)
    assert np.array_equal(upscaler.run(astronaut).image, expected)


def test_progress_events_come_in_order_and_may_stop_the_run(astronaut, quick):
    events = []
    upscale(astronaut, 4, config=quick, progress=events.append)
    stages = [(event.stage, event.scale) for event in events]
    order = [(Stage.TRAIN, 2), (Stage.APPLY, 2), (Stage.TRAIN, 4), (Stage.APPLY, 4)]
    assert stages == sorted(stages, key=order.index)
    assert set(stages) == set(order)
    assert all(0 < event.done <= event.total for event in events)

    class StopError(Exception):
        pass

    def stop(_):
        raise StopError

    with pytest.raises(StopError):
        upscale(astronaut, 2, config=quick, progress=stop)


@pytest.mark.parametrize("scale", [2, 4])
def test_previews_and_losses_come_with_training_events(astronaut, scale):
    config = Config(num_epochs=6, lr_decay_step=2, model_width=8, model_depth=3, init="random", crop_size=24)
    config = config.replace(scale_factor=2, scale_times=scale // 2)
    seen = []

    def watch(event):
        if event.stage is Stage.TRAIN:
            seen.append((list(event.losses), list(event.learning_rates), event.preview()))

    watched = Upscaler(config).run(astronaut, scale, progress=watch)
    alone = Upscaler(config).run(astronaut, scale)
    assert np.array_equal(watched.image, alone.image)
    steps = 6 * (2 if scale == 4 else 1)
    assert [len(losses) for losses, *_ in seen] == [step // 2 * 2 for step in range(1, steps + 1)]
    for losses, rates, preview in seen:
        assert losses == alone.history.losses[: len(losses)]
        assert rates == alone.history.learning_rates[: len(rates)]
        assert preview.dtype == torch.uint8
    assert [tuple(preview.shape) for *_, preview in seen[:6]] == [(3, 96, 128)] * 6
    assert tuple(seen[-1][-1].shape) == (3, 48 * scale, 64 * scale)


def test_preview_is_rendered_with_the_current_weights(astronaut):
    config = Config(num_epochs=4, model_width=8, model_depth=3, init="random", crop_size=24, self_ensemble=1)
    seen = []
    result = Upscaler(config).run(
        astronaut, 2, progress=lambda event: seen.append(event.preview()) if event.preview else None
    )
    assert np.array_equal(seen[-1].permute(1, 2, 0).numpy(), result.image)
    assert not np.array_equal(seen[0].numpy(), seen[-1].numpy())


@pytest.mark.parametrize(
    "error", [MemoryError("mine"), RuntimeError("can't allocate memory"), ImageError("image: mine")]
)
def test_errors_of_the_callback_are_passed_on(astronaut, quick, error):
    def fail(_):
        raise error

    with pytest.raises(type(error)) as caught:
        Upscaler(quick).run(astronaut, progress=fail)
    assert caught.value is error


def test_out_of_memory_halves_crops(astronaut, quick, monkeypatch):
    def train_if_small(network, pairs, *others):
        tried.append(pairs.side * pairs.factor)
        if tried[-1] > allowed:
            raise NO_MEMORY
        return train(network, pairs, *others)

    monkeypatch.setattr("zssr.fit.train", train_if_small)
    tried, allowed = [], 16
    assert upscale(astronaut, config=quick).shape == (96, 128, 3)
    assert tried == [24, 16]  # the smallest father has 24 pixels
    tried, allowed = [], 0
    with pytest.raises(ImageError, match="memory runs out even with tiles of 384 and crops of 8 pixels"):
        upscale(astronaut, config=quick)
    assert len(tried) == 7


def test_out_of_memory_halves_tiles_with_the_same_result(astronaut, quick, monkeypatch):
    def apply_if_small(network, image, *others, **settings):
        sides.append(max(image.shape[-2:]))
        if sides[-1] > allowed:
            raise NO_MEMORY
        add_residual(network, image, *others, **settings)

    image, quick = np.tile(astronaut, (4, 3, 1)), quick.replace(self_ensemble=1)
    expected = upscale(image, config=quick)
    monkeypatch.setattr("zssr.inference.regions.add_residual", apply_if_small)
    sides, allowed = [], 170
    halved = upscale(image, config=quick)
    assert sides[0] == 192
    assert np.abs(halved.astype(int) - expected).max() <= 1
    allowed = 0
    with pytest.raises(ImageError, match="memory runs out even with tiles of 8 and crops of 32 pixels"):
        upscale(image, config=quick)


def test_other_runtime_errors_are_not_retried(astronaut, quick, monkeypatch):
    calls = []

    def fail(*_):
        calls.append(None)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("zssr.fit.train", fail)
    with pytest.raises(RuntimeError, match="illegal"):
        upscale(astronaut, config=quick)
    assert len(calls) == 1


def test_model_upscales_photos_that_are_alike(astronaut, quick):
    one, other = astronaut[:, :40], astronaut[:, 24:]
    first = Upscaler(quick).run(one, 4)
    again = Upscaler(quick).run(one, 4, model=first.model)
    assert again.steps == 0
    assert np.array_equal(again.image, first.image)
    assert again.assumed == first.assumed
    shared = Upscaler(quick).run(other, 4, model=first.model)
    assert shared.image.shape == (192, 160, 3)
    assert not np.array_equal(shared.image, Upscaler(quick).run(other, 4).image)
    with pytest.raises(ImageError, match="has 1 channels, but the model is for 3"):
        Upscaler(quick).run(one[..., 0], 4, model=first.model)
    with pytest.raises(ImageError, match="the model is for the scale 4 x 4"):
        Upscaler(quick).run(one, 2, model=first.model)


def test_fit_to_several_files(astronaut, quick, tmp_path):
    for name, part in (("a.png", astronaut[:, :40]), ("b.png", astronaut[:, 24:]), ("gray.png", astronaut[..., 0])):
        Image.fromarray(part).save(tmp_path / name)
    upscaler = Upscaler(quick)
    from_one = upscaler.fit([tmp_path / "a.png"], 2)
    from_both = upscaler.fit([tmp_path / "a.png", tmp_path / "b.png"], 2)
    weights = [torch.cat([w.flatten() for w in model.networks[0].parameters()]) for model in (from_one, from_both)]
    assert not torch.equal(*weights)
    assert np.array_equal(
        np.asarray(upscaler.run(tmp_path / "a.png", 2, model=from_one).image),
        np.asarray(upscale(tmp_path / "a.png", 2, config=quick)),
    )
    Image.fromarray(np.tile(astronaut, (2, 2, 1))).save(tmp_path / "large.png")
    with pytest.raises(ImageError, match="need a scale, not a size"):
        upscaler.fit([tmp_path / "a.png", tmp_path / "large.png"], Request(size=(150, 150)))
    assert upscaler.fit([tmp_path / "a.png"], 1).networks == ()
    with pytest.raises(ImageError, match=r"gray\.png: has 1 channels, and .*a\.png 3"):
        upscaler.fit([tmp_path / "a.png", tmp_path / "gray.png"], 2)


def test_paths_may_be_strings(astronaut, quick, tmp_path):
    source, output = str(tmp_path / "a.png"), str(tmp_path / "b.png")
    Image.fromarray(astronaut).save(source)
    upscaler = Upscaler(quick)
    model = upscaler.fit([source])
    assert upscaler.forecast(source).size == (96, 128)
    assert upscaler.run_file(source, output, model=model).steps == 0
    with Image.open(output) as large:
        assert large.size == (128, 96)


def test_outputs_that_cannot_be_written_are_refused_before_any_work(astronaut, quick, tmp_path, monkeypatch):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    monkeypatch.setattr("zssr.api.upscale_image", lambda *_: pytest.fail("there was work"))
    for output in (tmp_path / "absent" / "b.png", tmp_path / ("b" * 300 + ".png")):
        with pytest.raises(ImageError, match="cannot be written"):
            Upscaler(quick).run_file(tmp_path / "a.png", output)


def test_unknown_metadata_to_keep_are_refused(astronaut, quick, tmp_path):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="keep: 'foo' is not one of all, colors, nothing"):
        Upscaler(quick).run_file(tmp_path / "a.png", tmp_path / "b.png", keep="foo")


def test_outputs_over_the_limit_are_refused(astronaut, quick, tmp_path):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    for image in (astronaut, tmp_path / "a.png"):
        with pytest.raises(ImageError, match="would have 128x96 pixels, more than max_output_pixels = 12287"):
            upscale(image, 2, config=quick, max_output_pixels=12287)
    with pytest.raises(ImageError, match="64x48 pixels, more than max_pixels = 3071"):
        upscale(tmp_path / "a.png", 2, config=quick, max_pixels=3071)


def test_errors_name_the_file(astronaut, quick, tmp_path):
    path = tmp_path / r"a\1\d.png"
    Image.fromarray(astronaut).save(path)
    with pytest.raises(ImageError) as caught:
        Upscaler(quick.replace(in_channels=1)).run_file(path, tmp_path / "b.png")
    assert str(caught.value).startswith(f"{path}: has 3 channels")
    assert not (tmp_path / "b.png").exists()


def test_gain_is_that_of_the_photo_downscaled_and_upscaled_again():
    truth = data.astronaut()[:128, 150:310]
    config = Config(num_epochs=5, lr_schedule="cosine", precision="fp32")
    result = Upscaler(config.replace(measure_gain=True)).run(truth, Request(2, kernel="bicubic"))
    planes = torch.from_numpy(truth.astype(np.float32) / 255).permute(2, 0, 1)[None]
    small = (255 * Degradation(None, (2.0, 2.0)).downsample(planes, (64, 80))).round().clip(0, 255)
    small = small[0].permute(1, 2, 0).numpy().astype(np.uint8)

    def error(image):
        return np.square(((image.astype(float) - truth) @ [0.299, 0.587, 0.114])[2:-2, 2:-2]).mean()

    ours = upscale(small, kernel="bicubic", config=config)
    expected = 10 * np.log10(error(upscale_bicubic(small, 2).clip(0, 255)) / error(ours))
    assert result.expected_gain == pytest.approx(expected, abs=0.1)
    assert expected > 1
    assert np.array_equal(result.image, upscale(truth, kernel="bicubic", config=config))


def test_gain_of_a_photo_that_is_too_small_is_none(quick):
    assert Upscaler(quick.replace(measure_gain=True)).run(data.astronaut()[:40, :40]).expected_gain is None
    assert Upscaler(quick).run(data.astronaut()[:64, :64]).expected_gain is None


def test_forecast_writes_nothing(astronaut, quick, tmp_path):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    forecast = Upscaler(quick).forecast(tmp_path / "a.png", Request(3, kernel="bicubic"))
    assert (forecast.input_size, forecast.size, forecast.assumed) == ((48, 64), (144, 192), "kernel: bicubic")
    assert forecast.seconds > 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert Upscaler(quick).forecast(tmp_path / "a.png", 1).size == (48, 64)
    steps = [Upscaler(quick.replace(num_epochs=n)).forecast(tmp_path / "a.png", 3).seconds for n in (0, 10**9)]
    assert steps[0] < steps[1]
