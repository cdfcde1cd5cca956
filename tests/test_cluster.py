"""Many images on executors: processes, threads and a Dask cluster of two processes on loopback."""

import json
import logging
import os
import pickle
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from helpers import QUICK, TINY, file_names, run_command, wait_until
from PIL import Image
from python_process import COMMAND, PythonProcess
from skimage import data

from zssr import ConfigError, ImageError, Upscaler
from zssr.cluster import connect, describe_versions
from zssr.executors import InlineExecutor, WorkerDiedError, post, run_calls, share, worker_slot
from zssr.process_executor import ProcessExecutor

distributed = pytest.importorskip("distributed")
zarr = pytest.importorskip("zarr")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def cluster():
    """Two workers, each a process of one thread."""
    options = {"dashboard_address": ":0", "memory_limit": None, "silence_logs": 50}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **options) as local:
        yield local


@pytest.fixture(scope="module")
def scheduler(cluster):
    return cluster.scheduler_address


def read_lines(capsys):
    out, err = capsys.readouterr()
    return {Path(line["input"]).name: line for line in map(json.loads, out.splitlines())}, err


@pytest.mark.parametrize("how", [[], ["--send"]])
def test_a_folder_on_a_cluster_is_that_of_one_process(folder, tmp_path, scheduler, how, capsys):
    (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(9))
    assert run_command(folder, "-o", tmp_path / "one/", "--json") == 1
    alone, err_alone = read_lines(capsys)
    assert run_command(folder, "-o", tmp_path / "two/", "--json", "--scheduler", scheduler, *how) == 1
    lines, err = read_lines(capsys)
    assert file_names(tmp_path / "two") == file_names(tmp_path / "one") == ["a_x2.png", "c_x2.png"]
    for name in ("a_x2.png", "c_x2.png"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert {name: line["state"] for name, line in lines.items()} == {n: line["state"] for n, line in alone.items()}
    assert lines["b.png"]["error"] == alone["b.png"]["error"]
    assert sorted(lines["a.png"]) == sorted(alone["a.png"])
    assert err.splitlines()[-4].split() == ["done", "2"]
    assert err_alone.splitlines()[-4].split() == ["done", "2"]
    assert run_command(folder, "-o", tmp_path / "two", "--scheduler", scheduler, "--skip-existing", *how) == 1
    out = capsys.readouterr().out
    assert "skipped       2" in out


def test_shared_weights_reach_the_workers(folder, tmp_path, scheduler):
    assert run_command(folder, "-o", tmp_path / "one/", "--share-weights") == 0
    assert run_command(folder, "-o", tmp_path / "two/", "--share-weights", "--scheduler", scheduler) == 0
    for name in ("a_x2.png", "c_x2.png"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_warnings_come_back_from_the_workers(tmp_path, scheduler, caplog):
    Image.new("L", (8, 8)).save(tmp_path / "d.png")
    assert run_command(tmp_path / "d.png", "--scheduler", scheduler) == 0
    wait_until(lambda: "d.png: the image is too small to learn from" in caplog.text)


def test_files_and_arrays_by_dasks_executor(folder, tmp_path, scheduler, astronaut):
    upscaler = Upscaler(TINY)
    files = [(folder / f"{name}.png", tmp_path / f"{name}.png") for name in ("a", "b", "absent")]
    arrays = [astronaut[:32, :32], astronaut[8:40, :32, :1], np.zeros((4, 4), complex)]
    with distributed.Client(scheduler) as client:
        executor = client.get_executor(pure=False)
        outcomes = {outcome.key[1].stem: outcome for outcome in upscaler.run_files(files, executor=executor)}
        made = {outcome.key: outcome for outcome in upscaler.run_arrays(arrays, executor=executor)}
    assert file_names(tmp_path) == ["a.png", "b.png", "in"]
    assert str(outcomes["absent"].error) == f"{folder / 'absent.png'}: no such file"
    assert outcomes["a"].result.size == (64, 72)
    assert isinstance(made[2].error, ImageError)
    for number in range(2):
        assert np.array_equal(made[number].result.image, upscaler.run(arrays[number]).image)


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(2)])
def test_files_by_other_executors(folder, tmp_path, executor):
    upscaler = Upscaler(TINY)
    upscaler.run_file(folder / "a.png", tmp_path / "alone.png")
    pairs = ((folder / name, str(tmp_path / name)) for name in ("a.png", "b.png", "note.txt"))
    outcomes = {Path(outcome.key[1]).name: outcome for outcome in upscaler.run_files(pairs, executor=executor)}
    assert sorted(outcomes) == ["a.png", "b.png", "note.txt"]
    assert [name for name, outcome in outcomes.items() if outcome.error] == ["note.txt"]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "alone.png").read_bytes()


def die_once(mark):
    """Kill this process, the first time."""
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_worker_that_dies_costs_a_retry(scheduler, tmp_path):
    level = logging.getLogger("distributed").level
    with connect(scheduler) as opened:
        calls = dict(run_calls(lambda mark: opened.executor.submit(die_once, mark), [str(tmp_path / "died")]))
    assert [future.result() > 0 for future in calls.values()] == [True]
    assert file_names(tmp_path) == ["died"]
    assert logging.getLogger("distributed").level == level


@pytest.mark.slow
def test_a_slide_on_a_cluster_whose_worker_is_killed(scheduler, tmp_path):
    photo = data.astronaut()[40:98, 170:235]
    zarr.create_array(str(tmp_path / "slide.zarr"), data=photo, chunks=(16, 16, 3))
    upscaler = Upscaler(TINY.replace(patch_size=8, self_ensemble=1, noise=0))
    upscaler.run_slide(tmp_path / "slide.zarr", tmp_path / "one.zarr", 2)
    done = []

    def kill_one(_):
        done.append(1)
        if len(done) == 3:
            with distributed.Client(scheduler) as client:
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    with connect(scheduler) as opened:
        result = upscaler.run_slide(
            tmp_path / "slide.zarr", tmp_path / "two.zarr", 2, executor=opened.executor, progress=kill_one
        )
    assert len(done) == result.blocks == 20
    arrays = [zarr.open_array(str(tmp_path / name / "0"), mode="r")[:] for name in ("one.zarr", "two.zarr")]
    assert np.array_equal(*arrays)


def test_an_absent_scheduler_is_one_sentence_soon(folder, monkeypatch, capsys):
    monkeypatch.setattr("zssr.cluster._PATIENCE", 1)
    assert run_command(folder, "--scheduler", "tcp://127.0.0.1:9") == 2
    err = capsys.readouterr().err
    assert err.startswith("zssr: --scheduler: no Dask scheduler answers at tcp://127.0.0.1:9; ")
    assert err.count("\n") == 1
    assert run_command(folder, "--scheduler", "nonsense://x") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_other_versions_are_refused(folder, scheduler, monkeypatch, capsys):
    monkeypatch.setattr("zssr.__version__", "7.0.0")
    assert "zssr 7.0.0" in describe_versions()
    assert run_command(folder, "--scheduler", scheduler) == 2
    err = capsys.readouterr().err
    assert "has zssr 0." in err
    assert "and this process has zssr 7.0.0, torch " in err
    assert file_names(folder) == ["a.png", "b.png", "c.png", "note.txt"]


def test_options_that_exclude_each_other(folder, capsys):
    assert run_command(folder, "--jobs", 2, "--workers", 2) == 2
    assert "--jobs and --workers exclude each other" in capsys.readouterr().err
    assert run_command(folder, "--send") == 2


@pytest.mark.slow
def test_ctrl_c_cancels_what_is_queued(folder, tmp_path, scheduler):
    for k in range(40):
        (folder / f"z{k}.png").write_bytes((folder / "a.png").read_bytes())
    arguments = (folder, "-o", f"{tmp_path}/out/", "--scheduler", scheduler, *QUICK, "--set", "num_epochs=60")
    with PythonProcess(COMMAND, *arguments) as process:
        wait_until(lambda: list((tmp_path / "out").glob("*.png")) or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        code, _, err = process.wait()
    assert code == 130, err
    assert "Traceback" not in err
    with distributed.Client(scheduler) as client:
        wait_until(lambda: not any(client.processing().values()))
    assert len(file_names(tmp_path / "out")) < 40


def _sleep_and_post(seconds):
    post(f"{seconds}")
    time.sleep(seconds)
    return worker_slot(), os.getpid()


def _raise(error):
    raise error


def _raise_odd():
    error = ValueError("y")
    error.lock = threading.Lock()  # cannot be pickled
    raise error


@pytest.mark.slow
def test_processes_return_raise_post_and_die():
    messages = []
    with ProcessExecutor(2, post=messages.append) as executor:
        slots = [executor.submit(_sleep_and_post, 0.3) for _ in range(2)]
        results = [future.result() for future in slots]
        assert {slot for slot, _ in results} == {0, 1}
        assert sorted(messages) == [(0, "0.3"), (1, "0.3")]
        assert isinstance(executor.submit(_raise, ConfigError("x: wrong")).exception(), ConfigError)
        assert str(executor.submit(_raise_odd).exception()) == "ValueError: y"
        dying = executor.submit(time.sleep, 60)
        wait_until(lambda: dying.running())
        time.sleep(0.5)
        for _, process in results:
            os.kill(process, signal.SIGKILL)
        assert isinstance(dying.exception(), WorkerDiedError)
        assert executor.submit(_sleep_and_post, 0).result()[1] not in [process for _, process in results]


def test_processes_are_ended_at_once_after_an_error():
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), ProcessExecutor(1) as executor:
        running, queued = (executor.submit(time.sleep, 600) for _ in range(2))
        wait_until(lambda: running.running())
        raise KeyboardInterrupt
    assert isinstance(running.exception(), WorkerDiedError)
    assert queued.cancelled()
    assert threading.active_count() == before


def test_calls_are_taken_from_an_endless_iterable_and_canceled():
    futures = []

    def submit(item):
        futures.append(Future())
        if item % 2:
            raise ValueError(item)
        return futures[-1]

    done = run_calls(submit, count(), window=6)
    assert [(item, str(future.exception())) for item, future in islice(done, 3)] == [(1, "1"), (3, "3"), (5, "5")]
    futures[0].set_result("a")
    items = [next(done)[0] for _ in range(3)]
    assert 0 in items
    done.close()
    assert sum(future.cancelled() for future in futures) > 3


def test_a_model_is_sent_without_what_was_computed(folder):
    model = Upscaler(TINY).fit([folder / "a.png"], 2)
    packed = model.pack()
    weights = sum(weight.numel() for network in model.networks for weight in network.parameters())
    assert len(pickle.dumps(packed)) < 4 * weights + 50_000 < len(pickle.dumps(model))
    images = [Upscaler(TINY).run(folder / "b.png", 2, model=one).image for one in (model, packed)]
    assert np.array_equal(*map(np.asarray, images))


def test_what_is_shared_is_itself_without_a_cluster():
    value = object()
    assert share(InlineExecutor(), value) is value
    assert worker_slot() is None
