"""Progress bars: in words, on terminals only, and gone at the end."""

import logging
import sys
from pathlib import Path

import pytest

from zssr.cli.plan import Task
from zssr.cli.progress_bars import ProgressBars, describe
from zssr.progress import ProgressEvent, Stage


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage.TRAIN, "training x1.5"),
        (Stage.TEXTURE, "training texture"),
        (Stage.APPLY, "applying x1.5"),
        (Stage.SCAN, "looking at all frames"),
        (Stage.FRAMES, "upscaling x1.5"),
    ],
)
def test_progress_is_described_in_words(stage, words):
    assert describe(ProgressEvent(stage, 1, 2, 1.5)) == words


def show_two_pictures(*, hidden):
    """Show some progress of two pictures at once; the second ends."""
    with ProgressBars(2, hidden=hidden) as bars:
        for slot, name in enumerate(("a.png", "b.png")):
            for stage in (Stage.TRAIN, Stage.APPLY):
                bars.show(slot, name, ProgressEvent(stage, 3, 10, 2.0))
        logging.getLogger("zssr").warning("beside the bars")
        with bars.paused():
            sys.stderr.write("b.png is done\n")
        bars.finish(Task("b.png", Path("b.png"), None))


def test_terminal_gets_a_bar_for_each_picture_and_one_for_the_batch(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show_two_pictures(hidden=False)
    err = capsys.readouterr().err
    for text in ("all pictures 0/2", "a.png: training x2", "a.png: applying x2", "b.png: applying x2", "b.png is done"):
        assert text in err
    last = err.replace("\x1b[A", "").split("\r")[-1]
    assert last.strip() == ""  # the bars are cleared


@pytest.mark.parametrize("is_terminal", [False, True])
def test_no_bar_is_shown_where_there_is_no_terminal_or_it_is_hidden(monkeypatch, capsys, is_terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    show_two_pictures(hidden=is_terminal)
    err = capsys.readouterr().err
    assert "b.png is done" in err
    assert "training" not in err


def test_lines_at_times_where_there_is_no_terminal(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr("zssr.cli.progress_bars.time.monotonic", lambda: now)
    with ProgressBars(2, hidden=False) as bars:
        for now in (1.0, 29.0, 30.0, 31.0, 59.0, 61.0):
            bars.show(0, "a.png", ProgressEvent(Stage.TRAIN, int(now), 100, 2.0))
        bars.finish(Task("a.png", Path("a.png"), None))
        now = 200.0
        bars.show(0, "b.png", ProgressEvent(Stage.APPLY, 0, 0, 2.0))
    assert capsys.readouterr().err.splitlines() == [
        "zssr: a.png: training x2, 30 % (0 of 2 pictures are finished)",
        "zssr: a.png: training x2, 61 % (0 of 2 pictures are finished)",
        "zssr: b.png: applying x2, 0 % (1 of 2 pictures are finished)",
    ]
    with ProgressBars(1, hidden=True) as bars:
        now = 400.0
        bars.show(0, "a.png", ProgressEvent(Stage.TRAIN, 1, 2, 2.0))
    assert capsys.readouterr().err == ""


def test_lines_about_videos_tell_frames_a_second_and_the_time_left(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr("zssr.cli.progress_bars.time.monotonic", lambda: now)
    with ProgressBars(1, hidden=False) as bars:
        for now in (1.0, 41.0):
            bars.show(0, "a.mp4", ProgressEvent(Stage.FRAMES, int(2 * now), 100, 2.0))
    assert capsys.readouterr().err == "zssr: a.mp4: upscaling x2, 82 %, 2.00 frames/s, 9 s left\n"


def test_bars_of_videos_count_frames(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with ProgressBars(1, hidden=False) as bars:
        bars.show(0, "a.mp4", ProgressEvent(Stage.FRAMES, 3, 10, 2.0))
    assert "a.mp4: upscaling x2 0/10 frames, ? frames/s" in capsys.readouterr().err
