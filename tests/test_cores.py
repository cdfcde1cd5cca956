"""Cores by affinity and by the quota of control groups."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from zssr import cores
from zssr.cores import count_cores
from zssr.runtime import run_single_threaded, single_threaded

CPU = torch.device("cpu")


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Yield a function that makes a process on 64 cores whose groups are `lines`, with quota files by path."""

    def make(lines, **files):
        (tmp_path / "groups").write_text(lines)
        for name, text in files.items():
            path = tmp_path / "mounted" / name.replace("__", "/").replace("_max", ".max").replace("cfs", "cpu.cfs")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setattr(cores, "_GROUPS", tmp_path / "groups")
        monkeypatch.setattr(cores, "_MOUNTED", tmp_path / "mounted")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
        return count_cores()

    return make


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/\n", {"cpu_max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu_max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu_max": "390000 100000\n"}, 3),  # a fourth thread would have the whole group stopped
        ("0::/\n", {"cpu_max": "50000 100000\n"}, 1),
        ("0::/a/b\n", {"a__cpu_max": "300000 100000\n", "a__b__cpu_max": "max 100000\n"}, 3),
        ("0::/a/b\n", {"a__cpu_max": "300000 100000\n", "a__b__cpu_max": "500000 100000\n"}, 3),
        ("0::/elsewhere\n", {"cpu_max": "400000 100000\n"}, 4),  # a container's own group is the root
        ("4:cpu,cpuacct:/\n", {"cpu,cpuacct__cfs_quota_us": "500000\n", "cpu,cpuacct__cfs_period_us": "100000\n"}, 5),
        ("4:cpu:/x\n", {"cpu__x__cfs_quota_us": "-1\n", "cpu__x__cfs_period_us": "100000\n"}, 64),
        ("4:cpuset:/\n", {"cpuset__cfs_quota_us": "100000\n", "cpuset__cfs_period_us": "100000\n"}, 64),
        ("0::/\n", {"cpu_max": "\n"}, 64),
        ("nonsense\n", {}, 64),
    ],
)
def test_cores_are_those_of_the_quota_rounded_down(lines, files, expected, groups):
    assert groups(lines, **files) == expected


def test_cores_are_those_of_the_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
    assert count_cores() <= 2


def test_torch_has_one_thread_while_a_run_goes_on(monkeypatch):
    """On the calling thread and on those of calls, forward and backward; afterwards all threads have what they had."""
    monkeypatch.setattr("zssr.runtime.count_cores", lambda: 3)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with single_threaded():
            seen = [torch.get_num_threads(), *run_single_threaded([_count_threads] * 6, CPU)]
            with single_threaded():
                seen += run_single_threaded([_count_threads] * 6, CPU)
            seen += [torch.get_num_threads(), _count_threads()]
        assert set(seen) == {1}
        with ThreadPoolExecutor(1) as other:
            assert torch.get_num_threads() == other.submit(torch.get_num_threads).result() == 3
        torch.set_num_threads(2)
        with single_threaded():
            pass
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_calls_run_side_by_side(monkeypatch):
    """As many as there are cores: each waits for the others."""
    monkeypatch.setattr("zssr.runtime.count_cores", lambda: 3)
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    try:
        barrier = threading.Barrier(3, timeout=20)
        with single_threaded():
            assert len(list(run_single_threaded([barrier.wait] * 9, CPU))) == 9
    finally:
        torch.set_num_threads(before)


def _count_threads():
    """Return torch's number of threads in a backward pass."""
    seen = []
    values = torch.ones(8, requires_grad=True)
    values.register_hook(lambda _: seen.append(torch.get_num_threads()))
    values.sum().backward()
    return max(*seen, torch.get_num_threads())
