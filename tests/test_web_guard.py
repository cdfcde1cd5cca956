"""What stands before the page, before an application that only counts."""

import asyncio

import httpx

from zssr.web.messages import ServerLimits
from zssr.web.middleware import SecurityMiddleware


async def counting(scope, receive, send):
    """Answer with the number of bytes that came."""
    count, more = 0, True
    while more:
        message = await receive()
        count, more = count + len(message.get("body", b"")), message.get("more_body")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"access-control-allow-origin", b"*")]})
    await send({"type": "http.response.body", "body": str(count).encode()})


def posted(guard, **request):
    async def post():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://localhost:7860") as client:
            return await client.post("/", **request)

    return asyncio.run(post())


def test_no_more_is_taken_than_may_be_kept(tmp_path):
    guard = SecurityMiddleware(counting, ServerLimits(kept_MB=0.001), "127.0.0.1", tmp_path)
    photo = {"files": ("a.png", b"photo")}
    assert posted(guard, files=photo).status_code == 200
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "photo").write_bytes(bytes(1001))
    refused = posted(guard, files=photo)
    assert refused.status_code == 503
    assert "come back" in refused.text
    assert posted(guard, json={"data": []}).status_code == 200
    (tmp_path / "page" / "photo").unlink()
    assert posted(guard, files=photo).status_code == 200


def test_what_is_let_in_comes_whole_and_goes_with_our_headers(tmp_path):
    guard = SecurityMiddleware(counting, ServerLimits(), "127.0.0.1", tmp_path)
    answer = posted(guard, content=b"x" * 300_000, headers={"content-type": "text/plain"})
    assert answer.text == "300000"
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
