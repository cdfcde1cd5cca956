"""Serves the page: to this machine only unless told otherwise, and safe enough to be left running."""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.errors import ConfigError
from zssr.web.messages import ServerLimits

if TYPE_CHECKING:
    from fastapi import FastAPI

    from zssr.web.jobs import Jobs

_NAME = "zssr-page-"
_LONGEST = 75  # bytes of the temporary folder's path: in it lie the sockets of processes, whose paths have 107 at most


def run_server(host: str, port: int, rules: ServerLimits, announce: Callable[[str], None]) -> None:
    """Serve until a signal comes; `announce` is told the page's address once it can be opened.

    Raises `ConfigError` if the page cannot be served there, or if Gradio is missing.
    """
    with _listening(host, port) as listening, _private_folder() as folder:
        os.environ |= {"GRADIO_TEMP_DIR": str(folder / "page"), "GRADIO_ANALYTICS_ENABLED": "False"}
        try:
            import gradio  # noqa: F401
            import uvicorn
        except ImportError as error:
            raise ConfigError(f"serve: needs Gradio ({error}); pip install 'zssr[web]' brings it") from error
        from zssr.web.jobs import Jobs
        from zssr.web.middleware import SecurityMiddleware

        with Jobs(rules, folder) as jobs:
            server = uvicorn.Server(
                uvicorn.Config(
                    SecurityMiddleware(_application(jobs), rules, host, folder),
                    log_level="warning",
                    server_header=False,
                    timeout_graceful_shutdown=1,
                )
            )
            name = f"[{host}]" if ":" in host else host
            announce(f"http://{name}:{listening.getsockname()[1]}")
            with suppress(KeyboardInterrupt):
                server.run(sockets=[listening])


def _application(jobs: "Jobs") -> "FastAPI":
    import gradio as gr
    from fastapi import FastAPI

    from zssr.web.page import EXAMPLES, HERE, page

    system = ["system-ui", "sans-serif"]
    theme = gr.themes.Default(font=system, font_mono=["ui-monospace", "monospace"]).set(
        button_primary_background_fill="*primary_700",  # white is read well on these
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_cancel_background_fill="#b91c1c",
    )
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        page(jobs),
        path="/",
        theme=theme,
        css=(HERE / "page.css").read_text(),
        head=f"<script>{(HERE / 'page.js').read_text()}</script>",
        allowed_paths=[str(EXAMPLES)],
        max_file_size=int(jobs.rules.max_MB * 1e6),
        footer_links=["api"],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )
    return app


@contextmanager
def _listening(host: str, port: int) -> "Iterator[socket.socket]":
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family) as listening:
            yield listening
    except OSError as error:
        raise ConfigError(f"--port: {host}:{port} cannot be served at: {error.strerror or error}") from error


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Yield a folder that only this user can look into; it is removed at the end, as are those of dead processes."""
    place = Path(tempfile.gettempdir())
    if len(os.fsencode(place)) > _LONGEST:
        raise ConfigError(f"TMPDIR: {place} has more than {_LONGEST} bytes; name a folder with a shorter path")
    for old in place.glob(f"{_NAME}*"):
        number = old.name.removeprefix(_NAME).split("-")[0]
        if number.isdecimal() and not _is_alive(int(number)):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_NAME}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
