"""The security middleware, before an application that only counts bytes."""

import asyncio

import httpx
import pytest

from zssr.web.messages import ServerLimits
from zssr.web.middleware import SecurityMiddleware

pytestmark = pytest.mark.web


async def counting(scope, receive, send):
    """Answer with the number of bytes that came."""
    count, more = 0, True
    while more:
        message = await receive()
        count, more = count + len(message.get("body", b"")), message.get("more_body")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"access-control-allow-origin", b"*")]})
    await send({"type": "http.response.body", "body": str(count).encode()})


def post(middleware, **request):
    async def send():
        transport = httpx.ASGITransport(middleware)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:7860") as client:
            return await client.post("/", **request)

    return asyncio.run(send())


def test_uploads_are_rejected_while_the_folder_is_full(tmp_path):
    middleware = SecurityMiddleware(counting, ServerLimits(kept_MB=0.001), "127.0.0.1", tmp_path)
    photo = {"files": ("a.png", b"photo")}
    assert post(middleware, files=photo).status_code == 200
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "photo").write_bytes(bytes(1001))
    refused = post(middleware, files=photo)
    assert refused.status_code == 503
    assert "come back" in refused.text
    assert post(middleware, json={"data": []}).status_code == 200
    (tmp_path / "page" / "photo").unlink()
    assert post(middleware, files=photo).status_code == 200


def test_requests_pass_whole_and_answers_get_the_security_headers(tmp_path):
    middleware = SecurityMiddleware(counting, ServerLimits(), "127.0.0.1", tmp_path)
    answer = post(middleware, content=b"x" * 300_000, headers={"content-type": "text/plain"})
    assert answer.text == "300000"
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
