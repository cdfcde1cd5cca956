"""The command: parse, call the library, print what came of it."""

import argparse
import atexit
import base64
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, NoReturn, TextIO

from zssr.cli.arguments import build_config, build_parser, build_request
from zssr.cli.plan import Task, plan_tasks
from zssr.cli.progress_bars import ProgressBars
from zssr.cli.report import Report, summarize
from zssr.cli.run import build_parallelism, run_tasks
from zssr.cli.signals import Signals
from zssr.cli.streams import dropping_streams, find_stream_error, is_closed
from zssr.cli.task import SlideOptions, TaskOptions
from zssr.cli.video_command import read_video_options
from zssr.config import Config
from zssr.errors import ConfigError, ZssrError
from zssr.progress import ProgressEvent
from zssr.request import Request

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def run() -> NoReturn:
    """Run the command and end the process as the interpreter does, but at once.

    To free the million objects of torch one by one would take .4 s.
    """
    code = main()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0 all done, 1 some picture failed, 2 wrong usage, 130 interrupted (143 by SIGTERM).
    """
    with dropping_streams():
        try:
            return _check_streams(_run_command(sys.argv[1:] if arguments is None else list(arguments)))
        except SystemExit as left:  # of argparse
            raise SystemExit(_check_streams(left.code)) from None


def print_error(message: object) -> None:
    """Print one sentence on stderr."""
    print(f"zssr: {message}", file=sys.stderr)


def _check_streams(code: "int | str | None") -> int:
    """Return the exit code, which is a failure if something printed was lost; that is said, too."""
    code = code if isinstance(code, int) else DONE
    for name in ("stdout", "stderr"):
        if error := find_stream_error(getattr(sys, name)):
            print_error(f"{name}: cannot be written ({error})")
            code = code or FAILED
    return code


def _run_command(arguments: Sequence[str]) -> int:
    command = {"kernel": _kernel, "serve": _serve, "methods": _methods, "compare": _compare, "burst": _burst}.get(
        arguments[0] if arguments else "", _upscale_inputs
    )
    arguments = arguments if command is _upscale_inputs else arguments[1:]
    with Signals() as signals:
        try:
            return command(arguments, signals)
        except ConfigError as error:
            print_error(error)
            return WRONG_USAGE
        except BaseException:
            if signals.code is None and not isinstance(sys.exception(), KeyboardInterrupt):
                raise
            print_error("interrupted")  # whatever a library has made of it
            return signals.code or INTERRUPTED


def _kernel(arguments: Sequence[str], _: Signals) -> int:
    from zssr.cli.kernel_command import run_kernel_command

    try:
        print(run_kernel_command(arguments))
    except ConfigError:
        raise
    except (ZssrError, OSError) as error:
        print_error(error)
        return FAILED
    return DONE


def _serve(arguments: Sequence[str], _: Signals) -> int:
    from zssr.cli.serve_command import run_serve_command

    run_serve_command(arguments, _print_address)
    return DONE


def _methods(arguments: Sequence[str], _: Signals) -> int:
    from zssr.cli.methods_command import run_methods_command

    print(run_methods_command(arguments))
    return DONE


def _compare(arguments: Sequence[str], signals: Signals) -> int:
    from zssr.cli.compare_command import run_compare_command

    failed = False
    for comparison in run_compare_command(arguments, signals.check):
        print(comparison.to_text(), flush=True)
        failed = failed or comparison.failed
    return FAILED if failed else DONE


def _burst(arguments: Sequence[str], signals: Signals) -> int:
    from zssr.cli.burst_command import run_burst_command

    try:
        line = run_burst_command(arguments, signals.check)
    except ConfigError:
        raise
    except (ZssrError, OSError) as error:
        print_error(error)
        return FAILED
    if line:
        print(line)
    return DONE


def _print_address(address: str) -> None:
    print(f"zssr: open {address} (Ctrl-C ends)", file=sys.stderr, flush=True)


def _upscale_inputs(arguments: Sequence[str], signals: Signals) -> int:
    options = build_parser().parse_args(arguments)
    verbosity = logging.ERROR if options.quiet else logging.DEBUG if options.verbose else logging.WARNING
    logging.basicConfig(format="zssr: %(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("zssr").setLevel(verbosity)
    config = build_config(options)
    request = build_request(options, config)
    tasks = _plan(options, config, request)
    lines = sys.stderr if _writes_pictures(options, config, tasks) else sys.stdout
    reporter = Reporter(tasks, lines, as_json=options.json, as_base64=config.base64, quiet=options.quiet)
    names = ("strip", "allow_loss", "quality", "overwrite", "dry_run")
    flags: dict[str, Any] = {name: getattr(options, name) for name in names} | {"video": read_video_options(options)}
    flags["slide"] = SlideOptions(options.region, options.block, options.adaptive, options.skip_existing)
    parallelism = build_parallelism(options)
    bars = ProgressBars(sum(task.is_pending for task in tasks), hidden=options.quiet)

    def show(slot: int, name: str, event: ProgressEvent) -> None:
        signals.check()
        bars.show(slot, name, event)

    try:
        with bars, closing(run_tasks(tasks, TaskOptions(config, request, **flags), parallelism, show)) as reports:
            for report in reports:
                bars.finish(report.task)
                with bars.paused():
                    reporter.print_report(report)
                signals.check()
    finally:
        if sys.exception() is None or signals.code is not None:
            reporter.print_summary()
    return FAILED if reporter.failed else DONE


def _plan(options: argparse.Namespace, config: Config, request: Request) -> list[Task]:
    inputs = options.inputs or ([config.image] if config.image else [])
    if not inputs:
        raise ConfigError("no INPUT is given, and the configuration names no image; --help shows the usage")
    tasks = plan_tasks(
        inputs,
        options.output or config.output,
        request.suffix,
        suffix=options.format and f".{options.format}",
        recursive=options.recursive,
        existing="replace" if options.overwrite else "skip" if options.skip_existing else "keep",
        return_content=config.base64,
        pages=options.pages,
        animate=options.animate,
    )
    if any(task.source is None for task in tasks) and (sys.stdin.isatty() or is_closed(sys.stdin)):
        raise ConfigError("INPUT: - is stdin, but nothing is piped into it")
    if _writes_pictures(options, config, tasks) and sys.stdout.isatty():
        raise ConfigError("--output: the bytes of a picture are not for a terminal; -o FILE or > FILE takes them")
    if any(task.output is None for task in tasks) and not options.dry_run and is_closed(sys.stdout):
        raise ConfigError("--output: the picture goes to stdout, which is closed; -o FILE takes it")
    return tasks


def _writes_pictures(options: argparse.Namespace, config: Config, tasks: Sequence[Task]) -> bool:
    """Return whether the bytes of pictures go to stdout."""
    return any(task.output is None for task in tasks) and not config.base64 and not options.dry_run


class Reporter:
    """Prints the reports of a batch.

    Parameters
    ----------
    tasks
        The batch.
    lines
        Stream for the lines about pictures: stderr where stdout takes the bytes of pictures.
    as_json, as_base64
        Whether reports are JSON objects, and whether pictures are printed as base64 text.
    quiet
        Whether only errors and what was asked for is printed.
    """

    def __init__(self, tasks: Sequence[Task], lines: TextIO, *, as_json: bool, as_base64: bool, quiet: bool) -> None:
        self._tasks, self._lines, self._quiet = tasks, lines, quiet
        self._as_json, self._as_base64 = as_json, as_base64
        self._reports: list[Report] = []
        self._start = time.perf_counter()

    @property
    def failed(self) -> bool:
        """Whether any picture failed."""
        return any(report.state == "failed" for report in self._reports)

    def print_report(self, report: Report) -> None:
        """Print what came of a picture: its error, its bytes or their base64 text, and a line or JSON object."""
        text = base64.b64encode(report.content or b"").decode("ascii") if self._as_base64 else ""
        if report.content is not None and not self._as_base64:
            sys.stdout.buffer.write(report.content)
            sys.stdout.buffer.flush()
            if error := find_stream_error(sys.stdout):
                report = Report.failure(report.task, f"{report.task.name}: cannot be written to stdout ({error})")
        self._reports.append(report)
        if report.state == "failed":
            print_error(report.error)
        if self._as_json:
            print(json.dumps(report.to_dict() | ({"base64": text} if text else {})), file=self._lines, flush=True)
            return
        if text:
            print(text, flush=True)
        if not self._quiet and report.state != "failed":
            line = report.to_line("base64" if self._as_base64 else "stdout")
            print(line, file=sys.stderr if text else self._lines, flush=True)

    def print_summary(self) -> None:
        """Print how many pictures were done or failed, if there are several."""
        if len(self._tasks) > 1 and not self._quiet:
            summary = summarize(self._tasks, self._reports, time.perf_counter() - self._start)
            print(summary, file=sys.stderr if self._as_json or self._as_base64 else self._lines, flush=True)
