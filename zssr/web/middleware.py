"""ASGI middleware that protects the page: limits on requests, same-origin checks, and security headers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.web.messages import ServerLimits
from zssr.web.storage import count_bytes

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NO_ADDRESSES = "zssr fetches nothing from addresses; send the photo itself"
_HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class _RejectedError(Exception):
    """A request is answered with a status and a sentence, and does not reach the page."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class SecurityMiddleware:
    """Rejects requests that are too large or come from other sites, and adds security headers to the answers.

    If `host` is this machine alone, other host names are rejected as well (DNS rebinding). The body of a request is
    counted while it is read. While `folder` holds `limits.kept_MB` or more, uploads are rejected.
    """

    def __init__(self, app: "ASGIApp", limits: ServerLimits, host: str, folder: Path) -> None:
        loopback = ("127.0.0.1", "localhost", "::1")
        self._app, self._limits, self._folder = app, limits, folder
        self._max_bytes = int(limits.max_MB * 1.4e6 + 1e6)  # base64 is 4/3 as long; the other fields are short
        self._hosts = loopback if host in loopback else None

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check_source(scope["path"], headers)
            receive = await self._check_body(headers, receive)
            await self._app(scope, receive, _add_headers(send))
        except _RejectedError as error:
            plain = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": error.status, "headers": plain})
            await send({"type": "http.response.body", "body": error.sentence.encode()})

    def _check_source(self, path: str, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if self._hosts and _without_port(host) not in self._hosts:
            raise _RejectedError(403, "this page is served to this machine only")
        if "origin" in headers and headers["origin"].partition("://")[2] != host:
            raise _RejectedError(403, "this page answers no other site's pages")
        if "://" in path:  # Gradio would fetch it
            raise _RejectedError(400, _NO_ADDRESSES)

    async def _check_body(self, headers: dict[str, str], receive: "Receive") -> "Receive":
        """Return what receives the body; files are counted as they come, anything else is read whole and searched."""
        length = headers.get("content-length", "")
        if length.isdecimal():
            self._check_length(int(length))
        receive = self._count_body(receive)
        if not headers.get("content-type", "").startswith("multipart/form-data"):
            return await _reject_addresses(receive)
        if count_bytes(self._folder) > self._limits.kept_MB * 1e6:
            raise _RejectedError(503, "too many photos are kept just now; please come back in a few minutes")
        return receive

    def _check_length(self, count: int) -> None:
        if count > self._max_bytes:
            raise _RejectedError(413, f"this is more than max_MB = {self._limits.max_MB:g} allows")

    def _count_body(self, receive: "Receive") -> "Receive":
        count = 0

        async def receive_and_count() -> "Message":
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            self._check_length(count)
            return message

        return receive_and_count


async def _reject_addresses(receive: "Receive") -> "Receive":
    """Read a body whole, reject it if it names an address, and return what receives it again."""
    whole: Message = {"type": "http.request", "body": b"", "more_body": True}
    while whole["type"] == "http.request" and whole.get("more_body"):
        message = await receive()
        whole = {**message, "body": whole["body"] + message.get("body", b"")}
    if _contains_address(whole["body"]):
        raise _RejectedError(400, _NO_ADDRESSES)
    unread = [whole]

    async def receive_again() -> "Message":
        return unread.pop() if unread else await receive()

    return receive_again


def _add_headers(send: "Send") -> "Send":
    """Return what sends an answer with the security headers, and without those that admit other sites."""

    async def send_with_headers(message: "Message") -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if not name.startswith(b"access-control-")]
            added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {**message, "headers": kept + added}
        await send(message)

    return send_with_headers


def _contains_address(body: bytes) -> bool:
    """Tell whether a JSON body has a URL in place of a file's path, which Gradio would fetch."""
    try:
        unseen = [json.loads(body)] if body else []
    except (ValueError, RecursionError):
        return False  # Gradio cannot parse it either
    while unseen:
        value = unseen.pop()
        if isinstance(value, dict):
            if "://" in str(value.get("path")):
                return True
            unseen += value.values()
        elif isinstance(value, list):
            unseen += value
    return False


def _without_port(host: str) -> str:
    """Strip the port from a Host header."""
    return host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
