"""A served page in a process of its own, and how programs talk to it."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

PATIENCE = 120


class Server:
    """The page, served to this machine, with its temporary folder below `folder`."""

    def __init__(self, folder, *options):
        self.folder, self.log = folder / "tmp", folder / "stderr"
        self.folder.mkdir()
        command = [sys.executable, "-m", "zssr", "serve", "--port", "0", "--threads", "1", *options]
        with self.log.open("w") as log:
            others = {"TMPDIR": str(self.folder)}
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=os.environ | others)
        self.address = until(lambda: self.said().partition("zssr: open ")[2].partition(" ")[0])
        self.client = httpx.Client(base_url=self.address, timeout=PATIENCE, trust_env=False)

    def said(self):
        text = self.log.read_text()
        assert self.process.poll() is None or "open" in text, text
        return text

    def private(self):
        """The folder of all that it stores."""
        (folder,) = self.folder.glob("zssr-page-*")
        return folder

    def memory(self):
        """MB that its process takes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1000

    def descendants(self):
        """The processes below it, which stay its own while it lives."""
        parents = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
        found = [self.process.pid]
        for one in found:
            found += [child for child, parent in parents.items() if parent == one]
        return found[1:]

    def end(self, number):
        """Send a signal; return the exit code when all of its processes are gone."""
        below = self.descendants()
        self.client.close()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        until(lambda: not any(Path(f"/proc/{one}").exists() for one in below))
        return code

    def uploaded(self, name, content):
        """Upload a file as the documented command does, and return what the page asks for."""
        answer = self.client.post("/gradio_api/upload", files={"files": (name, content)})
        assert answer.status_code == 200, answer.text
        return {"path": answer.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def called(self, endpoint, *data):
        """Call an endpoint; return "complete" or "error", and what came with it."""
        answer = self.client.post(f"/gradio_api/call/{endpoint}", json={"data": data})
        assert answer.status_code == 200, answer.text
        return self.result(endpoint, answer.json()["event_id"])

    def result(self, endpoint, event):
        answer = self.client.get(f"/gradio_api/call/{endpoint}/{event}")
        assert answer.status_code == 200
        assert "Traceback" not in answer.text
        *_, last = [part for part in answer.text.split("\n\n") if part and "event: heartbeat" not in part]
        what, data = last.splitlines()[:2]
        return what.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    def enlarged(self, photo, **others):
        """Call the endpoint for files: quickly, if nothing else is asked for."""
        asked = {"scale": "2", "width": None, "height": None, "preset": "fast", "adversarial": 0, "kernel": "auto"}
        asked |= {"kernel_file": None, "seed": 3, "keep": False} | others
        return self.called("enlarge", photo, *asked.values())


@contextmanager
def serving(folder, *options):
    server = Server(folder, *options)
    try:
        yield server
    finally:
        server.client.close()
        server.process.kill()
        server.process.wait()


def until(told):
    """Ask until something is told, and return it."""
    for _ in range(PATIENCE * 10):
        if answer := told():
            return answer
        time.sleep(0.1)
    raise AssertionError("it does not come")
