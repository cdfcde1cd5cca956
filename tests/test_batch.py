"""Many pictures: errors stop no other, --jobs and --share-weights, streams, and what --dry-run says."""

import base64
import io
import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import QUICK, file_names, run_command
from PIL import Image
from python_process import COMMAND, PythonProcess

from zssr.api import Upscaler
from zssr.processes import WorkerProcess


def test_folder_goes_on_after_a_bad_picture(folder, tmp_path, capsys):
    (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(9))
    assert run_command(folder, "-r", "-o", tmp_path / "out", "--json") == 1
    assert file_names(tmp_path / "out") == ["a_x2.png", "c_x2.png"]
    out, err = capsys.readouterr()
    lines = {Path(line["input"]).name: line for line in map(json.loads, out.splitlines())}
    assert {name: line["state"] for name, line in lines.items()} == {
        "a.png": "done",
        "b.png": "failed",
        "c.png": "done",
    }
    assert lines["b.png"]["error"].startswith(f"{folder / 'b.png'}: ")
    assert err.count(f"{folder / 'b.png'}: ") == 2  # at once, and in the table
    assert run_command(folder, "-r", "-o", tmp_path / "out", "--json", "--skip-existing") == 1
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert sorted(states) == ["failed", "skipped", "skipped"]


def test_unexpected_errors_stop_no_other_picture(folder, monkeypatch, capsys):
    whole = Upscaler.run_file

    def broken(self, source, *others, **named):
        if source.name == "a.png":
            raise ZeroDivisionError("what is this?")
        return whole(self, source, *others, **named)

    monkeypatch.setattr(Upscaler, "run_file", broken)
    assert run_command(folder) == 1
    out, err = capsys.readouterr()
    assert file_names(folder) == ["a.png", "b.png", "b_x2.png", "c.png", "c_x2.png", "note.txt"]
    assert err.count("\n") == 1
    assert "a.png: could not be done" in err
    assert out.splitlines()[2:4] == ["done          2", "failed        1"]


def test_clashing_outputs_end_the_run_before_work(folder, monkeypatch, capsys):
    monkeypatch.setattr(Upscaler, "run_file", lambda *_, **__: pytest.fail("worked"))
    Image.new("RGB", (32, 32)).save(folder / "a.jpg")
    assert run_command(folder, "--format", "png") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"zssr: {folder / 'a_x2.png'}: several inputs")
    with pytest.raises(SystemExit) as caught:
        run_command(folder, "--overwrite", "--skip-existing")
    assert caught.value.code == 2


def test_dry_run_writes_nothing(folder, tmp_path, capsys):
    (folder / "b.png").write_bytes(b"bad")
    assert run_command(folder, "-o", tmp_path / "out/", "--dry-run", "--json", "-s", 3) == 1
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["state"] for report in reports] == ["planned", "failed", "planned"]
    sizes = [reports[0][key] for key in ("input_width", "input_height", "width", "height")]
    assert sizes == [36, 32, 108, 96]
    assert reports[0]["seconds"] > 0
    assert "kernel" in reports[0]["assumed"]
    assert run_command(folder / "a.png", "--dry-run") == 0
    assert "36x32 -> 72x64 px, kernel" in capsys.readouterr().out
    assert file_names(tmp_path) == ["in"]
    assert file_names(folder) == ["a.png", "b.png", "c.png", "note.txt"]


@pytest.mark.parametrize(("how", "expected"), [("first", ["b.png"]), ("all", ["b.png", "c.png"])])
def test_shared_weights_come_from_what_can_be_read(folder, monkeypatch, how, expected, capsys):
    (folder / "a.png").write_bytes(b"bad")
    (folder / "b_x2.png").touch()  # b.png is skipped, and fitted to all the same
    fit, run_file, fitted, models = Upscaler.fit, Upscaler.run_file, [], []

    def fit_and_note(self, paths, *others, **named):
        fitted.append([path.name for path in paths])
        return fit(self, paths, *others, **named)

    def run_and_note(self, *others, model, **named):
        models.append(model)
        return run_file(self, *others, model=model, **named)

    monkeypatch.setattr(Upscaler, "fit", fit_and_note)
    monkeypatch.setattr(Upscaler, "run_file", run_and_note)
    assert run_command(folder, f"--share-weights={how}", "--skip-existing") == 1
    assert fitted[-1] == expected
    assert len(models) == 2
    assert None not in models
    assert models[0] is models[1]
    assert run_command("-", "--share-weights") == 2


@pytest.mark.slow
def test_bytes_in_are_bytes_out(folder):
    assert run_command(folder / "a.png", "--threads", 2) == 0
    streams = {0: folder / "a.png"}
    with PythonProcess(COMMAND, "-", "--threads", 1, *QUICK, streams=streams) as process:
        code, out, err = process.wait()
    assert (code, out) == (0, (folder / "a_x2.png").read_bytes())
    assert err.startswith("stdin -> stdout: 72x64 px")


def test_stdin_has_a_limit_and_a_terminal_gets_no_bytes(folder, monkeypatch, capsysbinary):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "a.png").read_bytes())))
    assert run_command("-", "--set", "max_MB=0.001") == 1
    assert b"stdin: has more than max_MB = 0.001" in capsysbinary.readouterr().err
    assert run_command(folder / "a.png", "-o", "-", "--format", "tif", "-q") == 0
    assert capsysbinary.readouterr().out[:2] == b"II"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert run_command(folder / "a.png", "-o", "-") == 2
    assert b"not for a terminal" in capsysbinary.readouterr().err


@pytest.mark.slow
def test_jobs_and_threads_change_no_byte(folder, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("zssr.cli.run.count_cores", lambda: 2)
    assert run_command(folder, "-o", tmp_path / "two/", "--jobs", 2, "-q") == 0
    assert multiprocessing.active_children() == []
    assert capfd.readouterr() == ("", "")  # nor do the processes say anything as they end
    assert run_command(folder, "-o", tmp_path / "one/", "--threads", 3) == 0
    assert run_command(folder / "b.png", "-o", tmp_path / "alone.png", "--threads", 2) == 0
    for name in ("a_x2.png", "b_x2.png", "c_x2.png"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert (tmp_path / "alone.png").read_bytes() == (tmp_path / "one" / "b_x2.png").read_bytes()


@pytest.mark.slow
def test_process_that_dies_fails_one_picture(folder, tmp_path, monkeypatch, capsys):
    send = WorkerProcess.send

    def send_and_kill(worker, call):
        send(worker, call)
        if call.args[1].name.endswith("a.png"):
            os.kill(worker.process.pid, signal.SIGKILL)

    monkeypatch.setattr(WorkerProcess, "send", send_and_kill)
    monkeypatch.setattr("zssr.cli.run.count_cores", lambda: 2)
    (tmp_path / "out").mkdir()
    assert run_command(folder, "-o", tmp_path / "out", "--jobs", 2, "--threads", 1) == 1
    assert file_names(tmp_path / "out") == ["b_x2.png", "c_x2.png"]
    assert "a.png: its process was killed by signal 9" in capsys.readouterr().err
    assert multiprocessing.active_children() == []


def test_large_numbers_of_jobs_are_reduced(folder, caplog):
    assert run_command(folder / "a.png", "--jobs", 4096) == 0
    assert "so" in caplog.text
    assert "4096" in caplog.text
    assert np.asarray(Image.open(folder / "a_x2.png")).shape == (64, 72, 3)


def test_base64_of_a_named_output_is_that_of_the_file(folder, tmp_path, capsys):
    assert run_command(folder, "-o", tmp_path / "out/", "--set", "base64=true") == 0
    out, err = capsys.readouterr()
    texts = out.splitlines()
    assert [base64.b64decode(text) for text in texts] == [
        (tmp_path / "out" / name).read_bytes() for name in ("a_x2.png", "b_x2.png", "c_x2.png")
    ]
    assert err.count("72x64 px") == 3


def test_what_a_folder_holds_and_is_left_out_is_told(folder, caplog):
    (folder / "inner").mkdir()
    (folder / "raw.cr3").write_bytes(b"?")
    (folder / ".hidden").write_bytes(b"?")
    plain = ("--dry-run", "--method", "bicubic")
    assert run_command(folder, "-o", folder.parent / "out", *plain) == 0
    assert f"{folder}: left out are inner/, note.txt, raw.cr3" in caplog.messages
    (folder / "film.mov").write_bytes(b"?")
    assert run_command(folder, "-o", folder.parent / "out", *plain, "-r") == 0
    assert f"{folder}: left out are film.mov, note.txt, raw.cr3" in caplog.messages
    assert run_command(folder / "a.png", *plain, "--quality", "90") == 0
    assert len([text for text in caplog.messages if "left out" in text]) == 2
