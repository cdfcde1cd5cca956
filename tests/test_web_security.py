"""What the page gives to nobody: other sites, large requests, addresses, other files, and other users' photos."""

import http.server
import json
import re
import threading

import pytest
from web_server import list_answers

pytestmark = [pytest.mark.web, pytest.mark.slow]


def test_all_of_the_page_comes_from_here(server):
    answer = server.client.get("/")
    assert answer.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["connect-src"] == "'self'"
    assert not any("http" in sources or "*" in sources for sources in policy.values())
    loaded = re.findall(r"""(?:src|href)=["']([^"']*)|url\(["']?([^"')]*)|import\s*\(?["']([^"']*)""", answer.text)
    assert loaded
    for address in ("".join(one) for one in loaded):
        assert not re.match(r"(\w+:)?//", address) or address.startswith(server.address), address


def test_other_sites_are_refused(server):
    port = server.address.rpartition(":")[2]
    hosts = {f"127.0.0.1:{port}": 200, f"localhost:{port}": 200, f"[::1]:{port}": 200, "localhost": 200}
    hosts |= {"evil.example": 403, f"evil.example:{port}": 403, "127.0.0.1.evil.example": 403, "": 403}
    for host, status in hosts.items():
        assert server.client.get("/config", headers={"Host": host}).status_code == status, host
    for origin, status in {
        server.address: 200,
        "http://evil.example": 403,
        "null": 403,
        "http://127.0.0.1:1": 403,
        server.address + ".evil.example": 403,
    }.items():
        for path in ("/", "/config", "/gradio_api/info"):
            answer = server.client.get(path, headers={"Origin": origin})
            assert answer.status_code == status, origin
            assert not any(name.startswith("access-control") for name in answer.headers)
        answer = server.client.post("/gradio_api/upload", files={"files": b"a"}, headers={"Origin": origin})
        assert answer.status_code == status, origin
        answer = server.client.options(
            "/gradio_api/upload", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
        )
        assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize("count", [11_000_000, 40_000_000])
@pytest.mark.parametrize("whole", [True, False], ids=["with a length", "in chunks"])
def test_large_uploads_are_refused(server, count, whole):
    start = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = start + bytes(count) + b"\r\n--b--\r\n"
    parts = (body[k : k + 100_000] for k in range(0, len(body), 100_000))
    answer = server.client.post(
        "/gradio_api/upload",
        content=body if whole else parts,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert answer.status_code == 413
    assert re.fullmatch(r"[^\n<]*(max_MB = 10|10000000 bytes)[^\n<]*", answer.text)
    assert not any(path.stat().st_size > 1e6 for path in server.private_folder().rglob("*") if path.is_file())


@pytest.mark.parametrize("whole", [True, False], ids=["with a length", "in chunks"])
def test_large_requests_are_refused(server, whole):
    body = b'{"data": ["' + b"A" * 20_000_000 + b'"]}'
    content = body if whole else (body[k : k + 100_000] for k in range(0, len(body), 100_000))
    headers = {"Content-Type": "application/json"}
    answer = server.client.post("/gradio_api/call/enlarge_base64", content=content, headers=headers)
    assert (answer.status_code, "max_MB = 10" in answer.text) == (413, True)


def test_nothing_is_fetched_from_addresses(server, tiny):
    seen = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(tiny)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{other.server_port}/a.png"
        meta = {"meta": {"_type": "gradio.FileData"}}
        for file in (
            {"path": address} | meta,
            {"path": address, "url": address} | meta,
            {"path": address.upper()} | meta,
            {"path": "ftp" + address[4:]} | meta,
            {"path": address, "url": address},
        ):
            data = list_answers(file)
            for path in ("call/enlarge", "queue/join", "run/enlarge"):
                sent = {"data": data, "session_hash": "a", "fn_index": 0}
                answer = server.client.post(f"/gradio_api/{path}", json=sent)
                assert answer.status_code == 400, file
                assert "zssr fetches nothing" in answer.text
        for url in (address, "https://zssr.example/a.png"):
            for path in ("/gradio_api/file=", "/file=", "/gradio_api/proxy=", "/proxy="):
                assert 400 <= server.client.get(path + url).status_code < 500
            outcome, _ = server.call("enlarge_base64", url)
            assert outcome == "error"
            outcome, _ = server.enlarge({"path": "a.png", "url": url} | meta)
            assert outcome == "error"
        other.shutdown()
    assert seen == []


def test_addresses_in_paths_never_come_to_gradio(server):
    for path in ("/gradio_api/file=https://zssr.example/a.png", "/gradio_api/file=https%3A%2F%2Fzssr.example/a.png"):
        answer = server.client.get(path)
        assert (answer.status_code, "zssr fetches nothing" in answer.text) == (400, True)


def test_other_files_are_not_given(server, tiny):
    secrets = {"pyproject.toml", "/etc/passwd", "/proc/self/environ", str(server.log), __file__}
    for path in secrets | {f"../../../../../..{one}" for one in secrets if one[0] == "/"}:
        for prefix in ("/gradio_api/file=", "/file=", "/static/", "/assets/", "/gradio_api/file%3D"):
            answer = server.client.get(prefix + path)
            assert not 200 <= answer.status_code < 300 or answer.headers["content-type"].startswith("text/html")
            assert "root:" not in answer.text
            assert "[build-system]" not in answer.text
            assert answer.status_code < 500
        outcome, data = server.enlarge({"path": path, "meta": {"_type": "gradio.FileData"}})
        assert outcome == "error"
        assert "root:" not in json.dumps(data)


def test_users_are_strangers(server, small, expected):
    sent = {"data": list_answers(server.upload("mine.png", small))}
    event = server.client.post("/gradio_api/call/enlarge", json=sent).json()["event_id"]
    functions = server.client.get("/config").json()["dependencies"]
    for number in range(len(functions)):  # whatever another's page can press
        if functions[number]["inputs"] and functions[number]["api_visibility"] == "private":
            continue
        server.client.post("/gradio_api/queue/join", json={"data": [None], "fn_index": number, "session_hash": "b"})
        stranger = {"session_hash": "b", "fn_index": number, "event_id": "guessed"}
        server.client.post("/gradio_api/cancel", json=stranger)
    outcome, (file, _) = server.result("enlarge", event)
    assert outcome == "complete"
    assert server.fetch(file) == expected
    private = server.private_folder()
    (job,) = {path.parent for path in private.glob("*/mine_x2.png")}
    assert job.stat().st_mode & 0o77 == 0
    assert private.stat().st_mode & 0o77 == 0
    folders = {private, private.parent, private / "page", job, *(private / "page").rglob("*")}
    for path in {one for one in folders if one.is_dir()} | {
        job / "mine_x2.png",
        job / "before.jpg",
        private / "page" / "mine.png",
        private / "page" / "0" / "mine.png",
    }:
        for end in ("", "/", "/."):
            answer = server.client.get(f"/gradio_api/file={path}{end}")
            assert 400 <= answer.status_code < 500, path
