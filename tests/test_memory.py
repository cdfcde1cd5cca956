"""Memory and the garbage collector: what is given back, and what is left alone."""

import ctypes
import gc
import sys
from pathlib import Path

import pytest

from zssr.cli.imports import importing_torch
from zssr.runtime import release_memory

BLOCK = 50_000  # bytes; small enough that malloc takes it from its heap


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_free_memory_between_used_blocks_is_given_back():
    blocks = [bytearray(BLOCK) for _ in range(4000)]
    kept = blocks[::100]
    blocks.clear()
    before = resident()
    release_memory()
    assert before - resident() > 2000 * BLOCK
    assert len(kept) == 40


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    release_memory()


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("without_torch")
def test_garbage_collector_waits_for_imports():
    with importing_torch():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000


@pytest.mark.usefixtures("without_torch")
def test_garbage_collector_goes_on_after_an_import_that_fails():
    with pytest.raises(ImportError), importing_torch():
        raise ImportError
    assert gc.isenabled()


@pytest.mark.usefixtures("without_torch")
def test_garbage_collector_stays_off_where_it_was_off():
    gc.disable()
    with importing_torch():
        pass
    assert not gc.isenabled()


def test_garbage_collector_is_left_alone_once_torch_is_there():
    assert "torch" in sys.modules
    with importing_torch():
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0
