"""Python in processes of its own that start at once: they are forked from one that has imported zssr and torch."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

COMMAND = "import sys; from zssr.cli.main import main; sys.exit(main())"
"""What `python -m zssr` does."""

_PRELOAD = ["zssr.api", "zssr.cli.main", "zssr.cli.run"]


class PythonProcess:
    """Like `subprocess.Popen([sys.executable, "-c", code, *arguments])` in a session of its own.

    Parameters
    ----------
    code, arguments, folder
        What is run, `sys.argv`, and the working folder.
    streams
        Where the descriptors 0, 1 and 2 lead to, if not to nothing, a file and a pipe: None is closed; others are a
        path, another descriptor, and the end of a pipe.

    Attributes
    ----------
    pid, stderr
        Its number, and what comes out of it as text.
    """

    def __init__(self, code, *arguments, folder=".", streams=()):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        self._out = tempfile.NamedTemporaryFile()  # noqa: SIM115
        reader, writer = context.Pipe(duplex=False)
        usual = {0: os.devnull, 1: self._out.name, 2: writer}
        given = (code, [str(argument) for argument in arguments], Path(folder).resolve(), usual | dict(streams))
        self._process = context.Process(target=_run, args=given)
        self._process.start()
        writer.close()
        self.pid = self._process.pid
        self.stderr = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        reader.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.join()
        self._process.close()
        self.stderr.close()
        self._out.close()

    def poll(self):
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self, seconds=120):
        """Wait for the end; return the exit code, and the rest of what comes on stdout, as bytes, and stderr."""
        err = self.stderr.read()
        self._process.join(seconds)
        assert self._process.exitcode is not None, err
        return self._process.exitcode, Path(self._out.name).read_bytes(), err


def run_python(code, *arguments, **options):
    """Run a program to its end; return its exit code, stdout and stderr."""
    with PythonProcess(code, *arguments, **options) as process:
        code, out, err = process.wait()
    return subprocess.CompletedProcess(arguments, code, out.decode(), err)


def _run(code, arguments, folder, streams):
    os.setsid()
    os.chdir(folder)
    for number, target in sorted(streams.items(), key=lambda one: isinstance(one[1], int)):
        _lead(number, target)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, _open_stream(number))
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102


def _lead(number, target):
    if target is None:
        os.close(number)
    elif isinstance(target, int):
        os.dup2(target, number)
    elif isinstance(target, Connection):
        os.dup2(target.fileno(), number)
    else:
        opened = os.open(target, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)


def _open_stream(number):
    """Open a standard stream as Python does when it starts: None if the descriptor is closed."""
    try:
        os.fstat(number)
    except OSError:
        return None
    errors = "backslashreplace" if number == 2 else "strict"
    return open(number, "w" if number else "r", encoding="utf-8", errors=errors, closefd=False)
