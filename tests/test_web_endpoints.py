"""The endpoints for programs: results are those of the library, errors are sentences, whatever is sent."""

import base64
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from hostile import make_bombs, make_damaged, make_hostile, make_seeds
from PIL import Image
from web_server import list_answers

pytestmark = [pytest.mark.web, pytest.mark.slow]


def test_files_come_back_as_the_library_makes_them(server, small, expected):
    photo = server.upload("my photo.png", small)
    outcome, (file, facts) = server.enlarge(photo)
    assert outcome == "complete"
    assert file["orig_name"] == "my_photo_x2.png"
    assert server.fetch(file) == expected
    assert (facts["width"], facts["height"], facts["seed"]) == (64, 64, 3)


def test_base64_comes_back_as_the_library_makes_it(server, small, expected):
    text = base64.b64encode(small).decode()
    outcome, (data,) = server.call(
        "enlarge_base64", text, "../a.png", 2, "fast", 0, "auto", 3, False, "off", "auto", "zssr"
    )
    assert outcome == "complete"
    assert data["name"] == "a_x2.png"
    assert base64.b64decode(data["base64"]) == expected
    for wrong in ("?", text[:-1], "", "data:image/png;base64," + text, "A" * 14_100_000):
        outcome, data = server.call(
            "enlarge_base64", wrong, "a.png", 2, "fast", 0, "auto", 3, False, "off", "auto", "zssr"
        )
        assert outcome == "error"
        assert "photo: " in json.dumps(data) or "a.png: " in json.dumps(data)


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
def test_wrong_answers_are_refused_with_a_sentence(server, tiny, asked, part):
    outcome, data = server.enlarge(server.upload("a.png", tiny), **asked)
    assert (outcome, part in json.dumps(data)) == ("error", True)


@pytest.mark.fuzz
def test_odd_answers_are_no_error_of_the_server(server, tiny):
    photo = server.upload("a.png", tiny)
    odd = [None, "", "zssr", -1, 0, 1e300, [], {}, True, {"path": None}, {"path": "/etc/passwd"}, "../../etc/passwd"]
    usual = list_answers(photo)
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
            if answer.status_code == 200:
                server.result("enlarge", answer.json()["event_id"])


@pytest.mark.fuzz
def test_hostile_uploads_get_a_sentence_or_a_picture(server, astronaut):
    photo = astronaut[:20, :20]
    found = make_seeds(photo)
    taken = {f"whole {k}.{kind.lower()}": content for kind in found for k, content in enumerate(found[kind][:2])}
    taken |= {f"bomb {kind}.png": content for kind, content in make_bombs().items()}
    taken |= {name: content for name, content in make_hostile(photo).items() if name.endswith(("png", "jpg", "webp"))}
    wrong = {name: content for name, content in make_damaged(found).items() if content}
    names = np.random.default_rng(0).permutation(sorted(wrong))
    taken |= {name: wrong[name] for name in names[: 52 - len(taken)]}
    log = server.read_log()
    counts = {"complete": 0, "error": 0, "large": 0}
    for name, content in taken.items():
        if len(content) > 10e6:
            answer = server.client.post("/gradio_api/upload", files={"files": (name, content)})
            assert answer.status_code == 413, name
            counts["large"] += 1
            continue
        outcome, data = server.enlarge(server.upload(name, content))
        counts[outcome] += 1
        if outcome == "complete":
            Image.open(io.BytesIO(server.fetch(data[0]))).load()
        else:
            assert ": " in data["error"], name
            assert "no reason that zssr knows" not in json.dumps(data), name
            assert str(server.private_folder()) not in json.dumps(data), name
    assert min(counts.values()) > 0
    assert server.client.get("/").status_code == 200
    assert "Traceback" not in server.read_log().removeprefix(log)
