import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import QUICK, file_names, image_size, run_command
from PIL import Image
from python_process import COMMAND, PythonProcess

import zssr
from zssr.cli.main import main
from zssr.config import Config


@pytest.fixture
def picture(astronaut, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(astronaut).save(path)
    return path


def test_output_is_written_beside_the_input(picture, capsys):
    assert run_command(picture, "--scale", 4, "--kernel", "bicubic") == 0
    assert file_names(picture.parent) == ["photo.png", "photo_x4.png"]
    assert image_size(picture.with_name("photo_x4.png")) == (256, 192)
    out, _ = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "photo_x4.png: 256x192 px, kernel: bicubic, 8 steps" in out


@pytest.mark.parametrize(
    ("options", "name", "size"),
    [
        ([], "photo_x2.png", (128, 96)),
        (["-s", "1.5"], "photo_x1.5.png", (96, 72)),
        (["-s", "3x2"], "photo_x3x2.png", (192, 96)),
        (["--size", "100x90", "--stretch"], "photo_100x90.png", (100, 90)),
        (["--size", "120x90"], "photo_120x90.png", (120, 90)),
        (["--size", "100x"], "photo_100x.png", (100, 75)),
        (["--size", "x91"], "photo_x91.png", (121, 91)),
        (["--fit", "100x900"], "photo_100x900.png", (100, 75)),
        (["--set", "scale_factor=1.5", "--set", "scale_times=2"], "photo_x2.25.png", (144, 108)),
    ],
)
def test_output_is_named_by_scale_or_size(picture, options, name, size):
    assert run_command(picture, *options) == 0
    assert image_size(picture.with_name(name)) == size


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".bmp"])
def test_output_format_follows_the_suffix(picture, suffix):
    target = picture.with_name("out" + suffix)
    assert run_command(picture, "-o", target) == 0
    with Image.open(target) as image:
        assert image.format in {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper())


def test_several_inputs_go_on_after_a_bad_one(picture, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"no image")
    target = tmp_path / "out"
    target.mkdir()
    assert run_command(tmp_path / "bad.png", picture, "-o", target) == 1
    assert file_names(target) == ["photo_x2.png"]
    assert "bad.png: is not a PNG" in capsys.readouterr().err


def test_alpha_is_kept_or_the_picture_fails(tmp_path, astronaut):
    alpha = np.zeros((48, 64, 1), np.uint8)
    alpha[10:30, 10:40] = 255
    Image.fromarray(np.concatenate([astronaut, alpha], axis=2)).save(tmp_path / "a.png")
    assert run_command(tmp_path / "a.png") == 0
    with Image.open(tmp_path / "a_x2.png") as image:
        assert image.mode == "RGBA"
        opacity = np.asarray(image)[..., 3]
    assert opacity[30, 40] == 255
    assert opacity[90, 120] == 0
    assert run_command(tmp_path / "a.png", "-o", tmp_path / "a.jpg") == 1
    assert not (tmp_path / "a.jpg").exists()


def test_existing_output_is_kept_without_overwrite(picture, capsys):
    target = picture.with_name("photo_x2.png")
    target.write_bytes(b"mine")
    assert run_command(picture) == 1
    assert target.read_bytes() == b"mine"
    assert "--overwrite" in capsys.readouterr().err
    assert run_command(picture, "--overwrite") == 0
    assert image_size(target) == (128, 96)


def test_estimated_kernel_noise_and_jpeg_are_printed(picture, capsys):
    jpeg = picture.with_name("old.jpg")
    Image.open(picture).save(jpeg, quality=82)
    assert run_command(jpeg, "--set", "noise=2.1") == 0
    found = r"128x96 px, kernel: bicubic \(confidence 0\.\d\), noise 2\.1, jpeg q82 4:2:0, 4 steps"
    assert re.search(found, capsys.readouterr().out)
    assert run_command(jpeg, "--set", "noise=2.1", "--overwrite", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["noise"], report["jpeg"]) == (2.1, "q82 4:2:0")
    assert run_command(jpeg, "--set", "jpeg=off", "--overwrite", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["noise"], report["jpeg"]) == (0, None)


def test_json_has_one_object_per_picture(picture, tmp_path, capsys):
    assert run_command(picture, tmp_path / "absent.png", "--json", "--seed", 7) == 1
    failed, done = (json.loads(line) for line in capsys.readouterr().out.splitlines())  # what is known comes first
    assert (done["ok"], done["width"], done["height"], done["steps"], done["seed"]) == (True, 128, 96, 4, 7)
    assert done["output"] == str(picture.with_name("photo_x2.png"))
    assert (failed["ok"], failed["input"]) == (False, str(tmp_path / "absent.png"))
    assert "no such file" in failed["error"]


def test_base64_goes_to_stdout_and_no_file_is_written(picture, capsys):
    assert run_command(picture, "--set", "base64=true") == 0
    decoded = Image.open(io.BytesIO(base64.b64decode(capsys.readouterr().out)))
    assert decoded.size == (128, 96)
    assert file_names(picture.parent) == ["photo.png"]


def test_configuration_names_input_and_output(picture, tmp_path):
    (tmp_path / "c.json").write_text(
        json.dumps({"image": str(picture), "output": str(tmp_path / "o.png"), "num_epochs": 3})
    )
    assert run_command("--config", tmp_path / "c.json") == 0
    assert image_size(tmp_path / "o.png") == (128, 96)


def test_file_overrides_preset_and_set_overrides_file(picture, tmp_path, capsys):
    (tmp_path / "c.json").write_text('{"num_epochs": 3}')

    def steps(*options):
        assert main([str(picture), "--json", "--overwrite", "-o", str(tmp_path / "o.png"), *options]) == 0
        return json.loads(capsys.readouterr().out)["steps"]

    small = ["--set", "init=random", *QUICK[4:]]
    assert steps("--preset", "fast", *small) == Config.preset("fast").num_epochs
    assert steps("--preset", "fast", "--config", str(tmp_path / "c.json"), *small) == 3
    assert steps("--preset", "fast", "--config", str(tmp_path / "c.json"), *QUICK) == 4


def test_kernel_from_a_file_changes_the_result(picture, tmp_path):
    np.save(tmp_path / "k.npy", np.ones((4, 4)))
    assert run_command(picture, "-o", tmp_path / "a.png") == 0
    assert run_command(picture, "-o", tmp_path / "b.png", "--kernel", tmp_path / "k.npy") == 0
    assert run_command(picture, "-o", tmp_path / "c.png", "--kernel", "bicubic") == 0
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == c
    assert a != b


def test_quiet_prints_nothing_and_a_pipe_has_no_bar(picture, capsys):
    assert run_command(picture, "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert run_command(picture, "--overwrite") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-s", "0.5"], "scale"),
        (["-s", "nan"], "scale"),
        (["--set", "num_epoch=3"], "num_epochs"),
        (["--set", "lr"], "KEY=VALUE"),
        (["--set", 'lr="fast"'], "lr"),
        (["--config", "absent.json"], "absent.json"),
        (["-s", "2", "--size", "9x9"], "exclude"),
        (["--fit", "99x99", "--size", "99x99"], "exclude"),
        (["--stretch"], "--size WxH"),
        (["--stretch", "--size", "99x"], "--size WxH"),
        (["--device", "cuda"], "cuda"),
    ],
)
def test_wrong_usage_is_one_sentence_and_code_2(picture, capsys, options, words):
    assert run_command(picture, *options) == 2
    err = capsys.readouterr().err
    assert words in err
    assert len(err.splitlines()) == 1
    assert file_names(picture.parent) == ["photo.png"]


@pytest.mark.parametrize(
    "options",
    [
        ["-s", "big"],
        ["-s", "1x2x3"],
        ["--size", "9"],
        ["--size", "x"],
        ["--size", "0x9"],
        ["--fit", "99x"],
        ["--seed", "x"],
        ["--what"],
        ["--device", "tpu"],
    ],
)
def test_unparsable_options_are_code_2(picture, options):
    with pytest.raises(SystemExit) as caught:
        run_command(picture, *options)
    assert caught.value.code == 2


def test_size_below_the_images_fails_for_that_image_alone(picture, tmp_path, capsys):
    Image.new("RGB", (100, 100)).save(tmp_path / "large.png")
    assert run_command(tmp_path / "large.png", picture, "--size", "99x90", "--stretch") == 1
    assert "large.png: its 100x100 pixels are more than the size 99x90" in capsys.readouterr().err
    assert file_names(tmp_path) == ["large.png", "photo.png", "photo_99x90.png"]


def test_output_that_is_another_input_is_wrong_usage(picture, capsys):
    other = picture.with_name("photo_x2.png")
    other.write_bytes(picture.read_bytes())
    assert run_command(picture, other, "--overwrite") == 2
    assert other.read_bytes() == picture.read_bytes()


@pytest.mark.parametrize("name", [".", "/", "", "n" * 300 + ".png"])
def test_names_that_are_no_files_fail(picture, name, capsys):
    assert run_command(name, picture) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert file_names(picture.parent) == ["photo.png", "photo_x2.png"]


def test_no_input_is_wrong_usage(capsys):
    assert run_command() == 2
    assert "INPUT" in capsys.readouterr().err


def test_two_inputs_for_one_output_are_wrong_usage(picture, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    assert run_command(picture, picture, "-o", other) == 2
    assert "several inputs" in capsys.readouterr().err
    assert run_command(picture, picture, "-o", tmp_path / "one.png") == 2


def test_size_that_would_stretch_is_refused_with_sizes_that_would_not(picture, capsys):
    assert run_command(picture, "--size", "100x90") == 1
    assert "100x90 would stretch its 64x48 pixels; 100x75 or 120x90 would not, and --str" in capsys.readouterr().err
    assert file_names(picture.parent) == ["photo.png"]


@pytest.mark.parametrize("target", ["out.xyz", "out", "absent/out.png", "photo.png"])
def test_impossible_outputs_fail_before_training(picture, target, monkeypatch):
    monkeypatch.setattr("zssr.fit.train", lambda *_: pytest.fail("trained"))
    assert run_command(picture, "-o", picture.parent / target) == 1


@pytest.mark.parametrize("kernel", ["zero.npy", "wide.npy", "absent.npy", "text.npy"])
def test_impossible_kernels_fail(picture, tmp_path, kernel, capsys):
    np.save(tmp_path / "zero.npy", np.zeros((3, 3)))
    np.save(tmp_path / "wide.npy", np.ones((99, 99)))
    (tmp_path / "text.npy").write_text("text")
    assert run_command(picture, "--kernel", tmp_path / kernel) == 1
    err = capsys.readouterr().err
    assert kernel in err
    assert len(err.splitlines()) == 1
    assert "pickle" not in err  # numpy's advice would be harmful


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kernel", "a.png", "-s", "big"], '"big" is neither a number nor of the form HORIZONTALxVERTICAL'),
        (["serve", "--port", "abc"], '"abc" is not a whole number from 0 to 65535'),
        (["serve", "--max-mb", "abc"], '"abc" is not a number over 0'),
        (["serve", "--waiting", "1.5"], '"1.5" is not a whole number over 0'),
        (["a.png", "--size", "9"], '"9" is not of the form WIDTHxHEIGHT, WIDTHx or xHEIGHT'),
    ],
)
def test_wrong_options_are_refused_in_words_of_the_user(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_kernel_for_two_scales(picture, capsys):
    assert main(["kernel", str(picture), "-s", "2x3"]) == 0
    assert " for x2x3; " in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_is_130_and_leaves_no_file(picture):
    settings = (*QUICK, "--set", "num_epochs=100000", "--set", "lr_schedule=cosine")
    with PythonProcess(COMMAND, picture, *settings, "-v") as process:
        assert any("step 80" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        code, _, err = process.wait()
    assert code == 130, err
    assert "Traceback" not in err
    assert file_names(picture.parent) == ["photo.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["usage: zssr", "zssr kernel", "zssr serve", "python -m zssr.prior.train"]),
        (["--version"], [f"zssr {zssr.__version__}"]),
        (["kernel", "--help"], ["usage: zssr kernel"]),
    ],
)
def test_help_and_version_import_nothing_large(arguments, words):
    large = ("torch", "numpy", "PIL", "tqdm", "multiprocessing.connection")
    report = f"atexit.register(lambda: print([name for name in {large} if name in sys.modules]))"
    code = f"import atexit, sys; from zssr.cli.main import main; {report}; main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert all(word in done.stdout for word in words)
    assert done.stdout.endswith("[]\n")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--preset", "fast"], ["--preset", "best", "-s", "4"]], ids=str)
def test_run_imports_nothing_that_it_does_not_need(arguments, picture):
    large = ("torch._dynamo", "sympy", "torchvision", "scipy.optimize", "scipy.ndimage", "matplotlib", "gradio")
    large += ("tifffile", "zssr.slides", "zssr.prior.dead_leaves")
    code = "import sys; from zssr.cli.main import main; assert main(sys.argv[1:]) == 0; "
    code += f"print([name for name in {large} if name in sys.modules])"
    command = [sys.executable, "-c", code, str(picture), "-q", *arguments, "--set", "num_epochs=2"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.endswith("[]\n")


def test_help_of_serve_imports_neither_torch_nor_gradio():
    code = "import sys; sys.modules |= dict.fromkeys(['torch', 'gradio']); from zssr.cli.main import main; main()"
    command = [sys.executable, "-c", code, "serve", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage: zssr serve" in done.stdout


@pytest.mark.slow
def test_module_runs_as_a_command(picture):
    command = [sys.executable, "-m", "zssr", picture.name, "-q", *QUICK]
    environment = {**os.environ, "PYTHONPATH": str(Path(zssr.__file__).parent.parent)}
    subprocess.run(command, cwd=picture.parent, env=environment, check=True)
    assert image_size(picture.with_name("photo_x2.png")) == (128, 96)


def test_expected_gain_is_printed(picture, capsys):
    assert run_command(picture, "--measure-gain") == 0
    assert re.search(r"cpu, expected gain [+-]\d+\.\d dB", capsys.readouterr().out)
