import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zssr.cli.plan import plan_tasks
from zssr.cli.report import Report, summarize
from zssr.errors import ConfigError
from zssr.io.formats import READABLE_SUFFIXES
from zssr.progress import format_duration
from zssr.request import Request

NAMES = (
    "a.png",
    "a.jpg",
    "a.gif",
    "b.PNG",
    "a_x2.png",
    "b_x2.PNG",
    "a_x2_x2.png",
    "note.txt",
    ".hidden.png",
    "a_x2.jpg",
)


def outputs_of(tasks):
    return [str(task.output) for task in tasks]


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


@pytest.mark.fuzz
@settings(deadline=None, max_examples=200)
@given(
    st.sets(st.tuples(st.sampled_from(("", "sub", "sub/deep")), st.sampled_from(NAMES)), min_size=1),
    st.sampled_from([None, "out/", "in", "in/sub"]),
    st.sampled_from([None, ".png"]),
    st.booleans(),
    st.sampled_from(["keep", "skip", "replace"]),
)
def test_no_plan_loses_or_overwrites_a_picture(files, output, suffix, recursive, existing):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "in"
        touch(root, *(f"{folder}/{name}" if folder else name for folder, name in files))
        if output == "in/sub" and not (root / "sub").is_dir():
            output = "in/sub/"
        target = output and f"{place}/{output}"
        before = sorted(Path(place).rglob("*"))
        try:
            tasks = plan_tasks([str(root)], target, "x2", suffix=suffix, recursive=recursive, existing=existing)
        except ConfigError:
            return
        finally:
            assert sorted(Path(place).rglob("*")) == before
        targets = [task.output for task in tasks if task.output]
        assert len(targets) == len(set(targets))
        for task in tasks:
            assert task.output is None or task.output not in {t.source for t in tasks if t is not task}
            if task.is_pending:
                assert existing == "replace" or not task.output.exists()
                folder = task.source.parent.relative_to(root)
                assert task.output.parent == (task.source.parent if target is None else Path(target) / folder)
        if not recursive:
            assert all(task.source.parent == root for task in tasks if task.error is None)
        found = {path for path in root.rglob("*") if path.suffix.lower() in READABLE_SUFFIXES and path.name[0] != "."}
        found = {path for path in found if recursive or path.parent == root}
        taken = {task.source for task in tasks}
        assert all(path in taken or path in targets or "_x2" in path.name for path in found)


def test_tree_is_kept_and_earlier_outputs_are_no_inputs(tmp_path):
    touch(tmp_path / "in", "a.png", "sub/a.png", "sub/b.gif", "a_x2.png", "own_x2.png", ".thumbs/t.png")
    tasks = plan_tasks([str(tmp_path / "in")], None, "x2", recursive=True, existing="skip")
    assert [task.source.name for task in tasks if task.is_pending] == ["own_x2.png", "a.png", "b.gif"]
    assert [task.source.name for task in tasks if task.is_skipped] == ["a.png"]
    tasks = plan_tasks([str(tmp_path / "in")], str(tmp_path / "new"), "x2", recursive=True)
    tree = ["a_x2.png", "a_x2_x2.png", "own_x2_x2.png", "sub/a_x2.png", "sub/b_x2.png"]
    assert outputs_of(tasks) == [str(tmp_path / "new" / name) for name in tree]
    assert len(plan_tasks([str(tmp_path / "in")], None, "x2")) == 2


@pytest.mark.parametrize(
    ("inputs", "output", "words"),
    [
        (["a.png", "b.png"], "c.png", "is not a folder"),
        (["sub"], "a.png", "is not a folder"),
        (["sub"], "new.png", "is not a folder"),
        (["a.png", "b.png"], "-", "one stream"),
        (["-", "-"], None, "only once"),
        (["a.png", "sub/a.png"], "sub", "several inputs"),
        (["a.png", "./a.png"], None, "several inputs"),
        (["a.png", "a_x2.png"], None, "overwritten"),
        (["a.png", "link.png"], None, "overwritten"),
    ],
)
def test_clashing_outputs_are_wrong_usage(tmp_path, monkeypatch, inputs, output, words):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.png", "b.png", "a_x2.png", "sub/a.png")
    (tmp_path / "link.png").symlink_to("a_x2.png")
    with pytest.raises(ConfigError, match=words):
        plan_tasks(inputs, output, "x2", existing="replace")


@pytest.mark.parametrize(
    ("given", "output", "words"),
    [
        ("a.png", None, "exists already; --overwrite"),
        ("b.png", "sub", None),
        ("b.png", "new/", None),
        ("b.png", "new/deep/b.png", "its folder does not exist"),
        ("b.png", "a.png/", "is not a folder, but|a.png: exists|not a folder"),
        ("b.png", "b.gif", "format"),
        ("sub/none", None, "no such file"),
        ("empty", None, "holds no pictures"),
        ("\0", None, "no such file"),
        ("/dev/null", "x.png", "is not a file"),
    ],
)
def test_errors_are_found_before_work(tmp_path, monkeypatch, given, output, words):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.png", "b.png", "a_x2.png", "sub/a.png")
    (tmp_path / "empty").mkdir()
    (task,) = plan_tasks([given], output, "x2")
    if words is None:
        assert task.is_pending
        assert task.makes_folder
    else:
        assert any(word in task.error for word in words.split("|"))


def test_unwritable_folders_are_found_before_work(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "shut/b")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path / "shut")  # root may write everywhere
    for output, words in (("shut", "no permission"), ("shut/new/", "no permission"), ("open/", None)):
        (task,) = plan_tasks([str(tmp_path / "a.png")], f"{tmp_path}/{output}", "x2")
        assert words in task.error if words else task.is_pending


def test_streams_have_no_output_path():
    (task,) = plan_tasks(["-"], None, "x2")
    assert (task.name, task.source, task.output, task.suffix) == ("stdin", None, None, None)
    (task,) = plan_tasks(["-"], "-", "x2", suffix=".tif")
    assert task.suffix == ".tif"
    assert outputs_of(plan_tasks(["-"], "out.png", "x2")) == ["out.png"]
    with pytest.raises(ConfigError, match="--format"):
        plan_tasks(["-"], "out.png", "x2", suffix=".tif")


@pytest.mark.parametrize(
    ("scale", "size", "suffix"),
    [(2, None, "x2"), ((1.5, 2), None, "x2x1.5"), (2, (9, 8), "8x9")],
)
def test_scale_suffix_is_horizontal_before_vertical(scale, size, suffix):
    assert Request(scale, size).suffix == suffix


def test_durations_are_rounded_to_what_matters():
    texts = {0.4: "0 s", 99: "99 s", 100: "2 min", 5999: "1 h 40 min", 6000: "1 h 40 min"}
    assert {seconds: format_duration(seconds) for seconds in texts} == texts


def test_summary_counts_each_task_once(tmp_path):
    touch(tmp_path, "a.png", "b.png", "c.png")
    tasks = plan_tasks([str(tmp_path)], None, "x2")
    summary = summarize(tasks, [Report.failure(tasks[1], "b.png: is bad"), Report(tasks[0], "done")], 3)
    assert summary.splitlines() == [
        "done          1",
        "failed        1",
        "not done      1",
        "in 3 s",
        "failed: b.png: is bad",
    ]
