"""The queue of jobs: order, limits, time-outs, crashes, and files that expire."""

import gc
import multiprocessing
import os
import signal
import stat
import threading
import weakref
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import wait

import pytest
from helpers import file_names, wait_until
from hostile import encode_image
from PIL import Image

from zssr.request import Request
from zssr.web.jobs import JobQueue
from zssr.web.messages import JobRequest, QueueFullError, ServerLimits, Upload

LIMITS = ServerLimits(waiting=2, threads=1)


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    with JobQueue(LIMITS, tmp_path_factory.mktemp("jobs")) as queue:
        yield queue
    assert multiprocessing.active_children() == []


@pytest.fixture
def quick(astronaut):
    """A request that needs no training: the photo is too small."""
    return make_request(astronaut[:16, :20], "fast")


@pytest.fixture
def long(astronaut):
    """A request that runs until it is stopped."""
    return make_request(astronaut[:32, :32], "best")


def make_request(pixels, preset):
    return JobRequest(Upload("a photo.png", encode_image(Image.fromarray(pixels), "PNG")), Request(), preset=preset)


def run(queue, request):
    """Run a job, and return it when it is finished."""
    *_, job = queue.follow(queue.submit(request))
    return job


def follow_until(queue, job, state):
    for _ in queue.follow(job, interval=0.02):
        if job.state == state:
            return
    raise AssertionError(f"{job.state}: {job.error}")


@contextmanager
def running(queue, request):
    """A job that is running, and stopped at the end."""
    job = queue.submit(request)
    follow_until(queue, job, "running")
    yield job
    queue.stop(job)
    follow_until(queue, job, "stopped")


def set_old(*paths):
    for path in paths:
        os.utime(path, (1, 1), follow_symlinks=False)


@pytest.mark.slow
def test_jobs_run_in_order_and_the_queue_is_bounded(queue, long, quick):
    with running(queue, long) as first:
        second, third = (queue.submit(quick) for _ in range(2))
        assert [queue.count_ahead(job) for job in (first, second, third)] == [0, 1, 2]
        assert [job.state for job in (first, second, third)] == ["running", "waiting", "waiting"]
        before = file_names(queue.folder)
        with pytest.raises(QueueFullError, match=r"^2 photos wait already; .+"):
            queue.submit(quick)
        assert file_names(queue.folder) == before
        assert all(stat.S_IMODE(job.folder.stat().st_mode) == 0o700 for job in (first, second, third))
    follow_until(queue, second, "done")
    assert third.state in ("waiting", "running")
    follow_until(queue, third, "done")
    assert not first.folder.exists()


@pytest.mark.slow
def test_stopped_jobs_leave_no_files_and_the_next_runs(queue, long, quick):
    with running(queue, long) as job:
        waiting, last = (queue.submit(quick) for _ in range(2))
        queue.stop(waiting)
        assert (waiting.state, waiting.folder.exists()) == ("stopped", False)
        assert queue.count_ahead(last) == 1
    assert not job.folder.exists()
    follow_until(queue, last, "done")
    queue.stop(last)
    assert last.state == "done"
    assert (last.folder / last.result.file).is_file()


@pytest.mark.slow
def test_job_over_the_time_limit_fails_and_the_next_runs(queue, long, quick, monkeypatch):
    with monkeypatch.context() as short:
        short.setattr(queue, "limits", replace(LIMITS, seconds=0.5))
        job = run(queue, long)
    assert (job.state, job.error) == ("failed", "a photo.png: took more than 0.5 seconds, which is the limit")
    assert not job.folder.exists()
    assert run(queue, quick).state == "done"


@pytest.mark.slow
@pytest.mark.fuzz
def test_killed_worker_fails_its_job_and_the_next_runs(queue, long, quick):
    job = queue.submit(long)
    follow_until(queue, job, "running")
    (process,) = wait_until(multiprocessing.active_children)
    os.kill(process.pid, signal.SIGKILL)
    follow_until(queue, job, "failed")
    assert job.error.startswith("the process that worked on the photo was killed by signal 9")
    assert not job.folder.exists()
    assert run(queue, quick).state == "done"


@pytest.mark.slow
@pytest.mark.fuzz
def test_killed_idle_worker_is_replaced(queue, quick):
    (first,) = wait_until(multiprocessing.active_children)
    assert run(queue, quick).state == "done"
    (process,) = wait_until(lambda: [child for child in multiprocessing.active_children() if child is not first])
    os.kill(process.pid, signal.SIGKILL)
    assert wait([process.sentinel], timeout=60)
    job = run(queue, quick)
    assert job.state == "done", job.error


@pytest.mark.slow
def test_old_files_are_removed_except_those_in_use(long, quick, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    with JobQueue(replace(LIMITS, kept=300.0), tmp_path / "jobs", cleanup_interval=0.05) as queue:
        finished = run(queue, quick)
        page = queue.folder / "page"
        (page / "upload").mkdir(parents=True)
        for name in ("old", "new"):
            (page / "upload" / name).touch()
        (page / "link").symlink_to(tmp_path / "elsewhere")
        with running(queue, long) as job:
            waiting = queue.submit(quick)
            set_old(job.folder, waiting.folder)
            set_old(page / "upload" / "old", page / "link", tmp_path / "elsewhere" / "file", tmp_path / "elsewhere")
            set_old(*finished.folder.iterdir(), finished.folder)
            wait_until(lambda: not finished.folder.exists())
            wait_until(lambda: file_names(page) == ["upload"] and file_names(page / "upload") == ["new"])
            assert job.folder.exists()
            assert waiting.folder.exists()
            assert (tmp_path / "elsewhere" / "file").exists()
        follow_until(queue, waiting, "done")


def test_finished_jobs_are_forgotten(queue, quick):
    finished = weakref.ref(run(queue, quick))
    wait_until(lambda: gc.collect() is not None and finished() is None)


def test_closing_stops_all_jobs_and_leaves_no_files(long, quick, tmp_path):
    (tmp_path / "jobs").mkdir()
    threads = threading.active_count()
    with JobQueue(LIMITS, tmp_path / "jobs") as queue:
        job, waiting = (queue.submit(long) for _ in range(2))
        follow_until(queue, job, "running")
    assert [job.state, waiting.state] == ["stopped", "stopped"]
    assert file_names(tmp_path / "jobs") == []
    assert threading.active_count() == threads
    with pytest.raises(QueueFullError, match="about to end"):
        queue.submit(quick)
