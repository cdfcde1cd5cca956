"""Damaged and hostile files: each is read or refused in one sentence, within bounds of time and memory."""

import json
import logging
import os
import struct
import subprocess
import sys
import time
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from helpers import QUICK
from hostile import (
    LIMITS,
    MORE_SUFFIXES,
    SIGNATURE,
    SUFFIXES,
    make_bombs,
    make_chunk,
    make_damaged,
    make_hostile,
    make_more_seeds,
    make_seeds,
    read_all,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from python_process import COMMAND, run_python

from zssr.errors import ImageError
from zssr.io.formats import writable_suffix
from zssr.io.output_format import OutputFormat
from zssr.io.reading import count_pages
from zssr.io.writing import write_picture

REFUSED = ("cut", "header", "page", "nothing", "zeros", "endless", "many scans", "1024", "one")
REFUSED += ("many b", "many c", "many r")
READ = ("whole", "in truth", "EXIF", "many frames", "zTXt", "iTXt", "iCCP")
EXAMPLES = 84  # of each format
FUZZ_SECONDS = float(os.environ.get("ZSSR_FUZZ_SECONDS", "0"))
NUMBERS = [b"\0", b"\xff", b"\0\0", b"\xff\xff", b"\x7f\xff", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\1"]


def write_some(picture, rows, suffix):
    """Write some of the pixels that were read, with their metadata."""
    rows = rows[:16, :16]
    metadata = picture.metadata.rescale((2.0, 2.0), rows.shape[:2])
    target = OutputFormat.choose(suffix, picture.pixel_format, rows.shape[:2], allow_loss=True)
    file = BytesIO()
    write_picture(file, target, [rows], rows.shape[:2], metadata)
    return file.getvalue()


MEASURE = """
import json, re, sys, time
from contextlib import suppress
from pathlib import Path
import zssr.io.tiff.reader
from hostile import LIMITS, ImageError, error_of, open_picture

def memory(what):
    return int(re.search(what + r":\\s+([0-9]+)", Path("/proc/self/status").read_text())[1]) / 1000

for path in map(Path, sys.argv[1:]):
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory becomes what is in use now
    before, start = memory("VmRSS"), time.process_time()
    with suppress(ImageError):
        open_picture(path, LIMITS).close()
    opened = time.process_time()
    sentence = error_of(path)
    print(json.dumps([path.name, sentence, opened - start, time.process_time() - opened, memory("VmHWM") - before]))
"""


def measure_reading(paths):
    """Read files in another process; return names, errors, processor seconds of opening and in all, MB of memory."""
    command = [sys.executable, "-c", MEASURE, *map(str, paths)]
    others = {"PYTHONPATH": os.pathsep.join(sys.path), "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed is free
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=os.environ | others)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{paths[min(len(rows), len(paths) - 1)]}: {done.stderr}"
    assert done.stderr == ""
    return rows


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in /proc")
def test_corpus_is_read_or_refused_within_bounds_of_time_and_memory(astronaut, tmp_path):
    """Each file takes no more than 5 s and 300 MB more memory; the opening of bombs no more than 0.3 s.

    A whole picture of one color has a small file, too, and may take the memory of its pixels, which `max_pixels`
    limits. Damaged files must take no more than that, and none may take long.
    """
    large, small = make_seeds(np.tile(astronaut, (2, 2, 1))), make_seeds(astronaut)
    files = {f"whole {k}{SUFFIXES[kind]}": content for kind in small for k, content in enumerate(small[kind])}
    files |= make_damaged(large) | make_hostile(astronaut)
    newer = make_more_seeds(np.tile(astronaut, (2, 2, 1)))
    files |= {
        f"whole {kind} {k}{MORE_SUFFIXES[kind]}": content for kind in newer for k, content in enumerate(newer[kind])
    }
    files |= {f"newer, {name}": content for name, content in make_damaged(newer).items()}  # some parts can be read
    promised = {f"bomb{SUFFIXES[kind]}": content for kind, content in make_bombs().items()}
    assert all(len(content) < 1000 for content in promised.values())
    paths = [tmp_path / name for name in files | promised]
    for path, content in zip(paths, (files | promised).values(), strict=True):
        path.write_bytes(content)
    for name, sentence, opening, took, grown in measure_reading(paths):
        assert took < 5, name
        assert grown < 300, name
        assert opening < 0.3 or "100 MB" not in name, name
        if name in promised:
            assert opening < 0.3, name
            assert sentence == "has 60000x60000 pixels, more than max_pixels = 100000000"
        elif name.startswith(REFUSED):
            assert sentence, name
        elif name.startswith(READ):
            assert sentence is None, name


@pytest.mark.fuzz
@pytest.mark.slow
def test_command_prints_one_line_for_each_damaged_file(astronaut, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    damaged = make_damaged(make_seeds(astronaut)).items()
    chosen = [item for item in damaged if item[0].startswith(("cut at 0.5", "page", "nothing"))]
    for k, (name, content) in enumerate(chosen):
        (folder / f"{k} {name}").write_bytes(content)
    Image.fromarray(astronaut).save(folder / "whole.png")
    done = run_python(COMMAND, folder, "-o", tmp_path / "out/", "-q", *QUICK)
    assert done.returncode == 1, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 13
    assert all(line.startswith(f"zssr: {folder}/") for line in lines)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole_x2.png"]


def sealed(content):
    """A PNG file with the checksums that its chunks should have: damage is seen by what comes after them, too."""
    parts, place = [SIGNATURE], len(SIGNATURE)
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        parts.append(make_chunk(content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    return b"".join(parts)


@st.composite
def mutated(draw, kind, whole):
    content = draw(st.sampled_from(whole))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        count = draw(st.integers(1, 64))
        before, here, after = content[:place], content[place : place + count], content[place + count :]
        how = draw(st.sampled_from(["flip", "number", "cut", "end", "insert", "double", "swap"]))
        if how == "flip" and here:
            content = before + bytes([here[0] ^ 1 << draw(st.integers(0, 7))]) + here[1:] + after
        elif how == "number":
            number = draw(st.sampled_from(NUMBERS))
            content = before + number + (here + after)[len(number) :]
        elif how == "cut":
            content = before + after
        elif how == "end":
            content = before
        elif how == "insert":
            content = before + draw(st.binary(min_size=1, max_size=12)) + here + after
        elif how == "double":
            content = before + here + here + after
        elif how == "swap":
            content = before + after[:count] + here + after[count:]
    return sealed(content) if kind == "PNG" and draw(st.booleans()) else content


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", [*SUFFIXES, *MORE_SUFFIXES])
def test_mutated_files_are_read_or_refused(kind, astronaut, tmp_path):
    """Mutants of small files give a picture as promised, which can be written again, or an `ImageError`.

    `ZSSR_FUZZ_SECONDS=3600 python -m pytest tests/test_corpus.py -k mutated -o faulthandler_timeout=60` does it for an
    hour, with other mutants each time. What a crash or a hang came of is the file `mutant...` in pytest's folder.
    """
    path, counts = tmp_path / ("mutant" + (SUFFIXES | MORE_SUFFIXES)[kind]), Counter()
    seeds = (make_seeds if kind in SUFFIXES else make_more_seeds)(astronaut[:40, :48])[kind]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=not FUZZ_SECONDS,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(kind, seeds))
    def fuzz(content):
        counts["all"] += 1
        path.write_bytes(content)
        start = time.process_time()
        try:
            count_pages(path, LIMITS)
            picture, rows = read_all(path)
        except ImageError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
        else:
            counts["read"] += 1
            assert write_some(picture, rows, writable_suffix(path.suffix))
        assert time.process_time() - start < 5

    end = time.monotonic() + FUZZ_SECONDS / len(SUFFIXES | MORE_SUFFIXES)
    fuzz()
    while time.monotonic() < end:
        fuzz()
    logging.info("%s: %d mutants, %d of them read", kind, counts["all"], counts["read"])
    assert 0 < counts["read"] < counts["all"]
