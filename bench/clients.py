"""Clients of a server of predictions: `wrk`, which asks again as soon as it has an answer, and one that asks at fixed
times, whether or not earlier requests are answered.

The second one runs in a process of its own: `python -m bench.clients PORT FILE RATE SECONDS` sends the bytes of a whole
request again and again. What a request took counts from the time when it was due: a server that stalls delays all that
come meanwhile, and a client that waits for it would not notice (coordinated omission).
"""

from __future__ import annotations

import re
import select
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import msgspec
from msgspec import Struct

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 64
_SPIN_S = 0.000_2
"""For how long before a request is due the client looks again and again: the kernel may wake it so much later."""
_PATIENCE_S = 60.0
_READ_BYTES = 1 << 16
_LUA = """\
wrk.method = "POST"
wrk.body = io.open("{body}", "rb"):read("*a")
wrk.headers["Content-Type"] = "{kind}"
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.stderr:write(string.format('{{"count": %d, "failed": %d, "seconds": %f, "p50_s": %f, "p99_s": %f}}\\n',
    summary.requests, failed, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
"""
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class Heard(Struct, frozen=True, kw_only=True):
    """What clients heard: how many requests were answered, how many failed, in how many seconds, and what half and 99
    of 100 took at most. `changes` has the version of the first answer, and each one that differs from that of the
    answer before it, with the time in Unix seconds."""

    count: int
    failed: int
    seconds: float
    p50_s: float
    p99_s: float
    changes: tuple[tuple[float, str], ...] = ()

    @property
    def rate(self) -> float:
        """Return how many requests were answered in a second."""
        return self.count / self.seconds


def wrk(url: str, body: Path, kind: str, *, connections: int, seconds: float, core: int) -> Heard:
    """Ask by `wrk`, on this core, with these bytes of this content type.

    Raises:
        OSError: `wrk` isn't installed, or failed.
    """
    script = body.with_suffix(".lua")
    script.write_text(_LUA.format(body=body, kind=kind))
    words = [
        "taskset",
        "-c",
        str(core),
        "wrk",
        "-t",
        "1",
        "-c",
        str(connections),
        "-d",
        f"{seconds:g}s",
        "--timeout",
        "60s",
    ]
    done = subprocess.run([*words, "-s", str(script), url], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"wrk failed (apt-get install wrk): {done.stderr[-500:]}")
    return msgspec.json.decode(done.stderr.splitlines()[-1], type=Heard)


def request(path: str, body: bytes, kind: str) -> bytes:
    """Return a whole request to a server on this host."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def arriving(port: int, sent: Path, rate: float, seconds: float, *, core: int) -> subprocess.Popen[str]:
    """Start a client that sends the request in a file so many times a second. See `heard`."""
    words = [sys.executable, "-m", "bench.clients", str(port), str(sent), f"{rate:g}", f"{seconds:g}"]
    return subprocess.Popen(["taskset", "-c", str(core), *words], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def heard(client: subprocess.Popen[str]) -> Heard:
    """Wait for a client's end, and return what it heard.

    Raises:
        OSError: it failed.
    """
    out, _ = client.communicate()
    if client.returncode:
        raise OSError("the client failed")
    return msgspec.json.decode(out, type=Heard)


class _Line:
    """A connection that asks one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._came = b""

    def ask(self, data: bytes, due: float) -> None:
        self.due, self._came = due, b""
        self.socket.sendall(data)

    def answer(self) -> bytes | None:
        """Read what is there; return the answer once it is whole."""
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise OSError("the server has closed the connection")
        self._came += data
        end = self._came.find(b"\r\n\r\n")
        if end < 0:
            return None
        length = _LENGTH.search(self._came, 0, end + 2)
        assert length is not None
        return self._came if len(self._came) >= end + 4 + int(length[1]) else None


class _Arrivals:
    """Requests at fixed times. One that no connection is free for waits, and this time counts too."""

    def __init__(self, port: int, data: bytes) -> None:
        self._data = data
        self._free = deque(_Line(port) for _ in range(CONNECTIONS))
        self._busy: dict[socket.socket, _Line] = {}
        self._waiting: deque[float] = deque()
        self._changes: list[tuple[float, str]] = []
        self._took: list[float] = []
        self._failed = 0

    def run(self, rate: float, seconds: float) -> Heard:
        began = time.perf_counter()
        count, sent = round(rate * seconds), 0
        while len(self._took) < count:
            now = time.perf_counter()
            while sent < count and (due := began + sent / rate) <= now:
                self._waiting.append(due)
                sent += 1
            while self._waiting and self._free:
                line = self._free.popleft()
                self._busy[line.socket] = line
                line.ask(self._data, self._waiting.popleft())
            pause = began + sent / rate - time.perf_counter() - _SPIN_S if sent < count else _PATIENCE_S
            self._hear(max(0.0, pause))
        took = sorted(self._took)
        return Heard(
            count=count,
            failed=self._failed,
            seconds=time.perf_counter() - began,
            p50_s=took[len(took) // 2],
            p99_s=took[len(took) * 99 // 100],
            changes=tuple(self._changes),
        )

    def _hear(self, within_s: float) -> None:
        ready, _, _ = select.select(self._busy, (), (), within_s)
        if not ready and within_s == _PATIENCE_S:
            raise OSError("no answer comes")
        for each in ready:
            line = self._busy[each]
            if (found := line.answer()) is None:
                continue
            self._took.append(time.perf_counter() - line.due)
            self._failed += not found.startswith(b"HTTP/1.1 200 ")
            version = found.rpartition(b'"version":"')[2].partition(b'"')[0].decode()
            if not self._changes or self._changes[-1][1] != version:
                self._changes.append((time.time(), version))
            self._free.append(self._busy.pop(each))


def main() -> None:
    """Be the client."""
    port, sent, rate, seconds = sys.argv[1:]
    found = _Arrivals(int(port), Path(sent).read_bytes()).run(float(rate), float(seconds))
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
