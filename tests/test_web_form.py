"""Requests of the page: harmless names of files, and one sentence for each wrong answer."""

import base64
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zssr.errors import ZssrError
from zssr.request import Request
from zssr.web.form import decode_photo, parse_form
from zssr.web.messages import JobRequest, ServerLimits, Upload

PNG = b"\x89PNG\r\n\x1a\n"


@given(name=st.text(max_size=200), part=st.sampled_from(["", "../", "..\\", "/etc/", "C:\\", ".", "\0", "con\n"]))
def test_names_are_harmless(name, part):
    for given_name in (part + name, name + part):
        upload = Upload.sanitize(given_name, PNG)
        assert 0 < len(upload.name) <= 50
        assert upload.name.isprintable()
        assert not set(upload.name) & set("/\\")
        for request in (Request(), Request((1.5, 2.5)), Request(size=(30, 40))):
            output = JobRequest(upload, request).output
            assert re.fullmatch(r"\w[\w.-]*_[x\d.]+\.png", output)
            assert Path("/folder", output).resolve() == Path("/folder") / output
            assert len(output.encode()) < 255


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("/home/a/photo.jpeg", "photo_x2.png"),
        ("C:\\a\\..\\photo.png", "photo_x2.png"),
        ("..", "photo_x2.png"),
        ('Zoë\'s "best" photo.png', "Zoë_s_best_photo_x2.png"),
        ("before.jpg", "before_x2.png"),
        ("a\nb\0c.png", "abc_x2.png"),
        ("-rf.png", "rf_x2.png"),
    ],
)
def test_names_of_outputs(name, output):
    assert JobRequest(Upload.sanitize(name, PNG), Request()).output == output


@pytest.fixture
def answers(tmp_path):
    """All answers of the page, as they are at first."""
    photo = tmp_path / "photo.png"
    photo.write_bytes(PNG)
    names = (
        "photo",
        "scale",
        "width",
        "height",
        "preset",
        "adversarial",
        "kernel",
        "kernel_file",
        "seed",
        "keep",
        "wrap",
        "content",
        "method",
    )
    usual = (str(photo), "2", None, None, "default", 0, "auto", None, 0, False, "off", "auto", "zssr")
    return dict(zip(names, usual, strict=True))


def test_answers_make_a_request(answers, tmp_path):
    assert parse_form(**answers) == JobRequest(Upload("photo.png", PNG), Request((2.0, 2.0)))
    kernel = tmp_path / "kernel.npy"
    kernel.write_bytes(b"a kernel")
    given = {"scale": "size", "width": 300, "height": 200, "kernel": "file", "kernel_file": str(kernel), "seed": 7}
    settings = {"preset": "best", "adversarial": 1, "keep": True, "wrap": "x", "content": "labels", "method": "ibp"}
    parsed = parse_form(**(answers | given | settings))
    assert parsed.request == Request(size=(200, 300), seed=7)
    assert parsed.kernel_file == Upload("kernel.npy", b"a kernel")
    assert (parsed.preset, parsed.adversarial, parsed.keep) == ("best", 1.0, "all")
    assert (parsed.wrap, parsed.content, parsed.method) == ("x", "labels", "ibp")


def test_one_side_of_a_size_is_enough(answers):
    assert parse_form(**(answers | {"scale": "size", "width": 300})).request.size == (None, 300)
    assert parse_form(**(answers | {"scale": "size", "height": 200})).request.size == (200, None)


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"photo": None}, "drop one first"),
        ({"scale": "size"}, "width and height"),
        ({"scale": None}, "scale"),
        ({"method": None}, "method"),
        ({"scale": "nan"}, "scale"),
        ({"scale": "0.5"}, "scale"),
        ({"kernel": "file"}, "there is no file yet"),
        ({"seed": 10**30}, "seed"),
    ],
    ids=str,
)
def test_wrong_answers_are_refused_with_a_sentence(answers, wrong, part):
    with pytest.raises(ZssrError, match=r"^\w+: ") as caught:
        parse_form(**(answers | wrong))
    assert part in str(caught.value)


def test_base64_is_decoded_and_bounded():
    text = base64.b64encode(PNG).decode()
    assert decode_photo(text, "../a.png", ServerLimits()) == Upload("a.png", PNG)
    for wrong, part in {"?": "is not base64", text[:-1]: "is not base64", "A" * 15_000_000: "max_MB = 10"}.items():
        with pytest.raises(ZssrError, match=rf"^photo: .*{part}"):
            decode_photo(wrong, "a.png", ServerLimits())
