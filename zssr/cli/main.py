"""The command: parses, calls the library, and tells what came of it."""

import argparse
import base64
import io
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from zssr.cli.arguments import parser
from zssr.cli.plan import Task, plan, scale_suffix
from zssr.cli.progress_bars import ProgressBars
from zssr.cli.report import Report, table
from zssr.cli.run import Parallelism, run_tasks
from zssr.cli.signals import Signals
from zssr.cli.task import Work
from zssr.config import Config
from zssr.errors import ConfigError, ZssrError

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0 all done, 1 some picture failed, 2 wrong usage, 130 interrupted (143 by SIGTERM).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show stops nothing
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    command = {"kernel": _kernel, "serve": _serve}.get(arguments[0] if arguments else "", _enlarge)
    arguments = arguments if command is _enlarge else arguments[1:]
    with Signals() as signals:
        try:
            return command(arguments, signals)
        except ConfigError as error:
            _complain(error)
            return WRONG_USAGE
        except BrokenPipeError:  # nobody reads on; what was written is whole
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except BaseException:
            if signals.code is None and not isinstance(sys.exception(), KeyboardInterrupt):
                raise
            _complain("interrupted")  # whatever a library has made of it
            return signals.code or INTERRUPTED


def _kernel(arguments: Sequence[str], _: Signals) -> int:
    from zssr.cli import kernel_command

    try:
        print(kernel_command.run(arguments))
    except ConfigError:
        raise
    except (ZssrError, OSError) as error:
        _complain(error)
        return FAILED
    return DONE


def _serve(arguments: Sequence[str], _: Signals) -> int:
    from zssr.cli import serve_command

    serve_command.run(
        arguments, lambda address: print(f"zssr: open {address} (Ctrl-C ends)", file=sys.stderr, flush=True)
    )
    return DONE


def _enlarge(arguments: Sequence[str], signals: Signals) -> int:
    options = parser().parse_args(arguments)
    verbosity = logging.ERROR if options.quiet else logging.DEBUG if options.verbose else logging.WARNING
    logging.basicConfig(format="zssr: %(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("zssr").setLevel(verbosity)
    config = _config(options)
    tasks = _tasks(options, config)
    teller = _Teller(options, config, tasks)
    given = ("size", "kernel", "device", "seed", "strip", "allow_loss", "overwrite", "dry_run")
    work = Work(config, _scale_of(options, config), **{name: getattr(options, name) for name in given})
    side = Parallelism(options.jobs, options.threads, options.share_weights)
    bars = ProgressBars(sum(task.waits for task in tasks), hidden=options.quiet)

    def show(slot: int, name: str, done: int, total: int, what: str) -> None:
        signals.check()
        bars.show(slot, name, done, total, what)

    try:
        with bars, closing(run_tasks(tasks, work, side, show)) as coming:
            for report in coming:
                bars.count(report.task)
                with bars.aside():
                    teller.tell(report)
                signals.check()
    finally:
        if sys.exception() is None or signals.code is not None:
            teller.sum_up()
    return FAILED if teller.failed else DONE


def _config(options: argparse.Namespace) -> Config:
    config = Config.from_json(options.config, options.preset) if options.config else Config.preset(options.preset)
    config = config.replace(**parse_settings(options.set))
    if options.prior:
        config = config.replace(init="prior", prior=options.prior)
    if options.adversarial is not None:
        config = config.replace(adversarial=options.adversarial)
    return config.replace(measure_gain=True) if options.measure_gain else config


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Parse KEY=VALUE texts; a value that is not JSON is taken as text."""
    settings: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f'--set: "{text}" is not of the form KEY=VALUE')
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def _tasks(options: argparse.Namespace, config: Config) -> list[Task]:
    inputs = options.inputs or ([config.image] if config.image else [])
    if not inputs:
        raise ConfigError("no INPUT is given, and the configuration names no image; --help shows the usage")
    if options.scale and options.size:
        raise ConfigError("--scale and --size exclude each other")
    tasks = plan(
        inputs,
        options.output or config.output,
        scale_suffix(_scale_of(options, config), options.size),
        suffix=options.format and f".{options.format}",
        recursive=options.recursive,
        existing="replace" if options.overwrite else "skip" if options.skip_existing else "keep",
        text=config.base64,
    )
    if any(task.source is None for task in tasks) and sys.stdin.isatty():
        raise ConfigError("INPUT: - is stdin, but nothing is piped into it")
    if _streams(options, config, tasks) and sys.stdout.isatty():
        raise ConfigError("--output: the bytes of a picture are not for a terminal; -o FILE or > FILE takes them")
    return tasks


def _streams(options: argparse.Namespace, config: Config, tasks: list[Task]) -> bool:
    """Tell whether the bytes of pictures go to stdout."""
    return any(task.output is None for task in tasks) and not config.base64 and not options.dry_run


def _scale_of(options: argparse.Namespace, config: Config) -> tuple[float, float]:
    planned = config.scale_factor**config.scale_times if config.scale_factor else 2.0
    scale: tuple[float, float] = options.scale or (planned, planned)
    return scale


class _Teller:
    """Tells what comes of the tasks: on stdout, or on stderr where stdout takes the bytes of pictures."""

    def __init__(self, options: argparse.Namespace, config: Config, tasks: list[Task]) -> None:
        self._options, self._text, self._tasks = options, config.base64, tasks
        self._lines = sys.stderr if _streams(options, config, tasks) else sys.stdout
        self._reports: list[Report] = []
        self._start = time.perf_counter()

    @property
    def failed(self) -> bool:
        return any(report.state == "failed" for report in self._reports)

    def tell(self, report: Report) -> None:
        self._reports.append(report)
        if report.state == "failed":
            _complain(report.error)
        text = base64.b64encode(report.content or b"").decode("ascii") if self._text else ""
        if report.content is not None and not self._text:
            sys.stdout.buffer.write(report.content)
            sys.stdout.buffer.flush()
        if self._options.json:
            print(json.dumps(report.as_object() | ({"base64": text} if text else {})), file=self._lines, flush=True)
            return
        if text:
            print(text, flush=True)
        if not self._options.quiet and report.state != "failed":
            line = report.as_line("base64" if self._text else "stdout")
            print(line, file=sys.stderr if text else self._lines, flush=True)

    def sum_up(self) -> None:
        if len(self._tasks) > 1 and not self._options.quiet:
            summary = table(self._tasks, self._reports, time.perf_counter() - self._start)
            print(summary, file=sys.stderr if self._options.json or self._text else self._lines, flush=True)


def _complain(what: object) -> None:
    print(f"zssr: {what}", file=sys.stderr)
