"""Dask clusters of this machine: two workers against one, overhead, 64 simulated workers, slides, kills, and costs."""

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.large import make_photo, read_peak
from zssr.api import Upscaler
from zssr.cluster import connect
from zssr.config import Config
from zssr.executors import run_calls

WHAT = ("photos", "busy", "slide", "kills", "cost")

_PHOTOS, _PHOTO_SIDE = 24, 256
_SIMULATED, _TASKS_EACH = 64, 20
_NOTHING = 1000  # calls that do nothing, to see what a call costs
_KILLS = 5
_TILES, _SLIDE_PIXELS = 10**6, 10**11
_WORKERS = (1, 10, 100, 1000)


def run(config: Config, what: str, side: int, seconds: float) -> None:
    """Print one of the tables."""
    with tempfile.TemporaryDirectory() as folder:
        {
            "photos": lambda: compare_workers(Path(folder), config),
            "busy": lambda: simulate_workers(seconds),
            "slide": lambda: measure_slide(Path(folder), config, side),
            "kills": lambda: kill_at_random(Path(folder), config, side),
            "cost": lambda: model_costs(Path(folder), config),
        }[what]()


def compare_workers(folder: Path, config: Config) -> None:
    """Upscale 24 photos by one worker and by two, each of one thread."""
    files = _write_photos(folder)
    print("| workers | seconds | seconds of the scheduler for each photo |\n|---|---|---|", flush=True)
    walls = []
    for workers in (1, 2):
        with connect(workers=workers) as cluster:
            _run_photos(cluster.executor, config, files[:workers] * 2)  # what is loaded once
            wall, inside = _run_photos(cluster.executor, config, files)
        walls.append(wall)
        overhead = f"{(wall - inside) / len(files):.4f}" if workers == 1 else ""
        print(f"| {workers} | {wall:.2f} | {overhead} |", flush=True)
    print(f"\nTwo workers are {walls[0] / walls[1]:.2f} times as fast as one (two cores: {_describe_cores()}).")


def simulate_workers(seconds: float) -> None:
    """Let 64 workers, threads of this process, sleep as long as a photo takes."""
    count = _SIMULATED * _TASKS_EACH
    distributed: Any = import_module("distributed")
    options: dict[str, Any] = {"processes": False, "dashboard_address": ":0", "memory_limit": None, "silence_logs": 50}
    with ExitStack() as stack:
        local = stack.enter_context(distributed.LocalCluster(n_workers=_SIMULATED, threads_per_worker=1, **options))
        executor = stack.enter_context(distributed.Client(local)).get_executor(pure=False)
        list(run_calls(partial(executor.submit, time.sleep), [0.01] * _SIMULATED))
        start = time.perf_counter()
        list(run_calls(partial(executor.submit, time.sleep), [seconds] * count))
        wall = time.perf_counter() - start
    busy = count * seconds / (_SIMULATED * wall)
    print(f"{_SIMULATED} workers, {count} tasks that sleep {seconds:g} s: {wall:.1f} s, {100 * busy:.1f} % busy")


def measure_slide(folder: Path, config: Config, side: int) -> None:
    """Upscale a gray slide by one worker and by two."""
    source = _write_slide(folder / "slide.ome.zarr", side)
    print(f"A gray Zarr array of {side} x {side} pixels, x2.\n")
    print("| workers | learning s | blocks s | GB of the largest worker |\n|---|---|---|---|", flush=True)
    spent = []
    for workers in (1, 2):
        output = folder / f"out{workers}.ome.zarr"
        with connect(workers=workers) as cluster:
            result = Upscaler(config).run_slide(source, output, 2, executor=cluster.executor)
            peak = max(getattr(cluster.executor, "_client").run(read_peak).values())  # noqa: B009
        spent.append(result.seconds["apply"])
        print(f"| {workers} | {result.seconds['train']:.1f} | {spent[-1]:.1f} | {peak:.2f} |", flush=True)
    same = (
        "are the same" if _hash_level(folder / "out1.ome.zarr") == _hash_level(folder / "out2.ome.zarr") else "DIFFER"
    )
    print(f"\nTwo workers take {spent[1] / (spent[0] / 2):.2f} times half of the time of one. The pixels {same}.")


def kill_at_random(folder: Path, config: Config, side: int) -> None:
    """Kill workers five times while a slide is upscaled, then the client, start again, and compare."""
    source, generator = _write_slide(folder / "slide.ome.zarr", side), random.Random(0)  # noqa: S311
    plain, killed = folder / "plain.ome.zarr", folder / "killed.ome.zarr"
    _start_command(source, plain, config).wait()
    process = _start_command(source, killed, config)
    blocks, deaths = len(_stamp_blocks(plain)), 0
    while process.poll() is None and len(_stamp_blocks(killed)) < blocks // 2:
        time.sleep(generator.uniform(0.5, 2))
        workers = _find_workers(process.pid)
        if len(_stamp_blocks(killed)) and deaths < _KILLS and workers:
            with suppress(_psutil().NoSuchProcess):
                generator.choice(workers).kill()
                deaths += 1
    survivors = _find_workers(process.pid)
    process.kill()
    process.wait()
    for worker in survivors:
        with suppress(_psutil().NoSuchProcess):
            worker.wait(30)
    before = _stamp_blocks(killed)
    again = _start_command(source, killed, config, "--skip-existing")
    code, after = again.wait(), _stamp_blocks(killed)
    redone = sum(after[block] != stamp for block, stamp in before.items())
    same = _hash_level(plain) == _hash_level(killed)
    print(f"{deaths} workers and the client were killed after {len(before)} of {blocks} blocks; exit code {code};")
    print(f"{redone} blocks were done again; the result is {'the same' if same else 'ANOTHER'} to the bit")


def model_costs(folder: Path, config: Config) -> None:
    """Measure a photo, a block and a call, and print the time and traffic of large jobs on many workers."""
    files = _write_photos(folder)[:6]
    source = _write_slide(folder / "slide.ome.zarr", 4096)
    with connect(workers=1) as cluster:
        _run_photos(cluster.executor, config, files[:1])
        _, photos = _run_photos(cluster.executor, config, files)
        start = time.perf_counter()
        list(run_calls(partial(cluster.executor.submit, float), range(_NOTHING)))
        call = (time.perf_counter() - start) / _NOTHING
        result = Upscaler(config).run_slide(source, folder / "out.ome.zarr", 2, executor=cluster.executor)
    photo, block, learning = photos / len(files), result.seconds["apply"] / result.blocks, result.seconds["train"]
    size = [sum(path.stat().st_size for path in (one[k] for one in files)) / len(files) for k in range(2)]
    pixels = (result.size[0] * result.size[1]) / result.blocks
    print(f"Measured: {photo:.2f} s for a photo of {_PHOTO_SIDE} x {_PHOTO_SIDE} pixels, {block:.2f} s for a block of")
    print(f"{pixels / 1e6:.1f} megapixels of the output, {learning:.1f} s to learn, {1000 * call:.1f} ms for a call.\n")
    blocks = 4 * _SLIDE_PIXELS / pixels
    moved = {"tiles": _TILES * sum(size) / 1e9, "slide": (1.2 * _SLIDE_PIXELS + 4 * _SLIDE_PIXELS) / 1e9}
    print("| workers | 10^6 tiles | 100 gigapixels, gray, x2 |\n|---|---|---|")
    for workers in _WORKERS:
        tiles = max(_TILES * photo / workers, _TILES * call)
        slide = learning + max(blocks * block / workers, blocks * call)
        print(f"| {workers} | {_format_hours(tiles)} | {_format_hours(slide)} |")
    print(f"| GB read and written | {moved['tiles']:.0f} | {moved['slide']:.0f} before compression |")


def _write_photos(folder: Path) -> list[tuple[Path, Path]]:
    """Write photos that differ; return the pairs of inputs and outputs."""
    whole, generator, pairs = make_photo(1024), np.random.default_rng(0), []
    for number in range(_PHOTOS):
        top, left = generator.integers(0, 1024 - _PHOTO_SIDE, 2)
        path = folder / f"photo{number}.png"
        Image.fromarray(whole[top : top + _PHOTO_SIDE, left : left + _PHOTO_SIDE]).save(path)
        pairs.append((path, folder / f"large{number}.png"))
    return pairs


def _run_photos(executor: Executor, config: Config, files: list[tuple[Path, Path]]) -> tuple[float, float]:
    """Return the seconds that the files take, and the sum of those that workers spend on them."""
    start = time.perf_counter()
    submit: Callable[[tuple[Path, Path]], Any] = lambda pair: executor.submit(_time_photo, config, *pair)  # noqa: E731
    inside = [future.result() for _, future in run_calls(submit, files)]
    return time.perf_counter() - start, sum(inside)


_UPSCALERS: dict[Config, Upscaler] = {}


def _time_photo(config: Config, source: Path, output: Path) -> float:
    """Upscale a file in a worker; return the seconds."""
    start = time.perf_counter()
    _UPSCALERS.setdefault(config, Upscaler(config)).run_file(source, output, 2)
    return time.perf_counter() - start


def _write_slide(path: Path, side: int) -> Path:
    """Write a gray Zarr array, with some noise so that no pattern repeats."""
    zarr: Any = import_module("zarr")
    array = zarr.create_array(str(path), shape=(side, side), chunks=(1024, 1024), dtype=np.uint8)
    tile, generator = make_photo(1024).mean(2), np.random.default_rng(0)
    for top in range(0, side, 1024):
        band = np.tile(tile, (1, -(-side // 1024)))[: side - top, :side]
        array[top : top + 1024] = (band + generator.normal(0, 1, band.shape)).round().clip(0, 255).astype(np.uint8)
    return path


def _start_command(source: Path, output: Path, config: Config, *options: str) -> "subprocess.Popen[bytes]":
    settings = [part for key, value in asdict(config).items() for part in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "-m", "zssr", str(source), "-o", str(output), "--workers", "2", "-q"]
    return subprocess.Popen([*command, *settings, *options])  # noqa: S603


def _psutil() -> Any:  # noqa: ANN401
    return import_module("psutil")


def _find_workers(process: int) -> list[Any]:
    """Return the worker processes that a command has started."""
    with suppress(_psutil().NoSuchProcess):
        children = _psutil().Process(process).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    return []


def _stamp_blocks(store: Path) -> dict[Path, int]:
    """Return when each block that is there was written."""
    return {path: path.stat().st_mtime_ns for path in store.glob("0/c/*/*") if path.name.isdigit()}


def _hash_level(store: Path) -> str:
    known = hashlib.sha256()
    for path in sorted(_stamp_blocks(store)):
        known.update(path.read_bytes())
    return known.hexdigest()


def _describe_cores() -> str:
    physical, logical = _psutil().cpu_count(logical=False), _psutil().cpu_count()
    return f"{physical} physical, {logical} logical, load average {os.getloadavg()[0]:.1f}"


def _format_hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours / 24:.1f} days" if hours > 48 else f"{hours:.1f} h" if hours > 1 else f"{60 * hours:.0f} min"
