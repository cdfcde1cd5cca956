"""Worker processes: what they are sent and send back, and every way in which one of them ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from zssr.processes import WorkerProcess, exit_reason, ready, shutdown, terminate


def double(connection, factor=2):
    """Answer until the pipe is closed."""
    while True:
        connection.send(factor * connection.recv())


def report_state(connection):
    import torch

    connection.send((os.getpid(), torch.get_num_threads(), signal.getsignal(signal.SIGINT)))


def stall(connection, path):
    """Report the beginning, and work for a minute; a file says how that ended."""
    try:
        connection.send("begun")
        time.sleep(60)
    finally:
        path.write_text(str(sys.exception() or "no exception"))


def ignore_signals(connection):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection.send("begun")
    time.sleep(60)


def exit_slowly(connection):
    """End once the pipe is closed, with much to do at the exit."""
    import atexit

    atexit.register(time.sleep, 1)
    connection.send("begun")
    connection.recv()


@pytest.fixture(autouse=True)
def no_process_is_left_behind():
    yield
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("preload", [(), ("zssr.processes",)], ids=["spawn", "forkserver"])
def test_worker_answers_until_its_pipe_is_closed(preload):
    workers = [WorkerProcess(partial(double, factor=factor), preload=preload) for factor in (2, 3)]
    for worker in workers:
        worker.send(21)
        assert worker.receive() == 21 * (2 + workers.index(worker))
    assert ready(workers, timeout=0) == []
    workers[1].send("a")
    assert ready(workers) == [workers[1]]
    shutdown(workers)


@pytest.mark.slow
def test_worker_computes_with_its_threads_and_ignores_ctrl_c():
    worker = WorkerProcess(report_state, threads=1)
    assert worker.receive() == (worker.process.pid, 1, signal.SIG_IGN)
    shutdown([worker])


def test_ctrl_c_does_not_reach_a_worker_that_starts():
    worker = WorkerProcess(double)
    os.kill(worker.process.pid, signal.SIGINT)
    worker.send(1)
    assert worker.receive() == 2
    shutdown([worker])


def test_terminated_worker_cleans_up(tmp_path):
    worker = WorkerProcess(partial(stall, path=tmp_path / "end"))
    assert worker.receive() == "begun"
    terminate([worker])
    assert (tmp_path / "end").read_text() == "143"


def test_worker_that_does_not_leave_is_killed(monkeypatch):
    monkeypatch.setattr("zssr.processes.GRACE", 0.1)
    worker = WorkerProcess(ignore_signals)
    assert worker.receive() == "begun"
    shutdown([worker])


def test_killed_worker_is_seen_and_its_end_is_said():
    worker = WorkerProcess(double)
    worker.process.kill()
    assert ready([worker]) == [worker]
    worker.send(1)
    with pytest.raises(EOFError):
        worker.receive()
    assert worker.exit_reason("less needs less") == (
        "was killed by signal 9, perhaps because memory ran out; less needs less"
    )
    worker.kill()
    assert exit_reason(3, "") == "ended by itself with code 3"
    assert exit_reason(-11, "less needs less") == "was killed by signal 11"


@pytest.mark.parametrize("end", [shutdown, terminate])
def test_signal_during_exit_is_silent(end, capfd):
    worker = WorkerProcess(exit_slowly)
    assert worker.receive() == "begun"
    worker.send("go on")
    time.sleep(0.5)  # it is at its exit now
    end([worker])
    assert capfd.readouterr() == ("", "")


PARENT = """
import os, signal, sys
from functools import partial
from pathlib import Path
from test_processes import stall
from zssr.processes import WorkerProcess

if __name__ == "__main__":
    worker = WorkerProcess(partial(stall, path=Path(sys.argv[1])))
    print(worker.process.pid, worker.receive(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_worker_ends_with_its_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, script, tmp_path / "end"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.split()[1] == "begun", done.stderr
    for _ in range(100):
        if (tmp_path / "end").exists() and (tmp_path / "end").read_text():
            break
        time.sleep(0.1)
    assert (tmp_path / "end").read_text() == "143"
