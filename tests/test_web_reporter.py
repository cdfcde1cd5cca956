"""Progress of the page's jobs: messages that are sent, the time left, and the HTML that shows them."""

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from zssr.config import Config
from zssr.io.picture import PixelFormat
from zssr.progress import ProgressEvent, Stage
from zssr.request import Request
from zssr.web.jobs import Job
from zssr.web.messages import ErrorEvent, JobRequest, PreviewMessage, ProgressMessage, Upload
from zssr.web.render import render_details, render_preview, render_state
from zssr.web.reporter import ProgressReporter

RGB = PixelFormat("rgb", 3, np.dtype(np.uint8))


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still, unless it is set."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    return clock


@pytest.fixture
def job(tmp_path):
    return Job(JobRequest(Upload("a.png", b""), Request()), tmp_path)


def report_steps(clock, config, stage, total, times, **others):
    """Report one step at each of these times; return the messages."""
    messages = []
    reporter = ProgressReporter(messages.append, config, (10, 10), RGB)
    for done, seconds in enumerate(times, 1):
        clock[0] = 1000.0 + seconds
        reporter(ProgressEvent(stage, done, total, 2.0, **others))
    return messages


def test_progress_is_sent_five_times_a_second_and_at_the_end(clock):
    messages = report_steps(clock, Config(), Stage.APPLY, 100, np.arange(100) / 50)
    counts = [message.event.done for message in messages]
    assert counts[0] == 1
    assert counts[-1] == 100
    assert 8 <= len(counts) <= 12


def test_time_left_follows_from_the_time_spent(clock):
    for config, stage, total, left in [
        (Config(), Stage.APPLY, 40, 30.0),
        (Config.preset("fast"), Stage.TRAIN, 20, 10.0),
    ]:
        messages = report_steps(clock, config, stage, total, np.arange(11))
        assert messages[0].seconds_left is None
        assert messages[9].seconds_left == pytest.approx(left, rel=0.15)


def test_time_left_of_training_that_ends_by_itself_is_not_that_of_all_its_steps(clock):
    message = report_steps(clock, Config(lr_schedule="slope"), Stage.TRAIN, 4000, np.arange(11))[-1]
    assert 0 < message.seconds_left < 2000


def test_curves_are_thinned_and_previews_are_jpeg_files(clock):
    preview = torch.full((3, 20, 24), 100, dtype=torch.uint8)
    losses, rates = [float(k) for k in range(6000)], [1.0] * 6001
    messages = report_steps(
        clock, Config(), Stage.TRAIN, 9000, (0, 0.5, 2), losses=losses, learning_rates=rates, preview=lambda: preview
    )
    kinds = [type(message) for message in messages]
    assert kinds == [PreviewMessage, ProgressMessage, ProgressMessage, PreviewMessage, ProgressMessage]
    event = messages[1].event
    assert event.preview is None
    np.testing.assert_allclose(event.losses, np.arange(6000).reshape(60, 100).mean(axis=1))
    assert list(event.learning_rates) == [1.0] * 60
    with Image.open(io.BytesIO(messages[0].jpeg)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (24, 20))


def test_states_are_sentences(job):
    assert "Waiting: 1 photo comes before yours" in render_state(job, 1)
    assert "Waiting: 3 photos come before yours" in render_state(job, 3)
    job.state = "running"
    assert "Reading the photo" in render_state(job, 0)
    for event, left, sentence in [
        (ProgressEvent(Stage.TRAIN, 7, 100, 2.0, [0.1, 0.05], [1e-3, 1e-3]), None, "Training x2: step 7"),
        (ProgressEvent(Stage.TEXTURE, 3, 4, 3.0), 5.0, "Training the texture of x3: 3 of 4, about 5 s left"),
        (ProgressEvent(Stage.APPLY, 1, 4, 1.5), 150.0, "Upscaling x1.5: 1 of 4, about 2 min left"),
    ]:
        job.update(ProgressMessage(event, left))
        html = render_state(job, 0)
        assert f">{sentence}<" in html
        assert html.count("<polyline") == (2 if event.losses else 0)
        assert ("value=" in html) is (event.stage is not Stage.TRAIN)
        for coordinates in re.findall(r'points="([^"]*)"', html):
            assert all(0 <= float(number) <= 300 for number in re.split(r"[ ,]", coordinates))
    job.update(PreviewMessage(b"jpeg"))
    assert "data:image/jpeg;base64,anBlZw==" in render_preview(job)


def test_errors_and_facts_are_escaped(job):
    job.update(ErrorEvent("<b>.png: is damaged"))
    assert "&lt;b&gt;.png: is damaged" in render_state(job, 0)
    facts = {"width": 4, "height": 6, "assumed": "<i>", "reason": None, "expected_gain": 1.26, "steps": 5}
    facts |= {"seconds": 72.0, "device": "cpu", "seed": 3, "warnings": ["<u>"], "kernel": [[0.25, 0.75]]}
    html = render_details(facts)
    assert "&lt;i&gt;" in html
    assert "&lt;u&gt;" in html
    assert "4 x 6 pixels" in html
    assert "+1.3 dB" in html
    assert html.count("<rect") == 2


@pytest.mark.parametrize(("steps", "work"), [(5, "5 steps in"), (0, "no training, in"), (None, "all frames in")])
def test_details_say_what_was_done(steps, work):
    facts = {"width": 4, "height": 6, "assumed": "bicubic", "reason": None, "expected_gain": None, "steps": steps}
    assert f"{work} 72 s" in render_details(
        facts | {"seconds": 72.0, "device": "cpu", "seed": 3, "warnings": [], "kernel": None}
    )
