"""The HTTP server of the page; by default for this machine only."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.errors import ConfigError
from zssr.web.messages import ServerLimits
from zssr.web.storage import private_folder

if TYPE_CHECKING:
    from fastapi import FastAPI

    from zssr.web.jobs import JobQueue


def run_server(host: str, port: int, limits: ServerLimits, announce: Callable[[str], None]) -> None:
    """Serve the page until a signal comes; `announce` gets its address once it can be opened.

    Raises `ConfigError` if the page cannot be served there, or if Gradio is missing.
    """
    with _listen(host, port) as listener, private_folder() as folder:
        os.environ |= {"GRADIO_TEMP_DIR": str(folder / "page"), "GRADIO_ANALYTICS_ENABLED": "False"}
        try:
            import gradio  # noqa: F401
            import uvicorn
        except ImportError as error:
            raise ConfigError(f"serve: needs Gradio ({error}); pip install 'zssr[web]' brings it") from error
        from zssr.web.jobs import JobQueue
        from zssr.web.middleware import SecurityMiddleware

        with JobQueue(limits, folder) as queue:
            server = uvicorn.Server(
                uvicorn.Config(
                    SecurityMiddleware(_build_app(queue), limits, host, folder),
                    log_level="warning",
                    server_header=False,
                    timeout_graceful_shutdown=1,
                )
            )
            name = f"[{host}]" if ":" in host else host
            announce(f"http://{name}:{listener.getsockname()[1]}")
            with suppress(KeyboardInterrupt):
                server.run(sockets=[listener])


def _build_app(queue: "JobQueue") -> "FastAPI":
    """Mount the page in an application that has nothing else."""
    import gradio as gr
    from fastapi import FastAPI

    from zssr.web.page import EXAMPLES, build_page

    system = ["system-ui", "sans-serif"]
    theme = gr.themes.Default(font=system, font_mono=["ui-monospace", "monospace"]).set(
        button_primary_background_fill="*primary_700",  # white is read well on these
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_cancel_background_fill="#b91c1c",
    )
    here = Path(__file__).parent
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        build_page(queue),
        path="/",
        theme=theme,
        css=(here / "page.css").read_text(),
        head=f"<script>{(here / 'page.js').read_text()}</script>",
        allowed_paths=[str(EXAMPLES)],
        max_file_size=int(queue.limits.max_MB * 1e6),
        footer_links=["api"],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )
    return app


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"--port: {host}:{port} cannot be served at: {error.strerror or error}") from error
