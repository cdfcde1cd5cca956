"""Closed and full standard streams: the work is done, the exit code tells, and nothing ends in a traceback."""

import io
import os
import subprocess
import sys
import threading
from multiprocessing import Pipe

import pytest
from helpers import QUICK, file_names
from PIL import Image
from python_process import COMMAND, run_python

from zssr.cli.main import main
from zssr.cli.streams import DroppingFile, dropping_streams, find_stream_error

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110


@pytest.fixture
def pictures(tmp_path):
    """Two pictures that are too small to learn from, so that they are quick and come with a warning."""
    for name in ("a.png", "b.png"):
        Image.effect_noise((16, 20), 50).save(tmp_path / name)
    return tmp_path


FULL = "/dev/full"


def run(folder, arguments, streams=()):
    """Run the command with standard streams that lead elsewhere; return its exit code and stderr."""
    done = run_python(COMMAND, *arguments.split(), *QUICK, folder=folder, streams=streams)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("streams", "code"),
    [
        ({2: None}, 0),
        ({1: None}, 0),
        ({0: None, 1: None, 2: None}, 0),
        ({1: FULL}, 1),
        ({2: FULL}, 1),
        ({1: FULL, 2: 1}, 1),
    ],
    ids=str,
)
def test_a_batch_is_done_whatever_the_streams_are(pictures, streams, code):
    exit_code, err = run(pictures, "a.png b.png absent.png -o out/ --json", streams)
    assert exit_code == 1  # since a file is absent
    assert file_names(pictures / "out") == ["a_x2.png", "b_x2.png"]
    assert ("stdout: cannot be written (No space left" in err) == (streams == {1: FULL})
    exit_code, _ = run(pictures, "a.png --overwrite", streams)
    assert exit_code == code
    with Image.open(pictures / "a_x2.png") as image:
        image.load()


@pytest.mark.slow
def test_a_batch_in_processes_is_done_without_any_streams(pictures):
    command = f"'{sys.executable}' -m zssr a.png b.png --jobs 2 {' '.join(QUICK)} <&- >&- 2>&-"
    done = subprocess.run(["/bin/bash", "-c", command], cwd=pictures, check=False)
    assert done.returncode == 0
    assert file_names(pictures) == ["a.png", "a_x2.png", "b.png", "b_x2.png"]


def test_a_batch_goes_on_when_nobody_reads_on(pictures):
    reader, writer = Pipe(duplex=False)
    reader.close()
    code, err = run(pictures, "a.png b.png", {1: writer})
    writer.close()
    assert code == 1
    assert "stdout: cannot be written (Broken pipe)" in err
    assert file_names(pictures) == ["a.png", "a_x2.png", "b.png", "b_x2.png"]


@pytest.mark.parametrize(
    ("arguments", "streams", "code", "words"),
    [
        ("a.png -o -", {1: FULL}, 1, "a.png: cannot be written to stdout (No space left on device)"),
        ("a.png -o -", {1: None}, 2, "stdout, which is closed"),
        ("a.png --set base64=true", {1: None}, 2, "stdout, which is closed"),
        ("a.png --set base64=true", {1: FULL}, 1, "stdout: cannot be written"),
        ("- -o c.png", {0: None}, 2, "nothing is piped into it"),
        ("- -o c.png", {0: 2}, 1, "stdin: cannot be read"),
        ("- - -o c.png", {0: None}, 2, "can be read only once"),
        ("- a.png -o out/ --jobs 2", {0: 2}, 1, "stdin: cannot be read"),
    ],
)
def test_what_cannot_be_read_or_written_is_said(pictures, arguments, streams, code, words):
    exit_code, err = run(pictures, arguments, streams)
    assert (exit_code, words in err) == (code, True), err


def test_help_that_is_lost_is_a_failure(pictures):
    code, err = run(pictures, "--help", {1: FULL})
    assert code == 1
    assert err == "zssr: stdout: cannot be written (No space left on device)\n"


def test_writing_stops_at_the_first_error_and_keeps_it():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        stream = io.TextIOWrapper(io.BufferedWriter(DroppingFile(full.fileno())))
        assert find_stream_error(stream) is None
        stream.write("lost")
        assert find_stream_error(stream) == "No space left on device"
        stream.write("lost, too")
        stream.close()
    reader, writer = os.pipe()
    os.close(reader)
    stream = io.TextIOWrapper(io.BufferedWriter(DroppingFile(writer)))
    stream.write("to nobody")
    assert find_stream_error(stream) == "Broken pipe"
    os.close(writer)


def test_streams_that_do_not_block_are_waited_for():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    stream = io.BufferedWriter(DroppingFile(writer))
    found = bytearray()

    def read():
        while part := os.read(reader, 1000):
            found.extend(part)

    thread = threading.Thread(target=read)
    thread.start()
    stream.write(bytes(1_000_000))
    stream.flush()
    os.close(writer)
    thread.join()
    os.close(reader)
    assert len(found) == 1_000_000


def test_the_streams_of_the_caller_are_restored(capfd):
    before = sys.stdout, sys.stderr
    assert main(["absent.png"]) == 1
    assert (sys.stdout, sys.stderr) == before
    assert "absent.png: no such file" in capfd.readouterr().err


@pytest.mark.parametrize("unbuffered", ["line_buffering", "write_through"])
def test_lines_are_written_at_once_if_the_stream_did_so(tmp_path, monkeypatch, unbuffered):
    path = tmp_path / "log"
    with path.open("wb") as file:
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(file, **{unbuffered: True}))
        with dropping_streams():
            sys.stderr.write("a line\n")
            assert path.read_text() == "a line\n"


@pytest.mark.slow
@pytest.mark.parametrize("options", ["--jobs 1", "--jobs 2", "--dry-run", "--measure-gain"])
def test_warnings_name_their_file(pictures, options):
    code, err = run(pictures, f"a.png b.png --overwrite {options}")
    assert code == 0
    lines = [line for line in err.splitlines() if "too small to learn from" in line]
    assert sorted(line.partition(": the image")[0] for line in lines) == [
        "zssr: WARNING: a.png",
        "zssr: WARNING: b.png",
    ]
