"""What stands before the page and looks at every request."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.web.messages import ServerLimits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_BASE64 = 1.4  # how much longer base64 makes a file, and some more
_MORE = 1e6  # bytes of a request that are not the photo's
_NO_ADDRESSES = "zssr fetches nothing from addresses; send the photo itself"
_HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class _RefusedError(Exception):
    """A request is not answered as it wishes to be."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.answer = (status, sentence)


class SecurityMiddleware:
    """Stands before the page: counts what is sent while it is read, and lets other sites neither in nor look.

    Requests that a browser makes for another site's page are refused; so are names of this machine that are not its own
    when it is served to itself only (DNS rebinding). All of the page comes from here, and browsers are told so. While
    `folder` holds as much as the rules allow, nothing more is uploaded.
    """

    def __init__(self, app: "ASGIApp", rules: ServerLimits, host: str, folder: Path) -> None:
        self._app, self._rules, self._folder = app, rules, folder
        self._most = int(rules.max_MB * 1e6 * _BASE64 + _MORE)
        self._too_long = f"this is more than max_MB = {rules.max_MB:g} allows"
        self._hosts = _LOOPBACK if host in _LOOPBACK else None

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        own = headers.get("host", "")
        if self._hosts and _name_of(own) not in self._hosts:
            await _refuse(send, 403, "this page is served to this machine only")
            return
        if "origin" in headers and headers["origin"].partition("://")[2] != own:
            await _refuse(send, 403, "this page answers no other site's pages")
            return
        if "://" in scope["path"]:  # Gradio would hand on what it finds there
            await _refuse(send, 400, _NO_ADDRESSES)
            return
        try:
            length = headers.get("content-length", "")
            if length.isdecimal():
                self._check(int(length))
            counted = self._counting(receive)
            if not headers.get("content-type", "").startswith("multipart/form-data"):
                counted = await _read_and_checked(counted)
            elif _bytes_in(self._folder) > self._rules.kept_MB * 1e6:
                raise _RefusedError(503, "too many photos are kept just now; please come back in a few minutes")
            await self._app(scope, counted, _with_headers(send))
        except _RefusedError as error:
            await _refuse(send, *error.answer)

    def _check(self, count: int) -> None:
        if count > self._most:
            raise _RefusedError(413, self._too_long)

    def _counting(self, receive: "Receive") -> "Receive":
        """Return what receives a request and counts its bytes."""
        count = 0

        async def counted() -> "Message":
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            self._check(count)
            return message

        return counted


async def _read_and_checked(receive: "Receive") -> "Receive":
    """Read a request whole, refuse it if it names an address, and return what receives it once more."""
    first: Message = {"type": "http.request", "body": b"", "more_body": True}
    while first["type"] == "http.request" and first.get("more_body"):
        message = await receive()
        first = {**message, "body": first["body"] + message.get("body", b"")}
    if _names_address(first["body"]):
        raise _RefusedError(400, _NO_ADDRESSES)
    waiting = [first]

    async def again() -> "Message":
        return waiting.pop() if waiting else await receive()

    return again


def _with_headers(send: "Send") -> "Send":
    """Return what sends an answer with our headers, and none that lets other sites in."""

    async def sent(message: "Message") -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if not name.startswith(b"access-control-")]
            added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {**message, "headers": kept + added}
        await send(message)

    return sent


def _bytes_in(folder: Path) -> int:
    count = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # it has just gone
            count += 0 if path.is_dir() else path.lstat().st_size
    return count


def _names_address(body: bytes) -> bool:
    """Tell whether a request in JSON gives the address of a file on the net, which Gradio would fetch, for its path."""
    try:
        waiting = [json.loads(body)] if body else []
    except (ValueError, RecursionError):
        return False  # nobody else will understand it either
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if "://" in str(one.get("path")):
                return True
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return False


def _name_of(host: str) -> str:
    """Return a Host header without the port."""
    return host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]


async def _refuse(send: "Send", status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
