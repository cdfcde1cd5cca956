"""Ctrl-C and SIGTERM: once ends a run cleanly, twice at once, wherever the run is."""

import os
import signal
import sys
import time

import pytest
from helpers import QUICK, file_names, image_size
from python_process import PythonProcess

from zssr.cli.signals import Signals

STALL = """
import os, sys, time
from pathlib import Path
import zssr.api, zssr.cli.run, zssr.cli.progress_bars, zssr.cli.main

def stall(holder, name):
    real = getattr(holder, name)
    def stalled(*arguments, **named):
        if Path(sys.argv[2]).exists():  # the first is done
            try:
                print("here", file=sys.stderr, flush=True)
                time.sleep(60)
            except KeyboardInterrupt:
                if STUBBORN:
                    print("again", file=sys.stderr, flush=True)
                    time.sleep(60)
                raise
        return real(*arguments, **named)
    setattr(holder, name, stalled)

stall(PLACE)
zssr.cli.run.count_cores = lambda: 2
sys.exit(zssr.cli.main.main(sys.argv[3:]))
"""


def read_until(word, stream):
    """Read lines until one has a word; return them."""
    messages = ""
    while word not in messages:
        line = stream.readline()
        assert line, messages
        messages += line
    return messages


def interrupt(folder, place, number, *options, stubborn=False):
    """Run the command on a folder, send a signal when it has come to a place, and return its exit code and stderr."""
    code = STALL.replace("PLACE", place).replace("STUBBORN", str(stubborn))
    with PythonProcess(code, "zssr", folder / "a_x2.png", folder, *QUICK, *options) as process:
        messages = read_until("here", process.stderr)
        os.killpg(process.pid, number)
        if stubborn:
            messages += read_until("again", process.stderr)  # a line that the signal interrupts may come twice
            time.sleep(0.5)
            process.send_signal(number)
        exit_code, out, err = process.wait()
    for _ in range(100):  # multiprocessing's own helper takes a moment to see that all is over
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return exit_code, out.decode(), messages + err
        time.sleep(0.1)
    raise AssertionError("processes are left behind")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "number", "code"),
    [
        ("zssr.cli.run, 'run_task'", signal.SIGINT, 130),
        ("zssr.cli.progress_bars.ProgressBars, 'show'", signal.SIGINT, 130),
        ("os, 'fsync'", signal.SIGINT, 130),
        ("os, 'fsync'", signal.SIGTERM, 143),
    ],
)
def test_one_signal_ends_cleanly(folder, place, number, code):
    exit_code, out, err = interrupt(folder, place, number)
    assert exit_code == code, err
    assert "Traceback" not in err
    assert err.endswith("zssr: interrupted\n")
    assert file_names(folder) == ["a.png", "a_x2.png", "b.png", "c.png", "note.txt"]
    assert image_size(folder / "a_x2.png") == (72, 64)
    assert out.splitlines()[1:3] == ["done          1", "not done      2"]


@pytest.mark.slow
def test_second_signal_ends_at_once(folder):
    exit_code, _, err = interrupt(folder, "zssr.cli.run, 'run_task'", signal.SIGINT, stubborn=True)
    assert exit_code == 130
    assert "interrupted" not in err


@pytest.mark.slow
def test_signal_ends_all_processes(folder):
    options = ("--jobs", "2", "--threads", "1", "--set", "num_epochs=3000", "--set", "lr_schedule=cosine")
    (folder / "a_x2.png").touch()
    exit_code, _, err = interrupt(
        folder, "zssr.cli.progress_bars.ProgressBars, 'show'", signal.SIGINT, "--skip-existing", *options
    )
    assert exit_code == 130, err
    assert "Traceback" not in err
    assert file_names(folder) == ["a.png", "a_x2.png", "b.png", "c.png", "note.txt"]


class Interrupted:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


class Broken:
    def __del__(self):
        raise ValueError


def test_a_signal_in_a_destructor_is_not_reported():
    before, reported = sys.unraisablehook, []
    sys.unraisablehook = reported.append
    try:
        with Signals() as signals:
            Broken()
            Interrupted()
            Broken()
            with pytest.raises(KeyboardInterrupt):
                signals.check()
        Broken()
        assert [one.exc_type for one in reported] == [ValueError] * 2
    finally:
        sys.unraisablehook = before


def test_signal_handlers_of_the_caller_are_restored():
    before = signal.getsignal(signal.SIGINT)
    signals = Signals()
    with pytest.raises(KeyboardInterrupt), signals:
        signal.raise_signal(signal.SIGINT)
    assert signals.code == 130
    assert signal.getsignal(signal.SIGINT) == before
    with pytest.raises(KeyboardInterrupt):
        signals.check()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Signals():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
