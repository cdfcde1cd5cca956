"""The page as it is served: what it gives to programs, and what it gives to nobody."""

import base64
import http.server
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import fields

import numpy as np
import pytest
from hostile import encode_image, make_bombs, make_chunk, make_damaged, make_hostile, make_seeds
from PIL import Image
from web_server import serving, until

from zssr.api import Upscaler
from zssr.config import Config
from zssr.web.messages import ServerLimits


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("page")) as server:
        yield server


@pytest.fixture(scope="module")
def small(astronaut):
    """A photo from which something is learnt, in two seconds."""
    return encode_image(Image.fromarray(astronaut[:32, :32]), "PNG")


@pytest.fixture(scope="module")
def expected(small):
    """What the library makes of it with the preset "fast" and seed 3."""
    file = io.BytesIO()
    Upscaler(Config.preset("fast")).run_file(small, file, seed=3, keep="colors", suffix=".png", name="photo")
    return file.getvalue()


@pytest.fixture(scope="module")
def tiny(astronaut):
    """A photo that is only interpolated, at once."""
    return encode_image(Image.fromarray(astronaut[:16, :20]), "PNG")


def fetched(server, file):
    answer = server.client.get(f"/gradio_api/file={file['path']}")
    assert answer.status_code == 200
    return answer.content


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
    assert not any(path.stat().st_size > 1e6 for path in server.private().rglob("*") if path.is_file())


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
            data = [file, "2", None, None, "fast", 0, "auto", None, 3, False]
            for path in ("call/enlarge", "queue/join", "run/enlarge"):
                sent = {"data": data, "session_hash": "a", "fn_index": 0}
                answer = server.client.post(f"/gradio_api/{path}", json=sent)
                assert answer.status_code == 400, file
                assert "zssr fetches nothing" in answer.text
        for url in (address, "https://zssr.example/a.png"):
            for path in ("/gradio_api/file=", "/file=", "/gradio_api/proxy=", "/proxy="):
                assert 400 <= server.client.get(path + url).status_code < 500
            what, _ = server.called("enlarge_base64", url)
            assert what == "error"
            what, _ = server.enlarged({"path": "a.png", "url": url} | meta)
            assert what == "error"
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
        what, told = server.enlarged({"path": path, "meta": {"_type": "gradio.FileData"}})
        assert what == "error"
        assert "root:" not in json.dumps(told)


def test_curl_gives_what_the_library_makes(server, small, expected):
    photo = server.uploaded("my photo.png", small)
    what, (file, facts) = server.enlarged(photo)
    assert what == "complete"
    assert file["orig_name"] == "my_photo_x2.png"
    assert fetched(server, file) == expected
    assert (facts["width"], facts["height"], facts["seed"]) == (64, 64, 3)


def test_base64_goes_in_and_comes_out(server, small, expected):
    text = base64.b64encode(small).decode()
    what, (told,) = server.called("enlarge_base64", text, "../a.png", 2, "fast", 0, "auto", 3, False)
    assert what == "complete"
    assert told["name"] == "a_x2.png"
    assert base64.b64decode(told["base64"]) == expected
    for wrong in ("?", text[:-1], "", "data:image/png;base64," + text, "A" * 14_100_000):
        what, told = server.called("enlarge_base64", wrong, "a.png", 2, "fast", 0, "auto", 3, False)
        assert what == "error"
        assert "photo: " in json.dumps(told) or "a.png: " in json.dumps(told)


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"scale": "size"}, "width and height"),
        ({"scale": "size", "width": 10, "height": 10}, "size"),
        ({"scale": "size", "width": 100_000, "height": 100_000}, "max_output_pixels"),
        ({"kernel": "file"}, "kernel"),
        ({"seed": 10**30}, "seed"),
    ],
)
def test_wrong_wishes_are_told(server, tiny, asked, part):
    what, told = server.enlarged(server.uploaded("a.png", tiny), **asked)
    assert (what, part in json.dumps(told)) == ("error", True)


def test_no_wish_is_an_error_of_the_server(server, tiny):
    photo = server.uploaded("a.png", tiny)
    odd = [None, "", "zssr", -1, 0, 1e300, [], {}, True, {"path": None}, {"path": "/etc/passwd"}, "../../etc/passwd"]
    usual = [photo, "2", None, None, "fast", 0, "auto", None, 3, False]
    for k in range(len(usual)):
        for one in odd[k % 2 :: 2]:
            sent = {"data": [*usual[:k], one, *usual[k + 1 :]]}
            answer = server.client.post("/gradio_api/call/enlarge", json=sent)
            assert answer.status_code < 500, sent
            if answer.status_code == 200:
                server.result("enlarge", answer.json()["event_id"])
    for body in (b"", b"{", b"[]", b"null", b'{"data": 1}', b"[" * 100_000, b'{"data": []}'):
        for path in ("call/enlarge", "queue/join", "upload", "cancel", "reset"):
            answer = server.client.post(
                f"/gradio_api/{path}", content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code < 500, (path, body[:20])
            assert "Traceback" not in answer.text


CLIENT = """
import sys
from gradio_client import Client, handle_file

client = Client(sys.argv[1], verbose=False, download_files=sys.argv[3])
file, facts = client.predict(handle_file(sys.argv[2]), preset="fast", seed=3, width=None, height=None, kernel_file=None,
                             api_name="/enlarge")
print(file)
"""


def test_client_for_python(server, small, expected, tmp_path):
    (tmp_path / "photo.png").write_bytes(small)
    command = [sys.executable, "-c", CLIENT, server.address, tmp_path / "photo.png", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with open(done.stdout.strip(), "rb") as file:  # noqa: PTH123
        assert file.read() == expected


def test_hostile_uploads_get_a_sentence_or_a_picture(server, astronaut):
    photo = astronaut[:20, :20]
    found = make_seeds(photo)
    taken = {f"whole {k}.{kind.lower()}": content for kind in found for k, content in enumerate(found[kind][:2])}
    taken |= {f"bomb {kind}.png": content for kind, content in make_bombs().items()}
    taken |= {name: content for name, content in make_hostile(photo).items() if name.endswith(("png", "jpg", "webp"))}
    wrong = {name: content for name, content in make_damaged(found).items() if content}
    names = np.random.default_rng(0).permutation(sorted(wrong))
    taken |= {name: wrong[name] for name in names[: 52 - len(taken)]}
    said = server.said()
    counts = {"complete": 0, "error": 0, "large": 0}
    for name, content in taken.items():
        if len(content) > 10e6:
            answer = server.client.post("/gradio_api/upload", files={"files": (name, content)})
            assert answer.status_code == 413, name
            counts["large"] += 1
            continue
        what, told = server.enlarged(server.uploaded(name, content))
        counts[what] += 1
        if what == "complete":
            Image.open(io.BytesIO(fetched(server, told[0]))).load()
        else:
            assert ": " in json.dumps(told), name
            assert "no reason that zssr knows" not in json.dumps(told), name
            assert str(server.private()) not in json.dumps(told), name
    assert min(counts.values()) > 0
    assert server.client.get("/").status_code == 200
    assert "Traceback" not in server.said().removeprefix(said)


def test_users_are_strangers(server, small, expected):
    sent = {"data": [server.uploaded("mine.png", small), "2", None, None, "fast", 0, "auto", None, 3, False]}
    event = server.client.post("/gradio_api/call/enlarge", json=sent).json()["event_id"]
    functions = server.client.get("/config").json()["dependencies"]
    for number in range(len(functions)):  # whatever another's page can press
        if functions[number]["inputs"] and functions[number]["api_visibility"] == "private":
            continue
        server.client.post("/gradio_api/queue/join", json={"data": [None], "fn_index": number, "session_hash": "b"})
        stranger = {"session_hash": "b", "fn_index": number, "event_id": "guessed"}
        server.client.post("/gradio_api/cancel", json=stranger)
    what, (file, _) = server.result("enlarge", event)
    assert what == "complete"
    assert fetched(server, file) == expected
    private = server.private()
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


def test_jobs_in_a_row_leave_nothing_and_a_signal_ends_all(tiny, small, tmp_path_factory):
    heavy = tiny[:33] + make_chunk(b"raNd", np.random.default_rng(0).bytes(3_000_000)) + tiny[33:]
    with serving(tmp_path_factory.mktemp("page"), "--kept", "4") as server:

        def some(count):
            for k in range(count):
                assert server.enlarged(server.uploaded(f"{k}.png", heavy))[0] == "complete"

        def is_empty():
            return not any(path.is_file() for path in server.private().rglob("*"))

        some(4)
        until(is_empty)
        before = server.memory()
        some(20)
        assert server.memory() < before + 45  # 20 files are 60 MB
        until(is_empty)
        assert len(list(server.private().rglob("*"))) <= 1
        some(1)
        photo = server.uploaded("a.png", small)
        data = [photo, "2", None, None, "best", 0, "auto", None, 3, False]
        server.client.post("/gradio_api/call/enlarge", json={"data": data})
        assert server.descendants()
        private = server.private()
        assert server.end(signal.SIGINT) == 0
        assert not private.exists()
        assert list(server.folder.iterdir()) == []
        assert "Traceback" not in server.log.read_text()


def test_polite_end(tmp_path):
    with serving(tmp_path) as server:
        assert server.client.get("/").status_code == 200
        assert server.end(signal.SIGTERM) == 0
        assert list(server.folder.iterdir()) == []
        assert server.log.read_text().count("\n") == 1


def test_wrong_usage_is_one_sentence(server):
    port = server.address.rpartition(":")[2]
    command = [sys.executable, "-m", "zssr", "serve"]
    for options, part in {
        ("--port", port): "cannot be served at",
        ("--host", "256.0.0.1"): "cannot be served at",
    }.items():
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("zssr: ")
        assert part in done.stderr
        assert done.stderr.count("\n") == 1


def test_temporary_folder_with_too_long_a_path_is_refused(tmp_path):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    command = [sys.executable, "-m", "zssr", "serve", "--port", "0"]
    others = {"TMPDIR": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | others)
    assert done.returncode == 2
    assert done.stderr.startswith("zssr: TMPDIR: ")
    assert done.stderr.count("\n") == 1


def test_help_names_all_limits(capsys):
    from zssr.cli.main import main

    with pytest.raises(SystemExit) as caught:
        main(["serve", "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for rule in fields(ServerLimits):
        assert "--" + rule.name.lower().replace("_", "-") in said
        assert rule.default is None or str(rule.default) in said


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

    monkeypatch.setattr("zssr.web.server._application", lambda _: pytest.fail("served"))
    try:
        code = main(["serve", *options])
    except SystemExit as caught:
        code = caught.code
    assert code == 2
    assert capsys.readouterr().err
