"""Jobs of the page: results are those of the library, previews and crops, and one sentence for each wrong input."""

import io
import re
import stat
from dataclasses import replace

import numpy as np
import pytest
from helpers import file_names
from hostile import BOMB, encode_image, make_bombs, make_exif, make_more_seeds
from PIL import Image, ImageCms

from zssr.api import Upscaler
from zssr.config import Config
from zssr.progress import Stage
from zssr.request import Request
from zssr.web.jobs import Job, JobQueue
from zssr.web.messages import JobRequest, PreviewMessage, ProgressMessage, ServerLimits, Upload

LIMITS = ServerLimits(max_MB=0.05, max_pixels=100 * 100, max_output_pixels=200 * 200, threads=1)


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    with JobQueue(LIMITS, tmp_path_factory.mktemp("jobs")) as queue:
        yield queue


@pytest.fixture
def messages(monkeypatch):
    """All messages of workers."""
    messages, update = [], Job.update
    monkeypatch.setattr(Job, "update", lambda job, message: (messages.append(message), update(job, message)))
    return messages


@pytest.fixture
def small(astronaut):
    """A photo that is large enough to learn from, in two seconds."""
    return Image.fromarray(astronaut[:32, :32])


def make_request(picture, name="a photo.png", **others):
    """Make a request; `others` are fields of `Request` or of `JobRequest`."""
    asked = {key: others.pop(key) for key in ("scale", "size", "kernel") if key in others}
    upload = Upload.sanitize(name, picture)
    return JobRequest(upload, Request(**asked, seed=3), **({"preset": "fast"} | others))


def with_kernel(name, content):
    return make_request(PNG, kernel_file=Upload.sanitize(name, content))


def run(queue, request):
    """Run a job, and return it when it is finished."""
    *_, job = queue.follow(queue.submit(request))
    return job


@pytest.mark.slow
def test_job_gives_what_the_library_gives(queue, messages, small):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = encode_image(small, "JPEG", exif=make_exif(orientation=1), icc_profile=icc, dpi=(300, 300))
    job = run(queue, make_request(content, "C:\\photos\\a b.jpg"))
    assert job.error is None
    expected = io.BytesIO()
    upscaler = Upscaler(Config.preset("fast"))
    upscaler.run_file(content, expected, Request(seed=3), keep="colors", suffix=".jpg", name="a b.jpg")
    assert job.result.file == "a_b_x2.jpg"
    made = (job.folder / job.result.file).read_bytes()
    assert made == expected.getvalue()
    with Image.open(io.BytesIO(made)) as picture:
        assert not picture.getexif()
        assert picture.info["icc_profile"] == icc
        pixels = np.asarray(picture)

    events = [message.event for message in messages if isinstance(message, ProgressMessage)]
    assert [event.stage for event in events] == sorted((event.stage for event in events), key=list(Stage).index)
    for stage in (Stage.TRAIN, Stage.APPLY):
        counts = [event.done for event in events if event.stage is stage]
        assert counts == sorted(set(counts))
        assert counts[-1] == next(event.total for event in events if event.stage is stage)
    assert max(len(event.losses) for event in events) > 1
    previews = [message.jpeg for message in messages if isinstance(message, PreviewMessage)]
    assert len(previews) > 1
    for preview in previews:
        with Image.open(io.BytesIO(preview)) as picture:
            assert picture.format == "JPEG"
    assert messages[-1] is job.result

    with Image.open(job.folder / job.result.before) as before, Image.open(job.folder / job.result.after) as after:
        assert (before.size, after.size) == ((64, 64), (64, 64))
        assert before.info["icc_profile"] == icc
        assert np.abs(np.asarray(after).astype(int) - pixels).mean() < 3
    assert job.result.facts["width"] == 64
    assert stat.S_IMODE(job.folder.stat().st_mode) == 0o700
    assert file_names(job.folder) == ["a_b_x2.jpg", "after.jpg", "before.jpg"]


@pytest.mark.parametrize(("keep", "is_kept"), [("colors", False), ("all", True)])
def test_metadata_are_kept_on_request(queue, astronaut, keep, is_kept):
    content = encode_image(Image.fromarray(astronaut[:16, :20]), "PNG", exif=make_exif(orientation=1))
    job = run(queue, make_request(content, keep=keep))
    with Image.open(job.folder / job.result.file) as picture:
        assert bool(picture.getexif()) is is_kept


@pytest.mark.slow
def test_crop_is_shown_and_leaves_no_photo(queue, small):
    request = make_request(encode_image(small, "PNG"), size=(64, 64), preset="best")
    job = run(queue, replace(request, crop_only=True))
    assert job.state == "done", job.error
    assert job.result.file is None
    assert file_names(job.folder) == ["after.jpg", "before.jpg"]
    with Image.open(job.folder / "after.jpg") as after:
        assert after.size == (64, 64)
    assert job.result.facts["steps"] == Config.preset("fast").num_epochs


@pytest.mark.parametrize(("kind", "suffix"), [("AVIF", "avif"), ("JXL", "jxl"), ("HEIC", "png")])
def test_newer_formats_are_taken_and_come_back(queue, astronaut, kind, suffix):
    job = run(queue, make_request(make_more_seeds(astronaut[:16, :20])[kind][0]))
    assert job.state == "done", job.error
    assert job.result.file.endswith(f".{suffix}")
    assert file_names(job.folder) == sorted([job.result.file, "after.jpg", "before.jpg"])


PHOTO = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
PNG = encode_image(Image.fromarray(PHOTO), "PNG")


@pytest.mark.parametrize("method", ["lanczos", "map:prior=huber"])
def test_other_methods_are_taken(queue, method):
    job = run(queue, make_request(PNG, method=method))
    assert job.state == "done", job.error
    expected = Upscaler(Config(method=method)).run(PHOTO).image
    with Image.open(job.folder / job.result.file) as made:
        assert np.array_equal(np.asarray(made), expected)


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


WRONG = {
    "nothing": (make_request(b""), "is empty"),
    "text": (make_request(b"What is this?"), "is not a PNG, JPEG, WebP, "),
    "page": (make_request(b"<!DOCTYPE html>"), "it seems to be text"),
    "cut": (make_request(PNG[:-300]), "damaged"),
    "start": (make_request(PNG[:20]), "damaged"),
    "TIFF": (make_request(encode_image(Image.fromarray(PHOTO), "TIFF")), "the command takes it"),
    "bytes": (make_request(PNG.ljust(60_000, b"\0")), "max_MB = 0.05"),
    "pixels": (make_request(encode_image(Image.new("L", (101, 100)), "PNG")), "max_pixels"),
    "bomb": (make_request(make_bombs()["PNG"]), f"{BOMB}x{BOMB}"),
    "output pixels": (make_request(PNG, scale=(11.0, 11.0)), "max_output_pixels"),
    "output size": (make_request(PNG, size=(400, 101)), "max_output_pixels"),
    "smaller": (make_request(PNG, size=(10, 10)), "size"),
    "preset": (make_request(PNG, preset="slow"), "preset"),
    "texture": (make_request(PNG, adversarial=-1.0), "adversarial"),
    "sides": (make_request(PNG, wrap="z"), "wrap"),
    "content": (make_request(PNG, content="art"), "content"),
    "method": (make_request(PNG, method="lancsos"), 'did you mean "lanczos"?'),
    "method's option": (make_request(PNG, method="edsr:depth=3"), "not an option of edsr"),
    "kernel": (make_request(PNG, kernel="/etc/passwd"), "kernel"),
    "kernel file": (with_kernel("../../k.npy", b"no kernel"), "kernel.npy"),
    "kernel kind": (with_kernel("k.exe", b"no kernel"), "kernel.exe"),
    "kernel without a name": (with_kernel("", b"no kernel"), "kernel"),
    "kernel of objects": (
        with_kernel("k.npy", npy(np.array([{}], dtype=object))),
        "kernel.npy",
    ),
    "kernel of nothing": (with_kernel("k.npy", npy(np.zeros((5, 5)))), "kernel"),
    "kernel's suffix": (with_kernel("k." + "y" * 300, b"no kernel"), "kernel"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_fails_with_one_sentence(queue, case):
    request, part = WRONG[case]
    job = run(queue, request)
    assert job.state == "failed"
    assert part in job.error
    assert re.search(r"\S+: \S+", job.error)
    assert "\n" not in job.error
    assert str(queue.folder) not in job.error
    assert job.folder.name not in job.error
    assert "no reason that zssr knows" not in job.error
    assert not job.folder.exists()


def test_longest_name_can_be_written(queue, astronaut):
    tiny = encode_image(Image.fromarray(astronaut[:16, :20]), "PNG")
    job = run(queue, make_request(tiny, "\U00020000" * 300 + ".png"))
    assert job.state == "done", job.error
