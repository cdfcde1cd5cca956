"""The web page: seconds until it can be used, and seconds of a photo on it and by the command."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from PIL import Image

from benchmarks.protocol import ASTRONAUT

_SIDE, _TIMES = 256, 3
_TIMEOUT = 60_000  # milliseconds


def run(browser: str) -> None:
    """Open the page in a browser (its path) anew each time, and upscale a photo by 2 in turns by page and command."""
    from playwright.sync_api import sync_playwright

    startups: list[float] = []
    photos: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        photo = Path(folder) / "photo.png"
        with Image.open(ASTRONAUT) as whole:
            whole.crop((0, 0, _SIDE, _SIDE)).save(photo)
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for _ in range(_TIMES + 1):  # the first one warms up
            start = time.perf_counter()
            with _serve() as address:
                page = chromium.new_page()
                page.goto(address, timeout=_TIMEOUT)
                page.get_by_role("button", name="Enlarge").wait_for(timeout=_TIMEOUT)
                startups.append(time.perf_counter() - start)
                page.close()
                photos.append((_time_page(address, photo), _time_command(photo)))
    print("| usable after s | photo on the page s | by the command s | ratio |\n|---|---|---|---|")
    pages, commands = (median(seconds[1:]) for seconds in zip(*photos, strict=True))
    print(f"| {median(startups[1:]):.1f} | {pages:.1f} | {commands:.1f} | {pages / commands:.2f} |")


@contextmanager
def _serve() -> Iterator[str]:
    """Serve the page, and yield its address."""
    command = [sys.executable, "-m", "zssr", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            address = re.search(r"http\S+", server.stderr.readline() if server.stderr else "")
            yield address.group() if address else ""
        finally:
            server.terminate()


def _time_page(address: str, photo: Path) -> float:
    from gradio_client import Client, handle_file  # type: ignore[import-untyped]

    client = Client(address, verbose=False)
    start = time.perf_counter()
    rest = {"width": None, "height": None, "kernel_file": None}
    client.predict(handle_file(photo), **rest, api_name="/enlarge")
    return time.perf_counter() - start


def _time_command(photo: Path) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "zssr", str(photo), "--overwrite", "--quiet"]
    subprocess.run(command, check=True)  # noqa: S603
    return time.perf_counter() - start
