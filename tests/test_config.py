import dataclasses
import json
import math
from pathlib import Path

import pytest

from benchmarks.settings import read_documentation, to_markdown
from zssr.config import PRESETS, Config
from zssr.errors import ConfigError

ROOT = Path(__file__).parent.parent


def test_round_trip_through_json(tmp_path):
    config = Config(num_epochs=7, lr_schedule="cosine", scale_factor=1.5, scale_times=2, image="a.png")
    path = tmp_path / "config.json"
    path.write_text(config.to_json())
    assert Config.from_json(path) == config


def test_config_json_in_the_repository_holds_the_defaults():
    settings = json.loads((ROOT / "config.json").read_text())
    defaults = dataclasses.asdict(Config())
    assert {**settings, "image": None} == defaults
    assert (ROOT / settings["image"]).is_file()


def test_every_setting_is_documented():
    assert list(read_documentation()) == [key.name for key in dataclasses.fields(Config)]
    assert all(text.endswith(".") for text in read_documentation().values())


def test_settings_page_is_current():
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page == to_markdown(), "python -m benchmarks settings > docs/settings.md brings it up to date"


def test_missing_keys_keep_their_defaults(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"lr": 0.002}')
    assert Config.from_json(path) == Config(lr=0.002)


def test_presets_are_settings_that_differ_from_the_defaults():
    assert list(PRESETS) == ["fast", "default", "best"]
    assert Config.preset("default") == Config()
    for name, settings in PRESETS.items():
        assert Config.preset(name) == Config(**settings)
        assert all(value != getattr(Config(), key) for key, value in settings.items())
    with pytest.raises(ConfigError, match='"slow" is not one of fast, default, best'):
        Config.preset("slow")


@pytest.mark.parametrize(("pixels", "expected"), [(1, 4), (362**2, 4), (363**2, 2), (512**2, 2), (513**2, 1), (1e9, 1)])
def test_fast_averages_what_takes_little_time(pixels, expected):
    assert Config.preset("fast").choose_self_ensemble(pixels) == expected
    assert Config(self_ensemble=8).choose_self_ensemble(pixels) == 8


def test_a_file_stands_above_the_preset(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"num_epochs": 3}')
    assert Config.from_json(path, "fast") == Config.preset("fast").replace(num_epochs=3)


@pytest.mark.parametrize(
    ("wrong", "right"), [("num_epoch", "num_epochs"), ("MODEL_WIDTH", "model_width"), ("learning_decay", "lr_decay")]
)
def test_unknown_key_names_the_nearest(wrong, right):
    with pytest.raises(ConfigError, match=f'"{wrong}" is not a setting.*"{right}"'):
        Config.from_dict({wrong: 1})


def test_key_that_is_like_nothing_lists_all():
    with pytest.raises(ConfigError, match="known are image"):
        Config.from_dict({"qqqqqqq": 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_width", 0),
        ("model_width", 1.5),
        ("model_width", True),
        ("model_width", "64"),
        ("model_depth", 1),
        ("model_kernel_size", 4),
        ("lr", -1),
        ("lr", math.nan),
        ("lr", "fast"),
        ("lr_decay", 1),
        ("lr_decay", 0.0),
        ("lr_schedule", "step"),
        ("num_epochs", -1),
        ("scale_factor", 1),
        ("scale_factor", math.inf),
        ("scale_times", 0),
        ("noise", 256),
        ("noise", "off"),
        ("noise", True),
        ("jpeg", 0),
        ("jpeg", 75.5),
        ("jpeg", "on"),
        ("jpeg", None),
        ("max_MB", 0),
        ("base64", 1),
        ("image", 3),
        ("in_channels", 0),
        ("sampling", "left"),
        ("precision", "fp8"),
        ("batch_size", 0),
        ("batch_size", "8"),
    ],
)
def test_impossible_values_name_key_value_and_what_is_allowed(key, value):
    with pytest.raises(ConfigError) as caught:
        Config(**{key: value})
    message = str(caught.value)
    assert message.startswith(f"{key}: ")
    assert json.dumps(value) in message
    assert " is not " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "words"), [("{", "not JSON"), ("[1]", "not a JSON object"), (b"\xff\xfe", "not JSON")]
)
def test_files_that_are_no_configuration(tmp_path, content, words):
    path = tmp_path / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=words):
        Config.from_json(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.from_json(tmp_path / "absent.json")


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().lr = 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_file_of_any_unicode_encoding_is_read(tmp_path, encoding):
    path = tmp_path / "config.json"
    path.write_text('{"output": "größer"}', encoding)
    assert Config.from_json(path).output == "größer"
    path.write_bytes("{\u00e9".encode("latin-1"))
    with pytest.raises(ConfigError, match="is not JSON"):
        Config.from_json(path)
