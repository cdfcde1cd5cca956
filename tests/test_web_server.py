"""The command `serve`: files that expire, how it ends, and its options."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from helpers import wait_until
from hostile import make_chunk
from web_server import list_answers, serving

from zssr.web.messages import ServerLimits

web = pytest.mark.web


@web
@pytest.mark.slow
def test_files_expire_and_sigint_ends_all_processes(tiny, small, tmp_path_factory):
    heavy = tiny[:33] + make_chunk(b"raNd", np.random.default_rng(0).bytes(3_000_000)) + tiny[33:]
    with serving(tmp_path_factory.mktemp("page"), "--kept", "4") as server:
        for k in range(4):
            assert server.enlarge(server.upload(f"{k}.png", heavy))[0] == "complete"
        wait_until(lambda: not any(path.is_file() for path in server.private_folder().rglob("*")))
        wait_until(lambda: len(list(server.private_folder().rglob("*"))) <= 1)
        assert server.enlarge(server.upload("a.png", heavy))[0] == "complete"
        answers = list_answers(server.upload("b.png", small), preset="best")
        server.client.post("/gradio_api/call/enlarge", json={"data": answers})
        assert server.descendants()
        private = server.private_folder()
        assert server.end(signal.SIGINT) == 0
        assert not private.exists()
        assert list(server.folder.iterdir()) == []
        assert "Traceback" not in server.log.read_text()


@web
def test_sigterm_is_obeyed(tmp_path):
    with serving(tmp_path) as server:
        assert server.client.get("/").status_code == 200
        assert server.end(signal.SIGTERM) == 0
        assert list(server.folder.iterdir()) == []
        assert server.log.read_text().count("\n") == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "256.0.0.1"])
def test_address_that_cannot_be_served_at_is_refused_with_a_sentence(host):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "zssr", "serve", "--host", host, "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("zssr: --port: ")
    assert "cannot be served at" in done.stderr
    assert done.stderr.count("\n") == 1


def test_temporary_folder_with_too_long_a_path_is_refused(tmp_path):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    command = [sys.executable, "-m", "zssr", "serve", "--port", "0"]
    environment = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("zssr: TMPDIR: ")
    assert done.stderr.count("\n") == 1


def test_help_names_all_limits(capsys):
    from zssr.cli.main import main

    with pytest.raises(SystemExit) as caught:
        main(["serve", "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    for limit in fields(ServerLimits):
        assert "--" + limit.name.lower().replace("_", "-") in printed
        assert limit.default is None or str(limit.default) in printed


@pytest.mark.parametrize(
    "options",
    [
        *(
            [f"--{name}", value]
            for name in ("max-mb", "seconds", "kept", "waiting")
            for value in ("0", "-1", "x", "nan")
        ),
        ["--waiting", "0.5"],
        ["--waiting", "2.5"],
        ["--threads", "inf"],
        ["--max-mb", "inf"],
        ["--port", "x"],
        ["--port", "70000"],
        ["--port", "-1"],
        ["--device", "abacus"],
    ],
    ids=" ".join,
)
def test_wrong_numbers_are_refused(options, monkeypatch, capsys):
    from zssr.cli.main import main

    monkeypatch.setattr("zssr.web.server.run_server", lambda *_: pytest.fail("served"))
    try:
        code = main(["serve", *options])
    except SystemExit as caught:
        code = caught.code
    assert code == 2
    assert capsys.readouterr().err
