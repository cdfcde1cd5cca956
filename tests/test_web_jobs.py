"""Jobs of the page, without a page: what comes of them, in which order, what ends them, and what they leave behind."""

import io
import multiprocessing
import os
import queue
import re
import signal
import stat
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import pytest
from hostile import BOMB, encode_image, make_bombs, make_exif
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from zssr.api import Upscaler
from zssr.config import Config
from zssr.io.limits import Limits
from zssr.io.reading import open_picture
from zssr.web.jobs import Job, Jobs, _Worker
from zssr.web.messages import Glimpse, QueueFullError, ServerLimits, Step, Upload, Wish
from zssr.web.previews import jpeg_of, whole_view

RULES = ServerLimits(max_MB=0.05, max_pixels=100 * 100, max_output_pixels=200 * 200, waiting=2, threads=1)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    with Jobs(RULES, folder) as jobs:
        yield jobs
    assert multiprocessing.active_children() == []


@pytest.fixture
def heard(monkeypatch):
    """All that workers say."""
    heard, hear = [], Job.hear
    monkeypatch.setattr(Job, "hear", lambda job, message: (heard.append(message), hear(job, message)))
    return heard


@pytest.fixture
def small(astronaut):
    """A photo from which something is learnt, in two seconds."""
    return Image.fromarray(astronaut[:32, :32])


@pytest.fixture
def tiny(astronaut):
    """A photo that is only interpolated, at once."""
    return encode_image(Image.fromarray(astronaut[:16, :20]), "PNG")


def wish_of(content, name="a photo.png", **others):
    return Wish(Upload.of(name, content), **({"preset": "fast", "seed": 3} | others))


def done(jobs, wish):
    """Do a job, and return it when it is over."""
    *_, job = jobs.follow(jobs.submit(wish))
    return job


def until(jobs, job, state):
    for now in jobs.follow(job, every=0.02):
        if now.state == state:
            return
    raise AssertionError(f"{job.state}: {job.error}")


@contextmanager
def long_job(jobs, small):
    """A job that works until it is stopped."""
    job = jobs.submit(wish_of(encode_image(small, "PNG"), preset="best"))
    until(jobs, job, "working")
    yield job
    jobs.stop(job)
    until(jobs, job, "stopped")


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_job_makes_what_the_library_makes(jobs, heard, small):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = encode_image(small, "JPEG", exif=make_exif(orientation=1), icc_profile=icc, dpi=(300, 300))
    job = done(jobs, wish_of(content, "C:\\photos\\a b.jpg"))
    assert job.error is None
    expected = io.BytesIO()
    config = Config.preset("fast")
    Upscaler(config).run_file(content, expected, seed=3, keep="colors", suffix=".jpg", name="a b.jpg")
    assert job.outcome.file == "a_b_x2.jpg"
    made = (job.folder / job.outcome.file).read_bytes()
    assert made == expected.getvalue()
    with Image.open(io.BytesIO(made)) as picture:
        assert not picture.getexif()
        assert picture.info["icc_profile"] == icc
        pixels = np.asarray(picture)

    steps = [one for one in heard if isinstance(one, Step)]
    stages = list(dict.fromkeys(step.what for step in steps))
    assert len(stages) > 1
    assert [step.what for step in steps] == sorted((step.what for step in steps), key=stages.index)
    for stage in stages:
        counts = [step.done for step in steps if step.what == stage]
        assert counts == sorted(set(counts))
        assert counts[-1] <= next(step.total for step in steps if step.what == stage)
    assert max(len(step.curves[0]) for step in steps) > 1
    glimpses = [one.jpeg for one in heard if isinstance(one, Glimpse)]
    assert len(glimpses) > 1
    for glimpse in glimpses:
        with Image.open(io.BytesIO(glimpse)) as picture:
            assert picture.format == "JPEG"
    assert heard[-1] is job.outcome

    with Image.open(job.folder / job.outcome.before) as before, Image.open(job.folder / job.outcome.after) as after:
        assert (before.size, after.size) == ((64, 64), (64, 64))
        assert before.info["icc_profile"] == icc
        assert np.abs(np.asarray(after).astype(int) - pixels).mean() < 3
    assert job.outcome.facts["width"] == 64
    assert mode_of(job.folder) == 0o700
    assert entries(job.folder) == ["a_b_x2.jpg", "after.jpg", "before.jpg"]


def test_metadata_are_kept_if_wished(jobs, tiny, astronaut):
    content = encode_image(Image.fromarray(astronaut[:16, :20]), "PNG", exif=make_exif(orientation=1))
    for keep, has in (("colors", False), ("all", True)):
        job = done(jobs, wish_of(content, keep=keep))
        with Image.open(job.folder / job.outcome.file) as picture:
            assert bool(picture.getexif()) is has


def test_piece_is_seen_and_leaves_no_file(jobs, small):
    job = done(jobs, wish_of(encode_image(small, "PNG"), size=(64, 64), preset="best", piece=True))
    assert job.state == "done", job.error
    assert job.outcome.file is None
    assert entries(job.folder) == ["after.jpg", "before.jpg"]
    with Image.open(job.folder / "after.jpg") as after:
        assert after.size == (64, 64)
    assert job.outcome.facts["steps"] == Config.preset("fast").num_epochs


@pytest.mark.parametrize(
    ("height", "width", "corners"), [(24, 30, {(0, 0)}), (100, 130, {(0, 0), (16, 0), (32, 0)}), (96, 200, None)]
)
def test_piece_begins_where_blocks_of_jpeg_do(height, width, corners):
    from zssr.web.worker import _GRID, _PIECE, _piece

    rows, columns = np.indices((height, width))
    view = Image.fromarray(np.stack([rows, columns, rows ^ columns], axis=-1).astype(np.uint8))
    for _ in range(5):
        piece = _piece(view)
        assert piece.size == (min(width, _PIECE), min(height, _PIECE))
        top, left, _ = piece.getpixel((0, 0))
        assert (top % _GRID, left % _GRID) == (0, 0)
        assert corners is None or (left, top) in corners


def test_jobs_come_in_order_and_not_too_many(jobs, small, tiny):
    with long_job(jobs, small) as first:
        second, third = (jobs.submit(wish_of(tiny)) for _ in range(2))
        assert [jobs.before(job) for job in (first, second, third)] == [0, 1, 2]
        assert [job.state for job in (first, second, third)] == ["working", "waiting", "waiting"]
        there = entries(jobs.folder)
        with pytest.raises(QueueFullError, match=r"^2 photos wait already; .+"):
            jobs.submit(wish_of(tiny))
        assert entries(jobs.folder) == there
        assert all(mode_of(job.folder) == 0o700 for job in (first, second, third))
    until(jobs, second, "done")
    assert third.state in ("waiting", "working")
    until(jobs, third, "done")
    assert not first.folder.exists()


def test_stopped_jobs_leave_nothing_and_the_next_is_done(jobs, small, tiny):
    with long_job(jobs, small) as working:
        waiting, last = (jobs.submit(wish_of(tiny)) for _ in range(2))
        jobs.stop(waiting)
        assert (waiting.state, waiting.folder.exists()) == ("stopped", False)
        assert jobs.before(last) == 1
    assert not working.folder.exists()
    until(jobs, last, "done")
    jobs.stop(last)
    assert last.state == "done"
    assert (last.folder / last.outcome.file).is_file()


def test_what_takes_too_long_is_told_and_the_next_is_done(jobs, small, tiny, monkeypatch):
    with monkeypatch.context() as short:
        short.setattr(jobs, "rules", replace(RULES, seconds=0.5))
        job = done(jobs, wish_of(encode_image(small, "PNG"), preset="best"))
    assert (job.state, job.error) == ("failed", "a photo.png: took more than 0.5 seconds, which is the limit")
    assert not job.folder.exists()
    assert done(jobs, wish_of(tiny)).state == "done"


def test_process_that_is_killed_is_told_and_the_next_is_done(jobs, small, tiny, monkeypatch):
    give = _Worker.give

    def kills(worker, job):
        give(worker, job)
        if job.wish.preset == "best":
            until(jobs, job, "working")
            os.kill(worker.process.pid, signal.SIGKILL)

    monkeypatch.setattr(_Worker, "give", kills)
    job = done(jobs, wish_of(encode_image(small, "PNG"), preset="best"))
    assert job.state == "failed"
    assert job.error.startswith("the process that worked on the photo was killed by signal 9")
    assert not job.folder.exists()
    assert done(jobs, wish_of(tiny)).state == "done"


def test_spare_process_that_is_killed_is_replaced(jobs, tiny, monkeypatch):
    spare, make = queue.Queue(), _Worker.__init__

    def makes(worker, rules):
        make(worker, rules)
        spare.put(worker.process)

    monkeypatch.setattr(_Worker, "__init__", makes)
    assert done(jobs, wish_of(tiny)).state == "done"
    process = spare.get(timeout=60)
    os.kill(process.pid, signal.SIGKILL)
    assert wait([process.sentinel], timeout=60)
    job = done(jobs, wish_of(tiny))
    assert job.state == "done", job.error


PHOTO = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
NOISE = np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)
PNG = encode_image(Image.fromarray(PHOTO), "PNG")


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


WRONG = {
    "nothing": (wish_of(b""), "is empty"),
    "text": (wish_of(b"What is this?"), "is not a PNG, JPEG or WebP picture"),
    "page": (wish_of(b"<!DOCTYPE html>"), "is not a PNG, JPEG or WebP picture"),
    "cut": (wish_of(PNG[:-300]), "damaged"),
    "start": (wish_of(PNG[:20]), "damaged"),
    "TIFF": (wish_of(encode_image(Image.fromarray(PHOTO), "TIFF")), "is not a PNG, JPEG or WebP picture"),
    "BMP": (wish_of(encode_image(Image.fromarray(PHOTO), "BMP")), "is not a PNG, JPEG or WebP picture"),
    "GIF": (wish_of(encode_image(Image.fromarray(PHOTO), "GIF")), "is not a PNG, JPEG or WebP picture"),
    "bytes": (wish_of(PNG.ljust(60_000, b"\0")), "max_MB = 0.05"),
    "pixels": (wish_of(encode_image(Image.new("L", (101, 100)), "PNG")), "max_pixels"),
    "bomb": (wish_of(make_bombs()["PNG"]), f"{BOMB}x{BOMB}"),
    "output pixels": (wish_of(PNG, scale=(11.0, 11.0)), "max_output_pixels"),
    "output size": (wish_of(PNG, size=(400, 101)), "max_output_pixels"),
    "smaller": (wish_of(PNG, size=(10, 10)), "size"),
    "no number": (wish_of(PNG, scale=(float("nan"), 2.0)), "scale"),
    "preset": (wish_of(PNG, preset="slow"), "preset"),
    "texture": (wish_of(PNG, adversarial=-1.0), "adversarial"),
    "seed": (wish_of(PNG, seed=10**30), "seed"),
    "kernel": (wish_of(PNG, kernel="/etc/passwd"), "kernel"),
    "kernel file": (wish_of(PNG, kernel=Upload.of("../../k.npy", b"no kernel")), "kernel.npy"),
    "kernel kind": (wish_of(PNG, kernel=Upload.of("k.exe", b"no kernel")), "kernel.exe"),
    "kernel without a name": (wish_of(PNG, kernel=Upload.of("", b"no kernel")), "kernel"),
    "kernel of objects": (wish_of(PNG, kernel=Upload.of("k.npy", npy(np.array([{}], dtype=object)))), "kernel.npy"),
    "kernel of nothing": (wish_of(PNG, kernel=Upload.of("k.npy", npy(np.zeros((5, 5))))), "kernel"),
    "kernel's suffix": (wish_of(PNG, kernel=Upload.of("k." + "y" * 300, b"no kernel")), "kernel"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_one_sentence(jobs, case):
    wish, part = WRONG[case]
    job = done(jobs, wish)
    assert job.state == "failed"
    assert part in job.error
    assert re.search(r"\S+: \S+", job.error)
    assert "\n" not in job.error
    assert str(jobs.folder) not in job.error
    assert job.key not in job.error
    assert "no reason that zssr knows" not in job.error
    assert not job.folder.exists()


@given(name=st.text(max_size=200), start=st.sampled_from(["", "../", "..\\", "/etc/", "C:\\", ".", "\0", "con\n"]))
def test_names_are_harmless(name, start):
    for given_name in (start + name, name + start):
        upload = Upload.of(given_name, PNG)
        assert 0 < len(upload.name) <= 50
        assert upload.name.isprintable()
        assert not set(upload.name) & set("/\\")
        for wish in (Wish(upload), Wish(upload, scale=(1.5, 2.5)), Wish(upload, size=(30, 40))):
            output = wish.output
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
    assert Wish(Upload.of(name, PNG)).output == output


def test_longest_odd_name_can_be_written(jobs, tiny):
    job = done(jobs, wish_of(tiny, "\U00020000" * 300 + ".png"))
    assert job.state == "done", job.error


def age(*paths):
    for path in paths:
        os.utime(path, (1, 1), follow_symlinks=False)


def test_what_is_old_goes_and_what_is_in_use_stays(jobs, small, tiny, tmp_path, monkeypatch):
    finished = done(jobs, wish_of(tiny))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    page = jobs.folder / "page"
    (page / "upload").mkdir(parents=True)
    for name in ("old", "new"):
        (page / "upload" / name).touch()
    (page / "link").symlink_to(tmp_path / "elsewhere")
    age(*finished.folder.iterdir(), finished.folder, page / "upload" / "old", page / "link", tmp_path / "elsewhere")
    age(tmp_path / "elsewhere" / "file")
    with long_job(jobs, small) as working:
        waiting = jobs.submit(wish_of(tiny))
        age(working.folder, waiting.folder)
        monkeypatch.setattr(jobs, "rules", replace(RULES, kept=300.0))
        monkeypatch.setattr("zssr.web.jobs._TIDYING", 0.05)
        follow = jobs.follow(working, every=0.05)
        assert any(not finished.folder.exists() for _, _ in zip(range(200), follow, strict=False))
        assert working.folder.exists()
        assert waiting.folder.exists()
        assert entries(page) == ["upload"]
        assert entries(page / "upload") == ["new"]
        assert (tmp_path / "elsewhere" / "file").exists()
    until(jobs, waiting, "done")


def test_nothing_is_left_at_the_end(small, tiny, tmp_path):
    (tmp_path / "jobs").mkdir()
    with Jobs(RULES, tmp_path / "jobs") as jobs:
        working, waiting = (jobs.submit(wish_of(encode_image(small, "PNG"), preset="best")) for _ in range(2))
        until(jobs, working, "working")
    assert [working.state, waiting.state] == ["stopped", "stopped"]
    assert entries(tmp_path / "jobs") == []
    assert not jobs._thread.is_alive()
    with pytest.raises(QueueFullError, match="about to end"):
        jobs.submit(wish_of(tiny))


def pictures():
    """Files of each mode that a page takes, by name, with what Pillow makes of them."""
    draws = np.random.default_rng(0)
    gray, rgb, alpha = (draws.integers(0, 256, (9, 11, count), np.uint8) for count in (1, 3, 1))
    deep = draws.integers(0, 65536, (9, 11), np.uint16)
    modes = {
        "bilevel": Image.fromarray(gray[..., 0]).convert("1"),
        "gray": Image.fromarray(gray[..., 0]),
        "gray and alpha": Image.fromarray(np.concatenate([gray, alpha], axis=-1)),
        "palette": Image.fromarray(rgb).quantize(9),
        "rgb": Image.fromarray(rgb),
        "rgba": Image.fromarray(np.concatenate([rgb, alpha], axis=-1)),
    }
    found = {f"PNG, {name}": encode_image(image, "PNG") for name, image in modes.items()}
    found |= {
        "PNG, palette and alpha": encode_image(modes["palette"], "PNG", transparency=3),
        "PNG, 16 bits": encode_image(Image.fromarray(deep), "PNG"),
        "PNG, turned": encode_image(modes["rgb"], "PNG", exif=make_exif(6)),
        "JPEG, gray": encode_image(modes["gray"], "JPEG"),
        "JPEG, rgb": encode_image(modes["rgb"], "JPEG"),
        "JPEG, cmyk": encode_image(modes["rgb"].convert("CMYK"), "JPEG"),
        "WebP, rgb": encode_image(modes["rgb"], "WEBP"),
        "WebP, rgba": encode_image(modes["rgba"], "WEBP", lossless=True, exact=True),
    }
    return found


@pytest.mark.parametrize("case", pictures())
def test_views_look_as_pillow_shows_them(case):
    from PIL import ImageOps

    content = pictures()[case]
    with Image.open(io.BytesIO(content)) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) / 256).astype(np.uint8))
    expected = image.convert("RGBA" if image.has_transparency_data else "RGB")
    with open_picture(content, Limits()) as picture:
        view = whole_view(picture)
    assert view.mode == expected.mode
    np.testing.assert_array_equal(np.asarray(view), np.asarray(expected))
    with Image.open(io.BytesIO(jpeg_of(view))) as shown:
        assert (shown.format, shown.mode, shown.size) == ("JPEG", "RGB", view.size)


def test_transparent_lies_on_a_checkered_ground():
    with Image.open(io.BytesIO(jpeg_of(Image.new("RGBA", (32, 24), (255, 0, 0, 0))))) as shown:
        fields = np.asarray(shown).reshape(3, 8, 4, 8, 3).astype(int)
    assert np.ptp(fields, axis=(1, 3, 4)).max() <= 2
    means = fields.mean(axis=(1, 3, 4)).round()
    assert set(np.unique(means)) == {204.0, 255.0}
    assert (means[:-1] != means[1:]).all()
    assert (means[:, :-1] != means[:, 1:]).all()
    opaque = Image.new("RGBA", (32, 24), (200, 100, 50, 255))
    with Image.open(io.BytesIO(jpeg_of(opaque))) as shown:
        assert np.abs(np.asarray(shown).astype(int) - (200, 100, 50)).max() <= 2
