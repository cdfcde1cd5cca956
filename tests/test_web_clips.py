"""Clips on the page: upscaled within its limits, with one sentence for what is not."""

import pytest
from clips import make_clip, read_facts

from zssr.request import Request
from zssr.web.jobs import JobQueue
from zssr.web.messages import JobRequest, ServerLimits, Upload

pytestmark = pytest.mark.web


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    with JobQueue(ServerLimits(max_frames=10, threads=1), tmp_path_factory.mktemp("jobs")) as queue:
        yield queue


def run(queue, path, **others):
    upload = Upload.sanitize(path.name, path.read_bytes())
    request = JobRequest(upload, Request(2.0), preset="fast", method="bicubic", **others)
    *_, job = queue.follow(queue.submit(request))
    return job


def test_a_clip_is_upscaled(queue, tmp_path):
    clip = make_clip(tmp_path / "a clip.mp4", 5, sound="aac")
    job = run(queue, clip)
    assert job.error is None
    assert job.result.file == "a_clip_x2.mp4"
    assert read_facts(job.folder / job.result.file) == read_facts(clip)
    assert (job.result.facts["width"], job.result.facts["height"]) == (96, 64)
    assert all((job.folder / name).exists() for name in (job.result.before, job.result.after))


def test_what_is_tried_of_a_clip_is_no_file(queue, tmp_path):
    assert run(queue, make_clip(tmp_path / "clip.mp4", 5), crop_only=True).result.file is None


def test_clips_beyond_the_limits_and_playlists_are_refused(queue, tmp_path):
    assert "has 12 frames, more than max_frames = 10" in run(queue, make_clip(tmp_path / "long.mp4", 12)).error
    playlist = tmp_path / "playlist.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nlong.mp4\n#EXT-X-ENDLIST\n")
    assert run(queue, playlist).error.endswith("is damaged, or not a video")
