import os
import signal
import subprocess
import sys
import time

import pytest
from test_cli import QUICK, names, size_of

from zssr.cli.signals import Signals

STALLS = """
import os, sys, time
from pathlib import Path
import zssr.api, zssr.cli.run, zssr.cli.progress_bars, zssr.cli.main

def stalls(holder, name):
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

stalls(PLACE)
zssr.cli.run.cores = lambda: 2
sys.exit(zssr.cli.main.main(sys.argv[3:]))
"""


def interrupted(folder, place, number, *options, stubborn=False):
    """Run the command on a folder, send a signal when it has come to a place, and return its exit code and stderr."""
    code = STALLS.replace("PLACE", place).replace("STUBBORN", str(stubborn))
    command = [sys.executable, "-c", code, "zssr", str(folder / "a_x2.png"), str(folder), *QUICK, *options]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **streams) as process:
        said = ""
        while "here" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        os.killpg(process.pid, number)
        if stubborn:
            assert "again" in process.stderr.readline()
            time.sleep(0.5)
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
    for _ in range(100):  # multiprocessing's own helper takes a moment to see that all is over
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return process.returncode, out, said + err
        time.sleep(0.1)
    raise AssertionError("processes are left behind")


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
    told, out, err = interrupted(folder, place, number)
    assert told == code, err
    assert "Traceback" not in err
    assert err.endswith("zssr: interrupted\n")
    assert names(folder) == ["a.png", "a_x2.png", "b.png", "c.png", "note.txt"]
    assert size_of(folder / "a_x2.png") == (72, 64)
    assert out.splitlines()[1:3] == ["done          1", "not done      2"]


def test_second_signal_ends_at_once(folder):
    told, _, err = interrupted(folder, "zssr.cli.run, 'run_task'", signal.SIGINT, stubborn=True)
    assert told == 130
    assert "interrupted" not in err


def test_signal_ends_all_processes(folder):
    options = ("--jobs", "2", "--threads", "1", "--set", "num_epochs=3000", "--set", "lr_schedule=cosine")
    (folder / "a_x2.png").touch()
    told, _, err = interrupted(
        folder, "zssr.cli.progress_bars.ProgressBars, 'show'", signal.SIGINT, "--skip-existing", *options
    )
    assert told == 130, err
    assert "Traceback" not in err
    assert names(folder) == ["a.png", "a_x2.png", "b.png", "c.png", "note.txt"]


def test_handlers_of_the_caller_are_put_back():
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
