"""The private folder of the server."""

import os
import subprocess
import tempfile

import pytest

from zssr.web.storage import count_bytes, private_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_folder_is_private_and_removed_at_the_end(tmp_path):
    with private_folder() as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o77 == 0
        (folder / "job").mkdir()
        (folder / "job" / "file").write_bytes(bytes(100))
        (folder / "file").write_bytes(bytes(20))
        assert count_bytes(folder) == 120
    assert not folder.exists()


def test_folders_of_ended_servers_are_removed(tmp_path):
    with subprocess.Popen(["true"]) as ended:  # noqa: S607
        ended.wait()
    for name in (f"zssr-page-{ended.pid}-a", f"zssr-page-{os.getppid()}-b", "zssr-page-c", "other"):
        (tmp_path / name).mkdir()
    with private_folder() as folder:
        left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"zssr-page-{os.getppid()}-b", "zssr-page-c", "other", folder.name}
