"""A served page in a process of its own, and a client that calls it as programs do."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
from helpers import wait_until

PATIENCE = 120


class Server:
    """The page, served to this machine, with its temporary folder below `folder`."""

    def __init__(self, folder, *options):
        self.folder, self.log = folder / "tmp", folder / "stderr"
        self.folder.mkdir()
        command = [sys.executable, "-m", "zssr", "serve", "--port", "0", "--threads", "1", *options]
        with self.log.open("w") as log:
            environment = os.environ | {"TMPDIR": str(self.folder)}
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)
        self.address = wait_until(lambda: self.read_log().partition("zssr: open ")[2].partition(" ")[0])
        self.client = httpx.Client(base_url=self.address, timeout=PATIENCE, trust_env=False)

    def read_log(self):
        text = self.log.read_text()
        assert self.process.poll() is None or "zssr: open" in text, text
        return text

    def private_folder(self):
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
        wait_until(lambda: not any(Path(f"/proc/{one}").exists() for one in below))
        return code

    def upload(self, name, content):
        """Upload a file as the documented command does, and return what the endpoints take for it."""
        answer = self.client.post("/gradio_api/upload", files={"files": (name, content)})
        assert answer.status_code == 200, answer.text
        return {"path": answer.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def call(self, endpoint, *data):
        """Call an endpoint; return "complete" or "error", and what comes with it."""
        answer = self.client.post(f"/gradio_api/call/{endpoint}", json={"data": data})
        assert answer.status_code == 200, answer.text
        return self.result(endpoint, answer.json()["event_id"])

    def result(self, endpoint, event):
        """Wait for the end of a call, and return the same."""
        answer = self.client.get(f"/gradio_api/call/{endpoint}/{event}")
        assert answer.status_code == 200
        assert "Traceback" not in answer.text
        *_, last = [part for part in answer.text.split("\n\n") if part and "event: heartbeat" not in part]
        event, data = last.splitlines()[:2]
        return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    def enlarge(self, photo, **others):
        """Call the endpoint for files."""
        return self.call("enlarge", *list_answers(photo, **others))

    def fetch(self, file):
        """Download a file that an endpoint has returned."""
        answer = self.client.get(f"/gradio_api/file={file['path']}")
        assert answer.status_code == 200
        return answer.content


def list_answers(photo, **others):
    """The parameters of the endpoint for files: quick ones, if nothing else is asked for."""
    answers = {"scale": "2", "width": None, "height": None, "preset": "fast", "adversarial": 0, "kernel": "auto"}
    more = {"kernel_file": None, "seed": 3, "keep": False, "wrap": "off", "content": "auto", "method": "zssr"}
    return [photo, *(answers | more | others).values()]


@contextmanager
def serving(folder, *options):
    server = Server(folder, *options)
    try:
        yield server
    finally:
        server.client.close()
        server.process.kill()
        server.process.wait()
