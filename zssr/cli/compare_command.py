"""The command `python -m zssr compare`: methods side by side on a person's own photo."""

import argparse
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.cli.arguments import parse_scale, parse_settings
from zssr.cli.comparison_page import draw_sheet, render_page
from zssr.cli.plan import Task
from zssr.cli.progress_bars import ProgressBars
from zssr.cli.report import Report
from zssr.cli.run import Parallelism, run_tasks
from zssr.cli.task import TaskOptions
from zssr.config import PRESETS, Config
from zssr.cores import count_cores
from zssr.errors import ConfigError, ImageError, ZssrError
from zssr.io.atomic import atomic_write
from zssr.progress import ProgressEvent
from zssr.request import Request

if TYPE_CHECKING:
    from zssr.quality import Quality, View

SIDE = 192
"""Side in pixels of the part that the contact sheet shows."""


_LEAST = 11  # pixels of a side that SSIM needs


@dataclass
class Row:
    """What one method made of one photo: the report, and how close it comes to the truth, once that is measured."""

    method: str
    report: Report
    quality: "Quality | None" = None

    def to_cells(self) -> list[str]:
        """Return method, seconds, weights, PSNR and SSIM as text; a failure has its sentence."""
        if self.report.state == "failed":
            return [self.method, self.report.error or ""]
        weights = self.report.facts.get("weights")
        measured = ["-", "-"] if self.quality is None else [f"{self.quality.psnr:.2f}", f"{self.quality.ssim:.4f}"]
        return [self.method, f"{self.report.seconds:.1f}", f"{weights or 0}", *measured]


@dataclass
class Comparison:
    """The rows of one photo, and by what they were measured."""

    photo: Path
    measured_by: str
    rows: list[Row] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether any method failed."""
        return any(row.report.state == "failed" for row in self.rows)

    def to_text(self) -> str:
        """Return the table."""
        head = ["method", "seconds", "weights", "PSNR", "SSIM"]
        lines = [f"{self.photo}: {self.measured_by}", _format_row(head)]
        return "\n".join([*lines, *(_format_row(row.to_cells()) for row in self.rows)])


def run_compare_command(arguments: Sequence[str], check: Callable[[], None]) -> Iterator[Comparison]:
    """Parse, run all methods on each photo, write results, contact sheet and page; yield the comparisons.

    `check` is called at times, and may stop the run by raising.
    """
    options = _build_parser().parse_args(arguments)
    methods = _choose_methods(options.methods)
    config = Config.preset(options.preset).replace(**parse_settings(options.set))
    if options.examples:
        config = config.replace(examples=options.examples)
    request = Request(options.scale, None, options.kernel, options.device, options.seed)
    if options.truth and len(options.photos) > 1:
        raise ConfigError("--truth: is for one PHOTO")
    folder = Path(options.output)
    for photo in options.photos:
        if not photo.is_file():
            raise ConfigError(f"{photo}: there is no such file")
        _check_absent(folder, photo, overwrite=options.overwrite)
    parallelism = Parallelism(options.jobs or min(count_cores(), len(methods)), options.threads)
    runner = MethodRunner(methods, TaskOptions(config, request, overwrite=options.overwrite), parallelism, check)
    for photo in options.photos:
        yield _compare(photo, options.truth, folder, runner, hidden=options.quiet)


@dataclass(frozen=True)
class MethodRunner:
    """Runs methods on a photo, with progress."""

    methods: Sequence[str]
    options: TaskOptions
    parallelism: Parallelism
    check: Callable[[], None]

    def run(self, photo: Path, folder: Path, *, hidden: bool) -> dict[str, Report]:
        """Write what each method makes of a photo into a folder; return the reports by method, in their order."""
        tasks = [_make_task(photo, method, folder) for method in self.methods]
        bars = ProgressBars(len(tasks), hidden=hidden)

        def show(slot: int, name: str, event: ProgressEvent) -> None:
            self.check()
            bars.show(slot, name, event)

        reports: dict[str, Report] = {}
        with bars, closing(run_tasks(tasks, self.options, self.parallelism, show)) as done:
            for report in done:
                bars.finish(report.task)
                reports[report.task.method or ""] = report
                self.check()
        return {method: reports[method] for method in self.methods}


def _compare(photo: Path, truth: Path | None, folder: Path, runner: MethodRunner, *, hidden: bool) -> Comparison:
    """Run all methods on a photo, measure them, and write the sheet and the page."""
    from zssr.io.limits import Limits
    from zssr.quality import find_detail, read_view

    config = runner.options.config
    limits = Limits(config.max_MB, config.max_pixels)
    expected = _check_truth(photo, truth, runner.options) if truth else None
    folder.mkdir(parents=True, exist_ok=True)
    reports = runner.run(photo, folder, hidden=hidden)
    rows = [Row(method, report) for method, report in reports.items()]
    comparison = Comparison(photo, "against the truth" if truth else "its son, upscaled, against the photo", rows)
    views = {
        row.method: read_view(row.report.task.output, limits)
        for row in rows
        if row.report.state == "done" and row.report.task.output
    }
    if expected is not None:
        _measure(rows, views, expected, runner.options.request)
    else:
        _measure_by_son(photo, rows, runner, limits, hidden=hidden)
    if views:
        box = find_detail(next(iter(views.values())), SIDE)
        crops = {name: view[box[1] : box[3], box[0] : box[2]] for name, view in views.items()}
        cells = {row.method: row.to_cells() for row in rows}
        with atomic_write(folder / f"{photo.stem}_methods.png") as file:
            draw_sheet(crops, cells).save(file, "PNG")
        with atomic_write(folder / f"{photo.stem}_methods.html") as file:
            file.write(render_page(photo.name, comparison.measured_by, views, list(cells.values())).encode())
    return comparison


def _check_truth(photo: Path, truth: Path, options: TaskOptions) -> "View":
    """Read the truth; raises `ConfigError` if it does not have the size of the results."""
    from zssr.io.limits import Limits
    from zssr.quality import read_view

    limits = Limits(options.config.max_MB, options.config.max_pixels)
    try:
        view, small = (read_view(path, limits) for path in (truth, photo))
    except ImageError as error:
        raise ConfigError(str(error)) from error
    _, size = options.request.output_size((small.shape[0], small.shape[1]))
    if view.shape[:2] != size:
        has = f"{view.shape[1]}x{view.shape[0]} pixels, but the result will have {size[1]}x{size[0]}"
        raise ConfigError(f"--truth: {truth} has {has}")
    return view


def _measure(rows: Sequence[Row], views: "dict[str, View]", truth: "View", request: Request) -> None:
    from zssr.quality import measure_quality

    border = round(max(request.output_size((1000, 1000))[0]))
    if min(truth.shape[:2]) < 2 * border + _LEAST:
        return
    for row in rows:
        if row.method in views:
            row.quality = measure_quality(views[row.method], truth, border)


def _measure_by_son(photo: Path, rows: Sequence[Row], runner: MethodRunner, limits: object, *, hidden: bool) -> None:
    """Measure methods on the photo itself: upscale its son, and compare that with the photo."""
    from zssr.api import Upscaler
    from zssr.io.limits import Limits
    from zssr.quality import read_view

    options = runner.options
    done = [row for row in rows if row.report.state == "done"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        son = folder / f"son{_suffix(photo)}"
        limits = Limits(options.config.max_MB, options.config.max_pixels)
        try:
            height, width = Upscaler(options.config.replace(method="zssr")).write_son(photo, son, options.request)
        except ZssrError:
            return  # too small to have one
        runner = replace(runner, methods=[row.method for row in done])
        reports = runner.run(son, folder, hidden=hidden) if done else {}
        views = {
            method: read_view(report.task.output, limits)
            for method, report in reports.items()
            if report.state == "done" and report.task.output
        }
        truth = read_view(photo, limits)[:height, :width]
        _measure(done, views, truth, options.request)


def _choose_methods(text: str) -> list[str]:
    """Split names at commas that do not stand between options; "all" are all."""
    from zssr.api import find_method, list_methods

    known = list_methods()
    names = list(known) if text == "all" else re.split(r",(?![^,:]*=)", text)
    for name in names:
        if name.partition(":")[0] not in known:
            find_method(name)  # which raises
    if len(set(names)) < len(names):
        raise ConfigError(f'--methods: "{text}" names a method twice')
    return names


def _check_absent(folder: Path, photo: Path, *, overwrite: bool) -> None:
    page = folder / f"{photo.stem}_methods.html"
    if page.exists() and not overwrite:
        raise ConfigError(f"{page}: exists already; --overwrite replaces it, or -o names another folder")


def _suffix(photo: Path) -> str:
    return ".tif" if photo.suffix.lower() in (".tif", ".tiff") else ".png"


def _make_task(photo: Path, method: str, folder: Path) -> Task:
    name = re.sub(r"[^a-z0-9]+", "-", method)
    return Task(f"{photo} ({method})", photo, folder / f"{photo.stem}_{name}{_suffix(photo)}", method=method)


def _format_row(cells: Sequence[str]) -> str:
    if len(cells) == 2:
        return f"{cells[0]:<24}failed: {cells[1]}"
    return f"{cells[0]:<24}" + "".join(f"{cell:>10}" for cell in cells[1:])


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zssr compare",
        description="Compare methods on a photo: a table, each result, a contact sheet and a page with a slider.",
    )
    add = parser.add_argument
    add("photos", nargs="+", type=Path, metavar="PHOTO")
    add("-s", "--scale", type=parse_scale, default=2.0, metavar="SCALE", help="2, 1.5, ...; default 2")
    add("--methods", default="all", metavar="A,B,C", help="names, with their options after a colon; default: all")
    add("--truth", type=Path, metavar="FILE", help="the picture that PHOTO was made of, to measure results by")
    add("-o", "--output", default="comparison", metavar="DIR", help="folder to write to; default: comparison")
    add("--examples", metavar="DIR", help="photos that methods by examples learn from, too")
    add("--preset", default="default", choices=PRESETS, help="of the settings")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; repeatable")
    add("--kernel", default="auto", metavar="KERNEL", help="auto (default), a name such as bicubic or box, or a file")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default: the best there is")
    add("--seed", type=int, default=0, metavar="N")
    add("--jobs", type=int, metavar="N", help="methods at a time; default: as many as there are cores")
    add("--threads", type=int, metavar="N", help="threads for each; default: the cores divided by the jobs")
    add("--overwrite", action="store_true", help="replace files that exist")
    add("-q", "--quiet", action="store_true", help="no progress bar")
    return parser
